"""The bar of a search on a terminal: it leaves with the search, and log lines go above it."""

from __future__ import annotations

from typing import Any

from otel_ml import health


class Bar:
    """One bar. What it cannot show is not shown.

    Args:
        name: What stands before it.
        total: Fits when it is full.
    """

    def __init__(self, name: str, total: int) -> None:
        self._progress: Any = None
        try:
            from rich.console import Console  # noqa: PLC0415  only a terminal needs it
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            best = TextColumn("{task.fields[best]}")
            self._progress = Progress(*columns, best, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task(name, total=total, best="")
            self._progress.start()
        except Exception as error:  # a terminal that is none, or another bar of rich
            self._progress = None
            health.internal_error("bar of a search", error)

    def update(self, done: int, best: float | None) -> None:
        """Show how many fits are done, and the best score so far."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, best="" if best is None else f"best {best:.4g}")

    def end(self) -> None:
        """Take it away."""
        if self._progress is not None:
            self._progress.stop()
