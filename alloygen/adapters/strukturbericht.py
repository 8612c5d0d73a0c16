r"""Crystal structures by their Strukturbericht names, in ideal form: those of close-packed, bcc and salt lattices.

Axes that symmetry leaves free have the ratio, and free coordinates the value, for which the atoms lie on the sites of the
parent lattice (D0_22 is two cubes of fcc, c/a = 2). Real crystals deviate from that by some per cent.

References
----------
M. J. Mehl et al., Computational Materials Science 136, S1 (2017), doi:10.1016/j.commatsci.2017.01.017.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

Array = np.ndarray
Site = tuple[float, float, float]

_CENTRINGS: dict[str, tuple[Site, ...]] = {
    "P": ((0, 0, 0),),
    "I": ((0, 0, 0), (1 / 2, 1 / 2, 1 / 2)),
    "F": ((0, 0, 0), (0, 1 / 2, 1 / 2), (1 / 2, 0, 1 / 2), (1 / 2, 1 / 2, 0)),
    "R": ((0, 0, 0), (2 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3, 2 / 3)),
}


@dataclass(frozen=True)
class IdealStructure:
    """A structure in its conventional cell.

    Parameters
    ----------
    name
        Strukturbericht name.
    centring
        "P", "I", "F", or "R" on hexagonal axes.
    sites
        Fractional coordinates of each kind of atom, without the centring.
    axes
        Ratios of the lengths a, b, c.
    hexagonal
        Whether a and b enclose 120 degrees.
    """

    name: str
    centring: str
    sites: tuple[tuple[Site, ...], ...]
    axes: tuple[float, float, float] = (1.0, 1.0, 1.0)
    hexagonal: bool = False

    @property
    def cell(self) -> tuple[Array, Array, Array]:
        """Vectors as rows, fractional coordinates (n, 3), and the kind of every atom (n,)."""
        a, b, c = self.axes
        second = (-b / 2, b * sqrt(3) / 2, 0.0) if self.hexagonal else (0.0, b, 0.0)
        shifts = np.array(_CENTRINGS[self.centring])
        positions = [np.add(site, shift) for atoms in self.sites for site in atoms for shift in shifts]
        kinds = np.repeat(np.arange(len(self.sites)), [len(atoms) * len(shifts) for atoms in self.sites])
        return np.array([(a, 0.0, 0.0), second, (0.0, 0.0, c)]), np.array(positions) % 1.0, kinds


_FACES: tuple[Site, ...] = ((0, 1 / 2, 1 / 2), (1 / 2, 0, 1 / 2), (1 / 2, 1 / 2, 0))
_0, _1, _2, _3 = ((x, x, x) for x in (0.0, 1 / 4, 1 / 2, 3 / 4))
_HCP: tuple[Site, ...] = ((1 / 3, 2 / 3, 1 / 4), (2 / 3, 1 / 3, 3 / 4))
_COVERED = sqrt(8 / 3)

IDEAL_STRUCTURES: tuple[IdealStructure, ...] = (
    IdealStructure("A1", "F", ((_0,),)),
    IdealStructure("A2", "I", ((_0,),)),
    IdealStructure("A3", "P", (_HCP,), (1, 1, _COVERED), hexagonal=True),
    IdealStructure("A4", "F", ((_0, _1),)),
    IdealStructure("A_h", "P", ((_0,),)),
    IdealStructure("B1", "F", ((_0,), (_2,))),
    IdealStructure("B2", "P", ((_0,), (_2,))),
    IdealStructure("B3", "F", ((_0,), (_1,))),
    IdealStructure(
        "B19",
        "P",
        (((1 / 4, 0, 5 / 6), (3 / 4, 0, 1 / 6)), ((1 / 4, 1 / 2, 1 / 3), (3 / 4, 1 / 2, 2 / 3))),
        (_COVERED, 1, sqrt(3)),
    ),
    IdealStructure("B32", "F", ((_0, _1), (_2, _3))),
    IdealStructure("C1", "F", ((_0,), (_1, _3))),
    IdealStructure("C1_b", "F", ((_0,), (_1,), (_2,))),
    IdealStructure("C11_b", "I", ((_0,), ((0, 0, 1 / 3), (0, 0, 2 / 3))), (1, 1, 3)),
    IdealStructure("D0_3", "F", ((_0,), (_1, _2, _3))),
    IdealStructure(
        "D0_19",
        "P",
        (
            _HCP,
            (
                *((x, y, 1 / 4) for x, y in ((5 / 6, 2 / 3), (1 / 3, 1 / 6), (5 / 6, 1 / 6))),
                *((x, y, 3 / 4) for x, y in ((1 / 6, 1 / 3), (2 / 3, 5 / 6), (1 / 6, 5 / 6))),
            ),
        ),
        (1, 1, _COVERED / 2),
        hexagonal=True,
    ),
    IdealStructure("D0_22", "I", ((_0,), ((0, 0, 1 / 2), (0, 1 / 2, 1 / 4), (1 / 2, 0, 1 / 4))), (1, 1, 2)),
    IdealStructure(
        "D0_23",
        "I",
        (
            ((0, 0, 1 / 8), (0, 0, 7 / 8)),
            (
                *((0, 1 / 2, 0), (1 / 2, 0, 0), (0, 1 / 2, 1 / 4)),
                *((1 / 2, 0, 1 / 4), (0, 0, 3 / 8), (0, 0, 5 / 8)),
            ),
        ),
        (1, 1, 4),
    ),
    IdealStructure(
        "D1_a", "I", ((_0,), ((0.4, 0.2, 0), (0.6, 0.8, 0), (0.8, 0.4, 0), (0.2, 0.6, 0))), (1, 1, sqrt(2 / 5))
    ),
    IdealStructure("E2_1", "P", ((_0,), (_2,), _FACES)),
    IdealStructure("L1_0", "P", ((_0,), (_2,)), (1, 1, sqrt(2))),
    IdealStructure("L1_1", "R", ((_0,), ((0, 0, 1 / 2),)), (1, 1, 2 * sqrt(6)), hexagonal=True),
    IdealStructure("L1_2", "P", ((_0,), _FACES)),
    IdealStructure("L2_1", "F", ((_0,), (_2,), (_1, _3))),
)
