"""Energies of the joint outcomes of blocks, against energies of whole configurations."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from alloygen.hamiltonian import ClusterHamiltonian, ClusterTable, ising_hamiltonian
from alloygen.hamiltonian.token_fields import TokenFields
from alloygen.lattice import Lattice
from alloygen.testing.systems import random_occupations


def ternary_ring() -> ClusterHamiltonian:
    """Six sites of three species with random pairs and triplets."""
    generator = np.random.default_rng(5)
    lattice = Lattice.from_matrix(np.eye(3), [[0, 0, 0]], [("A", "B", "C")], np.diag([6, 1, 1]))
    ring = np.arange(6)
    pairs = np.stack([ring, (ring + 1) % 6], axis=1)
    triplets = np.stack([ring, (ring + 1) % 6, (ring + 3) % 6], axis=1)
    clusters = [
        ClusterTable(pairs, generator.normal(size=(3, 3))),
        ClusterTable(triplets, generator.normal(size=(3,) * 3)),
    ]
    return ClusterHamiltonian.from_clusters(lattice, -0.4, clusters)


MIXED = np.random.default_rng(1).permutation(6)


@pytest.mark.parametrize(
    "tokens",
    [
        *(MIXED.reshape(-1, size) for size in (1, 2, 3)),
        np.array([[4, 1], [1, 0], [5, 2], [2, 3], [3, 4]]),  # some sites in two tokens
        np.array([[0, 4, 2], [2, 1, 0], [5, 3, 2]]),  # and in three
    ],
    ids=str,
)
@pytest.mark.parametrize("hamiltonian", [ternary_ring(), ising_hamiltonian(2, 3, field=0.3)], ids=["ternary", "ising"])
def test_outcome_energies_are_differences_of_energies(hamiltonian: ClusterHamiltonian, tokens: np.ndarray) -> None:
    """e_k(o) - e_k(o') is the energy difference that outcome o makes, averaged over whatever later tokens do.

    Point functions of undecided sites average to zero over their species, so the average over all later decisions keeps the
    completed clusters alone.
    """
    size, n_species = tokens.shape[1], int(hamiltonian.lattice.n_allowed.max())
    occupation = random_occupations(hamiltonian.lattice, 5, seed=2)
    fields = TokenFields.build(hamiltonian, tokens)
    energies = fields.energies(hamiltonian.features(occupation))
    outcomes = torch.tensor(list(product(range(n_species), repeat=size)))
    for k, sites in enumerate(tokens):
        later = np.setdiff1d(np.arange(6), tokens[: k + 1])
        n_rest = n_species ** len(later)
        rest = torch.tensor(list(product(range(n_species), repeat=len(later)))).long().view(n_rest, len(later))
        for row in range(len(occupation)):
            every = occupation[row].repeat(len(outcomes), n_rest, 1)
            every[:, :, later] = rest
            every[:, :, sites] = outcomes[:, None]
            expected = hamiltonian.energy(every.flatten(0, 1)).view(len(outcomes), n_rest).mean(dim=1)
            found = energies[row, k]
            torch.testing.assert_close(found - found[0], expected - expected[0], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_chosen_outcomes_add_up_to_the_energy(size: int) -> None:
    hamiltonian = ternary_ring()
    occupation = random_occupations(hamiltonian.lattice, 20, seed=3)
    tokens = np.random.default_rng(4).permutation(6).reshape(-1, size)
    energies = TokenFields.build(hamiltonian, tokens).energies(hamiltonian.features(occupation))
    outcome = (occupation[:, tokens] * 3 ** torch.arange(size - 1, -1, -1)).sum(-1)
    total = energies.gather(2, outcome[..., None])[..., 0].sum(1) + hamiltonian.polynomial.constant
    torch.testing.assert_close(total, hamiltonian.energy(occupation), atol=1e-12, rtol=1e-12)


def test_one_token_alone_has_the_energies_of_the_full_pass() -> None:
    """Also with later sites left at zero, as in decoding, and by gathers instead of the compiled loop."""
    hamiltonian = ternary_ring()
    features = hamiltonian.features(random_occupations(hamiltonian.lattice, 7, seed=5))
    tokens = np.array([[4, 1], [0, 5], [2, 3]])
    fields = TokenFields.build(hamiltonian, tokens)
    every = fields.energies(features)
    undecided = torch.as_tensor(np.isin(hamiltonian.feature_site, tokens[1:].ravel()))
    torch.testing.assert_close(fields.energies(features.masked_fill(undecided, 0.0), 1)[:, 0], every[:, 1])
    gathered = fields._coefficients_torch(features, fields.pointer, 9)
    torch.testing.assert_close(gathered, fields.product_coefficients(features))
