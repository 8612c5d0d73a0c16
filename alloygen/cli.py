"""The command line: ``alloygen fit``, ``compile``, ``ising``, ``free-energy``, ``sample``, ``enumerate``, ``info``."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

import alloygen
from alloygen import datasets
from alloygen.errors import AlloygenError, CheckpointError, ChemicalPotentialError, SupercellError
from alloygen.files import write_text
from alloygen.fitting import FittedModel, fit, load, parse_budget, resolve_device
from alloygen.problem import Problem
from alloygen.reference.enumeration import enumerate_configurations
from alloygen.units import UnitSystem

#: Cluster expansions that can be called by name.
SHIPPED = {"cuau": datasets.cuau}


class _Commands(TyperGroup):
    """Commands whose AlloygenErrors become one red line on stderr and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AlloygenError as error:
            message = " ".join(str(error).split())
            Console(stderr=True).print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Certified free energies of alloys on a lattice, from a cluster expansion.",
)

ExpansionArgument = Annotated[
    str, typer.Argument(metavar="CE", help=f"icet .ce file, {' or '.join(SHIPPED)} (shipped), or a saved problem.")
]
SupercellArgument = Annotated[
    str | None, typer.Argument(help="'2x2x4' (repeats the primitive cell) or a structure file; not for a problem.")
]
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="File that 'alloygen fit' wrote.")]
TemperatureOption = Annotated[float, typer.Option(help="Temperature in K (J/k_B for spin models).")]
TemperaturesOption = Annotated[
    list[float], typer.Option("--temperature", help="Temperature in K (J/k_B for spin models); repeatable.")
]
PotentialsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--chemical-potential",
        metavar="SPECIES=VALUE",
        help="Such as Au=0.05, in eV; repeatable. Several values of a species are combined with all others.",
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or any torch device.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything random.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="JSON file to write.")]
CsvOption = Annotated[Path | None, typer.Option("--csv", help="CSV file to write.")]


def _version(show: bool) -> None:
    if show:
        typer.echo(f"alloygen {alloygen.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


# ---------------------------------------------------------------------- commands


@app.command("fit")
def fit_command(
    cluster_expansion: ExpansionArgument,
    supercell: SupercellArgument = None,
    temperatures: Annotated[tuple[float, float] | None, typer.Option(help="Lowest and highest temperature.")] = None,
    chemical_potential: Annotated[
        list[str] | None,
        typer.Option(metavar="SPECIES:LOW:HIGH", help="Window such as Au:-0.2:0.2, in eV; repeatable."),
    ] = None,
    budget: Annotated[str, typer.Option(help="Wall time such as 5min, 90s, 1h, or '400 steps'.")] = "5min",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    output: OutputOption = Path("model.safetensors"),
) -> None:
    """Train a model of a supercell over a window of conditions."""
    _check_target(output)
    parse_budget(budget)
    resolve_device(device)
    model = fit(
        _read_problem(cluster_expansion, supercell),
        temperatures=temperatures,
        chemical_potentials=_windows(chemical_potential),
        budget=budget,
        device=device,
        seed=seed,
    )
    model.save(output)
    _print_record(f"wrote {output}", _model_record(model))


@app.command("compile")
def compile_command(
    cluster_expansion: ExpansionArgument,
    supercell: SupercellArgument = None,
    output: OutputOption = Path("problem.safetensors"),
) -> None:
    """Compile a cluster expansion on a supercell, for machines without icet and ASE."""
    _check_target(output)
    problem = _read_problem(cluster_expansion, supercell)
    problem.save(output)
    _print_record(f"wrote {output}", _problem_record(problem))


@app.command("ising")
def ising_command(
    shape: Annotated[str, typer.Argument(help="Such as 10x10.")],
    coupling: Annotated[float, typer.Option(help="J.")] = 1.0,
    field: Annotated[float, typer.Option(help="B.")] = 0.0,
    lattice: Annotated[str, typer.Option(help="chain, square, triangular, honeycomb, cubic, fcc or bcc.")] = "square",
    output: OutputOption = Path("problem.safetensors"),
) -> None:
    """Write an Ising model, in units J = k_B = 1."""
    _check_target(output)
    sides = _repeats(shape)
    if sides is None:
        raise SupercellError(f"shape {shape!r}: expected repetitions such as 10x10")
    problem = alloygen.ising(*sides, coupling=coupling, field=field, lattice=lattice)
    problem.save(output)
    _print_record(f"wrote {output}", _problem_record(problem))


@app.command("free-energy")
def free_energy_command(
    model: ModelArgument,
    temperature: TemperaturesOption,
    chemical_potential: PotentialsOption = None,
    samples: Annotated[int, typer.Option(help="Draws per condition.")] = 20_000,
    exact: Annotated[bool, typer.Option("--exact", help="Enumerate all configurations beside.")] = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json_path: JsonOption = None,
    csv_path: CsvOption = None,
) -> None:
    """Print the grand potential with error, bounds and verdict at every condition."""
    _check_target(json_path, csv_path)
    fitted = load(model, device=device)
    conditions = _conditions(temperature, chemical_potential)
    enumeration = enumerate_configurations(fitted.problem.hamiltonian) if exact else None
    records, rows = [], []
    for number, condition in enumerate(conditions):
        estimate = fitted.free_energy(**condition, n_samples=samples, seed=seed + number)
        truth = enumeration.averages(**condition).grand_potential if enumeration else None
        extra = {} if truth is None else {"exact_value": truth}
        records.append({**estimate.as_dict(), **extra})
        per_site = {
            f"{name}_per_site": getattr(estimate, f"{name}_per_site")
            for name in ("value", "error", "lower_bound", "upper_bound")
        }
        if truth is not None:
            per_site["exact_value_per_site"] = truth / estimate.n_sites
        ess = estimate.effective_sample_size / estimate.n_samples
        rows.append({**_columns(condition), **per_site, "ess": ess, "reliable": estimate.reliable})
    _write_records(json_path, csv_path, records)
    _print_rows("grand potential", rows, fitted.problem.hamiltonian.units)
    for reason in sorted({record["reason"] for record in records if not record["reliable"]}):
        _console().print(f"not reliable: {reason}", style="yellow", markup=False, highlight=False, soft_wrap=True)


@app.command("sample")
def sample_command(
    model: ModelArgument,
    temperature: TemperatureOption,
    n: Annotated[int, typer.Option("-n", help="Number of structures.")] = 100,
    chemical_potential: PotentialsOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    output: OutputOption = Path("samples.extxyz"),
) -> None:
    """Draw structures, each with its energy and log weight, into an extended XYZ file."""
    from alloygen.adapters.ase import write_structures

    _check_target(output)
    conditions = _conditions([temperature], chemical_potential)
    if len(conditions) > 1:
        raise ChemicalPotentialError("samples have one condition: give one --chemical-potential per species")
    structures = load(model, device=device).sample(n, **conditions[0], seed=seed)
    write_structures(output, structures)
    _console().print(f"wrote {output}: {n} structures of {len(structures[0])} sites", highlight=False)


@app.command("enumerate")
def enumerate_command(
    cluster_expansion: ExpansionArgument,
    temperature: TemperaturesOption,
    supercell: SupercellArgument = None,
    chemical_potential: PotentialsOption = None,
    json_path: JsonOption = None,
    csv_path: CsvOption = None,
) -> None:
    """Sum over every configuration: exact free energy, energy, composition and heat capacity."""
    _check_target(json_path, csv_path)
    problem = _read_problem(cluster_expansion, supercell)
    conditions = _conditions(temperature, chemical_potential)
    hamiltonian, n_sites = problem.hamiltonian, problem.n_sites
    enumeration = enumerate_configurations(hamiltonian, progress=_console().is_terminal)
    rows = []
    for condition in conditions:
        exact = enumeration.averages(**condition)
        rows.append(
            {
                **_columns(condition),
                "log_partition_function": exact.log_partition_function,
                "grand_potential_per_site": exact.grand_potential / n_sites,
                "energy_per_site": exact.energy / n_sites,
                "heat_capacity_per_site": exact.heat_capacity / n_sites,
                **{f"counts_{name}": count for name, count in exact.counts.items()},
            }
        )
    _write_records(json_path, csv_path, rows)
    _print_rows(f"exact, {enumeration.n_configurations:,} configurations", rows, hamiltonian.units)


@app.command("info")
def info_command(
    file: Annotated[Path, typer.Argument(help="Model, problem or icet .ce file.")],
) -> None:
    """Say what a file is."""
    if _is_cluster_expansion(file):
        expansion = _read_expansion(str(file))
        symbols = ["/".join(names) for names in expansion.get_cluster_space_copy().chemical_symbols]
        record = {"species": ", ".join(symbols), "parameters": len(expansion.parameters)}
        _print_record(f"{file}: icet cluster expansion", record)
        return
    content = _load(file)
    if isinstance(content, FittedModel):
        _print_record(f"{file}: fitted model", _model_record(content))
    else:
        _print_record(f"{file}: problem", _problem_record(content))


# ---------------------------------------------------------------------- reading


def _repeats(text: str) -> tuple[int, ...] | None:
    return tuple(int(side) for side in text.split("x")) if re.fullmatch(r"\d+(x\d+)*", text) else None


def _is_cluster_expansion(path: Path) -> bool:
    return path.suffix == ".ce" or (path.is_file() and tarfile.is_tarfile(path))


def _read_expansion(name: str) -> Any:
    from alloygen.adapters.icet import read_cluster_expansion

    return SHIPPED[name]() if name in SHIPPED else read_cluster_expansion(name)


def _load(path: Path) -> Problem | FittedModel:
    try:
        return Problem.load(path)
    except CheckpointError as error:
        if getattr(error, "kind", None) != "fitted model":
            raise
    return load(path, device="cpu")


def _read_problem(name: str, supercell: str | None) -> Problem:
    """Compile a cluster expansion on a supercell, or read a saved problem."""
    path = Path(name)
    if name in SHIPPED or _is_cluster_expansion(path):
        if supercell is None:
            raise SupercellError(f"{name!r} needs a supercell: add for example 2x2x4, or a structure file")
        return Problem.from_cluster_expansion(_read_expansion(name), _read_supercell(supercell))
    if not path.is_file():
        raise CheckpointError(
            f"{name!r} is not a file: expected an icet .ce file, a saved problem, or one of {', '.join(SHIPPED)}"
        )
    if supercell is not None:
        raise SupercellError(f"the problem {name!r} has its supercell already: leave {supercell!r} out")
    content = _load(path)
    return content.problem if isinstance(content, FittedModel) else content


def _read_supercell(text: str) -> Any:
    from alloygen.adapters.ase import read_structure

    repeats = _repeats(text)
    if repeats is None and not Path(text).is_file():
        raise SupercellError(
            f"supercell {text!r}: expected repetitions such as 2x2x4, or a structure file that ASE reads"
        )
    return repeats or read_structure(text)


def _windows(texts: Sequence[str] | None) -> dict[str, tuple[float, float]] | None:
    """Read windows such as "Au:-0.2:0.2"; None if there are none, for ``fit`` to choose."""
    windows: dict[str, tuple[float, float]] = {}
    for text in texts or ():
        name, values = _split(text, ":")
        if len(values) != 2 or name in windows:
            raise ChemicalPotentialError(
                f"--chemical-potential {text!r}: expected one window per species, such as Au:-0.2:0.2 in eV"
            )
        windows[name] = (values[0], values[1])
    return windows or None


def _conditions(temperatures: Sequence[float], texts: Sequence[str] | None) -> list[dict[str, Any]]:
    """Combine all temperatures with all values of all species, such as "Au=0.05"."""
    potentials: dict[str, list[float]] = {}
    for text in texts or ():
        name, values = _split(text, "=")
        if len(values) != 1:
            raise ChemicalPotentialError(f"--chemical-potential {text!r}: expected for example Au=0.05 in eV")
        potentials.setdefault(name, []).append(values[0])
    return [
        {"temperature": temperature, "chemical_potentials": dict(zip(potentials, values, strict=True))}
        for temperature in temperatures
        for values in product(*potentials.values())
    ]


def _split(text: str, separator: str) -> tuple[str, list[float]]:
    name, *values = text.split(separator)
    try:
        return name.strip(), [float(value) for value in values]
    except ValueError:
        return name, []


def _check_target(*paths: Path | None) -> None:
    """Refuse, before any work, paths that cannot be written."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise AlloygenError(
                f"cannot write {str(path)!r}: expected a file name in a folder that exists and is writable"
            )


# ---------------------------------------------------------------------- writing


def _console() -> Console:
    return Console()


def _columns(condition: Mapping[str, Any]) -> dict[str, float]:
    potentials = condition["chemical_potentials"]
    return {
        "temperature": condition["temperature"],
        **{f"chemical_potentials_{name}": value for name, value in potentials.items()},
    }


def _problem_record(problem: Problem) -> dict[str, Any]:
    lattice = problem.lattice
    return {
        "sites": f"{lattice.n_sites}, {len(lattice.active_sites)} of them with a choice of species",
        "species": "; ".join("/".join(names) for names in lattice.sublattices),
        "supercell": str(lattice.supercell_matrix.tolist()),
        "cluster terms": len(problem.hamiltonian.polynomial.coefficients),
        "pair orbits": lattice.pair_orbits.n_orbits,
        "units": f"{problem.hamiltonian.units.energy}, {problem.hamiltonian.units.temperature}",
    }


def _model_record(model: FittedModel) -> dict[str, Any]:
    units, window, information = model.problem.hamiltonian.units, model.window, model.information
    chosen = information.get("chosen_chemical_potentials", {})
    potentials = {
        f"chemical potential of {name}": f"{low:g} to {high:g} {units.energy}" + (" (chosen)" if name in chosen else "")
        for name, (low, high) in window.chemical_potentials.items()
    }
    ess = information["probe_effective_sample_size"]
    return {
        **_problem_record(model.problem),
        "temperatures": f"{window.temperatures[0]:g} to {window.temperatures[1]:g} {units.temperature}",
        **potentials,
        "training": f"{information['steps']} steps in {information['training_seconds']:.0f} s on "
        f"{information['device']}, seed {information['seed']}",
        "effective sample size": ", ".join(f"{value:.0%} with {kind} orders" for kind, value in ess.items()),
        "parameters": sum(parameter.numel() for parameter in model.model.parameters()),
    }


def _print_record(title: str, record: Mapping[str, Any]) -> None:
    table = Table(show_header=False, box=None)
    for name, value in record.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    _console().print(title, highlight=False, soft_wrap=True)
    _console().print(table)


def _print_rows(title: str, rows: Sequence[Mapping[str, Any]], units: UnitSystem) -> None:
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
    _console().print(
        f"{title}: energies in {unit}/site, T in {temperature}, mu in {potential}", highlight=False, soft_wrap=True
    )
    _console().print(table)


def _write_records(json_path: Path | None, csv_path: Path | None, records: Sequence[dict[str, Any]]) -> None:
    """Write records to a JSON file (MSON) and, flattened, to a CSV file; units as the names say."""
    if json_path is not None:
        write_text(json_path, json.dumps(list(records), indent=1) + "\n")
    if csv_path is not None:
        table = pd.json_normalize(list(records), sep="_")
        # Without a fixed composition, "counts" is empty.
        write_text(
            csv_path, table.drop(columns=["@module", "@class", "format", "counts"], errors="ignore").to_csv(index=False)
        )
