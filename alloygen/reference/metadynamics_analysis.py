"""Reweighting of metadynamics, and the verdict on it."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student_t

from alloygen.reference.composition_free_energy import CompositionFreeEnergy, CompositionMoments
from alloygen.reference.composition_grid import CompositionGrid
from alloygen.reference.composition_network import edge_differences, edge_weights, fit_network
from alloygen.reference.diagnostics import convergence_problems, mean_and_error
from alloygen.reference.metadynamics_stages import BURN_IN, N_BLOCKS, ROUND_SWEEPS, Stages
from alloygen.run_folder import RunFolder

Array = np.ndarray

_SUMS = ("visits", "first", "second", "scans", "flow")

#: Fewest round trips over composition, over all walkers, of a reliable result.
MIN_ROUND_TRIPS = 50
#: Fewest visits of a composition by all walkers, in sweeps' worth of one trial per site.
MIN_VISITS = 10
#: Fewest autocorrelation times per walker; walkers are many and independent.
MIN_AUTOCORRELATION_TIMES = 10
#: Probability that sound vertices differ as much as is called a disagreement.
DISAGREEMENT_LEVEL = 1e-4
#: Errors of logarithms below this are rounding.
ROUNDING = 1e-9


def analyse(work: Stages, temperatures: Array) -> CompositionFreeEnergy:
    """Return the free energies of a finished run, with errors and verdict."""
    walkers, grid, run = work.walkers, work.walkers.grid, work.run
    hamiltonian, used = walkers.hamiltonian, grid.used
    sums, series = _gather(run)
    label, energy, crossings = series["label"], series["energy"], sums["crossings"]
    bias = work.total_bias[:, used]
    total = {name: array.sum(axis=0) for name, array in sums.items()}
    # All walkers first, then all but one.
    each = {name: np.concatenate([total[name][None], total[name][None] - sums[name]]) for name in _SUMS}
    log_z, offsets = _log_partition_functions(grid, walkers.beta, bias, each)
    excess = each["first"] / np.maximum(each["visits"], 1)
    seen = each["visits"] > 0
    averages = np.where(seen, excess + grid.interpolated_energy[used], 0.0)
    variance = np.where(seen, np.maximum(each["second"] / np.maximum(each["visits"], 1) - excess**2, 0.0), 0.0)
    mean = CompositionMoments(log_z[0], averages[0], variance[0])
    replicates = CompositionMoments(log_z[1:], averages[1:], variance[1:])
    problems, effective = [], []
    for t in range(len(temperatures)):
        observables = _observables(grid, label[:, t], energy[:, t])
        found = convergence_problems(observables, min_autocorrelation_times=MIN_AUTOCORRELATION_TIMES)
        problems.append(
            (
                *_bias_problems(work, t),
                *_coverage_problems(work, total["visits"][t], crossings[:, t]),
                *_vertex_problems(offsets[0, t], offsets[1:, t]),
                *found,
            )
        )
        effective.append(min(mean_and_error(series)[2] for series in observables.values()))
    rounds = work.rounds + (1.0 + BURN_IN) * N_BLOCKS * work.rounds_per_block
    trials_per_round = ROUND_SWEEPS * walkers.n_active * walkers.n_walkers * len(temperatures)
    return CompositionFreeEnergy(
        hamiltonian, temperatures, grid.counts[used], mean, replicates, total["visits"], crossings.sum(axis=0) / 2.0,
        np.array(effective), tuple(problems), int(rounds * trials_per_round),
        work.wall_time(), "well-tempered metadynamics in composition",
    )  # fmt: skip


def _gather(run: RunFolder) -> tuple[dict[str, Array], dict[str, Array]]:
    """Add up the blocks' sums, and join their series; one block at a time is in memory."""
    sums: dict[str, Array] = {}
    series: dict[str, list[Array]] = {"label": [], "energy": []}
    for block in run.blocks():
        for name in (*_SUMS, "crossings"):
            sums[name] = sums[name] + block[name] if name in sums else block[name]
        for name, parts in series.items():
            parts.append(block[name])
    return sums, {name: np.concatenate(parts, axis=-1) for name, parts in series.items()}


def _log_partition_functions(
    grid: CompositionGrid, beta: Array, bias: Array, each: dict[str, Array]
) -> tuple[Array, Array]:
    """Return ln Z (n, n_temperatures, n_compositions), and how much every vertex is off if only the first is pinned.

    The latter has the shape (n, n_temperatures, n_vertices); NaN for vertices that were not reached.
    """
    vertex = np.searchsorted(grid.used, grid.vertex_labels)
    log_z, offset = np.full(each["visits"].shape, -np.inf), np.full((*each["visits"].shape[:2], len(vertex)), np.nan)
    for t in range(len(beta)):
        differences = edge_differences(grid.edges, each["scans"][:, t], each["flow"][:, t])
        # An edge that a single walker used has no error.
        sound = np.isfinite(differences).all(axis=0)
        weights = np.where(sound, edge_weights(grid.edges, each["flow"][0, t]), 0.0)
        differences = np.where(sound, differences, 0.0)
        values = np.zeros(len(grid.used))
        values[vertex] = -beta[t] * grid.vertex_energy - bias[t, vertex]
        pinned = np.isin(np.arange(len(values)), vertex)
        found = fit_network(grid.edges[:, :2], weights, differences, pinned, values) + bias[t]
        log_z[:, t] = np.where(np.isnan(found), -np.inf, found)
        pinned = np.arange(len(values)) == vertex[0]
        found = fit_network(grid.edges[:, :2], weights, differences, pinned, values)
        offset[:, t] = values[vertex] - found[:, vertex]
    return log_z, offset


def _observables(grid: CompositionGrid, label: Array, energy: Array) -> dict[str, Array]:
    """Series (n_walkers, n) whose agreement is checked: atoms of each species, and energy above that of the composition."""
    flat = label.ravel()
    total = np.bincount(flat, weights=energy.ravel(), minlength=grid.n_labels)
    mean = total / np.maximum(np.bincount(flat, minlength=grid.n_labels), 1)
    series = {f"composition {k}": grid.counts[label][..., k] for k in range(grid.counts.shape[1])}
    moving = {
        name: values.astype(np.float64)
        for name, values in series.items()
        if np.ptp(grid.counts[grid.used][:, int(name.split()[1])])
    }
    return {**moving, "energy at fixed composition": energy - mean[label]}


def _bias_problems(work: Stages, t: int) -> list[str]:
    change, tolerance = float(work.change[t]), work.settings.tolerance
    if change <= tolerance:
        return []
    what = "some compositions were never visited" if not np.isfinite(change) else f"it changed by {change:.2g} k_B T"
    return [
        f"the bias did not converge (in the last doubling of time {what}; expected {tolerance:g}): raise max_doublings"
    ]


def _coverage_problems(work: Stages, visits: Array, crossings: Array) -> list[str]:
    found = []
    least = MIN_VISITS * work.walkers.n_active
    scarce = int((visits < least).sum())
    if scarce:
        found.append(
            f"{scarce} of {len(visits)} compositions were hardly visited (less than {least} trials): run longer"
        )
    trips = crossings.sum() / 2.0
    if trips < MIN_ROUND_TRIPS:
        found.append(f"{trips:.0f} round trips over composition; expected {MIN_ROUND_TRIPS}: run longer")
    return found


def _vertex_problems(offset: Array, offsets: Array) -> list[str]:
    """Whether the pure vertices, all exact, disagree by more than their errors; offset (n_vertices,), offsets (n_walkers, n_vertices)."""
    if not np.isfinite(offset).all() or not np.isfinite(offsets).all():
        return ["a pure vertex was reached by less than two walkers: run longer"]
    n = len(offsets)
    difference, differences = offset[1:] - offset[0], offsets[:, 1:] - offsets[:, :1]
    error = np.sqrt((n - 1) * differences.var(axis=0))
    # Where all configurations of a composition are equivalent the result is exact up to rounding.
    score = np.abs(difference) / np.maximum(error, ROUNDING)
    level = 2.0 * student_t.sf(score.max(), n - 1) * len(score)
    if level < DISAGREEMENT_LEVEL:
        return [f"pure vertices disagree ({score.max():.1f} standard errors): walkers missed something; run longer"]
    return []
