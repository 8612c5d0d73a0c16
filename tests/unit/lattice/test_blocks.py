"""Blocks of sites: partitions of a supercell into translations of one compact cluster."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from alloygen.errors import LatticeError
from alloygen.lattice import Lattice, prototype
from alloygen.lattice.blocks import site_blocks

ROCKSALT = Lattice.from_matrix(
    np.diag([2.0, 2.0, 2.0]), [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]], [("A", "B"), ("S",), ("C", "D")],
    np.diag([2, 3, 2]),
)  # fmt: skip


@pytest.mark.parametrize("supercell", [(2, 2, 4), (4, 4, 4), (4, 4, 8)])
def test_four_sites_of_fcc_are_a_conventional_cube(supercell: tuple[int, int, int]) -> None:
    lattice = prototype("fcc", supercell, ("a", "b"))
    blocks = site_blocks(lattice, 4)
    assert np.array_equal(np.sort(blocks, axis=None), np.arange(lattice.n_sites))
    np.testing.assert_allclose(pdist(lattice.positions[blocks[0]]), pdist(lattice.positions[:2])[0])


@pytest.mark.parametrize(("shape", "size", "edge"), [((6, 6), 4, 2), ((6, 6), 9, 3), ((15, 15), 9, 3)])
def test_blocks_of_the_square_lattice_are_squares(shape: tuple[int, int], size: int, edge: int) -> None:
    lattice = prototype("square", shape, ("a", "b"))
    for block in site_blocks(lattice, size):
        offsets = lattice.site_offset[block][:, :2]
        apart = (offsets[:, None] - offsets[None]) % shape[0]
        assert np.minimum(apart, shape[0] - apart).max() == edge - 1
        assert len({tuple(o) for o in offsets}) == size


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_blocks_hold_every_active_site_once(size: int) -> None:
    blocks = site_blocks(ROCKSALT, size)
    assert blocks.shape[1] == size
    assert np.array_equal(np.sort(blocks, axis=None), ROCKSALT.active_sites)


@pytest.mark.parametrize("size", [2, 4, 6])
def test_blocks_are_translations_of_each_other(size: int) -> None:
    blocks = site_blocks(ROCKSALT, size)
    moved = {tuple(translation[blocks[0]]) for translation in ROCKSALT.translations}
    assert {tuple(block) for block in blocks} <= moved


@pytest.mark.parametrize(("size", "named"), [(9, "1, 2, 4, 5, 10"), (7, "1, 2, 4, 5, 10")])
def test_sizes_that_do_not_fit_are_refused_with_those_that_do(size: int, named: str) -> None:
    with pytest.raises(LatticeError, match=f"blocks of {size} sites: expected a size among {named}"):
        site_blocks(prototype("square", (10, 10), ("a", "b")), size)


def test_a_block_needs_all_active_sites_of_its_cells() -> None:
    with pytest.raises(LatticeError, match="expected a size among 1, 2, 4, 6"):
        site_blocks(ROCKSALT, 3)
