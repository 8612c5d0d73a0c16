"""A progress bar for ``fit``: stage, loss, effective sample size and time left."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alloygen.training.trainer import TrainingStatus

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
    console = Console(stderr=True)
    if show is False or (show is None and not console.is_terminal):
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        yield ProgressBar(bar)
