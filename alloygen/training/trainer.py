"""The training loop: maximum likelihood on reference samples, then mixed with the reverse divergence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from alloygen.errors import TrainingError
from alloygen.hamiltonian.conditions import Conditions
from alloygen.models import AnyOrderModel, build_model
from alloygen.sampling.any_order import draw
from alloygen.sampling.site_orders import SITE_ORDERS, SiteOrderKind, SiteOrders
from alloygen.sampling.weights import effective_sample_size
from alloygen.training import objectives
from alloygen.training.objectives import Batch
from alloygen.training.reference_data import ReferenceData

Array = np.ndarray


@dataclass(frozen=True)
class TrainingConfig:
    """Hyperparameters of training.

    Attributes
    ----------
    batch, groups
        Reference configurations per step, and site orders they are spread over.
    learning_rate, warm_up
        Peak of the cosine schedule, and steps of linear increase before it.
    sweep_fraction
        Fraction of site orders that are sweeps; the rest is uniform.
    ema
        Decay of the exponential moving average of the weights, which is the model that is kept.
    reverse_start, reverse_weight
        Fraction of training after which ``reverse_kl`` is mixed in, and its weight.
    reverse_groups, reverse_batch, reverse_per_condition
        Site orders, configurations and configurations per condition of a ``reverse_kl`` batch.
    marginal_weight
        Weight of the marginal head's loss.
    clip
        Largest gradient norm.
    """

    batch: int = 512
    groups: int = 16
    learning_rate: float = 5e-3
    warm_up: int = 50
    sweep_fraction: float = 0.75
    ema: float = 0.995
    reverse_start: float = 0.7
    reverse_weight: float = 0.5
    reverse_groups: int = 2
    reverse_batch: int = 256
    reverse_per_condition: int = 8
    marginal_weight: float = 0.02
    clip: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class TrainingStatus:
    """What a callback is told.

    Attributes
    ----------
    stage
        "reference" while reference samples are drawn, "training" afterwards.
    fraction
        Finished part of the stage.
    step
        Optimiser steps so far.
    loss
        Mean -log q per site of recent reference batches; NaN before the first.
    effective_sample_size
        Median over probe conditions of the last check, as a fraction of the draws; NaN before the first.
    seconds_left
        Expected seconds to the end of the stage.
    """

    stage: str
    fraction: float
    step: int = 0
    loss: float = math.nan
    effective_sample_size: float = math.nan
    seconds_left: float = math.nan


Callback = Callable[[TrainingStatus], object]


@dataclass(frozen=True)
class Budget:
    """How long to train: seconds of wall time, or a number of steps (reproducible)."""

    seconds: float | None = None
    steps: int | None = None

    def fraction(self, elapsed: float, step: int) -> float:
        """Finished part of the budget."""
        if self.steps is not None:
            return step / self.steps
        assert self.seconds is not None
        return elapsed / self.seconds


@dataclass
class TrainingResult:
    """What training leaves behind.

    Attributes
    ----------
    model
        The averaged model, in evaluation mode.
    site_order
        The kind of site order with the larger ESS; draws use it.
    probe_ess
        Median ESS (fraction) over the probe conditions for every kind of site order.
    history
        One record per check: step, seconds, loss, ESS.
    """

    model: AnyOrderModel
    site_order: SiteOrderKind
    probe_ess: dict[str, float]
    steps: int
    seconds: float
    history: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """Trains one model; :meth:`run` does it all.

    Parameters
    ----------
    model
        The model, on the device to train on.
    reference
        Samples to train on.
    config
        Hyperparameters.
    seed
        Seed of batches, site orders and draws.
    """

    def __init__(self, model: AnyOrderModel, reference: ReferenceData, config: TrainingConfig, seed: int) -> None:
        self.model, self.reference, self.config = model, reference, config
        self.orders = SiteOrders.of(model)
        batches, draws, self._probe_seed = np.random.SeedSequence(seed).spawn(3)
        self.generator = np.random.default_rng(batches)
        self.draw_generator = torch.Generator().manual_seed(int(draws.generate_state(1, np.uint64)[0] >> 1))
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.average = build_model(model.hamiltonian, model.window, model.config).to(model.device)
        self.average.requires_grad_(False).load_state_dict(model.state_dict())
        self.step = 0

    def run(self, budget: Budget, callbacks: tuple[Callback, ...] = ()) -> TrainingResult:
        """Train until the budget is spent.

        Raises
        ------
        TrainingError
            If the loss becomes NaN or infinite.
        """
        begin = time.perf_counter()
        history: list[dict[str, float]] = []
        loss, ess, next_check = math.nan, math.nan, 0.1
        while (fraction := budget.fraction(time.perf_counter() - begin, self.step)) < 1:
            value = self.train_step(fraction)
            loss = value if math.isnan(loss) else 0.95 * loss + 0.05 * value
            if fraction >= next_check:
                next_check += 0.1
                ess = self.probe(SITE_ORDERS[0], n=128)
                seconds = time.perf_counter() - begin
                history.append({"step": self.step, "seconds": seconds, "loss": loss, "ess": ess})
            elapsed = time.perf_counter() - begin
            left = elapsed * (1 - fraction) / max(fraction, 1e-9)
            status = TrainingStatus("training", min(fraction, 1.0), self.step, loss, ess, left)
            for callback in callbacks:
                callback(status)
        self.average.eval()
        probe_ess: dict[str, float] = {kind: self.probe(kind, n=512) for kind in SITE_ORDERS}
        best: SiteOrderKind = max(SITE_ORDERS, key=lambda kind: probe_ess[kind])
        return TrainingResult(self.average, best, probe_ess, self.step, time.perf_counter() - begin, history)

    def train_step(self, fraction: float) -> float:
        """Make one optimiser step at a given point of the schedule; return the mean -log q per site."""
        config, model = self.config, self.model
        rate = config.learning_rate * min(1.0, (self.step + 1) / config.warm_up)
        rate *= 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0))) + 1e-3
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        batch = self._reference_batch()
        chain = model(batch.occupation, batch.site_orders, batch.conditions)
        target = objectives.log_target(model, batch)
        likelihood = objectives.forward_kl(model, chain)
        marginal = objectives.marginal_consistency(model, chain, target)
        (likelihood + config.marginal_weight * marginal).backward()
        if config.reverse_weight > 0 and fraction >= config.reverse_start:
            self._reverse_backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        value = float(likelihood.detach())
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise TrainingError(
                f"training diverged at step {self.step}: loss {value}, gradient norm {float(norm)}; lower the learning "
                f"rate (TrainingConfig(learning_rate={config.learning_rate / 3:.1g}))",
                step=self.step,
            )
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return value

    def _reverse_backward(self) -> None:
        config, model = self.config, self.model
        orders = self._site_orders(config.reverse_groups)
        conditions = self._random_conditions(config.reverse_batch // config.reverse_per_condition)
        repeated = torch.arange(len(conditions)).repeat_interleave(config.reverse_per_condition)
        batch = objectives.draw_batch(model, orders, conditions[repeated], self.draw_generator)
        chain = model(batch.occupation, batch.site_orders, batch.conditions)
        target = objectives.log_target(model, batch)
        loss = objectives.reverse_kl(model, chain, target, config.reverse_per_condition)
        (config.reverse_weight * loss).backward()

    def _update_average(self) -> None:
        decay = min(self.config.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)

    def _site_orders(self, n: int) -> torch.Tensor:
        """Draw n site orders of the mixture; sweeps are rounded at random, so any n has the right mean."""
        n_sweeps = int(self.config.sweep_fraction * n + self.generator.random())
        parts = [self.orders.draw("sweep", n_sweeps, self.generator)] if n_sweeps else []
        if n > n_sweeps:
            parts.append(self.orders.draw("random", n - n_sweeps, self.generator))
        return torch.cat(parts)

    def _reference_batch(self) -> Batch:
        config = self.config
        size = config.batch // config.groups * config.groups
        occupation, conditions = self.reference.batch(self.model.hamiltonian, size, self.generator)
        return Batch(occupation, self._site_orders(config.groups), conditions)

    def _random_conditions(self, n: int) -> Conditions:
        """Conditions anywhere in the window, uniform in 1/T and in the chemical potentials."""
        hamiltonian, window = self.model.hamiltonian, self.model.window
        low, high = window.temperatures
        temperature = 1.0 / self.generator.uniform(1 / high, 1 / low, size=n)
        mu = np.zeros((n, len(hamiltonian.lattice.species)))
        for name, (bottom, top) in window.chemical_potentials.items():
            mu[:, hamiltonian.lattice.species.index(name)] = self.generator.uniform(bottom, top, size=n)
        return Conditions.of(hamiltonian.units, temperature, mu)

    def probe(self, kind: SiteOrderKind, n: int) -> float:
        """Median ESS (fraction of n draws) of the averaged model over nine conditions of the window."""
        generator = np.random.default_rng(self._probe_seed)
        hamiltonian, window = self.model.hamiltonian, self.model.window
        low, high = window.temperatures
        temperatures = np.geomspace(low, high, 9)
        mu = np.zeros((9, len(hamiltonian.lattice.species)))
        for name, (bottom, top) in window.chemical_potentials.items():
            mu[:, hamiltonian.lattice.species.index(name)] = bottom + (top - bottom) * generator.permutation(
                np.linspace(0.05, 0.95, 9)
            )
        conditions = Conditions.of(hamiltonian.units, temperatures, mu)
        scores = []
        for index in range(9):
            draws = draw(
                self.average, conditions[index : index + 1], n, orders=self.orders, kind=kind,
                seed=int(generator.integers(2**31)), group=-(-n // 2),
            )  # fmt: skip
            scores.append(effective_sample_size(draws.log_weights.cpu().numpy()) / n)
        return float(np.median(scores))
