"""Structures as projected spheres."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from alloygen.errors import AlloygenError
from alloygen.plotting.style import OKABE_ITO, plain

Array = np.ndarray

#: Columns of the grid, and its inches per structure.
_N_COLUMNS = 4
_INCHES = 2.3
#: Radius of a sphere in nearest-neighbour distances.
_RADIUS = 0.31
#: Fractional coordinate below which an atom is on a face of the cell.
_ON_FACE = 1e-4
#: Direction of view: turned by these degrees about z, then about the horizontal axis of the page.
_TURN, _TILT = 20.0, -75.0
#: Orange, blue, ...: light and dark in turn, so that grey prints tell the species apart.
_COLOURS = (OKABE_ITO[4], OKABE_ITO[0], OKABE_ITO[5], OKABE_ITO[1], OKABE_ITO[7], OKABE_ITO[2], OKABE_ITO[3])
_SPINS = {-1.0: "down", 1.0: "up"}


def plot_structures(structures: Sequence[Any], titles: Sequence[str] | None = None) -> Figure:
    """Draw structures side by side, seen from one direction, a colour per species.

    Atoms on a face of the cell are repeated on the opposite face, so that the cell is full; one layer is seen from above.

    Parameters
    ----------
    structures
        Objects like :class:`ase.Atoms`: with ``positions`` (n, 3), ``cell`` (3, 3) and ``get_chemical_symbols()``. Atoms
        X with magnetic moments are the spins "down" and "up".
    titles
        One text per structure; chemical formulas unless given.

    Returns
    -------
    matplotlib.figure.Figure
        A grid of up to four columns, with the cells' edges and a legend of the species.

    Raises
    ------
    AlloygenError
        If there is no structure, one is something else, or the titles differ in number.
    """
    if not len(structures):
        raise AlloygenError("no structures to draw: expected at least one, from model.sample(...)")
    parts = [_arrays(structure) for structure in structures]
    names = [species for _, _, species in parts]
    titles = [_formula(species) for species in names] if titles is None else titles
    if len(titles) != len(structures):
        raise AlloygenError(f"got {len(titles)} titles for {len(structures)} structures: expected one for each")
    species = sorted(set().union(*names))
    colours = {name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(species)}
    n_columns = min(_N_COLUMNS, len(structures))
    n_rows = -(-len(structures) // n_columns)
    figure = Figure(figsize=(_INCHES * n_columns + 0.9, (_INCHES + 0.3) * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for panel, (positions, cell, row), title in zip(panels, parts, titles, strict=False):
        _draw(panel, positions, cell, row, colours)
        panel.set_title(plain(title), fontsize="small")
    for panel in panels:
        panel.set_axis_off()
    handles = [
        Line2D([], [], marker="o", markersize=9, linestyle="none", color=colours[name], markeredgecolor="black", label=name)
        for name in species
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
    return figure


def _arrays(structure: Any) -> tuple[Array, Array, list[str]]:
    """Return positions (n, 3), cell (3, 3) and names of the species."""
    try:
        positions = np.asarray(structure.positions, dtype=np.float64).reshape(-1, 3)
        cell = np.asarray(structure.cell[:], dtype=np.float64).reshape(3, 3)
        names = list(structure.get_chemical_symbols())
        if set(names) == {"X"} and np.any(moments := structure.get_initial_magnetic_moments()):
            names = [_SPINS[float(np.sign(m))] for m in moments]
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise AlloygenError(
            f"got {type(structure).__name__}: expected an ase.Atoms, from model.sample(...) or problem.atoms(occupation)"
        ) from error
    if not len(positions):
        raise AlloygenError("a structure holds no atoms: expected at least one")
    return positions, cell, names


def _draw(panel: Axes, positions: Array, cell: Array, species: list[str], colours: dict[str, str]) -> None:
    """Draw spheres from back to front, between the edges of the cell."""
    radius = _RADIUS * _neighbour_distance(positions, cell)
    turn = np.eye(3) if np.ptp(positions[:, 2]) < 1e-6 else _rotation()
    atoms, positions = _with_faces(positions, cell)
    flat = positions @ turn.T
    corners = np.array(list(product((0, 1), repeat=3)))
    for corner in corners:
        for axis in np.flatnonzero(corner == 0):
            ends = np.stack([corner, corner + np.eye(3)[axis]]) @ cell @ turn.T
            panel.plot(ends[:, 0], ends[:, 1], color="0.6", linewidth=0.7, zorder=0)
    depth = flat[:, 2]
    for rank, k in enumerate(np.argsort(depth, kind="stable")):
        panel.add_patch(
            Circle(
                tuple(flat[k, :2]), radius, facecolor=colours[species[atoms[k]]], edgecolor="black", linewidth=0.6,
                zorder=1 + rank / len(depth),
            )
        )  # fmt: skip
    outline = np.concatenate([flat, corners @ cell @ turn.T])[:, :2]
    low, high = outline.min(axis=0) - 1.2 * radius, outline.max(axis=0) + 1.2 * radius
    panel.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")


def _with_faces(positions: Array, cell: Array) -> tuple[Array, Array]:
    """Repeat the atoms on faces of the cell on the opposite faces: (numbers of the atoms, positions)."""
    fractional = positions @ np.linalg.inv(cell)
    fractional -= np.floor(fractional + _ON_FACE)
    numbers, places = np.arange(len(positions)), fractional
    for axis in range(3):
        near = places[:, axis] < _ON_FACE
        numbers = np.concatenate([numbers, numbers[near]])
        places = np.concatenate([places, places[near] + np.eye(3)[axis]])
    return numbers, places @ cell


def _rotation() -> Array:
    """Return the rotation onto the page, rows: right, up, towards the reader."""
    a, b = np.deg2rad(_TURN), np.deg2rad(_TILT)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return about_x @ about_z


def _neighbour_distance(positions: Array, cell: Array) -> float:
    """Return the shortest distance of the first atoms to any other, periodic images included."""
    images = np.array(list(product((-1, 0, 1), repeat=3))) @ cell
    shifted = positions[:8, None, None] - positions[None, :, None] + images
    distance = np.linalg.norm(shifted, axis=-1)
    return float(distance[distance > 1e-6].min())


def _formula(species: list[str]) -> str:
    return "".join(f"{name}{species.count(name)}" for name in sorted(set(species)))
