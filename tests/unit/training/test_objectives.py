"""Gradients of the objectives against exact ones, by enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from alloygen.hamiltonian import ising_hamiltonian
from alloygen.hamiltonian.conditions import Conditions, ConditionWindow
from alloygen.models import AnyOrderModel, ModelConfig, build_model
from alloygen.training import objectives
from alloygen.training.objectives import Batch


@pytest.fixture
def setting() -> tuple[AnyOrderModel, torch.Tensor, Conditions, torch.Tensor]:
    hamiltonian = ising_hamiltonian(2, 3, field=0.3)
    window = ConditionWindow.checked(hamiltonian, (1.0, 4.0), {})
    torch.manual_seed(0)
    model = build_model(hamiltonian, window, ModelConfig(width=8, depth=1, heads=2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    every = torch.tensor(list(itertools.product(range(2), repeat=6)))
    return model, every, Conditions.single(hamiltonian, 2.0), torch.tensor([[3, 0, 5, 1, 4, 2]])


def gradient(model: AnyOrderModel, loss: torch.Tensor) -> np.ndarray:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).numpy().copy()


def test_forward_kl_has_the_gradient_of_the_divergence(setting) -> None:  # type: ignore[no-untyped-def]
    """Reference samples in exact proportion to p give d/d theta sum_s -p log q / N."""
    model, every, conditions, order = setting
    target = -(2.0**-1) * model.hamiltonian.energy(every)
    p = target.softmax(0)
    repeated = conditions[torch.zeros(64, dtype=torch.int64)]
    exact = gradient(model, -(p * model(every, order, repeated).log_q).sum() / 6)
    sampled = torch.multinomial(p, 40_000, replacement=True, generator=torch.Generator().manual_seed(1))
    batch = every[sampled]
    chain = model(batch, order, conditions[torch.zeros(len(batch), dtype=torch.int64)])
    found = gradient(model, objectives.forward_kl(model, chain))
    assert np.linalg.norm(found - exact) < 0.05 * np.linalg.norm(exact)


def test_reverse_kl_gradient_is_unbiased(setting) -> None:  # type: ignore[no-untyped-def]
    """Mean over 150 batches against the enumerated gradient: projected z-scores at level 1e-3, fixed seed."""
    model, every, conditions, order = setting
    repeated = conditions[torch.zeros(64, dtype=torch.int64)]
    log_q = model(every, order, repeated).log_q
    target = -0.5 * model.hamiltonian.energy(every)
    exact = gradient(model, (log_q.exp() * (log_q - target)).sum() / 6)
    generator = torch.Generator().manual_seed(2)
    directions = np.random.default_rng(3).normal(size=(20, len(exact)))
    found = []
    for _ in range(150):
        batch = objectives.draw_batch(model, order, conditions[torch.zeros(64, dtype=torch.int64)], generator)
        chain = model(batch.occupation, order, batch.conditions)
        loss = objectives.reverse_kl(model, chain, objectives.log_target(model, batch), 8)
        found.append(directions @ gradient(model, loss))
    found = np.array(found)
    scores = (found.mean(0) - directions @ exact) / (found.std(0, ddof=1) / np.sqrt(len(found)))
    assert np.abs(scores).max() < 4.1


def test_marginal_loss_vanishes_for_an_exact_model(setting) -> None:  # type: ignore[no-untyped-def]
    """Without interactions the untrained model is exact, and so is its marginal head."""
    hamiltonian = ising_hamiltonian(2, 3, coupling=0.0, field=0.4)
    window = ConditionWindow.checked(hamiltonian, (1.0, 4.0), {})
    model = build_model(hamiltonian, window, ModelConfig(width=8, depth=1, heads=2))
    _, every, _, order = setting
    conditions = Conditions.single(hamiltonian, 2.0)[torch.zeros(64, dtype=torch.int64)]
    chain = model(every, order, conditions)
    batch = Batch(every, order, conditions)
    loss = objectives.marginal_consistency(model, chain, objectives.log_target(model, batch))
    assert loss.item() < 1e-12
