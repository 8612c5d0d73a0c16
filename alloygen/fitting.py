"""The façade: ``fit`` a model to a cluster expansion, and ask it for free energies, samples and marginals."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from alloygen.errors import (
    AlloygenError,
    BudgetError,
    CheckpointError,
    LatticeError,
    MissingDependencyError,
    OccupationError,
)
from alloygen.estimate import Estimate
from alloygen.files import read_file, write_file
from alloygen.hamiltonian.conditions import Conditions, ConditionWindow
from alloygen.hamiltonian.serialization import hamiltonian_from_record, hamiltonian_to_record
from alloygen.models import AnyOrderModel, ModelConfig
from alloygen.problem import Problem
from alloygen.sampling.any_order import Draws, draw
from alloygen.sampling.site_orders import SiteOrderKind, SiteOrders
from alloygen.thermo.estimators import importance_sampling
from alloygen.training.reference_data import ReferenceData, default_chemical_potentials, sample_reference
from alloygen.training.trainer import Budget, Callback, Trainer, TrainingConfig, TrainingStatus

if TYPE_CHECKING:
    from ase import Atoms

#: Reference samples per condition that are held out of training and kept with the model, for the reverse bound.
N_HELD_OUT = 128
#: Partial configurations that share a pass of the network.
MARGINAL_ROWS = 512
_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


@dataclass(eq=False)
class FittedModel:
    """A trained model of one supercell over a window of conditions.

    Attributes
    ----------
    problem
        Lattice and energy.
    model
        The network, in evaluation mode.
    site_order
        Kind of site order that draws use.
    reference
        Held-out reference samples, for the reverse bound.
    information
        How the model came about: window, budget, steps, seconds, seed, probe ESS, history.
    """

    problem: Problem
    model: AnyOrderModel
    site_order: SiteOrderKind
    reference: ReferenceData
    information: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._orders = SiteOrders(self.problem.lattice)

    @property
    def window(self) -> ConditionWindow:
        """Temperatures and chemical potentials that the model was trained on."""
        return self.model.window

    def _conditions(self, temperature: float, chemical_potentials: Mapping[str, float] | None) -> Conditions:
        conditions = Conditions.single(self.problem.hamiltonian, temperature, chemical_potentials)
        self.window.check(self.problem.hamiltonian, conditions)
        return conditions

    def free_energy(
        self,
        *,
        temperature: float,
        chemical_potentials: Mapping[str, float] | None = None,
        n_samples: int = 20_000,
        seed: int = 0,
    ) -> Estimate:
        """Estimate the grand potential Phi = -k_B T ln Xi by importance sampling.

        Parameters
        ----------
        temperature
            In kelvin (J/k_B for spin models), inside the window.
        chemical_potentials
            In eV (J) per species; species left out are at 0. Only differences between species that share sites
            matter, up to the constant -mu N that is included.
        n_samples
            Draws.
        seed
            Seed of draws and bootstrap.

        Returns
        -------
        Estimate
            Value, error and bounds per supercell, with a verdict.

        Raises
        ------
        TemperatureError, ChemicalPotentialError, WindowError
            If the condition is unusable or outside the window.
        """
        conditions = self._conditions(temperature, chemical_potentials)
        return self._importance_sampling(conditions, n_samples, seed)[0]

    def _importance_sampling(self, conditions: Conditions, n_samples: int, seed: int) -> tuple[Estimate, Draws]:
        return importance_sampling(
            self.model, conditions, n_samples, orders=self._orders, kind=self.site_order, reference=self.reference,
            seed=seed,
        )  # fmt: skip

    def sample(
        self,
        n: int,
        *,
        temperature: float,
        chemical_potentials: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> list[Atoms]:
        """Draw n independent structures from the model.

        Each carries ``info["energy"]`` (energy units per supercell) and ``info["log_weight"]``: averages over the
        target are averages weighted by exp(log_weight).

        Raises
        ------
        TemperatureError, ChemicalPotentialError, WindowError
            If the condition is unusable or outside the window.
        """
        draws = self.draw(n, temperature=temperature, chemical_potentials=chemical_potentials, seed=seed)
        structures = self.problem.atoms(draws.occupation.cpu())
        assert isinstance(structures, list)
        for atoms, energy, log_weight in zip(
            structures, draws.energy.tolist(), draws.log_weights.tolist(), strict=True
        ):
            atoms.info.update(energy=energy, log_weight=log_weight)
        return structures

    def draw(
        self,
        n: int,
        *,
        temperature: float,
        chemical_potentials: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> Draws:
        """Draw n independent configurations as arrays, with log q, energies and log weights.

        Raises
        ------
        AlloygenError
            If n is not positive.
        TemperatureError, ChemicalPotentialError, WindowError
            If the condition is unusable or outside the window.
        """
        if n < 1:
            raise AlloygenError(f"n = {n} draws: expected at least 1", n=n)
        conditions = self._conditions(temperature, chemical_potentials)
        return draw(self.model, conditions, n, orders=self._orders, kind=self.site_order, seed=seed)

    @torch.no_grad()
    def marginal(
        self,
        occupation: Any,
        *,
        temperature: float,
        chemical_potentials: Mapping[str, float] | None = None,
        exact: bool = False,
        seed: int = 0,
    ) -> np.ndarray | float:
        r"""Return the probability of partial configurations.

        By default the marginal head answers in one pass, p(s_S) = exp[a(s_S) - a(empty)]: fast and slightly biased.
        With ``exact`` the chain rule gives the model's own probability prod_k q(s_k | s_<k) along one site order
        (drawn from ``seed``) that decides the known sites first, in one pass as well.

        Parameters
        ----------
        occupation
            Codes, shape (n_sites,) or (n, n_sites); -1 marks an undecided site. Rows may differ in which sites are
            known.
        temperature, chemical_potentials
            The condition.
        exact
            Whether to use the chain rule.
        seed
            Seed of the site order.

        Raises
        ------
        OccupationError
            If codes are out of range.
        TemperatureError, ChemicalPotentialError, WindowError
            If the condition is unusable or outside the window.
        """
        conditions = self._conditions(temperature, chemical_potentials)
        partial = torch.as_tensor(occupation)
        if partial.is_floating_point():
            raise OccupationError(
                f"occupation has type {partial.dtype}: expected integer codes, -1 for undecided sites"
            )
        single = partial.ndim == 1
        partial = partial[None] if single else partial
        known = partial >= 0
        # Undecided sites need some code for the pass, which is causal: it cannot reach the prefix.
        filled = self.problem.hamiltonian.check_occupation(torch.where(partial == -1, 0, partial))
        if not len(partial):
            return np.zeros(0)
        order = self._orders.draw(self.site_order, 1, np.random.default_rng(seed))[0]
        # Every row has an order of its own, in which its known sites come first.
        site_orders = torch.stack([order[torch.argsort(~row[order], stable=True)] for row in known])
        n_known = known[:, order].sum(dim=1)
        parts = []
        for low in range(0, len(partial), MARGINAL_ROWS):
            rows = slice(low, low + MARGINAL_ROWS)
            repeated = conditions[torch.zeros(len(filled[rows]), dtype=torch.int64)]
            chain = self.model(filled[rows], site_orders[rows], repeated)
            if exact:
                decided = torch.arange(len(order)) < n_known[rows, None]
                parts.append(torch.where(decided, chain.step_log_q.cpu(), 0.0).sum(dim=1))
            else:
                marginals = chain.log_marginals.cpu()
                parts.append(marginals.gather(1, n_known[rows, None])[:, 0] - marginals[:, 0])
        result = torch.cat(parts)
        probabilities: np.ndarray = result.exp().numpy()
        return float(probabilities[0]) if single else probabilities

    @torch.no_grad()
    def log_partition_function(
        self, *, temperature: float, chemical_potentials: Mapping[str, float] | None = None
    ) -> float:
        """Look ln Xi up in the marginal head, a(empty): one pass, no error bar, slightly biased.

        Use :meth:`free_energy` for a value to rely on.
        """
        conditions = self._conditions(temperature, chemical_potentials)
        order = self._orders.draw(self.site_order, 1, np.random.default_rng(0))
        zeros = torch.zeros(1, self.problem.n_sites, dtype=torch.int64)
        return float(self.model(zeros, order, conditions).log_marginals[0, 0])

    # ------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file (safetensors with a JSON header), whole or not at all."""
        arrays, problem = hamiltonian_to_record(self.problem.hamiltonian)
        tensors = {f"problem.{name}": array for name, array in arrays.items()}
        for name, tensor in self.model.state_dict().items():
            tensors[f"model.{name}"] = tensor.detach().cpu().numpy()
        for name in ("temperature", "chemical_potentials", "occupation", "energy", "counts"):
            tensors[f"reference.{name}"] = getattr(self.reference, name)
        metadata = {
            "problem": {**problem, "exchanges_atoms": self.problem.exchanges_atoms},
            "config": self.model.config.to_dict(),
            "window": {
                "temperatures": list(self.window.temperatures),
                "chemical_potentials": {k: list(v) for k, v in self.window.chemical_potentials.items()},
            },
            "site_order": self.site_order,
            "information": self.information,
        }
        write_file(path, "fitted model", tensors, metadata)


def load(path: str | os.PathLike[str], *, device: str = "auto") -> FittedModel:
    """Read a fitted model that :meth:`FittedModel.save` wrote.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, corrupted, foreign or of another version.
    """
    tensors, metadata = read_file(path, "fitted model")
    groups: dict[str, dict[str, Any]] = {"problem": {}, "model": {}, "reference": {}}
    for name, tensor in tensors.items():
        group, _, key = name.partition(".")
        groups.setdefault(group, {})[key] = tensor
    try:
        problem = Problem(
            hamiltonian_from_record(groups["problem"], metadata["problem"]), metadata["problem"]["exchanges_atoms"]
        )
        window = ConditionWindow.checked(
            problem.hamiltonian, metadata["window"]["temperatures"], metadata["window"]["chemical_potentials"]
        )
        model = AnyOrderModel(problem.hamiltonian, window, ModelConfig(**metadata["config"]))
        model.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in groups["model"].items()})
        reference = ReferenceData(**groups["reference"])
        information, site_order = metadata["information"], metadata["site_order"]
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{os.fspath(path)!r} lacks a part of a fitted model ({error}): save the model again"
        ) from error
    model.to(resolve_device(device)).eval().requires_grad_(False)
    return FittedModel(problem, model, site_order, reference, information)


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
        network = AnyOrderModel(hamiltonian, window, model, seed).to(place)
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


def resolve_device(device: str) -> torch.device:
    """Return the torch device of a name; "auto" is a GPU where there is one.

    Raises
    ------
    AlloygenError
        If the device is unknown or not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise AlloygenError(f"device {device!r} is not available ({error}): use device='cpu' or 'auto'") from error
    return found


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
