"""Figures: free energies beside exact ones, and the course of a training.

Every function returns a :class:`matplotlib.figure.Figure` that belongs to nobody: pyplot and its global state are not
involved, so figures work without a display, and ``figure.savefig(path)`` writes them. Colours run from dark to bright
with temperature on matplotlib's viridis scale, which survives colour blindness and grey printing; markers repeat what
the colours say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from alloygen.errors import AlloygenError
from alloygen.estimate import Estimate
from alloygen.fitting import FittedModel
from alloygen.reference.enumeration import Enumeration
from alloygen.units import UnitSystem, unit_system

Array = np.ndarray

_MARKERS = "osD^vP*X<>"
#: Points of an exact curve.
_N_CURVE = 161
#: Part of the spacing between points over which the error bars of several curves are spread in the lower panel.
_DODGE = 0.5


@dataclass(frozen=True)
class _Curve:
    """The estimates of one curve, sorted by ``x``; values per site in plot units."""

    label: str
    condition: tuple[float, dict[str, float]]
    x: Array
    value: Array
    error: Array
    exact: Array | None
    reliable: Array


def plot_free_energies(
    estimates: Sequence[Estimate],
    exact: Sequence[float] | Enumeration | None = None,
    *,
    species: str | None = None,
    title: str | None = None,
) -> Figure:
    """Draw grand potentials per site with error bars of two standard errors, and their deviations from exact values.

    The upper panel shows Phi per site against the chemical potential that varies, one curve per temperature; where no
    chemical potential varies (spin models), against temperature. The lower panel, drawn if exact values are given,
    shows estimate minus exact. Hollow markers stand for estimates that are not reliable.

    Parameters
    ----------
    estimates
        Estimates of one supercell, in any order.
    exact
        Exact grand potentials per supercell in the estimates' energy unit, one per estimate (drawn as rings), or an
        :class:`~alloygen.Enumeration` (drawn as dashed curves).
    species
        Species whose chemical potential is the horizontal axis; needed only if several vary.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        With one or two panels. Energies are in meV for alloys and in J for spin models.

    Raises
    ------
    AlloygenError
        If there are no estimates, they differ in supercell or units, exact values are missing, or several chemical
        potentials vary and none is chosen.
    """
    units = _check(estimates, exact)
    axis = _horizontal_axis(estimates, species)
    curves = _curves(estimates, _exact_values(estimates, exact), axis, units)
    figure = Figure(figsize=(7.4, 4.0 if exact is None else 6.0), layout="constrained")
    upper: Axes
    if exact is None:
        upper = lowest = figure.add_subplot()
    else:
        upper, lowest = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1.0))
    colours = _colours(len(curves))
    for number, (curve, colour) in enumerate(zip(curves, colours, strict=True)):
        _draw_values(upper, curve, colour, _MARKERS[number % len(_MARKERS)], exact, axis, units)
    if exact is not None:
        _draw_deviations(lowest, curves, colours)
        lowest.set_ylabel(f"deviation from\nexact ({_energy_unit(units)}/site)")
    upper.set_ylabel(rf"grand potential $\Phi$ ({_energy_unit(units)}/site)")
    lowest.set_xlabel(_axis_label(estimates, axis, units))
    if title is not None:
        figure.suptitle(title)
    figure.legend(handles=_handles(curves, colours, exact), loc="outside right upper", frameon=False)
    return figure


def plot_training(model: FittedModel) -> Figure:
    """Draw the loss and the effective sample size of a training against its seconds.

    Parameters
    ----------
    model
        A fitted model; its ``information["history"]`` is drawn.

    Returns
    -------
    matplotlib.figure.Figure
        Upper panel: mean -log q per site of reference samples, in nats. Lower panel: median effective sample size over
        probe conditions, in percent of the draws.

    Raises
    ------
    AlloygenError
        If the model has no training record.
    """
    history = model.information.get("history") or []
    if not history:
        raise AlloygenError("the model has no training history to draw: fit it with a larger budget")
    seconds, loss, ess = (np.array([record[key] for record in history]) for key in ("seconds", "loss", "ess"))
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    first, second = _colours(2)
    upper.plot(seconds, loss, color=first, marker="o", markersize=4)
    upper.set_ylabel(r"loss: mean $-\log q$ (nats/site)")
    lower.plot(seconds, 100 * ess, color=second, marker="s", markersize=4)
    lower.set_ylabel("effective sample size\n(% of draws)")
    lower.set_ylim(0, 104)
    lower.set_xlabel("training time (s)")
    for panel in (upper, lower):
        _tidy(panel)
    return figure


# ---------------------------------------------------------------------- data


def _check(estimates: Sequence[Estimate], exact: Sequence[float] | Enumeration | None) -> UnitSystem:
    if not len(estimates):
        raise AlloygenError("no estimates to draw: expected at least one, from model.free_energy(...)")
    kinds = {(e.units, e.n_sites, tuple(e.chemical_potentials)) for e in estimates}
    if len(kinds) > 1:
        raise AlloygenError(
            f"the estimates belong to different supercells ({len(kinds)} kinds of units, sites or species): draw one "
            "figure for each"
        )
    if exact is not None and not isinstance(exact, Enumeration) and len(exact) != len(estimates):
        raise AlloygenError(f"got {len(exact)} exact values for {len(estimates)} estimates: expected one for each")
    return unit_system(estimates[0].units)


def _horizontal_axis(estimates: Sequence[Estimate], species: str | None) -> str | None:
    """Return the species whose chemical potential is drawn against, or None for the temperature."""
    names = list(estimates[0].chemical_potentials)
    if species is not None:
        if species not in names:
            raise AlloygenError(f"species = {species!r}: expected one of {', '.join(names)}")
        return species
    varied = [name for name in names if len({e.chemical_potentials[name] for e in estimates}) > 1]
    if len(varied) > 1:
        raise AlloygenError(
            f"the chemical potentials of {', '.join(varied)} vary: choose the horizontal axis, for example "
            f"species={varied[0]!r}"
        )
    return varied[0] if varied else None


def _exact_values(estimates: Sequence[Estimate], exact: Sequence[float] | Enumeration | None) -> list[float] | None:
    if isinstance(exact, Enumeration):
        return [exact.averages(e.temperature, e.chemical_potentials).grand_potential for e in estimates]
    return None if exact is None else [float(value) for value in exact]


def _curves(
    estimates: Sequence[Estimate], exact: list[float] | None, axis: str | None, units: UnitSystem
) -> list[_Curve]:
    """Group the estimates by everything that is not the horizontal axis."""
    groups: dict[tuple[float, ...], list[int]] = {}
    for index, estimate in enumerate(estimates):
        others = tuple(mu for name, mu in estimate.chemical_potentials.items() if name != axis)
        groups.setdefault((*others, estimate.temperature if axis else 0.0), []).append(index)
    scale = _scale(units) / estimates[0].n_sites
    curves = []
    for key in sorted(groups):
        members = sorted(groups[key], key=lambda i: _position(estimates[i], axis))
        chosen = [estimates[i] for i in members]
        curves.append(
            _Curve(
                label=_curve_label(chosen[0], axis, units, several=len({k[:-1] for k in groups}) > 1),
                condition=(chosen[0].temperature, dict(chosen[0].chemical_potentials)),
                x=np.array([_position(e, axis) for e in chosen]),
                value=scale * np.array([e.value for e in chosen]),
                error=scale * np.array([e.error for e in chosen]),
                exact=None if exact is None else scale * np.array([exact[i] for i in members]),
                reliable=np.array([e.reliable for e in chosen]),
            )
        )
    return curves


def _position(estimate: Estimate, axis: str | None) -> float:
    """Return the horizontal coordinate: with two species the difference of chemical potentials, dmu."""
    if axis is None:
        return estimate.temperature
    others = [mu for name, mu in estimate.chemical_potentials.items() if name != axis]
    return estimate.chemical_potentials[axis] - (others[0] if len(others) == 1 else 0.0)


# ---------------------------------------------------------------------- drawing


def _draw_values(
    panel: Axes,
    curve: _Curve,
    colour: tuple[float, ...],
    marker: str,
    exact: Sequence[float] | Enumeration | None,
    axis: str | None,
    units: UnitSystem,
) -> None:
    panel.plot(curve.x, curve.value, color=colour, linewidth=1.2, linestyle="-" if exact is None else "none")
    _error_bars(panel, curve.x, curve.value, curve, colour, marker)
    if isinstance(exact, Enumeration):
        grid = np.linspace(curve.x.min(), curve.x.max(), _N_CURVE)
        n_sites = exact.hamiltonian.lattice.n_sites
        smooth = [_exact_at(exact, curve, axis, float(x)) * _scale(units) / n_sites for x in grid]
        panel.plot(grid, smooth, color="black", linestyle=(0, (5, 3)), linewidth=0.9, zorder=1)
    elif curve.exact is not None:
        panel.plot(curve.x, curve.exact, "o", markersize=10, markerfacecolor="none", markeredgecolor="black")
    _tidy(panel)


def _exact_at(exact: Enumeration, curve: _Curve, axis: str | None, x: float) -> float:
    temperature, potentials = curve.condition
    if axis is None:
        return exact.averages(x, potentials).grand_potential
    others = [mu for name, mu in potentials.items() if name != axis]
    return exact.averages(
        temperature, {**potentials, axis: x + (others[0] if len(others) == 1 else 0.0)}
    ).grand_potential


def _draw_deviations(panel: Axes, curves: list[_Curve], colours: list[tuple[float, ...]]) -> None:
    panel.axhline(0.0, color="black", linewidth=0.9, zorder=1)
    positions = np.unique(np.concatenate([curve.x for curve in curves]))
    spacing = float(np.diff(positions).min()) if len(positions) > 1 else 0.0
    for number, (curve, colour) in enumerate(zip(curves, colours, strict=True)):
        assert curve.exact is not None
        # Side by side, so that the bars of one chemical potential do not hide each other.
        shift = _DODGE * spacing * ((number + 0.5) / len(curves) - 0.5)
        _error_bars(
            panel, curve.x + shift, curve.value - curve.exact, curve, colour, _MARKERS[number % len(_MARKERS)]
        )
    _tidy(panel)


def _error_bars(
    panel: Axes, x: Array, y: Array, curve: _Curve, colour: tuple[float, ...], marker: str
) -> None:
    panel.errorbar(x, y, yerr=2 * curve.error, fmt="none", ecolor=colour, elinewidth=1.2, capsize=2.5)
    for chosen, face in ((curve.reliable, colour), (~curve.reliable, "white")):
        if chosen.any():
            panel.plot(x[chosen], y[chosen], marker, color=colour, markerfacecolor=face, markersize=5)


def _handles(
    curves: list[_Curve], colours: list[tuple[float, ...]], exact: Sequence[float] | Enumeration | None
) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker=_MARKERS[number % len(_MARKERS)], markersize=5, label=curve.label,
               linestyle="-" if exact is None else "none")
        for number, (curve, colour) in enumerate(zip(curves, colours, strict=True))
    ]  # fmt: skip
    if isinstance(exact, Enumeration):
        handles.append(Line2D([], [], color="black", linestyle=(0, (5, 3)), linewidth=0.9, label="exact"))
    elif exact is not None:
        handles.append(
            Line2D([], [], color="black", marker="o", markersize=9, markerfacecolor="none", linestyle="none", label="exact")
        )
    if not all(curve.reliable.all() for curve in curves):
        handles.append(
            Line2D([], [], color="grey", marker="o", markersize=5, markerfacecolor="white", linestyle="none",
                   label="not reliable")
        )  # fmt: skip
    return handles


# ---------------------------------------------------------------------- labels and colours


def _energy_unit(units: UnitSystem) -> str:
    return "meV" if units.energy == "eV" else units.energy


def _scale(units: UnitSystem) -> float:
    return 1e3 if units.energy == "eV" else 1.0


def _temperature_unit(units: UnitSystem) -> str:
    return r"$J/k_\mathrm{B}$" if units.temperature == "J/k_B" else units.temperature


def _axis_label(estimates: Sequence[Estimate], axis: str | None, units: UnitSystem) -> str:
    if axis is None:
        return f"temperature ({_temperature_unit(units)})"
    others = [name for name in estimates[0].chemical_potentials if name != axis]
    if len(others) == 1:
        return (
            rf"$\Delta\mu = \mu_\mathrm{{{axis}}} - \mu_\mathrm{{{others[0]}}}$ ({units.energy})"
        )
    return rf"$\mu_\mathrm{{{axis}}}$ ({units.energy})"


def _curve_label(estimate: Estimate, axis: str | None, units: UnitSystem, *, several: bool) -> str:
    potentials = ", ".join(
        rf"$\mu_\mathrm{{{name}}}$ = {mu:g} {units.energy}"
        for name, mu in estimate.chemical_potentials.items()
        if name != axis and several
    )
    temperature = f"{estimate.temperature:g} {_temperature_unit(units)}" if axis else ""
    return ", ".join(part for part in (temperature, potentials) if part) or "model"


def _colours(n: int) -> list[tuple[float, ...]]:
    scale = matplotlib.colormaps["viridis"]
    return [scale(position) for position in np.linspace(0.0, 0.85, n)] if n > 1 else [scale(0.25)]


def _tidy(panel: Axes) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25, linewidth=0.6)
    assert all(math.isfinite(limit) for limit in panel.get_ylim())
