"""Distributions of site orders.

Both are invariant under the supercell's space group, so that a model which is equivariant stays so on average:
``random`` draws every permutation with equal probability; ``sweep`` draws a raster scan of the supercell, with the
priority of its axes at random, moved by a random space-group operation. Models whose tokens decide blocks of sites get
orders of whole blocks, moved likewise. ``raster`` is one fixed raster scan, for models that know a single order.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from alloygen.lattice import Lattice
from alloygen.lattice.blocks import raster_orders, site_blocks
from alloygen.models import AnyOrderModel

SiteOrderKind = Literal["random", "sweep", "raster"]
SITE_ORDERS: tuple[SiteOrderKind, ...] = ("sweep", "random")


class SiteOrders:
    """Draws site orders of one lattice.

    Parameters
    ----------
    lattice
        The lattice.
    group
        Sites that are decided together; blocks of them stay whole, their members in a common order.

    Raises
    ------
    LatticeError
        If the sites cannot be divided into such blocks.
    """

    def __init__(self, lattice: Lattice, group: int = 1) -> None:
        self._blocks = site_blocks(lattice, group)
        self._point, self._translations = lattice.point_permutations, lattice.translations
        self._rasters = raster_orders(lattice, self._blocks)

    @classmethod
    def of(cls, model: AnyOrderModel) -> SiteOrders:
        """Site orders that a model understands."""
        return cls(model.hamiltonian.lattice, model.config.group)

    def draw(self, kind: SiteOrderKind, n: int, generator: np.random.Generator) -> Tensor:
        """Return n site orders, shape (n, n_active), int64."""
        if kind == "random" and self._blocks.shape[1] == 1:
            return torch.from_numpy(generator.permuted(np.tile(self._blocks[:, 0], (n, 1)), axis=1))
        orders = []
        for _ in range(n):
            if kind == "raster":
                orders.append(self._blocks[self._rasters[0]].ravel())
                continue
            if kind == "sweep":
                order = self._rasters[generator.integers(len(self._rasters))]
            else:
                order = generator.permutation(len(self._blocks))
            point = self._point[generator.integers(len(self._point))]
            translation = self._translations[generator.integers(len(self._translations))]
            orders.append(translation[point[self._blocks[order].ravel()]])
        return torch.from_numpy(np.array(orders).reshape(n, self._blocks.size))
