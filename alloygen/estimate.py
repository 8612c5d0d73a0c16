"""The one result type of every estimator, neural or classical."""

from __future__ import annotations

import math
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from alloygen.errors import AlloygenError, CheckpointError
from alloygen.units import unit_system

#: Version of the dictionaries that :meth:`Estimate.as_dict` writes. Version 1 had neither quantity nor counts.
FORMAT = 2
READABLE_FORMATS = (1, 2)

#: What an estimate can be of; see :class:`Estimate` for definitions and units.
QUANTITIES = ("grand_potential", "free_energy", "energy", "heat_capacity", "count")


@dataclass(frozen=True)
class Estimate:
    r"""A thermodynamic quantity of the whole supercell with its error, its bounds and a verdict.

    The value is, in the energy unit of ``units`` (eV for alloys, J for spin models) unless said otherwise, one of

    - "grand_potential": Phi = -k_B T ln Xi, at fixed chemical potentials;
    - "free_energy": F = -k_B T ln Z_N, at fixed composition (canonical);
    - "energy": the mean energy;
    - "heat_capacity": the derivative of the mean energy (minus mu.N at fixed chemical potentials) by the temperature,
      in energy per temperature unit (eV/K; k_B for spin models);
    - "count": the mean number of atoms of one species, in atoms.

    The ``_per_site`` properties divide by ``n_sites``.

    Attributes
    ----------
    value, error
        Estimate and its standard error.
    lower_bound, upper_bound
        The interval of the reverse and the variational bound, each moved outwards by two of its standard errors;
        -inf and +inf where a method gives none.
    temperature, chemical_potentials
        The condition; no chemical potentials at fixed composition.
    n_sites
        Sites of the supercell, spectators included.
    n_samples, effective_sample_size
        Draws made, and how many independent ones with equal weights they are worth.
    pareto_k
        Shape of the weights' tail. Above 0.7 the error includes what the tail may hide beyond the largest draw. NaN
        where there are no weights.
    reliable, reason
        Verdict, and what it rests on.
    estimator
        Name of the method.
    units
        Name of the unit system ("atomic" or "reduced").
    n_energy_evaluations, wall_time
        Cost: configurations whose energy was computed, and seconds.
    quantity
        What the value is of, one of :data:`QUANTITIES`.
    counts
        Atoms of every species where the composition is fixed, None otherwise.

    Raises
    ------
    AlloygenError
        If the quantity is not one of :data:`QUANTITIES`.
    """

    value: float
    error: float
    lower_bound: float
    upper_bound: float
    temperature: float
    chemical_potentials: dict[str, float]
    n_sites: int
    n_samples: int
    effective_sample_size: float
    pareto_k: float
    reliable: bool
    reason: str
    estimator: str
    units: str
    n_energy_evaluations: int
    wall_time: float
    quantity: str = "grand_potential"
    counts: dict[str, int] | None = None

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise AlloygenError(f"quantity {self.quantity!r} is unknown: expected one of {', '.join(QUANTITIES)}")

    @property
    def value_per_site(self) -> float:
        """Value per site."""
        return self.value / self.n_sites

    @property
    def error_per_site(self) -> float:
        """Standard error per site."""
        return self.error / self.n_sites

    @property
    def lower_bound_per_site(self) -> float:
        """Lower bound per site."""
        return self.lower_bound / self.n_sites

    @property
    def upper_bound_per_site(self) -> float:
        """Upper bound per site."""
        return self.upper_bound / self.n_sites

    @property
    def log_partition_function(self) -> float:
        """The value as ln Xi = -Phi / (k_B T), or ln Z_N = -F / (k_B T) at fixed composition.

        Raises
        ------
        AlloygenError
            If the quantity is no free energy.
        """
        if self.quantity not in ("grand_potential", "free_energy"):
            raise AlloygenError(
                f"an estimate of {self.quantity!r} has no partition function: ask one of 'grand_potential' or 'free_energy'"
            )
        return -self.value * unit_system(self.units).beta(self.temperature)

    def as_dict(self) -> dict[str, Any]:
        """Return a strictly JSON-ready dictionary in the MSON convention, which ``monty`` decodes."""
        record = {key: _encode(value) for key, value in asdict(self).items()}
        return {"@module": type(self).__module__, "@class": type(self).__name__, "format": FORMAT, **record}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Estimate:
        """Read what :meth:`as_dict` wrote, now or in an earlier format.

        Raises
        ------
        CheckpointError
            If the record's format is unknown or a field is missing.
        AlloygenError
            If its quantity is unknown.
        """
        # monty's encoder writes the fields of a dataclass without asking it, so the format may be missing.
        version = record.get("format")
        if version is not None and version not in READABLE_FORMATS:
            raise CheckpointError(
                f"estimate has format {version!r}: this version reads formats {READABLE_FORMATS}; use the alloygen "
                "version that wrote it"
            )
        required = [f.name for f in fields(cls) if version == FORMAT or f.default is MISSING]
        missing = [name for name in required if name not in record]
        if missing:
            raise CheckpointError(f"estimate lacks {', '.join(missing)}: the record is incomplete")
        return cls(**{f.name: _decode(f.type, record[f.name]) for f in fields(cls) if f.name in record})

    def __str__(self) -> str:
        unit = unit_system(self.units)
        scale, name = self._display_unit()
        label = "" if self.quantity == "grand_potential" else f"{self.quantity.replace('_', ' ')} "
        composition = "" if self.counts is None else " with " + " ".join(f"{s}{n}" for s, n in self.counts.items())
        verdict = "reliable" if self.reliable else f"UNRELIABLE: {self.reason}"
        return (
            f"{label}{scale * self.value_per_site:.4f} +- {scale * self.error_per_site:.4f} {name}/site at "
            f"{self.temperature:g} {unit.temperature}{composition} "
            f"(ESS {self.effective_sample_size:.0f} of {self.n_samples}, {verdict})"
        )

    def _display_unit(self) -> tuple[float, str]:
        """Factor and name of the unit that values are shown in."""
        unit = unit_system(self.units)
        if self.quantity == "count":
            return 1.0, "atoms"
        if self.quantity == "heat_capacity":
            return 1.0 / unit.boltzmann_constant, "k_B"
        return (1e3, "meV") if unit.energy == "eV" else (1.0, unit.energy)


def _encode(value: Any) -> Any:
    """JSON has no infinities and no NaN: they become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(float(value))
    return value


def _decode(kind: Any, value: Any) -> Any:
    # `from __future__ import annotations` makes the type of a field its text.
    return float(value) if kind == "float" and isinstance(value, str) else value
