"""From names, files and texts to cluster expansions, supercells, problems and windows."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alloygen import datasets
from alloygen.errors import AlloygenError, CheckpointError, ChemicalPotentialError, SupercellError
from alloygen.fitted_model import FittedModel, load
from alloygen.lattice import Lattice
from alloygen.models import ModelConfig, default_config
from alloygen.problem import Problem

#: Cluster expansions that can be called by name.
SHIPPED = {"cuau": datasets.cuau}


def parse_repeats(text: str) -> tuple[int, ...] | None:
    """Read repetitions such as "2x2x4"; None if the text is something else."""
    return tuple(int(side) for side in text.split("x")) if re.fullmatch(r"\d+(x\d+)*", text) else None


def is_cluster_expansion(path: Path) -> bool:
    """Whether a file is, by name or content, a cluster expansion of icet."""
    return path.suffix == ".ce" or (path.is_file() and tarfile.is_tarfile(path))


def read_expansion(name: str) -> Any:
    """Read a cluster expansion: one that is shipped, by name, or a file of icet."""
    from alloygen.adapters.icet import read_cluster_expansion

    return SHIPPED[name]() if name in SHIPPED else read_cluster_expansion(name)


def load_file(path: Path) -> Problem | FittedModel:
    """Read a problem or a fitted model."""
    try:
        return Problem.load(path)
    except CheckpointError as error:
        if getattr(error, "kind", None) != "fitted model":
            raise
    return load(path, device="cpu")


def read_model_config(lattice: Lattice, init: Path | None, **options: Any) -> ModelConfig | None:
    """Return the model that options (fields of :class:`ModelConfig`; None: not given) ask for on a lattice.

    Without options it is the lattice's default, or None if training starts from a model, which then decides.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if init is not None and not given:
        return None
    return replace(default_config(lattice, given.get("family", "causal")), **given)


def read_problem(name: str, supercell: Any = None) -> Problem:
    """Compile a cluster expansion on a supercell, or read a saved problem.

    Parameters
    ----------
    name
        A cluster expansion that is shipped, such as "cuau", an icet file, a saved problem, or a fitted model.
    supercell
        Text for :func:`read_supercell`, or anything that :meth:`Problem.from_cluster_expansion` takes; for cluster
        expansions only.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is something else.
    SupercellError, SpeciesError
        If the supercell is missing, given twice, or does not fit.
    """
    path = Path(name)
    if name in SHIPPED or is_cluster_expansion(path):
        if supercell is None:
            raise SupercellError(f"{name!r} needs a supercell: add for example 2x2x4, or a structure file")
        resolved = read_supercell(supercell) if isinstance(supercell, str) else supercell
        return Problem.from_cluster_expansion(read_expansion(name), resolved)
    if not path.is_file():
        raise CheckpointError(
            f"{name!r} is not a file: expected an icet .ce file, a saved problem, or one of {', '.join(SHIPPED)}"
        )
    if supercell is not None:
        raise SupercellError(f"the problem {name!r} has its supercell already: leave {supercell!r} out")
    content = load_file(path)
    return content.problem if isinstance(content, FittedModel) else content


def read_supercell(text: str) -> Any:
    """Read repetitions such as "2x2x4", or a structure file."""
    from alloygen.adapters.ase import read_structure

    repeats = parse_repeats(text)
    if repeats is None and not Path(text).is_file():
        raise SupercellError(
            f"supercell {text!r}: expected repetitions such as 2x2x4, or a structure file that ASE reads"
        )
    return repeats or read_structure(text)


def read_windows(texts: Sequence[str] | None) -> dict[str, tuple[float, float]] | None:
    """Read windows such as "Au:-0.2:0.2"; None if there are none, for ``fit`` to choose."""
    windows: dict[str, tuple[float, float]] = {}
    for text in texts or ():
        name, values = split_values(text, ":")
        if len(values) != 2 or name in windows:
            raise ChemicalPotentialError(
                f"--chemical-potential {text!r}: expected one window per species, such as Au:-0.2:0.2 in eV"
            )
        windows[name] = (values[0], values[1])
    return windows or None


def split_values(text: str, separator: str) -> tuple[str, list[float]]:
    """Read a name and numbers such as "Au:-0.2:0.2"; no numbers if one of them is none."""
    name, *values = text.split(separator)
    try:
        return name.strip(), [float(value) for value in values]
    except ValueError:
        return name, []


def check_target(*paths: Path | None) -> None:
    """Refuse, before any work, paths that cannot be written."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise AlloygenError(
                f"cannot write {str(path)!r}: expected a file name in a folder that exists and is writable"
            )


def check_folder(path: Path | None) -> None:
    """Refuse, before any work, a folder that cannot hold a run."""
    if path is None:
        return
    usable = path if path.exists() else path.parent
    if not usable.is_dir() or not os.access(usable, os.W_OK):
        raise CheckpointError(
            f"cannot use {str(path)!r} as the folder of a run: expected a folder, or the name of a new one, where files "
            "can be written"
        )
