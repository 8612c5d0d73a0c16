"""The supercell whose configurations fit two supercells of one lattice: what their energies can be compared on."""

from __future__ import annotations

import numpy as np

from alloygen.lattice.lattice import Array, Lattice


def common_period(first: Lattice, second: Lattice) -> Lattice:
    """Return the supercell of the lattice that both supercells' vectors span, with the first one's primitive cell.

    Its ``site_index(lattice.site_basis, lattice.site_offset)`` says which of its sites each site of the two is an image of.

    Examples
    --------
    >>> from alloygen.lattice import prototype
    >>> ten, fifteen = (prototype("square", (n, n), ("down", "up")) for n in (10, 15))
    >>> common_period(ten, fifteen).supercell_matrix.diagonal().tolist()
    [5, 5, 1]
    """
    matrix = hermite_normal_form(np.concatenate([first.supercell_matrix, second.supercell_matrix]))
    return Lattice.from_matrix(first.primitive_cell, first.basis, first.allowed_species, matrix)


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
