r"""Free energies of one supercell over grids of conditions, with everything else that the same samples tell.

In both objects numbers are per site, in the energy unit of ``units`` (eV for alloys, J for spin models):

- semi-grand canonical: phi = Phi / n, with Phi = -k_B T ln Xi; <e> = <E> / n; entropy s = (<E> - mu.<N> - Phi) / (n T);
- canonical: f = F / n, with F = -k_B T ln Z_N; entropy s = (<E> - F) / (n T).

Heat capacities are derivatives by the temperature of <E - mu.N>, or of <E> at fixed composition.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logsumexp

from alloygen.errors import CompositionError, TemperatureError
from alloygen.thermo.results import Measured, Result, readonly
from alloygen.thermo.tables import add_measured, dataframe
from alloygen.units import UnitSystem, unit_system

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.analysis.phase_diagram import PhaseDiagram

    from alloygen.adapters.pymatgen_entries import FreeEnergyEntry

Array = np.ndarray


@dataclass(frozen=True)
class OrderedStructure(Result):
    """An ordered structure whose long-range order is measured.

    Attributes
    ----------
    name
        Such as "L1_2 Cu3Au", or formula and space group where the structure has no name of its own.
    formula, prototype, space_group
        Reduced formula, Strukturbericht name (None if unknown) and Hermann-Mauguin symbol.
    fractions
        Of every species.
    n_variants
        Configurations of the supercell that are this structure.
    """

    name: str
    formula: str
    prototype: str | None
    space_group: str
    fractions: tuple[float, ...]
    n_variants: int


class GridResult(Result):
    """What results on a grid of temperatures derive from their fields."""

    units: str
    reasons: tuple[tuple[str, ...], ...]

    @property
    def unit_system(self) -> UnitSystem:
        """The units of all numbers."""
        return unit_system(self.units)

    @property
    def reliable(self) -> Array:
        """Which values passed all checks, in the shape of the grid."""
        return np.array([[not reason for reason in row] for row in self.reasons])


@dataclass(frozen=True, eq=False)
class SemigrandFreeEnergy(GridResult):
    """Grand potentials and averages on a grid of temperatures and chemical potentials.

    Attributes
    ----------
    n_sites, species, units, lattice_name
        Sites of the supercell; names of the species; name of the unit system; what a disordered phase is called ("fcc").
    temperatures
        Ascending, shape (n_T,).
    chemical_potentials
        One per species, shape (n_mu, n_species), in energy units.
    grand_potential, energy, entropy, heat_capacity
        Per site, shape (n_T, n_mu); entropy and heat capacity in energy units per temperature unit.
    fractions
        Mean fraction of every species, shape (n_T, n_mu, n_species).
    susceptibility
        Derivative of each species' fraction by its chemical potential, (<N^2> - <N>^2) / (k_B T n), shape (n_T, n_mu, n_species).
    lower_bound, upper_bound
        Of the grand potential per site, shape (n_T, n_mu); two standard errors are included.
    effective_sample_size
        In draws, shape (n_T, n_mu).
    reasons
        Why a value is not to be trusted, "" where it is; (n_T, n_mu) nested.
    estimator, wall_time
        Name of the method, and its seconds.
    short_range_order, shell_distances
        Warren-Cowley parameters per shell of neighbours, shape (n_T, n_mu, n_shells), and distances in the cell's units; None if
        not measured.
    long_range_order, ordered_structures
        Order parameter of every ordered structure, shape (n_T, n_mu, n_structures); None if not measured.
    """

    n_sites: int
    species: tuple[str, ...]
    units: str
    lattice_name: str
    temperatures: Array
    chemical_potentials: Array
    grand_potential: Measured
    energy: Measured
    entropy: Measured
    heat_capacity: Measured
    fractions: Measured
    susceptibility: Measured
    lower_bound: Array
    upper_bound: Array
    effective_sample_size: Array
    reasons: tuple[tuple[str, ...], ...]
    estimator: str
    wall_time: float
    short_range_order: Measured | None = None
    shell_distances: Array | None = None
    long_range_order: Measured | None = None
    ordered_structures: tuple[OrderedStructure, ...] = ()

    def __post_init__(self) -> None:
        _make_readonly(self)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per condition; ``DataFrame.attrs["units"]`` has the unit of every column."""
        columns: dict[str, Array] = {"temperature": np.repeat(self.temperatures, len(self.chemical_potentials))}
        for index, name in enumerate(self.species):
            columns[f"chemical_potential_{name}"] = np.tile(self.chemical_potentials[:, index], len(self.temperatures))
        measured = {
            "grand_potential": self.grand_potential, "energy": self.energy, "entropy": self.entropy,
            "heat_capacity": self.heat_capacity,
        }  # fmt: skip
        add_measured(columns, measured, "_per_site")
        by_species = {
            f"{label}_{name}": data[..., index]
            for label, data in (("x", self.fractions), ("susceptibility", self.susceptibility))
            for index, name in enumerate(self.species)
        }
        add_measured(columns, by_species, "")
        columns["grand_potential_lower_bound_per_site"] = self.lower_bound.ravel()
        columns["grand_potential_upper_bound_per_site"] = self.upper_bound.ravel()
        return dataframe(self, columns)


@dataclass(frozen=True, eq=False)
class CanonicalFreeEnergy(GridResult):
    """Free energies and averages of all compositions of a supercell at several temperatures.

    Attributes
    ----------
    n_sites, species, units, lattice_name
        As in :class:`SemigrandFreeEnergy`.
    temperatures
        Ascending, shape (n_T,).
    counts
        Atoms of every species, shape (n_x, n_species), ordered by the counts of the last species.
    free_energy, energy, entropy, heat_capacity
        Per site, shape (n_T, n_x); entropy and heat capacity in energy units per temperature unit. NaN +- inf without a sample.
    replicates
        Free energies per site of bootstrap replicates, shape (n_replicates, n_T, n_x): errors with all their correlations.
    effective_sample_size
        Shape (n_T, n_x).
    reasons
        Why a value is not to be trusted, "" where it is; (n_T, n_x) nested.
    estimator, wall_time
        Name of the method, and its seconds.
    short_range_order, shell_distances, long_range_order, ordered_structures
        As in :class:`SemigrandFreeEnergy`, arrays of shape (n_T, n_x, ...).
    """

    n_sites: int
    species: tuple[str, ...]
    units: str
    lattice_name: str
    temperatures: Array
    counts: Array
    free_energy: Measured
    energy: Measured
    entropy: Measured
    heat_capacity: Measured
    replicates: Array
    effective_sample_size: Array
    reasons: tuple[tuple[str, ...], ...]
    estimator: str
    wall_time: float
    short_range_order: Measured | None = None
    shell_distances: Array | None = None
    long_range_order: Measured | None = None
    ordered_structures: tuple[OrderedStructure, ...] = ()

    def __post_init__(self) -> None:
        _make_readonly(self)
        object.__setattr__(self, "counts", readonly(self.counts, np.int64))

    @property
    def fractions(self) -> Array:
        """Fractions of every species, shape (n_x, n_species)."""
        return self.counts / self.n_sites

    def index_of(self, temperature: float) -> int:
        """Return the index of a temperature in :attr:`temperatures`.

        Raises
        ------
        TemperatureError
            If it is not one of them.
        """
        found = np.flatnonzero(np.isclose(self.temperatures, temperature, rtol=1e-9, atol=0.0))
        if not len(found):
            known = ", ".join(f"{t:g}" for t in self.temperatures)
            raise TemperatureError(
                f"temperature = {temperature:g} {self.unit_system.temperature} is not on the grid: expected one of {known}; "
                "ask for it when the free energy is computed",
                temperature=temperature,
            )
        return int(found[0])

    def composition_index(self, counts: Mapping[str, int]) -> int:
        """Return the index of a composition in :attr:`counts`.

        Raises
        ------
        CompositionError
            If the supercell cannot hold it.
        """
        wanted = [counts.get(name, 0) for name in self.species]
        found = np.flatnonzero((self.counts == wanted).all(axis=1))
        if set(counts) - set(self.species) or not len(found):
            raise CompositionError(
                f"the supercell of {self.n_sites} sites cannot hold {dict(counts)}: expected whole numbers of "
                f"{', '.join(self.species)} that add up to {self.n_sites}"
            )
        return int(found[0])

    def grand_potential(self, temperature: float, chemical_potentials: Mapping[str, float]) -> tuple[float, float]:
        """Return the grand potential per site and its error at any chemical potentials: Xi = sum_N exp(beta mu.N) Z_N, exactly.

        Raises
        ------
        TemperatureError
            If the temperature is not on the grid.
        CompositionError
            If the free energy of a composition is not known there.
        """
        t = self.index_of(temperature)
        unknown = ~np.isfinite(self.free_energy.value[t])
        if unknown.any():
            x = int(unknown.argmax())
            raise CompositionError(
                f"the free energies of {unknown.sum()} compositions are not known at {temperature:g} {self.unit_system.temperature}, "
                f"the first of {dict(zip(self.species, self.counts[x].tolist(), strict=True))}: {self.reasons[t][x]}"
            )
        mu = np.array([chemical_potentials.get(name, 0.0) for name in self.species])
        beta = self.unit_system.beta(temperature)

        def average(free: Array) -> Array:
            terms = beta * (self.counts @ mu - self.n_sites * free)
            return -logsumexp(terms, axis=-1) / (beta * self.n_sites)

        value = float(average(self.free_energy.value[t]))
        return value, float(average(self.replicates[:, t]).std(ddof=1))

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per temperature and composition; ``DataFrame.attrs["units"]`` has the unit of every column."""
        columns: dict[str, Array] = {"temperature": np.repeat(self.temperatures, len(self.counts))}
        for index, name in enumerate(self.species):
            columns[f"n_{name}"] = np.tile(self.counts[:, index], len(self.temperatures))
            columns[f"x_{name}"] = np.tile(self.fractions[:, index], len(self.temperatures))
        measured = {
            "free_energy": self.free_energy, "energy": self.energy, "entropy": self.entropy, "heat_capacity": self.heat_capacity,
        }  # fmt: skip
        add_measured(columns, measured, "_per_site")
        return dataframe(self, columns)

    def to_entries(
        self, temperature: float, *, reference: Mapping[str, float] | None = None, allow_unreliable: bool = False
    ) -> list[FreeEnergyEntry]:
        """Return one pymatgen entry per composition; see :func:`alloygen.adapters.pymatgen_entries.free_energy_entries`."""
        from alloygen.adapters.pymatgen_entries import free_energy_entries

        return free_energy_entries(self, temperature, reference=reference, allow_unreliable=allow_unreliable)

    def to_pymatgen(
        self, temperature: float, *, reference: Mapping[str, float] | None = None, allow_unreliable: bool = False
    ) -> PhaseDiagram:
        """Return pymatgen's diagram at one temperature; see :func:`alloygen.adapters.pymatgen_entries.to_phase_diagram`."""
        from alloygen.adapters.pymatgen_entries import to_phase_diagram

        return to_phase_diagram(self, temperature, reference=reference, allow_unreliable=allow_unreliable)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_dataframe` to a CSV file, whole or not at all."""
        from alloygen.files import write_text

        write_text(path, self.to_dataframe().to_csv(index=False))


def _make_readonly(result: Any) -> None:
    for name, value in vars(result).items():
        if isinstance(value, np.ndarray):
            object.__setattr__(result, name, readonly(value, value.dtype))
