"""Blocks of sites: partitions of a supercell into equal, compact groups that are translations of one another.

A block is the active sites of p primitive cells, one from each coset of a sublattice of index p that contains the
supercell's lattice: on fcc, p = 4 gives the four sites of the conventional cube; on the square lattice p = 4 and p = 9 give
squares of 2x2 and 3x3 sites.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from alloygen.errors import LatticeError

if TYPE_CHECKING:
    from alloygen.lattice.lattice import Array, Lattice


def site_blocks(lattice: Lattice, size: int) -> Array:
    """Partition the active sites into blocks of ``size`` sites, shape (n_blocks, size).

    Members of all blocks are in the same order. Size 1 puts every active site in a block of its own.

    Raises
    ------
    LatticeError
        If no partition into such blocks exists; the message names sizes that have one.

    Examples
    --------
    >>> from alloygen.lattice import prototype
    >>> site_blocks(prototype("square", (4, 4), ("down", "up")), 4)[0].tolist()
    [0, 1, 4, 5]
    """
    if size == 1:
        return lattice.active_sites[:, None]
    basis = np.array([b for b, names in enumerate(lattice.allowed_species) if len(names) > 1])
    shapes = _sublattices(lattice, size // len(basis)) if len(basis) and size % len(basis) == 0 else []
    if not shapes:
        fits = [m for m in range(1, 17) if m == 1 or (m % len(basis) == 0 and _sublattices(lattice, m // len(basis)))]
        raise LatticeError(
            f"no partition of this supercell into blocks of {size} sites: expected a size among "
            f"{', '.join(map(str, fits))}, for example ModelConfig(group={fits[-1]})"
        )
    operations = lattice.primitive_operations[0]
    candidates = []
    for number, matrix in enumerate(shapes):
        cells, spread = _compact_cells(lattice, matrix)
        kept = sum(_is_integer(matrix @ rotation.T @ np.linalg.inv(matrix)) for rotation in operations)
        candidates.append((round(spread, 6), -kept, number, matrix, cells))
    _, _, _, matrix, cells = min(candidates, key=lambda found: found[:3])
    offsets = lattice.site_offset[lattice.site_basis == basis[0]]
    origins = offsets[_cosets(matrix, offsets) == 0]
    members = origins[:, None, :] + cells
    sites = [lattice.site_index(np.full(members.shape[:2], b), members) for b in basis]
    blocks: Array = np.stack(sites, axis=-1).reshape(len(origins), size)
    return blocks


def _sublattices(lattice: Lattice, index: int) -> list[Array]:
    """Sublattices of an index that contain the supercell's lattice, rows in primitive vectors (Hermite normal forms)."""
    found = []
    for a in range(1, index + 1):
        for b in range(1, index // a + 1):
            if index % (a * b):
                continue
            c = index // (a * b)
            for d, e, f in product(range(b), range(c), range(c)):
                matrix = np.array([[a, d, e], [0, b, f], [0, 0, c]])
                if _is_integer(lattice.supercell_matrix @ np.linalg.inv(matrix)):
                    found.append(matrix)
    return found


def _is_integer(matrix: Array) -> bool:
    return bool(np.abs(matrix - np.rint(matrix)).max() < 1e-9)


def _cosets(matrix: Array, cells: Array) -> Array:
    """Number of the coset of each cell (..., 3), 0 for the sublattice itself."""
    determinant = round(np.linalg.det(matrix))
    adjugate = np.rint(np.linalg.inv(matrix) * determinant).astype(np.int64)
    residue = (cells @ adjugate) % determinant
    return (residue[..., 0] * determinant + residue[..., 1]) * determinant + residue[..., 2]


def _compact_cells(lattice: Lattice, matrix: Array) -> tuple[Array, float]:
    """Cells of one block, one of each coset and close together, and the sum of their squared distances."""
    size = round(np.linalg.det(matrix))
    reach = np.arange(1 - size, size)
    cells = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    # Of equally close cells, those in the positive direction come first.
    cells = cells[np.lexsort((*-cells.T[::-1], -cells.sum(axis=1)))]
    coset, position = _cosets(matrix, cells), cells @ lattice.primitive_cell
    chosen = [int(np.flatnonzero((cells == 0).all(axis=1))[0])]
    spread = np.zeros(len(cells))
    total = 0.0
    while len(chosen) < size:
        spread += ((position - position[chosen[-1]]) ** 2).sum(axis=1)
        free = np.flatnonzero(~np.isin(coset, coset[chosen]))
        best = int(free[spread[free].round(9).argmin()])
        total += float(spread[best])
        chosen.append(best)
    block = cells[sorted(chosen, key=lambda row: tuple(cells[row]))]
    return block, total
