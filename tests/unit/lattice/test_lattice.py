"""Lattices: site bookkeeping, species, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from alloygen.errors import ChemicalPotentialError, LatticeError
from alloygen.lattice import PROTOTYPES, Lattice, prototype

FCC = bulk("Cu", "fcc", a=3.8).cell[:]
ROCKSALT = {"primitive_cell": FCC, "basis": [[0, 0, 0], [0.5, 0.5, 0.5]], "allowed_species": [("A", "B"), ("O",)]}


@pytest.mark.parametrize(
    "matrix",
    [np.diag([2, 2, 4]), [[-1, 1, 1], [1, -1, 1], [1, 1, -1]], [[2, 1, 0], [0, 3, -1], [1, 0, 2]],
     [[0, 1, 0], [1, 0, 0], [0, 0, 3]]],
)  # fmt: skip
def test_sites_fill_the_supercell_once(matrix: object) -> None:
    lattice = Lattice.from_matrix(**ROCKSALT, supercell_matrix=matrix)  # type: ignore[arg-type]
    assert lattice.n_cells == round(abs(np.linalg.det(np.array(matrix))))
    assert lattice.n_sites == 2 * lattice.n_cells
    fraction = lattice.positions @ np.linalg.inv(lattice.cell)
    assert len(np.unique((fraction - np.floor(fraction + 1e-9)).round(6), axis=0)) == lattice.n_sites
    # Moved by supercell vectors, every site is itself.
    shift = np.array([3, -2, 5]) @ lattice.supercell_matrix
    np.testing.assert_array_equal(
        lattice.site_index(lattice.site_basis, lattice.site_offset + shift), np.arange(lattice.n_sites)
    )


def test_diagonal_order_is_that_of_ase() -> None:
    lattice = Lattice.from_matrix(FCC, [[0, 0, 0]], [("A", "B")], np.diag([2, 3, 4]))
    np.testing.assert_allclose(lattice.positions, bulk("Cu", "fcc", a=3.8).repeat((2, 3, 4)).positions, atol=1e-12)


def test_species_and_sublattices() -> None:
    lattice = Lattice.from_matrix(**ROCKSALT, supercell_matrix=np.diag([1, 1, 2]))  # type: ignore[arg-type]
    assert lattice.species == ("A", "B", "O")
    assert lattice.variable_species == ("A", "B")
    assert lattice.sublattices == (("A", "B"), ("O",))
    assert lattice.active_sites.tolist() == [0, 2]
    assert lattice.species_codes.tolist() == [[0, 1], [2, -1], [0, 1], [2, -1]]
    assert lattice.chemical_potential_vector({"B": 0.2}).tolist() == [0, 0.2, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, "0.1", [0.1], None])
def test_chemical_potentials_are_finite_numbers(value: object) -> None:
    lattice = prototype("chain", (3,), ("A", "B"))
    with pytest.raises(ChemicalPotentialError, match="one finite number"):
        lattice.chemical_potential_vector({"B": value})  # type: ignore[dict-item]
    with pytest.raises(ChemicalPotentialError, match="its species are A, B"):
        lattice.chemical_potential_vector({"C": 0.1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"supercell_matrix": np.zeros((3, 3))}, "singular"),
        ({"supercell_matrix": np.diag([1, 1, 0])}, "singular"),
        ({"allowed_species": [("A", "B")]}, "2 basis positions but 1 lists"),
        ({"allowed_species": [("A", "A"), ("O",)]}, "each named once"),
        ({"allowed_species": [(), ("O",)]}, "at least one species"),
    ],
)
def test_bad_lattices_are_refused(change: dict[str, object], message: str) -> None:
    arguments = {**ROCKSALT, "supercell_matrix": np.eye(3, dtype=int), **change}
    with pytest.raises(LatticeError, match=message):
        Lattice.from_matrix(**arguments)  # type: ignore[arg-type]


def test_a_site_given_twice_is_refused() -> None:
    with pytest.raises(LatticeError, match="exactly once"):
        Lattice(FCC, [[0, 0, 0]], (("A", "B"),), np.diag([2, 1, 1]), [0, 0], [[0, 0, 0], [2, 0, 0]])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "coordination"),
    [("chain", 2), ("square", 4), ("triangular", 6), ("honeycomb", 3), ("cubic", 6), ("fcc", 12), ("bcc", 8)],
)
def test_prototypes_have_their_coordination(name: str, coordination: int) -> None:
    found = PROTOTYPES[name]
    assert 2 * len(found.bonds()) == coordination * len(found.basis)


def test_bad_prototypes_are_refused() -> None:
    with pytest.raises(LatticeError, match="unknown lattice 'kagome'"):
        prototype("kagome", (2, 2), ("A", "B"))
    for shape in ((2,), (2, 0), (2, -1), (2.5, 2), (True, 2)):
        with pytest.raises(LatticeError, match="2 integers of at least 1"):
            prototype("square", shape, ("A", "B"))  # type: ignore[arg-type]
