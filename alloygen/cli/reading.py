"""From arguments of the command line to objects, refusing what cannot be read or written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from alloygen.errors import AlloygenError, CheckpointError, ChemicalPotentialError, CompositionError
from alloygen.lattice import Lattice
from alloygen.reference.compositions import count_vector, random_occupations


def read_windows(texts: Sequence[str] | None) -> dict[str, tuple[float, float]] | None:
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


def read_conditions(temperatures: Sequence[float], texts: Sequence[str] | None) -> list[dict[str, Any]]:
    """Combine all temperatures with all values of all species, such as "Au=0.05"."""
    potentials = read_chemical_potentials(texts)
    return [
        {"temperature": temperature, "chemical_potentials": dict(zip(potentials, values, strict=True))}
        for temperature in temperatures
        for values in product(*potentials.values())
    ]


def read_chemical_potentials(texts: Sequence[str] | None) -> dict[str, list[float]]:
    """Read values such as "Au=0.05", several of one species in their order."""
    potentials: dict[str, list[float]] = {}
    for text in texts or ():
        name, values = _split(text, "=")
        if len(values) != 1:
            raise ChemicalPotentialError(f"--chemical-potential {text!r}: expected for example Au=0.05 in eV")
        potentials.setdefault(name, []).append(values[0])
    return potentials


def read_counts(texts: Sequence[str] | None, lattice: Lattice) -> dict[str, int] | None:
    """Read numbers of atoms such as "Cu=8", and complete them; None if there are none.

    Raises
    ------
    CompositionError, SpeciesError
        If they are unusable, or the sites cannot hold them.
    """
    counts: dict[str, int] = {}
    for text in texts or ():
        name, values = _split(text, "=")
        if len(values) != 1 or not values[0].is_integer() or name in counts:
            raise CompositionError(f"--count {text!r}: expected a whole number of atoms of each species, such as Cu=8")
        counts[name] = int(values[0])
    if not counts:
        return None
    # Drawing a configuration shows that the sites can hold them.
    random_occupations(lattice, counts, 1, np.random.default_rng(0))
    return dict(zip(lattice.species, count_vector(lattice, counts).tolist(), strict=True))


def _split(text: str, separator: str) -> tuple[str, list[float]]:
    name, *values = text.split(separator)
    try:
        return name.strip(), [float(value) for value in values]
    except ValueError:
        return name, []


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


def check_target(*paths: Path | None) -> None:
    """Refuse, before any work, paths that cannot be written."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise AlloygenError(
                f"cannot write {str(path)!r}: expected a file name in a folder that exists and is writable"
            )


def check_structure_target(path: Path | None) -> None:
    """Refuse, before any work, a path that structures cannot be written to."""
    from alloygen.adapters.ase import check_structure_suffix

    check_target(path)
    if path is not None:
        check_structure_suffix(path)
