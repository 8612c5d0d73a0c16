"""Metropolis and replica exchange against enumeration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import t as student_t

from alloygen import datasets
from alloygen.adapters.icet import compile_cluster_expansion
from alloygen.errors import WindowError
from alloygen.hamiltonian import ClusterHamiltonian, ising_hamiltonian
from alloygen.reference.enumeration import enumerate_configurations
from alloygen.reference.monte_carlo import MetropolisSampler
from alloygen.reference.replica_exchange import ConditionGrid, replica_exchange
from alloygen.testing import systems


def block_scores(values: np.ndarray, exact: float, n_blocks: int = 25) -> float:
    """Mean against the exact value in standard errors from block averages."""
    blocks = values.reshape(n_blocks, -1).mean(axis=1)
    return float((blocks.mean() - exact) / (blocks.std(ddof=1) / np.sqrt(n_blocks)))


def ternary() -> ClusterHamiltonian:
    return compile_cluster_expansion(systems.fcc_ternary(), (2, 2, 2))


@pytest.mark.parametrize("build", [ternary, lambda: compile_cluster_expansion(systems.rocksalt(), (1, 1, 3))])
def test_averages_of_many_species_and_sublattices(build) -> None:  # type: ignore[no-untyped-def]
    """Energy and every species' count of 12 replicas: z-scores at level 1e-3 over all of them, fixed seed."""
    hamiltonian = build()
    lattice = hamiltonian.lattice
    temperature = 1.5 * hamiltonian.change_scale / hamiltonian.units.boltzmann_constant
    generator = np.random.default_rng(0)
    potentials = [
        dict(
            zip(
                lattice.species,
                generator.normal(scale=hamiltonian.change_scale, size=len(lattice.species)),
                strict=True,
            )
        )
        for _ in range(12)
    ]
    mu = np.array([lattice.chemical_potential_vector(p) for p in potentials])
    sampler = MetropolisSampler(hamiltonian, np.full(12, hamiltonian.units.beta(temperature)), mu, seed=1)
    sampler.sweep(200)
    energies, counts = [], []
    for _ in range(5000):
        sampler.sweep(2)
        energies.append(sampler.energy.copy())
        counts.append(sampler.counts.copy())
    exact = enumerate_configurations(hamiltonian)
    scores = []
    for replica, potential in enumerate(potentials):
        truth = exact.averages(temperature, potential)
        scores.append(block_scores(np.array(energies)[:, replica], truth.energy))
        for index, name in enumerate(lattice.species):
            series = np.array(counts)[:, replica, index].astype(float)
            if series.std() > 0:
                scores.append(block_scores(series, truth.counts[name]))
    # Two-sided 1e-3 over all scores of Student's t with 24 degrees of freedom.
    assert np.abs(scores).max() < student_t.ppf(1 - 0.5e-3 / len(scores), 24)
    assert 0.7 < np.sqrt(np.mean(np.square(scores))) < 1.4


def test_state_is_consistent_after_many_moves() -> None:
    hamiltonian = ternary()
    sampler = MetropolisSampler(hamiltonian, np.array([5.0, 50.0]), np.zeros((2, 3)), seed=2)
    sampler.sweep(300)
    occupation = torch.from_numpy(sampler.occupation)
    np.testing.assert_allclose(sampler.energy, hamiltonian.energy(occupation).numpy(), atol=1e-9)
    features = hamiltonian.features(occupation)
    np.testing.assert_allclose(sampler.features, features.numpy())
    np.testing.assert_allclose(sampler.derivative, hamiltonian.derivatives(features).numpy(), atol=1e-9)
    assert (sampler.counts.sum(axis=1) == hamiltonian.lattice.n_sites).all()


def test_high_chemical_potential_attracts_its_species() -> None:
    """The sign of mu: at mu_Au = +1 eV the lattice is gold."""
    hamiltonian = compile_cluster_expansion(datasets.cuau(), (2, 2, 2))
    mu = np.array([hamiltonian.lattice.chemical_potential_vector({"Au": x}) for x in (-1.0, 1.0)])
    sampler = MetropolisSampler(hamiltonian, np.full(2, hamiltonian.units.beta(600)), mu, seed=3)
    sampler.sweep(50)
    np.testing.assert_array_equal(sampler.counts, [[8, 0], [0, 8]])


def test_replica_exchange_agrees_with_enumeration_and_its_diagnosis() -> None:
    """Cu-Au 2x2x4 over the window, two starts: z-scores of 54 averages; R-hat near one."""
    hamiltonian = compile_cluster_expansion(datasets.cuau(), (2, 2, 4))
    exact = enumerate_configurations(hamiltonian)
    mu = np.array([hamiltonian.lattice.chemical_potential_vector({"Au": x}) for x in np.linspace(-0.2, 0.2, 5)])
    grid = ConditionGrid(np.geomspace(300, 1300, 10), mu, (5,))
    samples = replica_exchange(hamiltonian, grid, n_samples=2000, seed=4)
    assert samples.split_r_hat().max() < 1.05
    assert (
        np.nanmin(samples.swap_acceptance[0]) > 0.1
    )  # along temperature; at 300 K, potentials 0.1 eV apart never swap
    temperature, potentials = grid.flat()
    scores = []
    for c in range(len(temperature)):
        truth = exact.averages(temperature[c], {"Au": potentials[c, 1]})
        if samples.energy[c].std() > 1e-3:  # frozen conditions have no central limit to test
            scores.append(block_scores(samples.energy[c], truth.energy))
            scores.append(block_scores(samples.counts[c, :, 1].astype(float), truth.counts["Au"]))
    assert len(scores) > 60
    assert 0.7 < np.sqrt(np.mean(np.square(scores))) < 1.4


def test_seed_fixes_the_samples() -> None:
    hamiltonian = ising_hamiltonian(4, 4)
    grid = ConditionGrid(np.array([1.5, 2.0, 3.0]), np.zeros((1, 2)), ())
    runs = [replica_exchange(hamiltonian, grid, n_samples=50, seed=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0].occupation, runs[1].occupation)
    assert not np.array_equal(runs[0].occupation, runs[2].occupation)


def test_single_condition_is_refused() -> None:
    grid = ConditionGrid(np.array([1.5]), np.zeros((1, 2)), ())
    with pytest.raises(WindowError, match="at least two temperatures"):
        replica_exchange(ising_hamiltonian(4, 4), grid, n_samples=10)
