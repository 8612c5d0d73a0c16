"""Lattices: sites, allowed species, symmetry and positional encodings."""

from alloygen.lattice.encodings import PairOrbits, rope_coordinates
from alloygen.lattice.lattice import Lattice
from alloygen.lattice.prototypes import PROTOTYPES, prototype

__all__ = ["PROTOTYPES", "Lattice", "PairOrbits", "prototype", "rope_coordinates"]
