r"""Free energies from a model's draws and reference samples together: Bennett's acceptance ratio.

With f(x) = 1 / (1 + e^x) and draws from q, samples from p = p~ / Xi, n_q and n_p of them, the best estimate solves

    sum_{s ~ q} f(ln(n_q / n_p) - log w(s) + ln Xi) = sum_{s ~ p} f(ln(n_p / n_q) + log w(s) - ln Xi)

(doi:10.1016/0021-9991(76)90078-4). It needs overlap of log w only, while importance sampling needs draws that cover the target.
"""

from __future__ import annotations

import math
import time
import warnings

import numpy as np

from alloygen.errors import CompositionError
from alloygen.estimate import Estimate
from alloygen.fractions import Progress
from alloygen.hamiltonian.conditions import Conditions
from alloygen.models import AnyOrderModel
from alloygen.reference.multistate import import_pymbar
from alloygen.sampling.site_orders import SiteOrderKind, SiteOrders
from alloygen.sampling.weights import systematic_resample
from alloygen.thermo.estimators import MIN_EFFECTIVE_SAMPLES, weigh_draws
from alloygen.training.reference_data import ReferenceData

Array = np.ndarray

#: Least overlap (0 to 1) of the two sets' log weights.
MIN_OVERLAP = 0.03


def acceptance_ratio(
    model: AnyOrderModel,
    conditions: Conditions,
    n_samples: int,
    *,
    orders: SiteOrders,
    kind: SiteOrderKind,
    reference: ReferenceData,
    seed: int,
    progress: Progress | None = None,
) -> Estimate:
    """Estimate the grand potential at one condition from draws and reference samples.

    Parameters are those of :func:`~alloygen.thermo.estimators.importance_sampling`, whose bounds and checks come with it.
    Reference samples of the nearest condition are resampled to the asked one.

    Raises
    ------
    CompositionError
        If no reference samples have the composition of a canonical condition.
    """
    begin = time.perf_counter()
    plain, draws, reverse = weigh_draws(
        model, conditions, n_samples, orders=orders, kind=kind, reference=reference, seed=seed, progress=progress
    )
    if not len(reverse.log_weights):
        raise CompositionError(
            "no reference samples have this composition, so there is nothing to compare draws with: use "
            "estimator='importance sampling'"
        )
    generator = np.random.default_rng([seed, 6])
    size = max(2, int(reverse.effective_samples))
    backward = reverse.log_weights[systematic_resample(reverse.log_ratio, size, generator)]
    forward = draws.log_weights.cpu().numpy()
    problems = [] if plain.reliable else [plain.reason]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pymbar = import_pymbar()
        found = pymbar.bar(-forward, backward)
        overlap = float(pymbar.bar_overlap(-forward, backward))
    value, error = -float(found["Delta_f"]), float(found["dDelta_f"])
    if not overlap >= MIN_OVERLAP or not (math.isfinite(value) and error > 0):
        problems.append(
            f"draws and reference samples overlap by {overlap:.0%} (expected {MIN_OVERLAP:.0%}): the model misses the "
            "reference's configurations; train longer"
        )
    scale = 1.0 / float(conditions.beta[0])
    effective = min(plain.effective_sample_size + size, 1.0 / max(error, 1e-9) ** 2)
    if effective < MIN_EFFECTIVE_SAMPLES:
        problems.append(f"the samples are worth {effective:.0f} (expected {MIN_EFFECTIVE_SAMPLES}): draw more")
    return Estimate(
        **{
            **vars(plain),
            "value": -scale * value,
            "error": scale * error,
            "n_samples": n_samples + size,
            "effective_sample_size": effective,
            "reliable": not problems,
            "reason": "; ".join(dict.fromkeys(problems)) or "draws and reference samples overlap",
            "estimator": "acceptance ratio",
            "wall_time": time.perf_counter() - begin,
        }
    )
