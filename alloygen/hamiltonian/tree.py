"""Monomials arranged for the compiled loops: as a prefix tree, and grouped by feature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alloygen.hamiltonian.polynomial import Array, Polynomial


@dataclass(frozen=True)
class PrefixTree:
    """Prefix tree of the monomials' feature lists, children before parents.

    A node stands for the product of the features from the root to it; nodes that are no monomial have coefficient 0.

    Attributes
    ----------
    depth, feature, leaf, coefficient
        Per node, shape (n_nodes,): depth (1 below the root), last feature, whether it has no children, coefficient.
    """

    depth: Array
    feature: Array
    leaf: Array
    coefficient: Array

    @classmethod
    def build(cls, polynomial: Polynomial) -> PrefixTree:
        """Build the tree of a polynomial's monomials."""
        # Features in descending order put long shared prefixes on the highest sites, whatever the lattice.
        rows = polynomial.features
        width = rows.shape[1]
        prefixes, depths = [], []
        for depth in range(1, width + 1):
            present = rows[:, depth - 1] >= 0
            block = np.full((int(present.sum()), width), -1, dtype=np.int64)
            block[:, :depth] = rows[present, :depth]
            block = np.unique(block, axis=0)
            prefixes.append(block)
            depths.append(np.full(len(block), depth))
        nodes, length = np.concatenate(prefixes), np.concatenate(depths)
        # Pre-order is lexicographic order (padding -1 sorts a node before its children); its reverse is what we need.
        pre = np.lexsort(nodes.T[::-1])
        nodes, length = nodes[pre], length[pre]
        coefficient = np.zeros(len(nodes))
        if len(nodes):
            index = {row.tobytes(): number for number, row in enumerate(nodes)}
            places = [index[row.tobytes()] for row in np.ascontiguousarray(rows)]
            coefficient[places] = polynomial.coefficients
        leaf = np.append(length[1:] <= length[:-1], True)[: len(length)]
        feature = nodes[np.arange(len(nodes)), length - 1]
        return cls(length[::-1].copy(), feature[::-1].copy(), leaf[::-1].copy(), coefficient[::-1].copy())


def group_by_feature(polynomial: Polynomial, n_features: int) -> tuple[Array, Array, Array]:
    """Group monomials by each of their features.

    Returns
    -------
    pointer
        Monomials of feature f are rows ``pointer[f]`` to ``pointer[f + 1]``, shape (n_features + 1,).
    others
        The other features of each row, -1 padded at the end, shape (n_rows, max(max order - 1, 1)).
    coefficients
        Shape (n_rows,).
    """
    monomials = polynomial.features
    width = monomials.shape[1]
    owners, others, values = [], [], []
    for k in range(width):
        present = monomials[:, k] >= 0
        owners.append(monomials[present, k])
        rest = np.delete(monomials[present], k, axis=1)
        others.append(rest if width > 1 else np.full((len(rest), 1), -1, dtype=np.int64))
        values.append(polynomial.coefficients[present])
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    pointer = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=n_features))])
    return pointer, np.ascontiguousarray(np.concatenate(others)[order]), np.concatenate(values)[order]
