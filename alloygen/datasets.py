"""Cluster expansions that ship with alloygen."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from alloygen.errors import CheckpointError

if TYPE_CHECKING:
    from icet import ClusterExpansion


def data_path(name: str) -> Path:
    """Return the path of a shipped data file, in an installed package or in a source tree.

    Raises
    ------
    CheckpointError
        If there is no such file.
    """
    package = Path(str(resources.files("alloygen")))
    for folder in (package / "_data", package.parent / "data"):
        if (folder / name).exists():
            return folder / name
    raise CheckpointError(f"alloygen ships no data file {name!r}: reinstall the package")


def cuau() -> ClusterExpansion:
    """Return the Cu-Au cluster expansion: formation energies on fcc, a = 3.8 angstrom, in eV/atom.

    Both pure metals have energy zero. Provenance and figures: ``data/cuau/README.md``.
    """
    from alloygen.adapters.icet import read_cluster_expansion

    return read_cluster_expansion(data_path("cuau/cuau.ce"))
