"""Configurations that fit two supercells of one lattice: what their energies per site can be compared on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from alloygen.lattice.lattice import Array, Lattice


def common_period(first: Lattice, second: Lattice) -> Array:
    """Return the supercell (3, 3) of the lattice that both supercells' vectors span; rows in primitive vectors.

    Examples
    --------
    >>> from alloygen.lattice import prototype
    >>> ten, fifteen = (prototype("square", (n, n), ("down", "up")) for n in (10, 15))
    >>> common_period(ten, fifteen).diagonal().tolist()
    [5, 5, 1]
    """
    return hermite_normal_form(np.concatenate([first.supercell_matrix, second.supercell_matrix]))


def hermite_normal_form(vectors: Array) -> Array:
    """Return the upper triangular basis (3, 3) of the lattice that integer vectors (n, 3) of rank 3 span."""
    rows = [[int(x) for x in row] for row in vectors]
    basis: list[list[int]] = []
    for column in range(3):
        # Euclid's algorithm on the column, until one row has the greatest common divisor and the others 0.
        while len(left := [row for row in rows if row[column]]) > 1:
            smallest = min(left, key=lambda row: abs(row[column]))
            for row in left:
                if row is not smallest:
                    factor = row[column] // smallest[column]
                    row[:] = [x - factor * y for x, y in zip(row, smallest, strict=True)]
        pivot = left[0]
        rows = [row for row in rows if row is not pivot]
        basis.append([x if pivot[column] > 0 else -x for x in pivot])
    return np.array(basis, dtype=np.int64)


def cell_classes(lattice: Lattice, period: Array) -> Array:
    """Number the sites of a supercell, equal for those that a period (3, 3) makes images of each other, shape (n_sites,)."""
    residue = lattice.site_offset.copy()
    for axis in range(3):
        factor = residue[:, axis] // period[axis, axis]
        residue -= factor[:, None] * period[axis]
    size = np.diagonal(period)
    cell = (residue[:, 0] * size[1] + residue[:, 1]) * size[2] + residue[:, 2]
    return cell * len(lattice.basis) + lattice.site_basis
