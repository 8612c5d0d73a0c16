"""Finished fractions of tasks that are parts of others."""

from __future__ import annotations

from collections.abc import Callable

#: Called with the finished fraction, from 0 to 1.
Progress = Callable[[float], None]


def part_of(progress: Progress | None, low: float, high: float) -> Progress | None:
    """Return the progress of a part that takes the whole from one fraction to another; None for none.

    Examples
    --------
    >>> part_of(print, 0.5, 1.0)(0.5)
    0.75
    """
    return None if progress is None else lambda fraction: progress(low + (high - low) * fraction)
