"""Steps and draws on a GPU and on the CPU beside it, in one run, from the published models. Prints a table.

    python tests/benchmarks/devices.py --output docs/tables/devices.md

It needs torch, NumPy, SciPy, numba and safetensors alone. The CPU works with the threads that PyTorch chooses, or ``--threads``. Likelihood steps
learn from samples of the model itself, which cost as much as any; reverse steps draw their batch with one site order.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path

import torch
from training_runs import machine, markdown_table, publish

import alloygen
from alloygen.models import AnyOrderModel
from alloygen.training.config import TrainingConfig
from alloygen.training.schedule import Term
from alloygen.training.trainer import Trainer

MODELS = ("ising_10x10", "ising_16x16", "cuau_4x4x4", "cuau_4x4x8")
BATCHES, N_DRAWS = (512, 2048), 8192
#: Repetitions on a GPU and on a CPU, after one that warms up.
N_TIMED = {"cuda": 5, "cpu": 1}


def seconds(work: Callable[[], object], device: str) -> float:
    """Time of one repetition."""

    def repeat(n: int) -> float:
        begin = time.perf_counter()
        for _ in range(n):
            work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    repeat(1)
    return repeat(N_TIMED[device]) / N_TIMED[device]


def measure(fitted: alloygen.FittedModel, device: str) -> list[float]:
    """Milliseconds of likelihood steps of every batch and of a reverse step, and draws per second."""
    model: AnyOrderModel = copy.deepcopy(fitted.model).to(device).requires_grad_(True)
    found = []
    for schedule, batch in (
        *(((Term("forward_kl"),), batch) for batch in BATCHES),
        ((Term("reverse_kl"),), BATCHES[-1] // 2),
    ):
        config = TrainingConfig(schedule=schedule, batch=batch, drawn_batch=batch, drawn_groups=1)
        trainer = Trainer(model, fitted.held_out(), config, 0)
        found.append(1e3 * seconds(lambda trainer=trainer: trainer.train_step(0.5), device))  # type: ignore[misc]
        trainer.evaluator.close()
    moved = alloygen.FittedModel(
        fitted.problem, model.requires_grad_(False), fitted.site_order, fitted.held_out(), fitted.information
    )
    low, high = fitted.window.temperatures
    found.append(N_DRAWS / seconds(lambda: moved.draw(N_DRAWS, temperature=(low * high) ** 0.5), device))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, help="threads of the CPU")
    parser.add_argument("--model", action="append", choices=MODELS, help="only this; repeatable")
    parser.add_argument("--output", type=Path, help="Markdown file to write the table to")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    lines = []
    for name in options.model or MODELS:
        fitted = alloygen.load(alloygen.datasets.data_path(f"models/{name}.safetensors"), device="cpu")
        columns = {device: measure(fitted, device) for device in devices}
        for row, label in enumerate(
            (
                *(f"likelihood, batch {batch}, ms" for batch in BATCHES),
                f"reverse, {BATCHES[-1] // 2} draws, ms",
                "draws per second",
            )
        ):
            values = [columns[device][row] for device in devices]
            ratio = max(values[0], values[-1]) / min(values[0], values[-1])
            lines.append(
                [name, label, *(f"{value:.3g}" for value in values), *([f"{ratio:.1f}"] if len(values) > 1 else [])]
            )
            print("  ".join(lines[-1]), flush=True)
    header = ["model", "", "CPU", *(["GPU", "ratio"] if len(devices) > 1 else [])]
    gpu = f"; {torch.cuda.get_device_name()}" if len(devices) > 1 else ""
    note = f"Machine: {machine()}, {torch.get_num_threads()} threads{gpu}."
    publish(f"{markdown_table(header, lines)}\n\n{note}", options.output)


if __name__ == "__main__":
    main()
