"""The training loop: reproducible, improving, and loud when it diverges."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import alloygen
from alloygen.errors import BudgetError, TrainingError
from alloygen.fitting import parse_budget
from alloygen.models import ModelConfig
from alloygen.training.trainer import Budget, TrainingConfig, TrainingStatus

SMALL = TrainingConfig(batch=64, groups=8, reverse_batch=32)
FAST = {
    "progress": False,
    "temperatures": (1.5, 4.0),
    "model": ModelConfig(width=16, depth=2, heads=2),
    "training": SMALL,
}


def test_same_seed_same_model() -> None:
    models = [alloygen.fit(alloygen.ising(3, 3), budget="12 steps", seed=s, **FAST) for s in (4, 4, 5)]
    first, again, other = (m.model.state_dict() for m in models)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_training_leaves_global_random_state_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    alloygen.fit(alloygen.ising(2, 3), budget="4 steps", **FAST)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_training_improves_the_weights() -> None:
    """ESS of a trained model against an untrained one (one tiny step), Ising 4x4 at T_c."""
    untrained, trained = (
        alloygen.fit(alloygen.ising(4, 4), budget=f"{steps} steps", seed=0, **FAST) for steps in (1, 150)
    )
    sizes = [m.free_energy(temperature=2.269, n_samples=2000).effective_sample_size for m in (untrained, trained)]
    assert sizes[1] > 2 * sizes[0]


def test_callbacks_see_both_stages() -> None:
    seen: list[TrainingStatus] = []
    alloygen.fit(alloygen.ising(3, 3), budget="10 steps", callbacks=[seen.append], **FAST)
    assert {status.stage for status in seen} == {"reference", "training"}
    last = seen[-1]
    assert last.step == 10
    assert math.isfinite(last.loss)
    assert 0 < last.effective_sample_size <= 1


def test_divergence_is_an_error() -> None:
    config = replace(SMALL, learning_rate=1e30, warm_up=1, clip=1e30)
    with pytest.raises(TrainingError, match="lower the learning rate"):
        alloygen.fit(alloygen.ising(3, 3), budget="50 steps", **{**FAST, "training": config})


@pytest.mark.parametrize(
    ("text", "budget"),
    [("5min", Budget(seconds=300)), ("90 s", Budget(seconds=90)), (2.5, Budget(seconds=2.5)), ("1h", Budget(seconds=3600)),
     ("400 steps", Budget(steps=400))],
)  # fmt: skip
def test_budgets_are_read(text: str | float, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "soon", "-3s", 0, "1.5 steps", "5 parsec", "1.2.3s", None])
def test_bad_budgets_are_refused(text: object) -> None:
    with pytest.raises(BudgetError, match="expected for example"):
        parse_budget(text)  # type: ignore[arg-type]
