r"""Training objectives, interchangeable: each returns a loss and its log-weight statistics for one batch.

- ``forward_kl``: -E_p[log q], maximum likelihood on reference samples.
- ``reverse_kl``: E_q[log q + beta (E - mu.N)], by the score function with a leave-one-out baseline within a condition
  (Kool, van Hoof and Welling, 2019).
- ``marginal_consistency``: the marginal head against a(full) - sum of the later log q (stop-gradient), a target
  whose variance vanishes as q becomes exact.

All are per site.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alloygen.hamiltonian.conditions import Conditions
from alloygen.models import AnyOrderModel, Chain
from alloygen.sampling.any_order import draw_along, log_boltzmann, species_counts

#: Leave-one-out advantages are clipped to this many nats, so that single defects do not dominate a step.
ADVANTAGE_LIMIT = 5.0


@dataclass(frozen=True, eq=False)
class Batch:
    """Configurations in groups that share a site order.

    Attributes
    ----------
    occupation
        Shape (G * n, n_sites).
    site_orders
        Shape (G, n_active).
    conditions
        One per configuration.
    """

    occupation: Tensor
    site_orders: Tensor
    conditions: Conditions


def log_target(model: AnyOrderModel, batch: Batch) -> Tensor:
    """-beta (E - mu.N) of a batch, shape (n,), on the model's device."""
    hamiltonian = model.hamiltonian
    occupation = batch.occupation.to(model.device)
    energy = hamiltonian.energy(occupation)
    return log_boltzmann(hamiltonian, energy, species_counts(hamiltonian, occupation), batch.conditions)


def forward_kl(model: AnyOrderModel, chain: Chain) -> Tensor:
    """Mean -log q per site of reference samples."""
    return -chain.log_q.mean() / model.n_active


def reverse_kl(model: AnyOrderModel, chain: Chain, target: Tensor, n_per_condition: int) -> Tensor:
    """Score-function surrogate of the reverse Kullback-Leibler divergence per site.

    Consecutive runs of ``n_per_condition`` configurations share a condition; the baseline of each is the mean of the
    others.
    """
    log_weight = (target - chain.log_q.detach()).view(-1, n_per_condition)
    mean = log_weight.mean(dim=1, keepdim=True)
    advantage = (log_weight - mean) * (n_per_condition / (n_per_condition - 1))
    advantage = advantage.clamp(-ADVANTAGE_LIMIT, ADVANTAGE_LIMIT).view(-1)
    return -(advantage * chain.log_q).mean() / model.n_active


def marginal_consistency(model: AnyOrderModel, chain: Chain, target: Tensor) -> Tensor:
    """Mean squared error of the marginal head along the chain, each prefix divided by its undecided sites."""
    later = chain.step_log_q.detach().flip(1).cumsum(1).flip(1)
    error = chain.log_marginals[:, :-1] - (target[:, None] - later)
    undecided = model.config.group * torch.arange(model.n_steps, 0, -1, device=error.device)
    return (error.square() / undecided).mean()


def draw_batch(model: AnyOrderModel, site_orders: Tensor, conditions: Conditions, generator: torch.Generator) -> Batch:
    """Draw the configurations of a batch from the model itself, for ``reverse_kl``."""
    n = len(conditions) // len(site_orders)
    parts = [
        draw_along(model, order, conditions[number * n : (number + 1) * n], n, generator)[0]
        for number, order in enumerate(site_orders)
    ]
    return Batch(torch.cat(parts), site_orders, conditions)
