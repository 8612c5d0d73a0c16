"""Cluster expansions that exercise every kind of lattice, small enough to be solved exactly in small supercells.

The interactions are random (drawn from a fixed seed), so no term vanishes by accident, and fall off with the order of
the cluster, so that order and disorder compete at some temperature.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from icet import ClusterExpansion, ClusterSpace
from torch import Tensor

from alloygen.lattice import Lattice

#: Standard deviation of the random interactions of pairs, in eV per atom; each further site divides it by three.
SCALE = 0.03


def random_cluster_expansion(
    primitive: Atoms, cutoffs: Sequence[float], species: Sequence[Sequence[str]] | Sequence[str], seed: int = 0
) -> ClusterExpansion:
    """Return a cluster expansion with random interactions.

    Parameters
    ----------
    primitive
        The primitive cell.
    cutoffs
        Largest diameter of pairs, triplets, ..., in angstrom.
    species
        Allowed species, for all sites or per site.
    seed
        Seed of the interactions.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        space = ClusterSpace(primitive, list(cutoffs), [list(s) if not isinstance(s, str) else s for s in species])
    generator = np.random.default_rng(seed)
    orders = np.array([element["order"] for element in space.as_list])
    parameters = generator.normal(size=len(space)) * SCALE * 3.0 ** -np.maximum(orders - 2, 0)
    return ClusterExpansion(space, parameters)


def fcc_binary(seed: int = 1) -> ClusterExpansion:
    """Return a binary fcc alloy with pairs, triplets and quadruplets."""
    return random_cluster_expansion(bulk("Ag", "fcc", a=4.09), [6.5, 4.5, 3.0], ["Ag", "Pd"], seed)


def fcc_ternary(seed: int = 2) -> ClusterExpansion:
    """Return a ternary fcc alloy with pairs and triplets."""
    return random_cluster_expansion(bulk("Ag", "fcc", a=4.0), [4.1, 3.0], ["Ag", "Au", "Pd"], seed)


def vacancies(seed: int = 3) -> ClusterExpansion:
    """Return a quaternary fcc alloy, one of whose species is the vacancy."""
    return random_cluster_expansion(bulk("Ni", "fcc", a=3.6), [3.7, 2.6], ["Ni", "Al", "Cr", "X"], seed)


def rocksalt(seed: int = 4) -> ClusterExpansion:
    """Return rocksalt with two cations on one sublattice and three anions on the other."""
    primitive = bulk("NaCl", "rocksalt", a=5.6)
    return random_cluster_expansion(primitive, [5.7, 4.0], [["Na", "K"], ["Cl", "Br", "I"]], seed)


def spectators(seed: int = 5) -> ClusterExpansion:
    """Return rocksalt whose anions are fixed: every second site is a spectator."""
    return random_cluster_expansion(bulk("MgO", "rocksalt", a=4.2), [6.1, 4.3], [["Mg", "Ca"], ["O"]], seed)


def hcp_ternary(seed: int = 6) -> ClusterExpansion:
    """Return a ternary hcp alloy: two equivalent sites in the primitive cell."""
    return random_cluster_expansion(bulk("Ti", "hcp", a=2.95, c=4.68), [4.4, 3.0], ["Ti", "Zr", "Hf"], seed)


#: All of them by name.
SYSTEMS = {
    system.__name__: system for system in (fcc_binary, fcc_ternary, vacancies, rocksalt, spectators, hcp_ternary)
}


def random_occupations(lattice: Lattice, n: int, seed: int = 0) -> Tensor:
    """Draw n occupations, every allowed species of a site with equal probability, shape (n, n_sites), int64."""
    generator = np.random.default_rng(seed)
    return torch.from_numpy(generator.integers(0, lattice.n_allowed, size=(n, lattice.n_sites)))


def all_occupations(lattice: Lattice) -> Tensor:
    """Return every occupation of a small lattice, shape (n_configurations, n_sites), int64."""
    grids = np.meshgrid(*[np.arange(n) for n in lattice.n_allowed], indexing="ij")
    return torch.from_numpy(np.stack([grid.ravel() for grid in grids], axis=1).astype(np.int64))
