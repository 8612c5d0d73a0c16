"""Peak memory of one training step against the number of sites, for every family. Prints a table, draws a figure.

    python tests/benchmarks/memory.py --output docs/tables/training_memory.md --figure docs/images/training_memory.png

Ising models of L x L sites, a batch of 8 configurations that the model draws and learns from, one thread. Each point is a
process of its own: the peak of the resident memory during the step, less what was resident before it (Linux): weights,
gradients and the optimiser's memory. A step that passes the limit is not finished, and larger lattices are left out.
"""

from __future__ import annotations

import argparse
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from training_runs import (
    ISING,
    Results,
    System,
    in_fresh_process,
    machine,
    markdown_table,
    publish,
    reset_peak,
    resident_memory,
)

import alloygen
from alloygen.errors import TrainingError
from alloygen.models import ModelConfig, build_model
from alloygen.plotting.style import OKABE_ITO, tidy
from alloygen.training.config import TrainingConfig
from alloygen.training.schedule import MARGINALIZATION, Term
from alloygen.training.trainer import Trainer

SIDES = (4, 6, 8, 10, 15, 20)
BATCH = 8
#: Exponents are fitted from this many sites on: below, a step's fixed costs weigh too much.
FITTED_FROM = 36
REVERSE = (Term("reverse_kl"),)


@dataclass(frozen=True)
class Curve:
    """A family and the objective that trains it on the energy alone."""

    label: str
    model: ModelConfig
    schedule: tuple[Term, ...]
    sides: tuple[int, ...] = SIDES


CURVES = (
    Curve("ao_arm, reverse KL", ModelConfig(family="ao_arm"), REVERSE),
    Curve("ao_mam, marginalization", ModelConfig(family="ao_mam"), MARGINALIZATION),
    Curve("causal, reverse KL", ModelConfig(), REVERSE),
    Curve("causal, blocks of 4, reverse KL", ModelConfig(group=4), REVERSE, (4, 6, 8, 10, 14, 20)),
)


def step_memory(curve: Curve, side: int, limit: float) -> float | None:
    """Return the peak memory of a step in MiB; None if it passes the limit."""
    trainer(curve, 4).train_step(0.5)  # loads compiled kernels and their workspaces
    measured = trainer(curve, side)
    for parameter in measured.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    measured.optimizer.step()  # a step of zero, after which gradients and the optimiser's memory are there
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + int(limit * 2**20),) * 2)
    reset_peak()
    before = resident_memory()
    try:
        measured.train_step(0.5)
    except TrainingError:
        return None
    return resident_memory(peak=True) - before


def trainer(curve: Curve, side: int) -> Trainer:
    """Return a trainer of an Ising model of side x side sites."""
    problem = alloygen.ising(side, side)
    window = System(lambda: problem, *ISING).window(problem)
    config = TrainingConfig(
        schedule=curve.schedule, drawn_batch=BATCH, drawn_groups=1, draws_per_condition=BATCH, groups=1, batch=BATCH
    )
    return Trainer(build_model(problem.hamiltonian, window, curve.model, 0), None, config, 0)


def exponent(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Return b and a of memory = a sites^b, fitted to the finished points of a curve."""
    kept = [(row["sites"], row["memory_MiB"]) for row in rows if row["memory_MiB"] and row["sites"] >= FITTED_FROM]
    if len(kept) < 2:
        return np.nan, np.nan
    sites, memory = np.log(np.array(kept)).T
    slope, offset = np.polyfit(sites, memory, 1)
    return float(slope), float(np.exp(offset))


def table(rows: list[dict[str, Any]], limit: float) -> str:
    """Return the table in Markdown."""
    sizes = sorted({row["sites"] for row in rows})
    lines = []
    for curve in CURVES:
        mine = {row["sites"]: row["memory_MiB"] for row in rows if row["label"] == curve.label}
        cells = [shown(mine[n], limit) if n in mine else "" for n in sizes]
        if mine:
            slope = exponent([row for row in rows if row["label"] == curve.label])[0]
            lines.append([curve.label, *cells, f"{slope:.2f}"])
    return markdown_table(["MiB at sites:", *map(str, sizes), "exponent"], lines)


def shown(memory: float | None, limit: float) -> str:
    """Return a cell of the table."""
    return f"> {limit:.0f}" if memory is None else f"{memory:.0f}" if memory >= 10 else f"{memory:.1f}"


def draw(rows: list[dict[str, Any]], limit: float, path: Path) -> None:
    """Draw memory against sites, both on logarithmic axes, each curve with its name and exponent at its end."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    panel = figure.subplots()
    for colour, curve in zip(OKABE_ITO, CURVES, strict=False):
        mine = [row for row in rows if row["label"] == curve.label and row["memory_MiB"]]
        if not mine:
            continue
        sites, memory = [row["sites"] for row in mine], [row["memory_MiB"] for row in mine]
        panel.plot(sites, memory, "o", color=colour, markersize=5)
        slope, factor = exponent(mine)
        fitted = np.array([n for n in sites if n >= FITTED_FROM], dtype=float)
        panel.plot(fitted, factor * fitted**slope, color=colour, linewidth=1.4)
        panel.annotate(
            f"{curve.label}\n$\\propto N^{{{slope:.1f}}}$",
            (sites[-1], memory[-1]),
            xytext=(9, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            fontsize=9,
        )
    panel.axhline(limit, color="grey", linewidth=0.9, linestyle="--")
    panel.annotate(
        f"limit, {limit / 1024:.0f} GiB", (SIDES[0] ** 2, limit), xytext=(0, 4), textcoords="offset points", color="grey",
        fontsize=9,
    )  # fmt: skip
    panel.set(xscale="log", yscale="log", xlabel="sites $N$", ylabel="peak memory of a training step (MiB)")
    panel.set_xlim(SIDES[0] ** 2 * 0.85, SIDES[-1] ** 2 * 3.6)
    ticks = [side**2 for side in SIDES]
    panel.set_xticks(ticks, [str(n) for n in ticks])
    panel.xaxis.set_minor_locator(NullLocator())
    tidy(panel)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure what is missing, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--limit", type=float, default=8192.0, help="largest memory of a step, MiB")
    add("--results", type=Path, help="file of results, one JSON object a line; rows that are there are skipped")
    add("--output", type=Path, help="Markdown file to write the table to")
    add("--figure", type=Path, help="PNG file to draw")
    add("--curve", action="append", choices=[curve.label for curve in CURVES], help="measure only this; repeatable")
    options = parser.parse_args()
    results = Results(options.results)
    for curve in CURVES:
        if options.curve and curve.label not in options.curve:
            continue
        for side in curve.sides:
            row = results.find(label=curve.label, sites=side**2)
            if row is None:
                memory = in_fresh_process(step_memory, curve, side, options.limit)
                row = {"label": curve.label, "sites": side**2, "memory_MiB": memory}
                results.add(row)
                print(f"{curve.label}, {side**2} sites: {shown(memory, options.limit)} MiB", flush=True)
            if row["memory_MiB"] is None:
                break
    text = f"{table(results.rows, options.limit)}\n\nA batch of {BATCH} configurations; machine: {machine()}."
    publish(text, options.output)
    if options.figure is not None:
        draw(results.rows, options.limit, options.figure)


if __name__ == "__main__":
    main()
