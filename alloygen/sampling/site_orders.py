"""Distributions of site orders.

Both are invariant under the supercell's space group, so that a model which is equivariant stays so on average:
``random`` draws every permutation with equal probability; ``sweep`` draws a raster scan of the supercell, with the
priority of its axes at random, moved by a random space-group operation.
"""

from __future__ import annotations

from itertools import permutations
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from alloygen.lattice import Lattice

SiteOrderKind = Literal["random", "sweep"]
SITE_ORDERS: tuple[SiteOrderKind, ...] = ("sweep", "random")


class SiteOrders:
    """Draws site orders of one lattice."""

    def __init__(self, lattice: Lattice) -> None:
        self.active = lattice.active_sites
        self._point, self._translations = lattice.point_permutations, lattice.translations
        fraction = (lattice.positions @ np.linalg.inv(lattice.cell)).round(9)
        self._rasters = [np.lexsort(tuple(fraction[:, axis] for axis in axes)) for axes in permutations(range(3))]
        self._is_active = np.zeros(lattice.n_sites, dtype=bool)
        self._is_active[self.active] = True

    def draw(self, kind: SiteOrderKind, n: int, generator: np.random.Generator) -> Tensor:
        """Return n site orders, shape (n, n_active), int64."""
        if kind == "random":
            return torch.from_numpy(generator.permuted(np.tile(self.active, (n, 1)), axis=1))
        orders = []
        for _ in range(n):
            raster = self._rasters[generator.integers(len(self._rasters))]
            point = self._point[generator.integers(len(self._point))]
            translation = self._translations[generator.integers(len(self._translations))]
            moved = translation[point[raster]]
            orders.append(moved[self._is_active[moved]])
        return torch.from_numpy(np.array(orders))
