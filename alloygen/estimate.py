"""The one result type of every free-energy estimator."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from alloygen.errors import CheckpointError
from alloygen.units import unit_system

#: Version of the dictionaries that :meth:`Estimate.as_dict` writes.
FORMAT = 1


@dataclass(frozen=True)
class Estimate:
    r"""A free energy with its error, its bounds and a verdict.

    The value is the grand potential Phi = -k_B T ln Xi of the whole supercell, in the energy unit of ``units``
    (eV for alloys, J for spin models); the ``_per_site`` properties divide by ``n_sites``.

    Attributes
    ----------
    value, error
        Estimate and its standard error.
    lower_bound, upper_bound
        The interval of the reverse and the variational bound, each moved outwards by two of its standard errors.
    temperature, chemical_potentials
        The condition.
    n_sites
        Sites of the supercell, spectators included.
    n_samples, effective_sample_size
        Draws made, and how many independent ones with equal weights they are worth.
    pareto_k
        Shape of the weights' tail. Above 0.7 the error includes what the tail may hide beyond the largest draw.
    reliable, reason
        Verdict, and what it rests on.
    estimator
        Name of the method.
    units
        Name of the unit system ("atomic" or "reduced").
    n_energy_evaluations, wall_time
        Cost: configurations whose energy was computed, and seconds.
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
        """The value as ln Xi = -Phi / (k_B T)."""
        return -self.value * unit_system(self.units).beta(self.temperature)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary in the MSON convention, which ``monty`` decodes."""
        record = {key: _encode(value) for key, value in asdict(self).items()}
        return {"@module": type(self).__module__, "@class": type(self).__name__, "format": FORMAT, **record}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Estimate:
        """Read what :meth:`as_dict` wrote.

        Raises
        ------
        CheckpointError
            If the record's format is unknown or a field is missing.
        """
        # monty's encoder writes the fields of a dataclass without asking it, so the format may be missing.
        if record.get("format", FORMAT) != FORMAT:
            raise CheckpointError(
                f"estimate has format {record['format']!r}: this version reads format {FORMAT}; use the alloygen "
                "version that wrote it"
            )
        missing = [f.name for f in fields(cls) if f.name not in record]
        if missing:
            raise CheckpointError(f"estimate lacks {', '.join(missing)}: the record is incomplete")
        return cls(**{f.name: _decode(f.name, record[f.name]) for f in fields(cls)})

    def __str__(self) -> str:
        unit = unit_system(self.units)
        scale, name = (1e3, "meV") if unit.energy == "eV" else (1.0, unit.energy)
        verdict = "reliable" if self.reliable else f"UNRELIABLE: {self.reason}"
        return (
            f"{scale * self.value_per_site:.4f} +- {scale * self.error_per_site:.4f} {name}/site at "
            f"{self.temperature:g} {unit.temperature} (ESS {self.effective_sample_size:.0f} of {self.n_samples}, {verdict})"
        )


def _encode(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def _decode(name: str, value: Any) -> Any:
    return float(value) if isinstance(value, str) and name in ("pareto_k",) else value
