"""Progress bars: of ``fit`` with stage, loss, effective sample size and time left, and of anything that reports a fraction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alloygen.training.status import TrainingStatus

_LABELS = {"reference": "sampling references", "training": "training"}


class ProgressBar:
    """A callback that draws a training status on the terminal."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, int] = {}

    def __call__(self, status: TrainingStatus) -> None:
        """Draw one status."""
        if status.stage not in self._tasks:
            self._tasks[status.stage] = self._bar.add_task(_LABELS[status.stage], total=1.0, note="")
        note = ""
        if status.step:
            ess = "-" if math.isnan(status.effective_sample_size) else f"{status.effective_sample_size:.2f}"
            note = f"step {status.step}  loss {status.loss:.4f}/site  ESS {ess}"
        self._bar.update(self._tasks[status.stage], completed=status.fraction, note=note)  # type: ignore[arg-type]

    def report(self, windows: Mapping[str, tuple[float, float]]) -> None:
        """Say which windows were chosen."""
        for name, (low, high) in windows.items():
            self._bar.console.print(f"chemical potential of {name}: {low:g} to {high:g} (chosen: every composition)")


@contextmanager
def progress_bar(show: bool | None) -> Iterator[ProgressBar | None]:
    """Yield a progress bar, or None if it is not to be shown; by default it shows on a terminal."""
    with _bar(show) as bar:
        yield None if bar is None else ProgressBar(bar)


@contextmanager
def fraction_bar(label: str, show: bool | None = None) -> Iterator[Callable[[float], None] | None]:
    """Yield a function that draws the finished fraction, or None if nothing is to be shown, as :func:`progress_bar` does."""
    with _bar(show) as bar:
        if bar is None:
            yield None
            return
        task = bar.add_task(label, total=1.0, note="")
        yield lambda fraction: bar.update(task, completed=fraction)


@contextmanager
def _bar(show: bool | None) -> Iterator[Progress | None]:
    console = Console(stderr=True)
    if show is False or (show is None and not console.is_terminal):
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        yield bar
