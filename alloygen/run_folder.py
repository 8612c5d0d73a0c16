"""Long runs on disk: blocks of samples as they come, the state of the chains, and resuming after a kill.

A run in a folder and one in memory go through the same calls, so that a sampler has one loop::

    run = RunFolder.open(path, "replica exchange", settings, hamiltonian)   # path=None: in memory
    if (found := run.load()) is not None:
        ...                                       # put the chains back into the saved state
    for block in range(run.n_blocks, n_blocks):
        run.append({"energy": ..., "counts": ...})
        if run.due():
            run.save({"occupation": ..., "random": ...}, {"step": ...})
    energy = run.gather("energy", axis=1)

The folder holds ``run.json`` (what the run is), ``block-000000.safetensors`` and so on, and ``state.safetensors``, which
counts the blocks before it. Every file is written whole or not at all. Blocks after the last state are thrown away when
the run is opened again: the chains make them once more, bit for bit.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alloygen.errors import CheckpointError
from alloygen.files import read_file, write_file, write_text
from alloygen.hamiltonian import ClusterHamiltonian
from alloygen.hamiltonian.serialization import fingerprint

Array = np.ndarray

#: Version of the folders that are written and read.
FORMAT = 1

_RUN, _STATE = "run.json", "state.safetensors"
_BLOCK = re.compile(r"block-(\d{6,})\.safetensors")
#: What a write that was killed leaves behind.
_TEMPORARY = re.compile(r"\.(run\.json|state\.safetensors|block-\d{6,}\.safetensors)\..+")

_ABSENT = object()


class RunFolder:
    """Samples and state of one run, in a folder or in memory; make one with :meth:`open`.

    One process writes to a folder at a time. Arrays may have any integer, unsigned, boolean or floating type; what comes
    back is a copy.

    Examples
    --------
    >>> import numpy as np
    >>> from alloygen.hamiltonian import ising_hamiltonian
    >>> run = RunFolder.open(None, "metropolis", {"seed": 1}, ising_hamiltonian(2, 2))
    >>> for block in range(run.n_blocks, 3):
    ...     run.append({"energy": np.full(2, -4.0 * block)})
    >>> run.gather("energy")
    array([-0., -0., -4., -4., -8., -8.])
    """

    def __init__(self, path: Path | None, kind: str) -> None:
        self._path, self._kind = path, kind
        self._memory: list[dict[str, Array]] = []
        self._state: tuple[dict[str, Array], dict[str, Any]] | None = None
        self._n_blocks = 0
        self._saved = time.monotonic()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None,
        kind: str,
        settings: Mapping[str, Any],
        hamiltonian: ClusterHamiltonian,
        *,
        extendable: Collection[str] = (),
    ) -> RunFolder:
        """Start a run, or go on with the one that the folder holds.

        Parameters
        ----------
        path
            The folder, which is made if only its parent exists. With None everything stays in memory.
        kind
            The method, such as "replica exchange".
        settings
            Everything that decides the samples, JSON-ready: temperatures, seed, and so on.
        hamiltonian
            The energy.
        extendable
            Settings that may differ from the folder's, for example a number of samples; the folder takes the new ones.

        Raises
        ------
        CheckpointError
            If the folder holds another run or something else, is damaged, or cannot be written. Nothing in it is changed.
        """
        # Through JSON, so that tuples compare equal to the lists that they become.
        wanted = {
            "alloygen": "run",
            "format": FORMAT,
            "kind": kind,
            "hamiltonian": fingerprint(hamiltonian),
            "settings": json.loads(json.dumps(dict(settings), allow_nan=False)),
        }
        run = cls(None if path is None else Path(path), kind)
        if run._path is None:
            return run
        found = _read_run(run._path)
        if found is not None:
            _compare(run._path, found, wanted, extendable)
            run._resume()
        if found != wanted:
            write_text(run._path / _RUN, json.dumps(wanted, indent=1) + "\n")
        return run

    @property
    def n_blocks(self) -> int:
        """Blocks so far; after opening, those that the last saved state counts."""
        return self._n_blocks

    def append(self, arrays: Mapping[str, Array]) -> None:
        """Add one block of samples.

        Raises
        ------
        CheckpointError
            If the folder cannot be written.
        """
        if self._path is None:
            self._memory.append(_copy(arrays))
        else:
            write_file(self._block(self._n_blocks), f"{self._kind} block", dict(arrays), {"number": self._n_blocks})
        self._n_blocks += 1

    def save(self, arrays: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
        """Replace the state by one that follows on the blocks so far; the metadata are JSON-ready.

        Raises
        ------
        CheckpointError
            If the folder cannot be written; the last state is then still there.
        """
        if self._path is None:
            self._state = _copy(arrays), json.loads(json.dumps(dict(metadata)))
        else:
            record = {"n_blocks": self._n_blocks, "metadata": dict(metadata)}
            write_file(self._path / _STATE, f"{self._kind} state", dict(arrays), record)
        self._saved = time.monotonic()

    def load(self) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Return (arrays, metadata) of the last saved state, None if there is none.

        Raises
        ------
        CheckpointError
            If the file is damaged.
        """
        if self._path is None:
            return None if self._state is None else (_copy(self._state[0]), json.loads(json.dumps(self._state[1])))
        if not (self._path / _STATE).exists():
            return None
        arrays, record = read_file(self._path / _STATE, f"{self._kind} state")
        return arrays, record["metadata"]

    def blocks(self) -> Iterator[dict[str, Array]]:
        """Iterate over the blocks, in the order in which they were appended; one at a time is in memory.

        Raises
        ------
        CheckpointError
            If a block is missing or damaged.
        """
        for number in range(self._n_blocks):
            if self._path is None:
                yield _copy(self._memory[number])
                continue
            path = self._block(number)
            arrays, metadata = read_file(path, f"{self._kind} block")
            if metadata["number"] != number:
                raise CheckpointError(
                    f"{os.fspath(path)!r} holds block {metadata['number']}, not {number}: it was renamed; restore it, or "
                    "start the run again in another folder"
                )
            yield arrays

    def gather(self, name: str, axis: int = 0) -> Array:
        """Join one array over all blocks.

        Raises
        ------
        CheckpointError
            If there are no blocks yet, a block lacks the array, or a block is damaged.
        """
        parts = []
        for number, block in enumerate(self.blocks()):
            if name not in block:
                raise CheckpointError(
                    f"block {number} has no array {name!r}: expected one of {', '.join(sorted(block))}"
                )
            parts.append(block[name])
        if not parts:
            raise CheckpointError(f"the run has no blocks yet, so no {name!r}: append one first")
        return np.concatenate(parts, axis=axis)

    def forget(self, n_blocks: int) -> None:
        """Go back to the first blocks; the others are there until a state that follows on the first ones is saved.

        Save one before the next block: in a folder, it takes the name of one that is forgotten.
        """
        self._n_blocks = n_blocks
        del self._memory[n_blocks:]

    def due(self, interval: float = 10.0) -> bool:
        """Whether the last save is longer ago than an interval in seconds; never in memory."""
        return self._path is not None and time.monotonic() - self._saved >= interval

    def _block(self, number: int) -> Path:
        assert self._path is not None
        return self._path / f"block-{number:06d}.safetensors"

    def _resume(self) -> None:
        """Count the blocks of the last state, and remove those after it."""
        assert self._path is not None
        if (self._path / _STATE).exists():
            _, record = read_file(self._path / _STATE, f"{self._kind} state")
            self._n_blocks = int(record["n_blocks"])
        missing = [path for path in map(self._block, range(self._n_blocks)) if not path.is_file()]
        if missing:
            raise CheckpointError(
                f"{os.fspath(missing[0])!r} is missing, though the run made {self._n_blocks} blocks: restore it, or start "
                "the run again in another folder"
            )
        for path in list(self._path.iterdir()):
            block = _BLOCK.fullmatch(path.name)
            if _TEMPORARY.fullmatch(path.name) or (block and int(block[1]) >= self._n_blocks):
                path.unlink()


def _copy(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.array(array, order="C") for name, array in arrays.items()}


def _read_run(path: Path) -> dict[str, Any] | None:
    """Read what run a folder holds; None for a folder that is empty, which is made if necessary."""
    name, advice = os.fspath(path), "choose another folder"
    try:
        path.mkdir(exist_ok=True)
        names = {entry.name for entry in path.iterdir()}
    except OSError as error:
        parent = path.parent
        fix = advice if parent.is_dir() else f"create the folder {os.fspath(parent)!r} first"
        raise CheckpointError(f"cannot use {name!r} as the folder of a run ({error.strerror}): {fix}") from error
    if _RUN not in names:
        if any(not _TEMPORARY.fullmatch(entry) for entry in names):
            raise CheckpointError(
                f"{name!r} holds files but no run: {advice}, an empty one or one that is not there yet"
            )
        return None
    try:
        record = json.loads((path / _RUN).read_text(encoding="utf-8"))
        known = record["alloygen"] == "run" and isinstance(record["settings"], dict)
        version, _, _ = record["format"], record["kind"], record["hamiltonian"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{os.fspath(path / _RUN)!r} is damaged ({error}): restore it, or {advice}") from error
    if not known or version != FORMAT:
        raise CheckpointError(
            f"{os.fspath(path / _RUN)!r} has format {version!r}: this alloygen reads runs of format {FORMAT}; {advice}"
        )
    return record


def _compare(path: Path, found: dict[str, Any], wanted: dict[str, Any], extendable: Collection[str]) -> None:
    """Raise CheckpointError if a folder holds another run than the one that is asked for."""
    name = os.fspath(path)
    if found["kind"] != wanted["kind"]:
        raise CheckpointError(
            f"{name!r} holds a {found['kind']} run, not a {wanted['kind']} one: choose another folder"
        )
    if found["hamiltonian"] != wanted["hamiltonian"]:
        raise CheckpointError(f"{name!r} holds a run of another Hamiltonian or supercell: choose another folder")
    old, new = ({k: v for k, v in record["settings"].items() if k not in extendable} for record in (found, wanted))
    for setting, before, now in _differences("", old, new):
        before, now = ("nothing" if value is _ABSENT else repr(value) for value in (before, now))
        raise CheckpointError(
            f"{name!r} holds a {found['kind']} run with {setting} = {before}, and this one has {setting} = {now}: choose "
            f"another folder, or the same {setting} to go on with that run",
            setting=setting,
        )


def _differences(name: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, old, new) of what differs between two JSON values, such as ("temperatures[3]", 300.0, 310.0)."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*new, *old]):
            yield from _differences(f"{name}.{key}".lstrip("."), old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, now) in enumerate(zip(old, new, strict=True)):
            yield from _differences(f"{name}[{index}]", before, now)
    elif old != new:
        yield name, old, new
