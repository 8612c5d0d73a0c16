"""Figures: phase diagrams, free energies and averages with their errors, structures, and the course of a training.

Every ``plot_`` function returns a :class:`matplotlib.figure.Figure` that pyplot does not know, so figures work without a
display and change no global state; ``figure.savefig(path)`` writes them. Curves follow temperature on matplotlib's viridis
scale, phases have the colours of Okabe and Ito; both survive colour blindness, and markers repeat what colours say. Bars
are two standard errors or 95 % intervals; hollow markers are not reliable.
"""

from alloygen.plotting.averages import plot_heat_capacity, plot_isotherms, plot_order
from alloygen.plotting.free_energy_curves import plot_free_energy_curves
from alloygen.plotting.grand_potentials import plot_free_energies
from alloygen.plotting.interactive import interactive_free_energy_curves, interactive_phase_diagram
from alloygen.plotting.phase_diagram import plot_phase_diagram
from alloygen.plotting.structures import plot_structures
from alloygen.plotting.training import plot_training

__all__ = [
    "interactive_free_energy_curves",
    "interactive_phase_diagram",
    "plot_free_energies",
    "plot_free_energy_curves",
    "plot_heat_capacity",
    "plot_isotherms",
    "plot_order",
    "plot_phase_diagram",
    "plot_structures",
    "plot_training",
]
