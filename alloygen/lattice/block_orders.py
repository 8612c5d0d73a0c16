"""Orders in which the blocks of a supercell can be decided, each for every priority of the supercell's axes.

Blocks come with coordinates: which level of the supercell's axes their first site is on.

- A *raster scan* goes through them row after row. What is known touches what is not along one front.
- A *checkerboard* decides the blocks whose coordinates have an even sum first, then the others.
- *Nested dissection* (George, 1973, doi:10.1137/0710032) decides separators first: layers of blocks that cut the supercell into
  halves which, given them, know nothing of each other if no cluster reaches across. Each half is cut likewise.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from alloygen.lattice.lattice import Array, Lattice

#: The longest side, in blocks, of what nested dissection does not cut any more.
UNCUT = 2


def raster_orders(lattice: Lattice, blocks: Array) -> list[Array]:
    """Raster scans of blocks (n_blocks, size): six permutations, each of shape (n_blocks,)."""
    fraction = (lattice.positions[blocks[:, 0]] @ np.linalg.inv(lattice.cell)).round(9) % 1
    return [np.lexsort(tuple(fraction[:, axis] for axis in axes)) for axes in permutations(range(3))]


def checkerboard_orders(lattice: Lattice, blocks: Array) -> list[Array]:
    """Even blocks in a raster scan, then odd ones: six permutations, each of shape (n_blocks,)."""
    odd = _coordinates(lattice, blocks).sum(axis=1) % 2
    return [order[np.argsort(odd[order], kind="stable")] for order in raster_orders(lattice, blocks)]


def dissection_orders(lattice: Lattice, blocks: Array) -> list[Array]:
    """Separators first, then what they part: six permutations, each of shape (n_blocks,)."""
    coordinates = _coordinates(lattice, blocks)
    periodic = np.ones(3, dtype=bool)
    return [
        np.concatenate(_dissect(coordinates, order, np.array(axes), periodic))
        for order, axes in zip(raster_orders(lattice, blocks), permutations(range(3)), strict=True)
    ]


def _coordinates(lattice: Lattice, blocks: Array) -> Array:
    """Number of the level of every block along the supercell's axes, shape (n_blocks, 3)."""
    fraction = (lattice.positions[blocks[:, 0]] @ np.linalg.inv(lattice.cell)).round(6) % 1
    return np.stack([np.unique(column, return_inverse=True)[1].reshape(-1) for column in fraction.T], axis=1)


def _dissect(coordinates: Array, part: Array, axes: Array, periodic: Array) -> list[Array]:
    """Order the blocks of a part: one array for each separator and for each piece that is not cut."""
    levels = [np.unique(coordinates[part, axis]) for axis in axes]
    longest = int(np.argmax([len(found) for found in levels]))
    axis, along = int(axes[longest]), levels[longest]
    if len(along) <= UNCUT:
        return [part] if len(part) else []
    # Around a periodic axis it takes two layers to part anything.
    cuts = [along[0], along[len(along) // 2]] if periodic[axis] else [along[len(along) // 2]]
    level = coordinates[part, axis]
    inside = periodic.copy()
    inside[axis] = False
    pieces = [part[np.isin(level, cuts)]]
    side = np.searchsorted(cuts, level)
    for number in np.unique(side):
        pieces += _dissect(coordinates, part[(side == number) & ~np.isin(level, cuts)], axes, inside)
    return pieces
