r"""Free energies where a model's own weights are too uneven: its draws at an easier condition, annealed to the asked one.

Annealed importance sampling (Neal, doi:10.1023/A:1008923215028) with resampling: see :mod:`alloygen.thermo.population`. The
estimate of every island is unbiased for Xi, so

- Xi is their mean, with the error of a jackknife over islands;
- Phi <= -k_B T E[ln Xi_island], as the logarithm is concave.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

import numpy as np

from alloygen.errors import AlloygenError, WindowError
from alloygen.estimate import Estimate
from alloygen.fractions import Progress, part_of
from alloygen.hamiltonian.conditions import Conditions
from alloygen.models import AnyOrderModel
from alloygen.sampling.any_order import draw
from alloygen.sampling.site_orders import SiteOrderKind, SiteOrders
from alloygen.thermo.annealing_path import AnnealingPath, pilot_path, start_candidates
from alloygen.thermo.estimators import reverse_bound
from alloygen.thermo.islands import IslandChecks, IslandRun, island_estimate
from alloygen.thermo.population import Population
from alloygen.training.reference_data import ReferenceData

Array = np.ndarray

#: Fewest islands, and fewest draws in each.
MIN_ISLANDS, MIN_ISLAND_SIZE = 4, 8


def annealed_free_energy(
    model: AnyOrderModel,
    conditions: Conditions,
    n_samples: int,
    *,
    orders: SiteOrders,
    kind: SiteOrderKind,
    seed: int,
    sweeps_per_step: int = 2,
    n_islands: int = 16,
    start: Conditions | None = None,
    reference: ReferenceData | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """Estimate the grand potential at one condition from draws at another, annealed.

    Parameters
    ----------
    model
        The model.
    conditions
        A single condition; it may lie outside the model's window.
    n_samples
        Draws, over all islands (rounded down to equal islands).
    orders, kind
        Where site orders come from.
    seed
        Seed of the run.
    sweeps_per_step
        Metropolis sweeps (trials per active site) of every member before each step.
    n_islands
        Independent populations.
    start
        A single condition inside the window to draw at; the asked one gives a path of length zero, which is importance
        sampling. By default the one that pilot populations expect to give the smallest error, among the asked condition and
        hotter ones. Nothing but a lower bound comes from a start whose phase turns into another along the path, in a
        transition that sweeps do not follow.
    reference
        Reference samples: they give a lower bound, where the condition is in the window, and show configurations that the model
        misses at the start. Without them the lower bound is -inf.
    progress
        Called with the finished fraction, once the start is chosen.

    Returns
    -------
    Estimate
        The grand potential per supercell. Its effective sample size counts the draws that the final weights descend from.

    Raises
    ------
    AlloygenError
        If there are fewer than 4 islands, fewer than 8 draws in each, or no sweep.
    WindowError
        If the start lies outside the window.
    """
    if n_islands < MIN_ISLANDS or n_samples < MIN_ISLAND_SIZE * n_islands or sweeps_per_step < 1:
        raise AlloygenError(
            f"n_samples = {n_samples} in n_islands = {n_islands} with sweeps_per_step = {sweeps_per_step}: expected "
            f"{MIN_ISLANDS} islands or more, at least {MIN_ISLAND_SIZE} draws in each, and 1 sweep or more; for example "
            "n_samples=20000, n_islands=16, sweeps_per_step=2"
        )
    begin = time.perf_counter()
    children = np.random.SeedSequence([seed, 7]).spawn(3)
    pilot_seed, run_seed = (int(child.generate_state(1)[0]) for child in children[:2])
    if start is not None:
        model.window.check(model.hamiltonian, start)
    starts = start_candidates(model, conditions) if start is None else [start]
    paths = [
        pilot_path(
            model, candidate, conditions, orders=orders, kind=kind, seed=pilot_seed, sweeps_per_step=sweeps_per_step
        )
        for candidate in starts
    ]
    best = int(np.argmin([path.variance for path in paths]))
    run = _anneal(
        model, starts[best], paths[best], n_samples // n_islands, n_islands, orders, kind, sweeps_per_step, run_seed,
        progress,
    )  # fmt: skip
    checks, n_checked = _compare(
        model, starts[best], conditions, orders, kind, reference, pilot_seed, np.random.default_rng(children[2])
    )
    cost = run.n_energy_evaluations + n_checked + sum(path.n_energy_evaluations for path in paths)
    return island_estimate(
        model, conditions, replace(run, n_energy_evaluations=cost), checks, estimator="annealed importance sampling",
        passed=f"{len(run.log_xi)} islands agree after {len(paths[best].beta) - 1} steps from the model's draws",
        remedy="make more sweeps per step, or start elsewhere", wall_time=time.perf_counter() - begin,
    )  # fmt: skip


def _compare(
    model: AnyOrderModel,
    start: Conditions,
    conditions: Conditions,
    orders: SiteOrders,
    kind: SiteOrderKind,
    reference: ReferenceData | None,
    seed: int,
    generator: np.random.Generator,
) -> tuple[IslandChecks, int]:
    """Return what to compare with, as far as the model's window reaches, and the number of energies it took."""
    at_start = at_target = own = None
    if reference is not None:
        at_start = reverse_bound(model, reference, start, orders, kind, generator)
    with suppress(WindowError):
        model.window.check(model.hamiltonian, conditions)
        own = pilot_path(model, conditions, conditions, orders=orders, kind=kind, seed=seed, sweeps_per_step=1)
        if reference is not None:
            at_target = reverse_bound(model, reference, conditions, orders, kind, generator)
    cost = 0 if own is None else own.n_energy_evaluations
    return IslandChecks(at_start, at_target, None if own is None else own.log_mean_weight), cost


def _anneal(
    model: AnyOrderModel,
    start: Conditions,
    path: AnnealingPath,
    size: int,
    n_islands: int,
    orders: SiteOrders,
    kind: SiteOrderKind,
    sweeps_per_step: int,
    seed: int,
    progress: Progress | None,
) -> IslandRun:
    """Draw the islands' members at the start, each island with site orders of its own, and take them along the path."""
    parts = [
        draw(
            model, start, size, orders=orders, kind=kind, seed=seed + island,
            progress=part_of(progress, 0.5 * island / n_islands, 0.5 * (island + 1) / n_islands),
        )
        for island in range(n_islands)
    ]  # fmt: skip
    log_weights = np.stack([part.log_weights.cpu().numpy() for part in parts])
    occupation = np.concatenate([part.occupation.cpu().numpy() for part in parts])
    population = Population(
        model.hamiltonian, path.beta[0], path.chemical_potentials[0], occupation, log_weights, seed
    )  # fmt: skip
    for step in range(1, len(path.beta)):
        population.resample()
        population.sweep(sweeps_per_step)
        population.reweight(path.beta[step], path.chemical_potentials[step])
        if progress is not None:
            progress(0.5 + 0.5 * step / (len(path.beta) - 1))
    n = size * n_islands
    return IslandRun(
        population.log_partition_functions, log_weights.ravel(), population.family_sample_size(),
        n * (1 + population.sampler.trials),
    )  # fmt: skip
