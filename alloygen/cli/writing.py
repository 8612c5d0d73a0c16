"""Results as tables on the terminal, and as JSON and CSV files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from alloygen.files import write_text
from alloygen.fitting import FittedModel
from alloygen.problem import Problem
from alloygen.units import UnitSystem


def console() -> Console:
    """Return the terminal, or whatever stands in its place now."""
    return Console()


def condition_columns(condition: Mapping[str, Any]) -> dict[str, float]:
    """Return a condition as columns of a table."""
    potentials = condition["chemical_potentials"]
    return {
        "temperature": condition["temperature"],
        **{f"chemical_potentials_{name}": value for name, value in potentials.items()},
    }


def problem_record(problem: Problem) -> dict[str, Any]:
    """Describe a problem."""
    lattice = problem.lattice
    return {
        "sites": f"{lattice.n_sites}, {len(lattice.active_sites)} of them with a choice of species",
        "species": "; ".join("/".join(names) for names in lattice.sublattices),
        "supercell": str(lattice.supercell_matrix.tolist()),
        "cluster terms": len(problem.hamiltonian.polynomial.coefficients),
        "pair orbits": lattice.pair_orbits.n_orbits,
        "units": f"{problem.hamiltonian.units.energy}, {problem.hamiltonian.units.temperature}",
    }


def model_record(model: FittedModel) -> dict[str, Any]:
    """Describe a fitted model."""
    units, window, information = model.problem.hamiltonian.units, model.window, model.information
    chosen = information.get("chosen_chemical_potentials", {})
    potentials = {
        f"chemical potential of {name}": f"{low:g} to {high:g} {units.energy}" + (" (chosen)" if name in chosen else "")
        for name, (low, high) in window.chemical_potentials.items()
    }
    ess = information["probe_effective_sample_size"]
    return {
        **problem_record(model.problem),
        "temperatures": f"{window.temperatures[0]:g} to {window.temperatures[1]:g} {units.temperature}",
        **potentials,
        "training": f"{information['steps']} steps in {information['training_seconds']:.0f} s on "
        f"{information['device']}, seed {information['seed']}",
        "effective sample size": ", ".join(f"{value:.0%} with {kind} orders" for kind, value in ess.items()),
        "parameters": sum(parameter.numel() for parameter in model.model.parameters()),
    }


def print_record(title: str, record: Mapping[str, Any]) -> None:
    """Print a title and below it names with values."""
    table = Table(show_header=False, box=None)
    for name, value in record.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    console().print(title, highlight=False, soft_wrap=True)
    console().print(table)


def print_rows(title: str, rows: Sequence[Mapping[str, Any]], units: UnitSystem) -> None:
    """Print rows as a table that fits 80 columns; the files of ``--json`` and ``--csv`` hold the full records."""
    scale, unit = (1e3, "meV") if units.energy == "eV" else (1.0, units.energy)
    # Column: heading, factor, format.
    columns: dict[str, tuple[str, float, str]] = {
        "temperature": ("T", 1.0, "g"),
        "value_per_site": ("Phi", scale, ".4f"),
        "error_per_site": ("error", scale, ".4f"),
        "lower_bound_per_site": ("lower", scale, ".3f"),
        "upper_bound_per_site": ("upper", scale, ".3f"),
        "exact_value_per_site": ("exact", scale, ".4f"),
        "ess": ("ESS", 1.0, ".0%"),
        "log_partition_function": ("ln Xi", 1.0, ".6f"),
        "grand_potential_per_site": ("Phi", scale, ".4f"),
        "energy_per_site": ("E", scale, ".4f"),
        "heat_capacity_per_site": ("C/k_B", 1.0 / units.boltzmann_constant, ".4f"),
    }
    for name in rows[0]:
        if name.startswith("chemical_potentials_"):
            columns[name] = ("mu " + name.removeprefix("chemical_potentials_"), 1.0, "g")
        elif name.startswith("counts_"):
            columns[name] = ("N " + name.removeprefix("counts_"), 1.0, ".4f")
    table = Table(box=None)
    for name in rows[0]:
        table.add_column(columns[name][0] if name in columns else name, justify="right", no_wrap=True)
    for row in rows:
        cells = []
        for name, value in row.items():
            _, factor, form = columns.get(name, (name, 1.0, ""))
            cells.append(("yes" if value else "no") if isinstance(value, bool) else format(value * factor, form))
        table.add_row(*cells)
    temperature, potential = units.temperature, units.energy
    console().print(
        f"{title}: energies in {unit}/site, T in {temperature}, mu in {potential}", highlight=False, soft_wrap=True
    )
    console().print(table)


def write_records(json_path: Path | None, csv_path: Path | None, records: Sequence[dict[str, Any]]) -> None:
    """Write records to a JSON file (MSON) and, flattened, to a CSV file; units as the names say."""
    if json_path is not None:
        write_text(json_path, json.dumps(list(records), indent=1) + "\n")
    if csv_path is not None:
        table = pd.json_normalize(list(records), sep="_")
        # Without a fixed composition, "counts" is empty.
        write_text(
            csv_path, table.drop(columns=["@module", "@class", "format", "counts"], errors="ignore").to_csv(index=False)
        )
