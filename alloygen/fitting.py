"""The façade: ``fit`` a model to a cluster expansion."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from alloygen.errors import AlloygenError, BudgetError, LatticeError, MissingDependencyError
from alloygen.fitted_model import FittedModel, resolve_device
from alloygen.hamiltonian.conditions import ConditionWindow
from alloygen.models import ModelConfig, build_model
from alloygen.problem import Problem
from alloygen.training.reference_data import default_chemical_potentials, sample_reference
from alloygen.training.trainer import Budget, Callback, Trainer, TrainingConfig, TrainingStatus

#: Reference samples per condition that are held out of training and kept with the model, for the reverse bound.
N_HELD_OUT = 128
_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


def fit(
    cluster_expansion: Any,
    supercell: Any = None,
    *,
    temperatures: Sequence[float] | None = None,
    chemical_potentials: Mapping[str, Sequence[float]] | None = None,
    budget: str | float = "5min",
    device: str = "auto",
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    model: ModelConfig | None = None,
    training: TrainingConfig | None = None,
) -> FittedModel:
    """Train a model of a supercell over a window of temperatures and chemical potentials.

    Parameters
    ----------
    cluster_expansion
        An :class:`icet.ClusterExpansion`, or a :class:`~alloygen.Problem` (then without ``supercell``).
    supercell
        An :class:`ase.Atoms`, a pymatgen ``Structure``, three integers that repeat the primitive cell, or a 3x3
        integer matrix.
    temperatures
        Lowest and highest temperature; (300, 1200) K unless given ((1.5, 4) J/k_B for spin models).
    chemical_potentials
        Lowest and highest chemical potential per species in eV, relative to the first species on its sites, for
        example ``{"Au": (-0.2, 0.2)}``. Left out, windows are chosen so that every composition occurs, and reported;
        for spin models the field is part of the energy, and nothing varies.
    budget
        Wall time of the whole call such as "5min", "90s" or "1h" (a number means seconds), or "400 steps" of
        training, which is reproducible on one machine.
    device
        "auto", "cpu", "cuda" or any torch device.
    seed
        Seed of everything random.
    callbacks
        Called with a :class:`~alloygen.training.trainer.TrainingStatus` at every step.
    progress
        Whether to show a progress bar; by default when the terminal can.
    model, training
        Size of the network, and hyperparameters of training.

    Returns
    -------
    FittedModel
        Gives free energies with errors, samples and marginals anywhere in the window.

    Raises
    ------
    AlloygenError
        One of its subclasses, before any training starts, for input that is not usable; TrainingError if training
        diverges.
    """
    begin = time.perf_counter()
    allowed = parse_budget(budget)
    place = resolve_device(device)
    problem = _as_problem(cluster_expansion, supercell)
    hamiltonian = problem.hamiltonian
    window, chosen = _resolve_window(problem, temperatures, chemical_potentials, seed)
    with _progress(progress) as bar:
        watchers = (*callbacks, *([bar] if bar else []))
        if bar and chosen:
            bar.report(chosen)

        def report(fraction: float) -> None:
            for watcher in watchers:
                watcher(TrainingStatus("reference", fraction))

        data, samples = sample_reference(hamiltonian, window, seed=seed, progress=report)
        kept, held_out = data.split(N_HELD_OUT)
        network = build_model(hamiltonian, window, model, seed).to(place)
        trainer = Trainer(network, kept, training or TrainingConfig(), seed)
        remaining = allowed
        if allowed.seconds is not None:
            # The reference run counts, but a tiny budget still trains a little.
            remaining = Budget(seconds=max(0.2 * allowed.seconds, allowed.seconds - (time.perf_counter() - begin)))
        result = trainer.run(remaining, watchers)
    information = {
        "budget": str(budget),
        "seed": seed,
        "steps": result.steps,
        "training_seconds": result.seconds,
        "seconds": time.perf_counter() - begin,
        "device": str(place),
        "torch": torch.__version__,
        "training": trainer.config.to_dict(),
        "probe_effective_sample_size": result.probe_ess,
        "reference_r_hat": float(np.max(samples.split_r_hat())),
        "chosen_chemical_potentials": chosen,
        "history": result.history,
    }
    return FittedModel(problem, result.model.requires_grad_(False), result.site_order, held_out, information)


def parse_budget(budget: str | float) -> Budget:
    """Read a budget such as "5min", "90 s", "400 steps" or a number of seconds.

    Raises
    ------
    BudgetError
        If it cannot be read or is not positive.

    Examples
    --------
    >>> parse_budget("2min")
    Budget(seconds=120.0, steps=None)
    """
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-z]*)\s*", str(budget).lower())
    try:
        number = float(match.group(1)) if match else -1.0
    except ValueError:
        number = -1.0
    unit = (match.group(2) or "s") if match else ""
    if number > 0 and unit in ("step", "steps") and number == int(number):
        return Budget(steps=int(number))
    if number > 0 and np.isfinite(number) and unit in _UNITS:
        return Budget(seconds=number * _UNITS[unit])
    raise BudgetError(f"budget = {budget!r}: expected for example '5min', '90s', '1h', '400 steps' or seconds above 0")


def _as_problem(cluster_expansion: Any, supercell: Any) -> Problem:
    if isinstance(cluster_expansion, Problem):
        if supercell is not None:
            raise AlloygenError("a Problem has its supercell already: call fit(problem) without one")
        problem = cluster_expansion
    elif supercell is None:
        raise AlloygenError("fit(cluster_expansion, supercell) needs a supercell, for example (2, 2, 4)")
    else:
        problem = Problem.from_cluster_expansion(cluster_expansion, supercell)
    if not len(problem.lattice.active_sites):
        raise LatticeError("every site of this lattice allows one species only: there is nothing to learn")
    return problem


def _resolve_window(
    problem: Problem,
    temperatures: Sequence[float] | None,
    chemical_potentials: Mapping[str, Sequence[float]] | None,
    seed: int,
) -> tuple[ConditionWindow, dict[str, tuple[float, float]]]:
    """Return the checked window and the part of it that was chosen here."""
    hamiltonian = problem.hamiltonian
    if temperatures is None:
        temperatures = hamiltonian.units.default_temperatures
    if chemical_potentials is not None or not problem.exchanges_atoms:
        return ConditionWindow.checked(hamiltonian, temperatures, chemical_potentials or {}), {}
    plain = ConditionWindow.checked(hamiltonian, temperatures, {})
    chosen = default_chemical_potentials(hamiltonian, plain.temperatures, seed)
    return ConditionWindow.checked(hamiltonian, temperatures, chosen), chosen


def _progress(progress: bool | None) -> Any:
    try:
        from alloygen.progress import progress_bar
    except ImportError as error:  # a machine that only trains
        if progress:
            raise MissingDependencyError("the progress bar needs rich: pip install rich, or progress=False") from error
        return nullcontext(None)
    return progress_bar(progress)
