"""Random configurations of a composition."""

from __future__ import annotations

import math

import numpy as np

from alloygen.lattice import Lattice
from alloygen.reference.compositions import random_occupations


def shared() -> Lattice:
    """Two sublattices that share a species: (A, B), (B, C), and a spectator A."""
    return Lattice.from_matrix(
        np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]], [("A", "B"), ("B", "C"), ("A",)], np.diag([4, 3, 1])
    )


def test_random_configurations_have_the_counts_and_every_spread() -> None:
    lattice = shared()
    generator = np.random.default_rng(0)
    codes = random_occupations(lattice, {"A": 18, "B": 12, "C": 6}, 400, generator)
    assert codes.shape == (400, 36)
    assert ((codes >= 0) & (codes < lattice.n_allowed)).all()
    species = np.take_along_axis(lattice.species_codes[None], codes[:, :, None], axis=2)[:, :, 0]
    assert ((species[:, :, None] == np.arange(3)).sum(axis=1) == [18, 12, 6]).all()
    # A: 12 spectators and 6 of the 12 sites of the first sublattice; so nothing is left to spread there.
    assert (codes[:, lattice.site_basis == 0].sum(axis=1) == 6).all()
    # With as many B as the sublattices allow to share, their numbers there vary.
    loose = Lattice.from_matrix(np.eye(3), [[0, 0, 0], [0.5] * 3], [("A", "B"), ("B", "A", "C")], np.diag([4, 3, 1]))
    codes = random_occupations(loose, {"A": 12, "B": 12}, 400, generator)
    n_first = codes[:, loose.site_basis == 0].sum(axis=1)
    # Hypergeometric: mean 6, variance 12 (1/2)(1/2)(12/23) = 1.565; bounds at six standard errors.
    assert abs(n_first.mean() - 6) < 6 * math.sqrt(1.565 / 400)
    assert 1.565 * 0.6 < n_first.var() < 1.565 * 1.4
