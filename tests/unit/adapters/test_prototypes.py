"""Names of structures: against the AFLOW library, whatever the cell, the origin and the orientation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from pymatgen.analysis.prototypes.matcher import AFLOW_PROTOTYPE_LIBRARY
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.symmetry.groups import SpaceGroup

from alloygen.adapters.ase import to_atoms
from alloygen.adapters.icet import compile_cluster_expansion
from alloygen.adapters.prototypes import StructureDescription, describe_parent, describe_structure
from alloygen.adapters.strukturbericht import IDEAL_STRUCTURES
from alloygen.errors import SupercellError
from alloygen.hamiltonian import ising_hamiltonian
from alloygen.lattice import Lattice, prototype
from alloygen.testing import systems

#: Supercells: doubled, sheared with determinant 3, and left-handed.
MATRICES = ([[2, 0, 0], [0, 1, 0], [0, 0, 2]], [[1, 1, 0], [-1, 2, 1], [0, 0, 1]], [[0, 1, 0], [1, 0, 0], [0, 0, 1]])


def _parent(symbol: str, structure: str, repeat: Sequence[int], **cell: float) -> Atoms:
    return bulk(symbol, structure, cubic=structure != "hcp", **cell).repeat(tuple(repeat))


def _layers(atoms: Atoms, normal: Sequence[float], pattern: str, symbols: dict[str, str]) -> Atoms:
    """Occupy planes one after another: A and B by their place along a normal, in units of the distance of planes."""
    place = np.rint(atoms.positions @ np.array(normal)).astype(int)
    atoms.symbols = [symbols[pattern[p % len(pattern)]] for p in place]
    return atoms


def _at(atoms: Atoms, sites: Sequence[int], symbol: str) -> Atoms:
    for site in sites:
        atoms.symbols[site] = symbol
    return atoms


def _examples() -> list[tuple[Atoms, StructureDescription]]:
    """Structures on ideal parent lattices (a = 4 for fcc, so that planes are whole numbers apart), and their names."""

    def fcc(*repeat: int) -> Atoms:
        return _parent("Cu", "fcc", repeat, a=4.0)

    def bcc(*repeat: int) -> Atoms:
        return _parent("Fe", "bcc", repeat, a=2.0)

    cu_au = {"A": "Cu", "B": "Au"}
    fe_al = bcc(2, 2, 2)  # D0_3: every second site of one of the two simple cubic lattices
    cubes = np.rint(fe_al.positions).astype(int)
    fe_al.symbols = ["Al" if all(c % 2 == 0) and c.sum() // 2 % 2 == 0 else "Fe" for c in cubes]
    al_ti = fcc(1, 1, 2)
    al_ti.symbols = ["Ti" if tuple(p) in {(0, 0, 0), (2, 2, 4)} else "Al" for p in np.rint(al_ti.positions)]
    return [
        (fcc(1, 1, 1), StructureDescription("A1 Cu", "Cu", "A1", "Fm-3m")),
        (_at(fcc(1, 1, 1), [0], "Au"), StructureDescription("L1_2 Cu3Au", "Cu3Au", "L1_2", "Pm-3m")),
        (_layers(fcc(1, 1, 1), (0, 0, 0.5), "AB", cu_au), StructureDescription("L1_0 CuAu", "CuAu", "L1_0", "P4/mmm")),
        (
            _layers(fcc(2, 2, 2), (0.25, 0.25, 0.25), "AB", {"A": "Cu", "B": "Pt"}),
            StructureDescription("L1_1 CuPt", "CuPt", "L1_1", "R-3m"),
        ),
        (al_ti, StructureDescription("D0_22 TiAl3", "TiAl3", "D0_22", "I4/mmm")),
        (_layers(fcc(1, 1, 3), (0, 0, 0.5), "AAB", cu_au), StructureDescription("Cu2Au I4/mmm", "Cu2Au", None, "I4/mmm")),
        (bcc(1, 1, 1), StructureDescription("A2 Fe", "Fe", "A2", "Im-3m")),
        (
            _layers(bcc(1, 1, 1), (0, 0, 1), "AB", {"A": "Fe", "B": "Al"}),
            StructureDescription("B2 AlFe", "AlFe", "B2", "Pm-3m"),
        ),
        (fe_al, StructureDescription("D0_3 AlFe3", "AlFe3", "D0_3", "Fm-3m")),
        (_parent("NaCl", "rocksalt", (1, 1, 1), a=4.0), StructureDescription("B1 NaCl", "NaCl", "B1", "Fm-3m")),
        (bulk("Mg", "hcp", a=3.0, c=3.0 * np.sqrt(8 / 3)), StructureDescription("A3 Mg", "Mg", "A3", "P6_3/mmc")),
        (_at(fcc(1, 1, 1), [0], "X"), StructureDescription("L1_2 Cu3X", "Cu3X", "L1_2", "Pm-3m")),
    ]  # fmt: skip


@pytest.mark.parametrize(("atoms", "expected"), _examples(), ids=lambda value: getattr(value, "name", ""))
def test_structures_on_ideal_lattices(atoms: Atoms, expected: StructureDescription) -> None:
    assert describe_structure(atoms) == expected
    rng = np.random.default_rng(5)
    for matrix in MATRICES:
        other = make_supercell(atoms, matrix)
        other.rotate(float(rng.uniform(0, 360)), rng.normal(size=3), rotate_cell=True)
        other.translate(rng.normal(size=3))
        other = other[rng.permutation(len(other))]
        assert describe_structure(other) == expected, matrix


def test_names_are_those_of_the_aflow_library() -> None:
    """Every ideal structure has the name of the measured one, and no other structure of the library has any of the names."""
    known = {ideal.name for ideal in IDEAL_STRUCTURES}
    found = []
    for entry in AFLOW_PROTOTYPE_LIBRARY:
        structure, name = entry["snl"].structure, entry["tags"]["strukturbericht"]
        about = describe_structure(AseAtomsAdaptor.get_atoms(structure, msonable=False))
        assert about.prototype == (name if name in known else None), entry["tags"]["aflow"]
        if name in known:
            number = int(entry["tags"]["aflow"].split("_")[2])
            assert about.space_group == SpaceGroup.from_int_number(number).symbol
        found.append(about.prototype)
    assert known == set(found) - {None}


def test_stacks_of_simple_cubic_layers_are_not_fcc_structures() -> None:
    """One space group, formula and size of cell, but not the neighbours: P4/mmm with two atoms is L1_0 on fcc only."""
    cube = bulk("Po", "sc", a=3.0)
    for repeat in ((1, 1, 2), (2, 2, 1)):
        atoms = cube.repeat(repeat)
        atoms.symbols = ["Po" if np.rint(p.sum() / 3.0) % 2 else "Bi" for p in atoms.positions]
        about = describe_structure(atoms)
        assert (about.space_group, about.prototype, about.name) == ("P4/mmm", None, "PoBi P4/mmm")


def test_spins_are_told_apart_by_their_moments() -> None:
    for hamiltonian, expected in (
        (ising_hamiltonian(4, 4), "downup P4/mmm"),
        (ising_hamiltonian(2, 2, 2, lattice="cubic"), "B1 downup"),
    ):
        lattice = hamiltonian.lattice
        parity = lattice.site_offset.sum(axis=1) % 2
        assert describe_structure(to_atoms(lattice, parity[None])[0]).name == expected
    up = describe_structure(to_atoms(lattice, np.ones((1, lattice.n_sites), dtype=int))[0])
    assert up.formula == "up"
    assert up.prototype == "A_h"


def test_formulas_go_by_electronegativity() -> None:
    for symbols, expected in (
        ("AuCu3", "Cu3Au"),
        ("ONi", "NiO"),
        ("Cl4Na4", "NaCl"),
        ("XO3Ti", "TiO3X"),
        ("HeO", "OHe"),
    ):
        atoms = Atoms(symbols, cell=np.eye(3) * 5, pbc=True)
        atoms.set_scaled_positions(np.random.default_rng(1).uniform(size=(len(atoms), 3)))
        assert describe_structure(atoms).formula == expected


def test_two_atoms_on_one_position_are_refused() -> None:
    with pytest.raises(SupercellError, match="no two atoms have one position"):
        describe_structure(Atoms("Cu2", positions=np.zeros((2, 3)), cell=np.eye(3) * 3, pbc=True))


@pytest.mark.parametrize(
    ("structure", "options", "species", "expected"),
    [
        ("fcc", {}, [("Cu", "Au")], "fcc"),
        ("fcc", {"cubic": True}, [("Cu", "Au")] * 4, "fcc"),
        ("bcc", {}, [("Cu", "Au")], "bcc"),
        ("bcc", {"cubic": True}, [("Cu", "Au"), ("Cu", "Pd")], "caesium chloride"),
        ("bct", {"c": 3.5}, [("Cu", "Au")], "I4/mmm"),
        ("hcp", {"c": 4.8}, [("Cu", "Au")] * 2, "hcp"),
        ("sc", {}, [("Cu", "Au")], "sc"),
        ("diamond", {}, [("Si", "Ge")] * 2, "diamond"),
        ("zincblende", {}, [("Ga", "In"), ("As",)], "zinc blende"),
        ("rocksalt", {}, [("K", "Na"), ("Br", "I")], "rock salt"),
        ("cesiumchloride", {}, [("K",), ("Br", "I")], "caesium chloride"),
        ("fluorite", {}, [("Ce",), ("O", "X"), ("O", "X")], "fluorite"),
    ],
)
def test_parent_lattices(structure: str, options: dict, species: list[tuple[str, ...]], expected: str) -> None:
    compounds = {"zincblende": "ZnS", "rocksalt": "NaCl", "cesiumchloride": "CsCl", "fluorite": "CaF2"}
    cell = bulk(compounds.get(structure, "Cu"), structure, a=3.0, **options)
    for matrix in (np.eye(3, dtype=int), *MATRICES):
        lattice = Lattice.from_matrix(cell.cell[:], cell.get_scaled_positions() + 0.1, species, matrix)
        assert describe_parent(lattice) == expected


def test_parent_lattices_of_hamiltonians() -> None:
    assert describe_parent(compile_cluster_expansion(systems.rocksalt(), (1, 1, 2)).lattice) == "rock salt"
    for name, expected in (("fcc", "fcc"), ("bcc", "bcc"), ("cubic", "sc")):
        assert describe_parent(prototype(name, (2, 2, 2), ("down", "up"))) == expected
    for name, shape in (("chain", (4,)), ("square", (2, 2)), ("triangular", (3, 3)), ("honeycomb", (2, 2))):
        assert describe_parent(prototype(name, shape, ("down", "up"))) == "lattice"
