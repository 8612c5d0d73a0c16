r"""Free energies where a model's own weights are too uneven: its draws, resampled in islands while they grow.

See :mod:`alloygen.sampling.sequential`. It pays where the spread of log w comes from everywhere in a large lattice, as in
disordered ones that were out-painted from much smaller ones; not where it comes from choosing the wrong phase at the start.
"""

from __future__ import annotations

import time

import numpy as np

from alloygen.errors import AlloygenError
from alloygen.estimate import Estimate
from alloygen.fractions import Progress
from alloygen.hamiltonian.conditions import Conditions
from alloygen.models import AnyOrderModel
from alloygen.sampling.sequential import grow_islands
from alloygen.sampling.site_orders import SiteOrderKind, SiteOrders
from alloygen.sampling.weights import bootstrap_error, log_mean
from alloygen.thermo.estimators import reverse_bound
from alloygen.thermo.islands import IslandChecks, IslandRun, family_sample_size, island_estimate
from alloygen.training.reference_data import ReferenceData

#: Fewest islands, and fewest draws in each.
MIN_ISLANDS, MIN_ISLAND_SIZE = 4, 32


def sequential_free_energy(
    model: AnyOrderModel,
    conditions: Conditions,
    n_samples: int,
    *,
    orders: SiteOrders,
    kind: SiteOrderKind,
    seed: int,
    n_windows: int = 8,
    n_islands: int = 16,
    reference: ReferenceData | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """Estimate the grand potential, or at fixed composition the free energy, from draws that are resampled window by window.

    Parameters
    ----------
    model
        The model.
    conditions
        A single condition.
    n_samples
        Draws, over all islands (rounded down to equal ones); a fifth as many pilot draws, 128 to
        2,048, come on top.
    orders, kind
        Where site orders come from.
    seed
        Seed of the run.
    n_windows
        Windows of a site order, 2 or more: after each, members may be resampled.
    n_islands
        Independent islands, for the error.
    reference
        Reference samples, for the lower bound; without them it is -inf.
    progress
        Called with the finished fraction.

    Returns
    -------
    Estimate
        Per supercell. Its effective sample size counts the first members that the final weights descend from.

    Raises
    ------
    AlloygenError
        If there are fewer than 4 islands, fewer than 32 draws in each, or fewer than 2 windows.
    """
    if n_islands < MIN_ISLANDS or n_samples < MIN_ISLAND_SIZE * n_islands or n_windows < 2:
        raise AlloygenError(
            f"n_samples = {n_samples} in n_islands = {n_islands} with n_windows = {n_windows}: expected {MIN_ISLANDS} islands or "
            f"more, at least {MIN_ISLAND_SIZE} draws in each, and 2 windows or more; for example n_samples=20000, n_islands=16, "
            "n_windows=8"
        )
    begin = time.perf_counter()
    islands, lookahead = grow_islands(
        model, conditions, n_samples, orders=orders, kind=kind, seed=seed, n_windows=n_windows, n_islands=n_islands,
        progress=progress,
    )  # fmt: skip
    generator = np.random.default_rng([seed, 9])
    own = lookahead.pilot_log_weights
    target = None if reference is None else reverse_bound(model, reference, conditions, orders, kind, generator)
    log_weights = np.concatenate([island.log_weights for island in islands])
    ancestor = np.concatenate([island.ancestor + k * len(island.ancestor) for k, island in enumerate(islands)])
    run = IslandRun(
        np.array([log_mean(island.log_weights) for island in islands]),
        log_weights,
        family_sample_size(log_weights, ancestor),
        len(log_weights) + len(own) + (0 if reference is None else reference.energy.shape[1]),
    )
    return island_estimate(
        model, conditions, run, IslandChecks(None, target, (log_mean(own), bootstrap_error(own, generator))),
        estimator="sequential Monte Carlo",
        passed=f"{n_islands} islands agree; the lookahead explains {100 * lookahead.explained.min():.0f} to "
        f"{100 * lookahead.explained.max():.0f} % of the variance of log weights",
        remedy="use estimator='importance sampling'", wall_time=time.perf_counter() - begin,
    )  # fmt: skip
