"""Point functions, the expansion of tables, and clusters that meet themselves."""

from __future__ import annotations

import numpy as np
import pytest

from alloygen.hamiltonian import ClusterHamiltonian, ClusterTable, ising_hamiltonian
from alloygen.hamiltonian.polynomial import collect, point_functions
from alloygen.lattice import Lattice
from alloygen.testing.systems import all_occupations


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_point_functions_are_orthonormal(n: int) -> None:
    basis = point_functions(n)
    np.testing.assert_allclose(basis.T @ basis / n, np.eye(n), atol=1e-14)
    assert (basis[:, 0] == 1).all()


def test_any_table_is_reproduced_with_repeated_sites() -> None:
    """Random tables of up to four sites, some of them twice in one cluster, summed by hand."""
    generator = np.random.default_rng(0)
    species = [("A", "B"), ("C", "D", "E"), ("F",)]
    lattice = Lattice.from_matrix(
        np.diag([3.0, 4.0, 5.0]), [[0, 0, 0], [0.4, 0, 0], [0.7, 0, 0]], species, np.diag([2, 1, 1])
    )
    clusters = []
    for sites in ([[0]], [[0, 1], [3, 4]], [[1, 4]], [[1, 1], [4, 4]], [[0, 1, 2]], [[1, 4, 1, 1]], [[0, 3, 0, 4]]):
        images = np.array(sites)
        table = generator.normal(size=[lattice.n_allowed[s] for s in images[0]])
        clusters.append(ClusterTable(images, table))
    hamiltonian = ClusterHamiltonian.from_clusters(lattice, 0.7, clusters)
    every = all_occupations(lattice)
    expected = [
        0.7 + sum(c.table[tuple(row[list(image)])] for c in clusters for image in c.sites) for row in every.numpy()
    ]
    np.testing.assert_allclose(hamiltonian.energy(every), expected, atol=1e-12)


def test_equal_monomials_are_merged_and_noise_is_dropped() -> None:
    table = np.outer([-1.0, 1.0], [-1.0, 1.0])
    pairs = np.array([[0, 1], [1, 0]])
    found = collect(0.0, [ClusterTable(pairs, 0.5 * table), ClusterTable(pairs[:1], 1e-17 * table)], np.array([0, 1]))
    assert found.features.tolist() == [[0, 1]]
    assert found.coefficients.tolist() == [1.0]
    cancelling = collect(0.0, [ClusterTable(pairs, table), ClusterTable(pairs, -table)], np.array([0, 1]))
    assert not np.any(cancelling.coefficients)


def test_no_clusters_leave_the_constant() -> None:
    lattice = Lattice.from_matrix(np.eye(3), [[0, 0, 0]], [("A", "B")], np.diag([2, 1, 1]))
    hamiltonian = ClusterHamiltonian.from_clusters(lattice, -1.5, [])
    assert hamiltonian.energy(all_occupations(lattice)).tolist() == [-1.5] * 4
    assert hamiltonian.energy_differences(all_occupations(lattice)).abs().max() == 0


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 2), (2, 2), (2, 3), (3, 3)])
def test_ising_energies_by_hand(rows: int, columns: int) -> None:
    """Every configuration of tiny tori, bonds counted by hand: a side of 2 has doubled bonds, a side of 1 a constant."""
    hamiltonian = ising_hamiltonian(rows, columns, coupling=0.8, field=0.3)
    every = all_occupations(hamiltonian.lattice)
    spins = 2 * every.numpy().reshape(-1, rows, columns) - 1
    bonds = (spins * (np.roll(spins, 1, 1) + np.roll(spins, 1, 2))).sum(axis=(1, 2))
    expected = -0.8 * bonds - 0.3 * spins.sum(axis=(1, 2))
    np.testing.assert_allclose(hamiltonian.energy(every), expected, atol=1e-12)
