"""pymatgen structures, in and out."""

from __future__ import annotations

from typing import Any

from ase import Atoms
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from alloygen.errors import SupercellError


def structure_to_atoms(structure: Any) -> Atoms:
    """Return an ordered pymatgen structure as ase.Atoms, sites in the same order.

    Raises
    ------
    SupercellError
        If it is not a Structure, or has partial occupancies.
    """
    if not isinstance(structure, Structure):
        raise SupercellError(f"expected a pymatgen Structure, got {type(structure).__name__}")
    if not structure.is_ordered:
        raise SupercellError(
            f"the structure {structure.formula} has partial occupancies: expected one species per site; put any "
            "allowed species on each site (alloygen only reads where the sites are)"
        )
    atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    return Atoms(symbols=atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)


def atoms_to_structure(atoms: Atoms) -> Structure:
    """Return ase.Atoms as a pymatgen Structure, sites in the same order."""
    return AseAtomsAdaptor.get_structure(atoms)
