"""What all thermodynamic results share: arrays with errors, and files that later versions read.

A result is a frozen dataclass. As a dictionary it follows the MSON convention, so that ``monty``, pymatgen's databases and
jobflow's stores keep it as it is; ``save`` and ``load`` write the same dictionary to a JSON file.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from alloygen.errors import AlloygenError, CheckpointError
from alloygen.files import write_text

try:
    from monty.json import MSONable
except ImportError:  # a machine that only trains

    class MSONable:  # type: ignore[no-redef]
        """Stands in for monty's class, which marks what databases can keep."""


Array = np.ndarray


class Result(MSONable):
    """A frozen dataclass that can be kept.

    Attributes
    ----------
    FORMAT
        Version of the dictionaries that are written.
    READABLE_FORMATS
        Versions that are read.
    """

    FORMAT: ClassVar[int] = 1
    READABLE_FORMATS: ClassVar[tuple[int, ...]] = (1,)

    def as_dict(self) -> dict[str, Any]:
        """Return a strictly JSON-ready dictionary in the MSON convention: arrays as monty writes them, no bare NaN."""
        record = {field.name: _encode(getattr(self, field.name)) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"@module": type(self).__module__, "@class": type(self).__name__, "format": self.FORMAT, **record}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Read what :meth:`as_dict` wrote, now or in an earlier format.

        Raises
        ------
        CheckpointError
            If the format is unknown, or a field is missing.
        """
        version = record.get("format")
        if version not in cls.READABLE_FORMATS:
            raise CheckpointError(
                f"{cls.__name__} has format {version!r}: this version reads formats "
                f"{', '.join(map(str, cls.READABLE_FORMATS))}; use the alloygen version that wrote it"
            )
        fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        required = [name for name, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
        missing = [name for name in required if name not in record]
        if missing:
            raise CheckpointError(f"{cls.__name__} lacks {', '.join(missing)}: the record is incomplete")
        return cls(**{name: decode(record[name]) for name in fields if name in record})

    def save(self, path: str | os.PathLike[str]) -> None:  # type: ignore[override]
        """Write the result to a JSON file, whole or not at all.

        Raises
        ------
        CheckpointError
            If the file cannot be written.
        """
        write_text(path, json.dumps(self.as_dict(), allow_nan=False))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file that :meth:`save` wrote, now or in an earlier version.

        Raises
        ------
        CheckpointError
            If the file is missing, damaged, of another kind or of an unknown format.
        """
        name = os.fspath(path)
        if not Path(path).is_file():
            raise CheckpointError(f"{name!r} is not a file: expected a {cls.__name__}, written by .save(path)")
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise CheckpointError(f"{name!r} is damaged ({error}): expected a {cls.__name__}; save it again") from error
        found = record.get("@class") if isinstance(record, dict) else None
        if found != cls.__name__:
            raise CheckpointError(f"{name!r} holds a {found or type(record).__name__}: expected a {cls.__name__}")
        return cls.from_dict(record)


@dataclasses.dataclass(frozen=True, eq=False)
class Measured(Result):
    """An array of values with their standard errors.

    Attributes
    ----------
    value, error
        Arrays of one shape. NaN where nothing is known, with the error inf.

    Raises
    ------
    AlloygenError
        If the shapes differ.
    """

    value: Array
    error: Array

    def __post_init__(self) -> None:
        for name in ("value", "error"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.value.shape != self.error.shape:
            raise AlloygenError(
                f"values have shape {self.value.shape} and errors {self.error.shape}: expected one shape"
            )

    def __getitem__(self, index: Any) -> Measured:
        """Return part of the array, with its errors."""
        return Measured(self.value[index], self.error[index])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of both arrays."""
        return self.value.shape


def readonly(array: Any, dtype: Any = np.float64) -> Array:
    """Return a copy that cannot be written to."""
    copy = np.array(array, dtype=dtype)
    copy.flags.writeable = False
    return copy


def _encode(value: Any) -> Any:
    """JSON has no infinities and no NaN: they become text, which NumPy and :func:`decode` read."""
    if isinstance(value, np.ndarray):
        data = _encode(value.tolist()) if value.dtype.kind == "f" and not np.isfinite(value).all() else value.tolist()
        return {"@module": "numpy", "@class": "array", "dtype": value.dtype.name, "data": data}
    if isinstance(value, MSONable):
        return value.as_dict()
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else repr(float(value))
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if isinstance(value, tuple | list):
        return [_encode(item) for item in value]
    if isinstance(value, dict):
        return {name: _encode(item) for name, item in value.items()}
    return value


def decode(value: Any) -> Any:
    """Restore arrays, nested results, tuples (which JSON made lists) and numbers that are not finite."""
    if isinstance(value, dict) and "@class" in value:
        from monty.json import MontyDecoder

        return MontyDecoder().process_decoded(value)
    if isinstance(value, dict):
        return {name: decode(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(decode(item) for item in value)
    return float(value) if value in ("inf", "-inf", "nan") else value
