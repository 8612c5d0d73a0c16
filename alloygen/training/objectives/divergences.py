"""Objectives on whole configurations that the model drew: both vanish, with their gradient noise, when q is exact."""

from __future__ import annotations

import torch
from torch import Tensor

from alloygen.training.objectives.base import Evaluation, Loss

#: Deviations of log-weights from their mean count no more than this many nats, so that single defects do not
#: dominate a step.
DEVIATION_LIMIT = 5.0


def _deviations(log_weights: Tensor, n: int) -> Tensor:
    """Log-weights minus their mean over the others of the same condition, shape (n_conditions, n)."""
    grouped = log_weights.view(-1, n)
    return (grouped - grouped.mean(dim=1, keepdim=True)) * (n / (n - 1))


def reverse_kl(evaluation: Evaluation) -> Loss:
    r"""Reverse Kullback-Leibler divergence per site, by the score function with a leave-one-out baseline.

    With log w = -beta (E - mu.N) - log q of draws s_1 ... s_n under one condition,

        grad L = -1/(n N) sum_i (log w_i - 1/(n - 1) sum_{j != i} log w_j) grad log q(s_i),

    where the bracket is clipped to 5 nats. The reported value is the variational bound -E_q[log w] / N >= -ln Xi / N.

    References
    ----------
    Kool, van Hoof and Welling, Buy 4 REINFORCE samples, get a baseline for free!, ICLR 2019 workshop.
    Wu, Wang and Zhang, Phys. Rev. Lett. 122, 080602 (2019), doi:10.1103/PhysRevLett.122.080602.
    """
    model, log_q = evaluation.model, evaluation.chain.log_q
    log_weights = evaluation.target - log_q.detach()
    advantage = _deviations(log_weights, evaluation.batch.n_per_condition)
    advantage = advantage.clamp(-DEVIATION_LIMIT, DEVIATION_LIMIT).view(-1)
    return Loss(-(advantage * log_q).mean() / model.n_active, -log_weights.mean() / model.n_active)


def log_variance(evaluation: Evaluation) -> Loss:
    r"""Half the variance of log w over configurations under one condition, per site.

        L = 1/(2 N (n - 1)) sum_i (log w_i - mean_j log w_j)^2,

    with the mean absolute deviation instead of the square beyond 5 nats (Huber). It is zero only for q = p on the
    configurations' support, whatever distribution they come from, so earlier draws serve as well. On draws of the
    model itself, the gradient is that of ``reverse_kl`` in expectation.

    References
    ----------
    Richter et al., VarGrad, NeurIPS 2020, Eq. 5 and Proposition 1 (arXiv:2010.10436).
    """
    n = evaluation.batch.n_per_condition
    log_weights = (evaluation.target - evaluation.chain.log_q).view(-1, n)
    deviations = log_weights - log_weights.mean(dim=1, keepdim=True)
    # huber_loss is half the square near zero.
    halves = torch.nn.functional.huber_loss(
        deviations, torch.zeros_like(deviations), delta=DEVIATION_LIMIT, reduction="none"
    )
    return Loss.of(halves.mean() * n / (n - 1) / evaluation.model.n_active)
