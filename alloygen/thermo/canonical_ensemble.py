r"""Free energies F(T, N) of all compositions from a model's semi-grand canonical draws.

Three estimates of ln Z_N are made from the same draws, and combined by their variances:

- multistate reweighting of the draws of all conditions (:mod:`~alloygen.thermo.multistate_density`);
- ratios between neighbouring compositions from single-site changes, anchored at the pure ends
  (:mod:`~alloygen.thermo.composition_bridge`; one sublattice of two species);
- populations at fixed composition, cooled from the highest temperature (:mod:`~alloygen.thermo.composition_annealing`).

Where they disagree by more than their errors allow, the result says so.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import combinations, pairwise

import numpy as np
import torch

from alloygen.errors import CompositionError, WindowError
from alloygen.hamiltonian import ClusterHamiltonian
from alloygen.reference.compositions import check_separate_sublattices
from alloygen.thermo.composition_annealing import cool_compositions
from alloygen.thermo.composition_bridge import composition_bridge, flip_energies, has_bridges
from alloygen.thermo.condition_samples import ConditionSamples
from alloygen.thermo.free_energy import CanonicalFreeEnergy
from alloygen.thermo.multistate_density import MultistateDensity, multistate_density
from alloygen.thermo.order import OrderObserver
from alloygen.thermo.results import Measured

Array = np.ndarray

#: Fewest samples that a free energy must be worth: its error is then k_B T / 5 per supercell.
MIN_EFFECTIVE_SAMPLES = 25
#: Fewest draws behind an average of draws: with less, the bootstrap does not know its error.
MIN_EFFECTIVE_DRAWS = 25
#: Estimates that differ by more standard errors, and by more of ln Z, disagree.
MAX_DISCREPANCY = (5.0, 0.02)
#: Error of ln Z below which nothing is claimed: rounding of log q, and of energy cells.
ROUNDING = 1e-6
#: Start configurations of a population are picked from at most so many samples.
MAX_STARTS = 2000


@dataclass(frozen=True, eq=False)
class _Averages:
    """ln Z, <E>, the variance of E and observables; shape (n_replicates + 1, n_T, n_x, ...), NaN where unknown."""

    log_z: Array
    energy: Array
    variance: Array
    short_range_order: Array
    long_range_order: Array


def canonical_free_energy(
    hamiltonian: ClusterHamiltonian,
    samples: ConditionSamples,
    temperatures: Sequence[float] | Array,
    *,
    order: OrderObserver,
    problems: Sequence[str] = (),
    n_replicates: int = 64,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> CanonicalFreeEnergy:
    """Return free energies of all compositions at several temperatures from samples of many conditions.

    Parameters
    ----------
    hamiltonian
        The energy.
    samples
        Draws over a grid of temperatures and chemical potentials that reaches all compositions.
    temperatures
        Where F is wanted, within those of the samples.
    order
        The order parameters to average.
    problems
        Reasons not to trust the model at all.
    n_replicates
        Bootstrap replicates.
    seed
        Seed of bootstrap and populations.
    progress
        Called with the finished fraction.

    Raises
    ------
    WindowError
        If there is no temperature.
    TemperatureError
        If a temperature is not usable.
    """
    begin = time.perf_counter()
    grid = np.unique(np.asarray(temperatures, dtype=np.float64))
    if not len(grid):
        raise WindowError("temperatures is empty: expected at least one, for example numpy.linspace(300, 1200, 19)")
    betas = [hamiltonian.units.beta(t) for t in grid]
    density = multistate_density(
        samples, observables=order.observe(samples.occupation), n_replicates=n_replicates, seed=seed
    )
    problems = [*problems, *_contradictions(hamiltonian, samples, density)]
    counts, place = _all_counts(hamiltonian, density)
    drawn = _from_density(samples, density, betas, len(counts), place)
    candidates = [drawn]
    if has_bridges(hamiltonian):
        candidates.append(_bridged(hamiltonian, samples, density, betas, drawn))
    starts = _starting_points(samples, density, betas[-1], len(counts), place)
    if _cools(hamiltonian) and all(len(weights) for _, weights in starts):
        top = _combined([c.log_z[:, -1] for c in candidates])
        cooled = cool_compositions(
            hamiltonian, [s for s, _ in starts], [w for _, w in starts], top, grid, observe=order.observe, seed=seed,
            progress=progress,
        )  # fmt: skip
        candidates.append(
            _Averages(cooled.log_partition_function, cooled.energy, cooled.variance, **cooled.observables)
        )
    merged = _Averages(**{f.name: _combined([getattr(c, f.name) for c in candidates]) for f in fields(_Averages)})
    reasons = _reasons(merged.log_z, [c.log_z for c in candidates], problems)
    return _result(hamiltonian, grid, counts, merged, reasons, order, time.perf_counter() - begin)


def _contradictions(
    hamiltonian: ClusterHamiltonian, samples: ConditionSamples, density: MultistateDensity
) -> list[str]:
    """Say where a condition's own draws contradict those of all conditions together: they miss something that others find."""
    gap = density.own_log_partition_functions - density.log_partition_functions
    gap = np.where(np.isfinite(gap), gap, gap[0])
    error = gap[1:].std(axis=0, ddof=1)
    sigmas, least = MAX_DISCREPANCY
    excess = np.abs(gap[0]) / np.maximum(least, sigmas * error)
    worst = int(excess.argmax())
    if excess[worst] <= 1.0:
        return []
    temperature = 1.0 / (hamiltonian.units.boltzmann_constant * samples.beta[worst])
    return [
        f"the draws at {temperature:.0f} {hamiltonian.units.temperature} and chemical potentials "
        f"{np.round(samples.chemical_potentials[worst], 4).tolist()} give an ln Xi {gap[0, worst]:+.2f} from what all draws give: the "
        "model misses configurations there; train longer"
    ]


# ---------------------------------------------------------------------- candidates


def _all_counts(hamiltonian: ClusterHamiltonian, density: MultistateDensity) -> tuple[Array, Array]:
    """Return all compositions, and where those of the density are among them."""
    if not has_bridges(hamiltonian):
        return density.counts, np.arange(len(density.counts))
    lattice = hamiltonian.lattice
    first, second = (lattice.species.index(name) for name in lattice.variable_species)
    number = np.arange(len(lattice.active_sites) + 1)
    spectators = int((lattice.species_codes[lattice.n_allowed == 1, 0] == second).sum())
    counts = np.repeat(density.counts[:1], len(number), axis=0)
    total = counts[0, first] + counts[0, second]
    counts[:, second] = spectators + number
    counts[:, first] = total - counts[:, second]
    return counts, density.counts[:, second] - spectators


def _spread(values: Array, n_x: int, place: Array) -> Array:
    """Put columns of the density's compositions among all, NaN elsewhere."""
    out = np.full((len(values), n_x, *values.shape[2:]), np.nan)
    out[:, place] = values
    return out


def _effective_draws(samples: ConditionSamples, density: MultistateDensity, betas: Sequence[float]) -> list[Array]:
    """Return how many draws near each temperature are behind each composition of the density.

    Kish's number of the draws' weights, a draw's being the sum over its walk: steps of a slow walk are not independent. Only draws
    of the temperatures on either side count: hotter ones alone can miss the configurations that matter, however many they are.
    """
    composition = density.composition[density.cell]
    group, member = np.unique(composition * samples.n_draws + samples.draw, return_inverse=True)
    owner = group // samples.n_draws
    shares = density.sample_weights(0)
    drawn = np.unique(samples.beta)
    found = []
    for beta in betas:
        near = np.searchsorted(drawn, beta * (1 + np.array([1e-9, -1e-9])))
        low, high = drawn[max(near[0] - 1, 0)], drawn[min(near[1], len(drawn) - 1)]
        inside = (samples.beta >= low) & (samples.beta <= high)
        boltzmann = np.exp(-beta * (samples.energy - samples.energy.min()))
        weight = np.bincount(member.reshape(-1), shares * boltzmann * inside[samples.condition])
        # Per composition, so that rare ones do not underflow.
        peak = np.zeros(len(density.counts))
        np.maximum.at(peak, owner, weight)
        scaled = np.divide(weight, peak[owner], out=np.zeros_like(weight), where=peak[owner] > 0)
        total, square = np.bincount(owner, scaled), np.bincount(owner, scaled**2)
        found.append(np.divide(total**2, square, out=np.zeros_like(total), where=square > 0))
    return found


def _from_density(
    samples: ConditionSamples, density: MultistateDensity, betas: Sequence[float], n_x: int, place: Array
) -> _Averages:
    """Return the density's averages, NaN where too few draws are behind them."""
    rows: dict[str, list[Array]] = {f.name: [] for f in fields(_Averages)}
    for beta, effective in zip(betas, _effective_draws(samples, density, betas), strict=True):
        sums = density.canonical(beta)
        few = effective < MIN_EFFECTIVE_DRAWS
        for name, values in (
            ("log_z", sums.log_partition_function), ("energy", sums.energy), ("variance", sums.variance),
            *sums.observables.items(),
        ):  # fmt: skip
            known = np.where(few.reshape(1, -1, *[1] * (values.ndim - 2)) | ~np.isfinite(values), np.nan, values)
            rows[name].append(_spread(known, n_x, place))
    return _Averages(**{name: np.stack(values, axis=1) for name, values in rows.items()})


def _bridged(
    hamiltonian: ClusterHamiltonian,
    samples: ConditionSamples,
    density: MultistateDensity,
    betas: Sequence[float],
    drawn: _Averages,
) -> _Averages:
    """Return the ratios' ln Z, and no averages; NaN at temperatures where a composition in between was hardly drawn."""
    lattice = hamiltonian.lattice
    flips = flip_energies(hamiltonian, samples.occupation), samples.occupation[:, lattice.active_sites]
    ends = np.zeros((2, lattice.n_sites), dtype=np.int64)
    ends[1, lattice.active_sites] = 1
    low, high = hamiltonian.energy(torch.from_numpy(ends)).tolist()
    log_z = np.stack(
        [
            composition_bridge(density, samples, flips, beta, drawn.log_z[0, t], (low, high)).log_partition_function
            for t, beta in enumerate(betas)
        ],
        axis=1,
    )
    broken = np.isnan(drawn.log_z[0, :, 1:-1]).any(axis=1)
    log_z[:, broken] = np.nan
    unknown = {f.name: np.full_like(getattr(drawn, f.name), np.nan) for f in fields(_Averages)}
    return _Averages(**{**unknown, "log_z": log_z})


def _starting_points(
    samples: ConditionSamples, density: MultistateDensity, beta: float, n_x: int, place: Array
) -> list[tuple[Array, Array]]:
    """Return configurations of every composition and their canonical weights at one temperature."""
    weight = density.sample_weights(0) * np.exp(-beta * (samples.energy - samples.energy.min()))
    label = place[density.composition[density.cell]]
    order = np.argsort(label, kind="stable")
    edges = np.searchsorted(label[order], np.arange(n_x + 1))
    starts = []
    for low, high in pairwise(edges):
        chosen = order[low:high]
        if high - low > MAX_STARTS:
            chosen = chosen[np.argsort(weight[chosen])[-MAX_STARTS:]]
        starts.append((samples.occupation[chosen], weight[chosen]))
    return starts


def _cools(hamiltonian: ClusterHamiltonian) -> bool:
    try:
        check_separate_sublattices(hamiltonian.lattice)
    except CompositionError:
        return False
    return True


# ---------------------------------------------------------------------- together


def _combined(candidates: Sequence[Array]) -> Array:
    """Average estimates (n_replicates + 1, ...) by the inverse variances of their replicates; NaN where none is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        variance = np.array([c[1:].var(axis=0, ddof=1) for c in candidates])
    known = np.isfinite(variance) & np.array([np.isfinite(c[0]) for c in candidates])
    weight = np.where(known, 1.0 / np.where(known, variance + ROUNDING**2, 1.0), 0.0)
    total = weight.sum(axis=0)
    share = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    mean = sum(np.where(k, s * np.where(k, c, 0.0), 0.0) for k, s, c in zip(known, share, candidates, strict=True))
    return np.where(total > 0, mean, np.nan)


def _reasons(merged: Array, candidates: Sequence[Array], problems: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Say at every temperature and composition why ln Z should not be trusted."""
    variance = merged[1:].var(axis=0, ddof=1)
    rows = []
    for t in range(merged.shape[1]):
        row = []
        for x in range(merged.shape[2]):
            found = list(problems)
            if not np.isfinite(merged[0, t, x]):
                found.append("the composition was hardly drawn here: draw more, or widen the chemical potentials")
            elif variance[t, x] > 1.0 / MIN_EFFECTIVE_SAMPLES:
                found.append(
                    f"the draws are worth {1 / variance[t, x]:.0f} samples (expected {MIN_EFFECTIVE_SAMPLES}): draw more"
                )
            gap = _disagreement([c[:, t, x] for c in candidates])
            if gap:
                found.append(gap)
            row.append("; ".join(found))
        rows.append(tuple(row))
    return tuple(rows)


def _disagreement(estimates: Sequence[Array]) -> str:
    sigmas, least = MAX_DISCREPANCY
    for first, second in combinations(estimates, 2):
        difference = first - second
        if not np.isfinite(difference).all():
            continue
        error = float(difference[1:].std(ddof=1))
        gap = abs(float(difference[0]))
        if gap > max(least, sigmas * error):
            return (
                f"estimates of ln Z from draws here and from elsewhere differ by {gap:.2f}, {gap / max(error, 1e-9):.0f} "
                "standard errors: the model misses configurations; train longer"
            )
    return ""


def _result(
    hamiltonian: ClusterHamiltonian,
    grid: Array,
    counts: Array,
    merged: _Averages,
    reasons: tuple[tuple[str, ...], ...],
    order: OrderObserver,
    wall_time: float,
) -> CanonicalFreeEnergy:
    units, lattice = hamiltonian.units, hamiltonian.lattice
    kt = (units.boltzmann_constant * grid)[:, None]
    n = lattice.n_sites
    free = -kt * merged.log_z / n
    energy = merged.energy / n
    entropy = (energy - free) / grid[:, None]
    capacity = merged.variance / (kt * grid[:, None] * n)
    log_z, found = measured(merged.log_z), measured(free)
    with np.errstate(divide="ignore"):
        effective = 1.0 / np.maximum(log_z.error, ROUNDING) ** 2
    return CanonicalFreeEnergy(
        n_sites=n,
        species=lattice.species,
        units=units.name,
        lattice_name=order.lattice_name,
        temperatures=grid,
        counts=counts,
        free_energy=Measured(found.value, np.hypot(found.error, kt * ROUNDING / n)),
        energy=measured(energy),
        entropy=measured(entropy),
        heat_capacity=measured(capacity),
        replicates=free[1:],
        effective_sample_size=effective,
        reasons=reasons,
        estimator="multistate reweighting of model draws, and populations cooled from them",
        wall_time=wall_time,
        **order.fields(
            measured(merged.short_range_order), measured(merged.long_range_order), counts / n + 0 * free[0, ..., None]
        ),
    )


def measured(values: Array) -> Measured:
    """Return the first row of (n_replicates + 1, ...) with the standard deviation of the others; NaN +- inf if unknown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        error = values[1:].std(axis=0, ddof=1)
    known = np.isfinite(values[0]) & np.isfinite(error)
    return Measured(np.where(known, values[0], np.nan), np.where(known, error, np.inf))
