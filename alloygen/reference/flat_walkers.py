"""Walkers of a flat-histogram random walk: their configurations, cells, tables and counts as arrays that can be saved."""

from __future__ import annotations

import math

import numpy as np
import torch

from alloygen.hamiltonian.environments import environment_state
from alloygen.reference.cell_space import CellSpace
from alloygen.reference.cell_tables import enter_cells, find_cell, rehash
from alloygen.reference.compositions import sites_by_species
from alloygen.reference.threads import in_groups
from alloygen.reference.transition_estimator import TransitionCounts
from alloygen.reference.wang_landau_kernels import advance

Array = np.ndarray

#: Highest power of the place in the bin that is summed, and trials between looks at ln f.
N_MOMENTS, SEGMENT = 14, 256
_FIRST_CAPACITY = 1024

#: Arrays that make up the state of the walkers.
STATE = (
    "codes", "energy", "label", "cell", "random_state", "tables", "cell_energy", "cell_label", "log_weight", "visits",
    "sizes", "trips", "log_factor", "trials", "pairs", "rows", "moments", "places", "blocks", "n_movable",
)  # fmt: skip


class FlatWalkers:
    """Walkers, each with cells of its own.

    Parameters
    ----------
    space
        How configurations are sorted into cells.
    codes
        First configurations, shape (n_walkers, n_sites).
    low, high
        Energies that each walker stays within, shape (n_walkers,).
    random_state
        Random streams, shape (n_walkers,).
    """

    def __init__(self, space: CellSpace, codes: Array, low: Array, high: Array, random_state: Array) -> None:
        self.space, self.low, self.high = space, low, high
        n = len(codes)
        self.random_state = random_state.copy()
        self.codes = codes.astype(np.int8)
        self.energy, self.label = np.zeros(n), np.zeros(n, dtype=np.int64)
        self.cell = np.zeros(n, dtype=np.int64)
        self.log_factor, self.trials = np.ones(n), np.zeros((n, 4), dtype=np.int64)
        self.trips = np.zeros((n, 2), dtype=np.int64)
        self.bottom, self.top = np.full(n, -np.inf), np.full(n, np.inf)
        self.max_cells = math.inf
        # ln w of a cell that is met for the first time; NaN: that of the cell with the smallest.
        self._unknown = np.nan
        self.n_movable, self.places, self.blocks = sites_by_species(
            space.hamiltonian.lattice, self.codes.astype(np.int64)
        )
        self.forget_cells()
        self.enter()

    def forget_cells(self) -> None:
        """Empty all tables and counts."""
        n, size = len(self.codes), _FIRST_CAPACITY
        while size < 2 * (SEGMENT + self.space.n_neighbours + len(self.space.label_step)):
            size *= 2
        self.cell_energy, self.log_weight = np.zeros((2, n, size))
        self.cell_label, self.visits, self.rows = np.zeros((3, n, size), dtype=np.int64)
        self.moments = np.zeros((n, 1 if self.space.exact else size, N_MOMENTS + 1))
        self.tables = np.full((n, 4 * size, 2), -1, dtype=np.int64)
        self.sizes = np.zeros((n, 3), dtype=np.int64)
        self.pairs = np.zeros((n, 16 * size, 2), dtype=np.int64)
        self.pairs[:, :, 0] = -1

    def enter(self) -> None:
        """Compute energies, labels and cells anew from the configurations.

        This is done before every chunk of trials, so that a run that goes on from a file has the same rounding.
        """
        space = self.space
        codes = self.codes.astype(np.int64)
        lattice = space.hamiltonian.lattice
        self.energy = space.hamiltonian.energy(torch.from_numpy(codes)).numpy().copy()
        active = lattice.active_sites
        self.label = space.label_step[np.arange(len(active)), codes[:, active]].sum(axis=1).astype(np.int64)
        self._index, self._field = environment_state(space.hamiltonian.environments, codes)
        for w in range(len(codes)):
            if self.sizes[w, 0] + 1 >= self.cell_energy.shape[1]:
                self._grow_cells()
            unknown = self._unknown
            self.cell[w] = find_cell(
                self.label[w], self.energy[w], space.exact, unknown, space.origin, 1.0 / space.width, self.tables[w],
                self.cell_energy[w], self.cell_label[w], self.log_weight[w], self.sizes[w],
            )  # fmt: skip
            if space.exact:
                self.energy[w] = self.cell_energy[w, self.cell[w]]

    def run(self, target: Array, recording: bool, flatness: float, final: float, n_threads: int | None) -> None:
        """Advance every walker to ``target`` trials (n_walkers,), or in the Wang-Landau stage to its final ln f.

        It stops early where a walker meets more than ``max_cells`` cells.
        """
        self.enter()
        space, lattice = self.space, self.space.hamiltonian.lattice
        active = lattice.active_sites
        n_neighbours = space.n_neighbours
        segment = len(active) if recording else SEGMENT
        # Whole segments; the last one may run over.
        target = -(-target // segment) * segment

        def work(first: int, last: int) -> None:
            advance(
                first, last, space.semigrand, recording, target, segment, n_neighbours, flatness, final, space.exact,
                self._unknown, space.origin, 1.0 / space.width, self.low, self.high,
                self.bottom, self.top, *space.hamiltonian.environments, active, lattice.n_allowed[active],
                space.label_step, self.codes, self._index, self._field, self.energy, self.label, self.cell,
                self.random_state, self.n_movable, self.places, self.blocks, self.tables, self.cell_energy,
                self.cell_label, self.log_weight, self.visits, self.sizes, self.trips, self.log_factor, self.trials,
                self.pairs, self.rows, self.moments,
            )  # fmt: skip

        while True:
            in_groups(work, len(self.codes), n_threads)
            unfinished = (self.trials[:, 0] < target) & (recording | (self.log_factor > final))
            if not unfinished.any() or self.sizes[:, 0].max() > self.max_cells:
                return
            if (self.sizes[:, 0] + segment + n_neighbours > self.cell_energy.shape[1]).any():
                self._grow_cells()
            if recording and (self.sizes[:, 2] + n_neighbours > self.pairs.shape[1] // 2).any():
                self._grow_pairs()

    def _grow_cells(self) -> None:
        for name in ("cell_energy", "log_weight", "cell_label", "visits", "rows", "moments"):
            array = getattr(self, name)
            if name != "moments" or not self.space.exact:
                setattr(self, name, np.concatenate([array, np.zeros_like(array)], axis=1))
        old, self.tables = self.tables, np.full((len(self.codes), 2 * self.tables.shape[1], 2), -1, dtype=np.int64)
        for before, after in zip(old, self.tables, strict=True):
            rehash(before, after)

    def _grow_pairs(self) -> None:
        old = self.pairs
        self.pairs = np.zeros((len(old), 2 * old.shape[1], 2), dtype=np.int64)
        self.pairs[:, :, 0] = -1
        for before, after in zip(old, self.pairs, strict=True):
            rehash(before, after)

    # ------------------------------------------------------------------ cells and counts

    def cells(self) -> tuple[Array, Array, Array, Array]:
        """Walker, label, energy and ln w of all cells of all walkers, one after the other."""
        present = np.arange(self.cell_energy.shape[1]) < self.sizes[:, :1]
        walker = np.nonzero(present)[0]
        return walker, self.cell_label[present], self.cell_energy[present], self.log_weight[present]

    def set_weights(self, window: Array, label: Array, energy: Array, log_weight: Array) -> None:
        """Give every walker the cells of its window, with frozen weights.

        Parameters
        ----------
        window
            Window of every walker, shape (n_walkers,).
        label, energy
            All cells, shape (n_cells,).
        log_weight
            ln w of every cell in every window, shape (n_windows, n_cells); NaN where a window lacks the cell.
        """
        self.forget_cells()
        self.trials[:] = 0
        largest = max(int((~np.isnan(row)).sum()) for row in log_weight)
        while 2 * largest > self.cell_energy.shape[1]:
            self._grow_cells()
        space = self.space
        for w, number in enumerate(window):
            known = ~np.isnan(log_weight[number])
            enter_cells(
                space.exact, space.origin, 1.0 / space.width, label[known], energy[known], log_weight[number][known],
                self.tables[w], self.cell_energy[w], self.cell_label[w], self.log_weight[w], self.sizes[w],
            )  # fmt: skip
        # Cells that are found later get the smallest weight of all, for every walker the same and once for all.
        self._unknown = float(np.nanmin(log_weight))
        self.enter()

    def take_counts(self) -> dict[str, Array]:
        """Return what was counted since the last call, and start again from zero."""
        walker, label, energy, _ = self.cells()
        present = np.arange(self.cell_energy.shape[1]) < self.sizes[:, :1]
        filled = self.pairs[:, :, 0] >= 0
        arrays = {
            "walker": walker,
            "label": label,
            "energy": energy,
            "rows": self.rows[present],
            "pair_walker": np.nonzero(filled)[0],
            "pair": self.pairs[:, :, 0][filled],
            "count": self.pairs[:, :, 1][filled],
            "trips": self.trips[:, 1].copy(),
        }
        if not self.space.exact:
            arrays["moments"] = self.moments[present]
        self.rows[:], self.moments[:], self.sizes[:, 2] = 0, 0.0, 0
        self.pairs[:, :, 0], self.pairs[:, :, 1] = -1, 0
        return arrays

    # ------------------------------------------------------------------ saving

    def state(self) -> dict[str, Array]:
        """Return everything that decides how the walk goes on."""
        arrays = {name: getattr(self, name) for name in STATE}
        return {**arrays, "bottom": self.bottom, "top": self.top, "unknown": np.array([self._unknown])}

    def restore(self, arrays: dict[str, Array]) -> None:
        """Go on from a state."""
        for name in STATE:
            setattr(self, name, arrays[name].copy())
        self.bottom, self.top, self._unknown = arrays["bottom"], arrays["top"], float(arrays["unknown"][0])
        self._index, self._field = environment_state(self.space.hamiltonian.environments, self.codes.astype(np.int64))


def shared_cells(
    space: CellSpace, blocks: list[dict[str, Array]]
) -> tuple[Array, Array, Array, Array, list[TransitionCounts]]:
    """Put the counts of all blocks and walkers on common cells.

    Returns
    -------
    label, energy
        Of every cell, shape (n_cells,), sorted.
    moments
        Sums of powers of the place in the bin, shape (n_parts, n_cells, n_powers), one part per block and walker; of no
        cells where cells are levels.
    walker
        Walker of every part, shape (n_parts,).
    counts
        The parts.
    """
    all_labels = np.concatenate([block["label"] for block in blocks])
    all_energies = np.concatenate([block["energy"] for block in blocks])
    first, number = space.sort(all_labels, all_energies)
    parts, walkers, moments, start = [], [], [], 0
    for block in blocks:
        mine = number[start : start + len(block["label"])]
        start += len(mine)
        for w in range(len(block["trips"])):
            cells, entries = block["walker"] == w, block["pair_walker"] == w
            place = mine[cells]
            rows = np.bincount(place, weights=block["rows"][cells], minlength=len(first))
            keys = block["pair"][entries]
            parts.append(
                TransitionCounts(
                    rows, np.stack([place[keys >> 32], place[keys & 0xFFFFFFFF]], axis=1), block["count"][entries]
                )
            )
            walkers.append(w)
            total = np.zeros((0 if space.exact else len(first), N_MOMENTS + 1))
            if not space.exact:
                np.add.at(total, place, block["moments"][cells])
            moments.append(total)
    return all_labels[first], all_energies[first], np.array(moments), np.array(walkers), parts
