r"""Wang-Landau sampling of the number of configurations by composition and energy, without bias from bins.

Three stages:

1. *Wang-Landau*: every walker learns weights of its own that make its walk flat over the cells (of composition and energy
   level) that it meets. ln f is halved whenever the histogram is flat (or does not get so), and follows 1/t from where it would fall below.
2. A short walk with the weights frozen improves them, once, for all walkers alike.
3. *Production*: frozen weights, so that no error of the first stage stays. The neighbours of configurations are counted by
   cell (:mod:`alloygen.reference.transition_estimator`), in several time blocks of several walkers; the spread of
   these is the error.

Energies are levels where the spectrum is discrete and bins where it is not; see
:mod:`alloygen.reference.density_of_states` for how bins are kept exact.

References
----------
F. Wang and D. P. Landau, doi:10.1103/PhysRevLett.86.2050; R. E. Belardinelli and V. D. Pereyra,
doi:10.1063/1.2803061 (1/t); B. A. Berg and T. Neuhaus, doi:10.1103/PhysRevLett.68.9 (production with frozen weights).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.special import gammaln, logsumexp

from alloygen.errors import AlloygenError, CompositionError, WindowError
from alloygen.hamiltonian import ClusterHamiltonian
from alloygen.reference.compositions import count_vector
from alloygen.reference.density_of_states import MIN_ROUND_TRIPS, DensityOfStates
from alloygen.reference.energy_windows import EnergySearch, find_energies, join_windows, make_windows
from alloygen.reference.flat_walkers import CellSpace, FlatWalkers, composition_labels, shared_cells
from alloygen.reference.random_streams import random_streams
from alloygen.reference.run_folder import RunFolder
from alloygen.reference.transition_estimator import cell_weights
from alloygen.reference.wang_landau_kernels import ENERGY_BITS

Array = np.ndarray

#: Cells of one walker from which on a spectrum counts as dense, and is sorted into bins.
MAX_LEVELS = 2**15
#: Bins that are chosen automatically, in units of the usual energy change of one site.
BIN_FRACTION = 0.25
#: Trials of one walker between looks at the clock, and production trials of the stage that improves the weights.
CHUNK, IMPROVING_SHARE = 2**20, 0.1
#: Largest share of the samples that may be left out because nothing joins them to the others.
MAX_CUT_OFF = 0.01
#: Seconds between saves to a folder.
SAVE_INTERVAL = 10.0


@dataclass(frozen=True)
class WangLandauSchedule:
    """How long the stages are.

    Attributes
    ----------
    n_walkers
        Independent walkers of every window.
    final_log_factor
        ln f at which the Wang-Landau stage ends. It decides how flat the production run is, not how exact the result.
    flatness
        The least visited cell's visits over the mean at which ln f is halved (or after 400 trials per cell).
    max_trials
        Trials of one walker after which the Wang-Landau stage ends in any case, with a verdict.
    production_trials
        Trials of one walker in production.
    n_blocks
        Time blocks of the production run.
    """

    n_walkers: int = 8
    final_log_factor: float = 5e-3
    flatness: float = 0.2
    max_trials: int = 200_000_000
    production_trials: int = 20_000_000
    n_blocks: int = 4

    def __post_init__(self) -> None:
        for name, low, high in (
            ("n_walkers", 1, math.inf),
            ("max_trials", 1, math.inf),
            ("production_trials", 1, math.inf),
            ("n_blocks", 1, math.inf),
            ("flatness", 0, 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise AlloygenError(f"{name} = {value!r}: expected a number from {low} to {high}")
        if not 0 < self.final_log_factor < 1:
            raise AlloygenError(f"final_log_factor = {self.final_log_factor!r}: expected ln f between 0 and 1")


def wang_landau(
    hamiltonian: ClusterHamiltonian,
    *,
    resolve: str = "composition",
    counts: Mapping[str, int] | None = None,
    windows: int | Sequence[tuple[float, float]] = 1,
    bin_width: float | None = None,
    schedule: WangLandauSchedule | None = None,
    seed: int = 0,
    n_threads: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> DensityOfStates:
    """Return the number of configurations of every composition and energy.

    Parameters
    ----------
    hamiltonian
        Any Hamiltonian.
    resolve
        "composition" (atoms of every species on every sublattice, and energy) or "energy" alone, which is faster
        but serves chemical potentials of 0 only.
    counts
        Atoms of every species: stay at this composition, by exchanges. ``resolve`` is not used then.
    windows
        Number of overlapping energy windows, each with walkers of its own, or their (low, high) in energy units,
        overlapping or just touching. Together they must hold the whole spectrum; ends may be infinite.
    bin_width
        Width of energy bins in energy units; 0 for levels; None for levels, or bins if there are too many levels.
    schedule
        How long the stages are.
    seed
        Seed of everything random.
    n_threads
        Threads that share the walkers; one per core by default. It changes no result.
    folder
        Where to keep the state of the run, which goes on from there after a kill.
    progress
        Called with the finished fraction.

    Raises
    ------
    WindowError
        If a window is empty, outside of the spectrum, or not joined to the others, or if they do not hold the spectrum.
    CompositionError, SpeciesError
        If the sites cannot hold the counts, or exchanges cannot reach all their configurations.
    CheckpointError
        If the folder holds another run, or cannot be written.
    AlloygenError
        If another argument is unusable.

    Examples
    --------
    >>> from alloygen.hamiltonian import ising_hamiltonian
    >>> short = WangLandauSchedule(n_walkers=2, production_trials=200_000)
    >>> result = wang_landau(ising_hamiltonian(4, 4), resolve="energy", schedule=short, seed=1)
    >>> print(result.energy[:3], result.log_g[:3].round(1))
    [-32. -24. -20.] [0.7 3.5 4.2]
    """
    schedule = schedule or WangLandauSchedule()
    space, totals = _space(hamiltonian, resolve, counts, bin_width)
    search = find_energies(hamiltonian, counts, seed)
    edges = make_windows(windows, search, hamiltonian.units.energy)
    settings = {
        "resolve": resolve,
        "counts": None if counts is None else {name: int(n) for name, n in counts.items()},
        "windows": [[_text(x) for x in pair] for pair in edges],
        "bin_width": bin_width,
        "seed": seed,
        **asdict(schedule),
    }
    run = _Run(space, bin_width, search, edges, schedule, seed, n_threads, progress)
    run.go(RunFolder.open(folder, "Wang-Landau", settings, hamiltonian))
    return run.result("counts" if counts is not None else resolve, totals)


def _text(value: float) -> float | str:
    return value if math.isfinite(value) else repr(float(value))


@dataclass(frozen=True, eq=False)
class _Totals:
    """Per composition label: atoms of every species (-1 where not resolved), and ln of the number of configurations."""

    counts: Array
    log_number: Array


def _space(
    hamiltonian: ClusterHamiltonian, resolve: str, counts: Mapping[str, int] | None, bin_width: float | None
) -> tuple[CellSpace, _Totals]:
    """Return how configurations are sorted, and what the numbers of configurations must add up to."""
    lattice = hamiltonian.lattice
    if resolve not in ("composition", "energy"):
        raise AlloygenError(f"resolve = {resolve!r}: expected 'composition' or 'energy'")
    if bin_width is not None and not (math.isfinite(bin_width) and bin_width >= 0):
        raise AlloygenError(
            f"bin_width = {bin_width!r}: expected a finite width in {hamiltonian.units.energy}, 0 for levels, or None"
        )
    if not len(lattice.active_sites):
        raise CompositionError("no site allows two species: there is a single configuration, and nothing to sample")
    label_step, label_counts = composition_labels(hamiltonian)
    width = bin_width or 0.0
    if counts is not None:
        vector = count_vector(lattice, counts)
        names = [name for names in lattice.sublattices if len(names) > 1 for name in names]
        if len(set(names)) < len(names):
            raise CompositionError(
                "a species is allowed on several sublattices, and exchanges within each cannot move it to another: use "
                "resolve='composition' and ask the result for estimates(temperature, counts=...)"
            )
        totals = _Totals(vector[None], np.array([_log_multinomial(hamiltonian, vector)]))
        return CellSpace(hamiltonian, False, np.zeros_like(label_step), width), totals
    if resolve == "energy":
        unresolved = np.full((1, len(lattice.species)), -1)
        log_number = np.log(lattice.n_allowed.astype(np.float64)).sum()
        return CellSpace(hamiltonian, True, np.zeros_like(label_step), width), _Totals(
            unresolved, np.array([log_number])
        )
    if len(label_counts) >= 2 ** (62 - ENERGY_BITS):
        raise CompositionError(
            f"the supercell has {len(label_counts):.3g} compositions, too many to resolve: use a smaller supercell, or "
            "resolve='energy'"
        )
    return CellSpace(hamiltonian, True, label_step, width), _Totals(
        label_counts, _log_numbers(hamiltonian, label_step, len(label_counts))
    )


def _log_multinomial(hamiltonian: ClusterHamiltonian, vector: Array) -> float:
    """Return ln of the number of configurations with these counts, where no species is on two sublattices."""
    lattice = hamiltonian.lattice
    total = 0.0
    for index, names in enumerate(lattice.sublattices):
        if len(names) > 1:
            numbers = vector[[lattice.species.index(name) for name in names]]
            total += gammaln((lattice.site_sublattice == index).sum() + 1) - gammaln(numbers + 1).sum()
    return float(total)


def _log_numbers(hamiltonian: ClusterHamiltonian, label_step: Array, n_labels: int) -> Array:
    """Return ln of the number of configurations of every label; -inf where there is none."""
    lattice = hamiltonian.lattice
    members_of = lattice.site_sublattice[lattice.active_sites]
    label = np.arange(n_labels)
    total = np.zeros(n_labels)
    for index, names in enumerate(lattice.sublattices):
        members = np.flatnonzero(members_of == index)
        if not len(members):
            continue
        n = len(members)
        rest = np.full(n_labels, n)
        total += gammaln(n + 1)
        for code in range(1, len(names)):
            digit = label // label_step[members[0], code] % (n + 1)
            rest -= digit
            total -= gammaln(digit + 1)
        total = np.where(rest < 0, -np.inf, total - gammaln(np.maximum(rest, 0) + 1))
    return total


class _Run:
    """The three stages, any of which a run may go on from."""

    def __init__(
        self,
        space: CellSpace,
        bin_width: float | None,
        search: EnergySearch,
        edges: Array,
        schedule: WangLandauSchedule,
        seed: int,
        n_threads: int | None,
        progress: Callable[[float], None] | None,
    ) -> None:
        self.space, self.edges, self.schedule = space, edges, schedule
        self._may_bin = bin_width is None
        self._n_threads, self._progress = n_threads, progress
        self._begin = time.perf_counter()
        self._spent: dict[str, float] = {"trials": 0, "wall_time": 0.0}
        self._problems: list[str] = []
        self.window = np.repeat(np.arange(len(edges)), schedule.n_walkers)
        self._codes = search.starts(edges, schedule.n_walkers)
        self._streams = random_streams(np.random.default_rng([seed, 7]), len(self.window))
        self._guess: tuple[Array, Array, Array] | None = None

    def go(self, folder: RunFolder) -> None:
        """Run all stages that are not finished."""
        self._folder = folder
        self._stage = 0
        found = folder.load()
        self.walkers = self._new_walkers()
        if found is not None:
            arrays, record = found
            self._stage, self._spent, self._problems = record["stage"], record["spent"], record["problems"]
            if record["bin_width"] != self.space.bin_width:
                self._use_bins(record["bin_width"])
            self.walkers.restore(arrays)
        if self._stage == 0:
            self._learn_weights()
        if self._stage == 1:
            self._improve_weights()
        self._produce()
        self._save()

    def _new_walkers(self) -> FlatWalkers:
        low, high = self.edges[self.window].T.copy()
        return FlatWalkers(self.space, self._codes, low, high, self._streams)

    def _use_bins(self, width: float) -> None:
        self.space = CellSpace(self.space.hamiltonian, self.space.semigrand, self.space.label_step, width)
        self.walkers = self._new_walkers()

    def _save(self) -> None:
        spent = {**self._spent, "wall_time": self._spent["wall_time"] + time.perf_counter() - self._begin}
        record = {"stage": self._stage, "spent": spent, "problems": self._problems, "bin_width": self.space.bin_width}
        self._folder.save(self.walkers.state(), record)

    def _after_chunk(self, fraction: float) -> None:
        if self._folder.due(SAVE_INTERVAL):
            self._save()
        if self._progress is not None:
            self._progress(min(fraction, 1.0))

    # ------------------------------------------------------------------ stages

    def _learn_weights(self) -> None:
        schedule = self.schedule
        n = len(self.window)
        target = int(self.walkers.trials[:, 0].max())
        if self._may_bin and self.space.exact:
            self.walkers.max_cells = MAX_LEVELS
        while True:
            target = min(target + CHUNK, schedule.max_trials)
            self.walkers.run(np.full(n, target), False, schedule.flatness, schedule.final_log_factor, self._n_threads)
            if self.walkers.sizes[:, 0].max() > self.walkers.max_cells:
                self._spent["trials"] += int(self.walkers.trials[:, 0].sum())
                self._use_bins(BIN_FRACTION * self.space.hamiltonian.change_scale)
                target = 0
                continue
            unfinished = self.walkers.log_factor > schedule.final_log_factor
            if not unfinished.any() or target >= schedule.max_trials:
                break
            done = math.log(self.walkers.log_factor.max()) / math.log(schedule.final_log_factor)
            self._after_chunk(0.2 * done)
        if unfinished.any():
            self._problems.append(
                f"{int(unfinished.sum())} of {n} walkers did not reach ln f = {schedule.final_log_factor:g} in "
                f"{schedule.max_trials:,} trials: raise max_trials, or use more windows"
            )
        self.walkers.max_cells = math.inf
        walker, label, energy, weight = self.walkers.cells()
        first, number = self.space.sort(label, energy)
        by_walker = np.full((n, len(first)), np.nan)
        by_walker[walker, number] = weight
        self._freeze(label[first], energy[first], join_windows(by_walker, self.window))
        self._stage = 1

    def _freeze(self, label: Array, energy: Array, guess: Array) -> None:
        """Give all walkers these weights, ln g of every cell, where the cell is in their window."""
        self._spent["trials"] += int(self.walkers.trials[:, 0].sum())
        inside = (energy >= self.edges[:, :1]) & (energy <= self.edges[:, 1:])
        self.walkers.set_weights(self.window, label, energy, np.where(inside, guess, np.nan))
        for w, number in enumerate(self.window):
            found = energy[inside[number]]
            margin = max(0.05 * np.ptp(found), self.space.width)
            self.walkers.bottom[w], self.walkers.top[w] = found.min() + margin, found.max() - margin
        self.walkers.trips[:] = 0

    def _count(self, target: int, low: float, slope: float) -> None:
        """Go on to a number of trials per walker with frozen weights; progress is ``low + slope * trials``."""
        n = len(self.window)
        start = min(int(self.walkers.trials[:, 0].min()), target)
        for upto in [*range(start + CHUNK - start % CHUNK, target, CHUNK), target]:
            self.walkers.run(np.full(n, upto), True, 0.0, 0.0, self._n_threads)
            self._after_chunk(low + slope * upto)

    def _improve_weights(self) -> None:
        target = max(1, int(IMPROVING_SHARE * self.schedule.production_trials))
        self._count(target, 0.2, 0.08 / target)
        _, label, energy, weight = self.walkers.cells()
        first, number = self.space.sort(label, energy)
        old = _largest(weight, number, len(first))
        counted = self.walkers.take_counts()
        label, energy, _, _, parts = shared_cells(self.space, [counted])
        # Cells that the walk was too short to join stay as they are.
        found = cell_weights(parts, self.space.n_neighbours, old)
        guess = old + np.median(found.log_g - old[found.cells])
        guess[found.cells] = found.log_g
        self._freeze(label, energy, guess)
        self._stage = 2

    def _produce(self) -> None:
        """Count; the trials of all blocks, so many per walker, go through without a break."""
        n_blocks, total = self.schedule.n_blocks, self.schedule.production_trials
        for block in range(self._folder.n_blocks, n_blocks):
            self._count(total * (block + 1) // n_blocks, 0.28, 0.72 / total)
            weights = self.walkers.cells()[3]
            self._folder.append({**self.walkers.take_counts(), "log_weight": weights})

    # ------------------------------------------------------------------ result

    def result(self, resolve: str, totals: _Totals) -> DensityOfStates:
        """Solve for ln g and its errors."""
        space = self.space
        blocks = list(self._folder.blocks())
        label, energy, moments, walker, parts = shared_cells(space, blocks)
        _, number = space.sort(*(np.concatenate([block[name] for block in blocks]) for name in ("label", "energy")))
        guess = _largest(np.concatenate([block["log_weight"] for block in blocks]), number, len(label))
        found = cell_weights(parts, space.n_neighbours, guess)
        cells = found.cells
        if found.cut_off > MAX_CUT_OFF:
            self._cut_off(found.cut_off)
        rows = np.array([part.rows for part in parts])[:, cells]
        log_g, changes = _normalise(found.log_g, found.changes, label[cells], totals)
        powers, power_changes = np.zeros((0, 0)), np.zeros((0, 0, 0))
        level = energy[cells]
        if not space.exact:
            level = (space.bin_number(level) + 0.5) * space.width + space.origin
            sums = moments[:, cells]
            total = np.maximum(rows.sum(axis=0), 1)[:, None]
            powers = sums.sum(axis=0) / total
            # Bins without samples have all their energies in the middle.
            powers[:, 0] = 1.0
            power_changes = (sums - rows[:, :, None] * powers) / total
        seen = np.array([rows[walker == w].sum(axis=0) > 0 for w in np.unique(walker)])
        trips = np.sum([block["trips"] for block in blocks[-1:]], axis=0)
        return DensityOfStates(
            hamiltonian=space.hamiltonian,
            resolve=resolve,
            counts=totals.counts[label[cells]],
            energy=level,
            log_g=log_g,
            log_g_changes=changes,
            bin_width=space.bin_width,
            moments=powers,
            moment_changes=power_changes,
            walkers_seen=seen.sum(axis=0),
            block_walker=walker,
            round_trips=float(trips.sum()) / 2,
            problems=tuple(self._problems + self._verdict(trips, label, cells, totals)),
            n_samples=int(rows.sum()),
            n_trials=int(self._spent["trials"] + self.walkers.trials[:, 0].sum()),
            wall_time=self._spent["wall_time"] + time.perf_counter() - self._begin,
        )

    def _cut_off(self, share: float) -> None:
        """Say that the samples fall apart: an error if windows may be the reason."""
        what = f"{share:.0%} of the samples are at energies that no trial move was seen to join to the others"
        if len(self.edges) > 1:
            raise WindowError(
                f"{what}: let the windows overlap or touch, use fewer of them, or raise production_trials"
            )
        self._problems.append(f"{what}: raise max_trials and production_trials")

    def _verdict(self, trips: Array, label: Array, cells: Array, totals: _Totals) -> list[str]:
        problems = []
        fewest = min(trips[self.window == number].sum() / 2 for number in range(len(self.edges)))
        if fewest < MIN_ROUND_TRIPS:
            problems.append(
                f"only {fewest:g} round trips between the ends of the spectrum (expected {MIN_ROUND_TRIPS}): raise "
                "production_trials, or use more windows"
            )
        missing = np.isfinite(totals.log_number).sum() - len(np.unique(label[cells]))
        if missing:
            problems.append(f"{missing} compositions were never reached: raise production_trials")
        return problems


def _largest(weight: Array, number: Array, n_cells: int) -> Array:
    """Return ln w of every cell, from walkers in whose window it is: for the others it has the smallest weight of all."""
    largest = np.full(n_cells, -np.inf)
    np.maximum.at(largest, number, weight)
    return largest


def _normalise(log_g: Array, changes: Array, label: Array, totals: _Totals) -> tuple[Array, Array]:
    """Make the numbers of every composition add up to what they must."""
    log_g, changes = log_g.copy(), changes.copy()
    for number in np.unique(label):
        mine = label == number
        sums = logsumexp(log_g[mine] + np.concatenate([np.zeros((1, mine.sum())), changes[:, mine]]), axis=1)
        log_g[mine] += totals.log_number[number] - sums[0]
        changes[:, mine] -= (sums[1:] - sums[0])[:, None]
    return log_g, changes
