"""Files that other libraries write, whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alloygen.errors import AlloygenError


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to, and rename it to ``path`` if nothing was raised.

    Raises
    ------
    AlloygenError
        If the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            temporary = Path(folder, target.name)
            yield temporary
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
    except OSError as error:
        raise AlloygenError(
            f"cannot write {os.fspath(path)!r} ({error.strerror}): choose a file in a folder that exists and is writable"
        ) from error
