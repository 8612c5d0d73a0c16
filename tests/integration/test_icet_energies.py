"""Compiled energies against icet's own predictions, for every kind of lattice and of supercell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import make_supercell
from icet import ClusterExpansion
from pymatgen.io.ase import AseAtomsAdaptor

import alloygen
from alloygen.testing import systems

TOLERANCE = 1e-9
BCC_CELL = [[-1, 1, 1], [1, -1, 1], [1, 1, -1]]


def compare(expansion: ClusterExpansion, supercell: object, n: int = 100, seed: int = 0) -> alloygen.Problem:
    """Compare energies of n random occupations, and return the problem."""
    problem = alloygen.Problem.from_cluster_expansion(expansion, supercell)
    occupation = systems.random_occupations(problem.lattice, n, seed)
    structures = problem.atoms(occupation)
    expected = [expansion.predict(atoms) * len(atoms) for atoms in structures]
    np.testing.assert_allclose(problem.energy(occupation), expected, rtol=0, atol=TOLERANCE)
    return problem


@pytest.mark.parametrize("name", systems.SYSTEMS)
def test_small_cells_that_meet_themselves(name: str) -> None:
    compare(systems.SYSTEMS[name](), (2, 2, 2))


@pytest.mark.parametrize("name", ["fcc_binary", "fcc_ternary", "rocksalt", "spectators"])
def test_cells_of_256_sites(name: str) -> None:
    primitive_sites = 2 if name in ("rocksalt", "spectators") else 1
    repeats = (4, 4, 8) if primitive_sites == 2 else (8, 8, 4)
    assert compare(systems.SYSTEMS[name](), repeats).n_sites == 256


@pytest.mark.parametrize("name", ["fcc_ternary", "rocksalt", "hcp_ternary"])
@pytest.mark.parametrize("matrix", [BCC_CELL, [[2, 1, 0], [0, 3, -1], [1, 0, 2]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]])
def test_matrices_skewed_and_single(name: str, matrix: object) -> None:
    compare(systems.SYSTEMS[name](), matrix, n=20)


def test_cuau() -> None:
    for supercell in ((2, 2, 4), (4, 4, 4)):
        compare(alloygen.datasets.cuau(), supercell)


@pytest.mark.parametrize("name", ["fcc_binary", "rocksalt", "hcp_ternary"])
def test_structures_in_any_order_of_sites(name: str) -> None:
    """Shuffled atoms, and sites moved by supercell vectors: the sites keep the order that they came in."""
    expansion = systems.SYSTEMS[name]()
    primitive = expansion.get_cluster_space_copy().primitive_structure
    supercell = make_supercell(primitive, [[2, 1, 0], [0, 2, 0], [0, -1, 2]])
    generator = np.random.default_rng(0)
    supercell = supercell[generator.permutation(len(supercell))]
    supercell.positions += generator.integers(-2, 3, size=(len(supercell), 3)) @ supercell.cell[:]
    problem = compare(expansion, supercell, n=30)
    np.testing.assert_allclose(problem.lattice.positions, supercell.positions, atol=1e-9)

    structure = AseAtomsAdaptor.get_structure(supercell)
    same = compare(expansion, structure, n=30)
    occupation = systems.random_occupations(same.lattice, 30)
    assert torch.equal(same.energy(occupation), problem.energy(occupation))


def test_merged_orbits() -> None:
    expansion = systems.fcc_binary()
    space = expansion.get_cluster_space_copy()
    space.merge_orbits({1: [2], 3: [4]})
    parameters = np.random.default_rng(0).normal(size=len(space))
    compare(ClusterExpansion(space, parameters), (3, 2, 2), n=30)


def test_a_conventional_cell_is_reduced_to_its_primitive_one() -> None:
    from ase.build import bulk

    conventional = bulk("Ag", "fcc", a=4.09, cubic=True)
    expansion = systems.random_cluster_expansion(conventional, [4.5], ["Ag", "Pd"])
    problem = compare(expansion, conventional.repeat(2), n=30)
    assert problem.n_sites == 32


@pytest.mark.parametrize("name", systems.SYSTEMS)
def test_differences_are_those_of_icet(name: str) -> None:
    """One flip of every site of one configuration, against two predictions of icet."""
    expansion = systems.SYSTEMS[name]()
    problem = alloygen.Problem.from_cluster_expansion(expansion, (2, 2, 2))
    occupation = systems.random_occupations(problem.lattice, 1, seed=5)
    difference = problem.energy_differences(occupation)[0]

    def predict(codes: torch.Tensor) -> float:
        atoms = problem.atoms(codes)
        assert isinstance(atoms, Atoms)
        return float(expansion.predict(atoms) * len(atoms))

    start = predict(occupation[0])
    for site in problem.lattice.active_sites:
        for code in range(problem.lattice.n_allowed[site]):
            changed = occupation[0].clone()
            changed[site] = code
            assert float(difference[site, code]) == pytest.approx(predict(changed) - start, abs=TOLERANCE)
