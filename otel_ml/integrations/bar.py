"""A bar on a terminal, of a search or a study: it leaves with that, and log lines go above it."""

from __future__ import annotations

from typing import Any

from otel_ml import health


class Bar:
    """One bar. What it cannot show is not shown, nor is a bar within another.

    Args:
        name: What stands before it.
        total: Its number when it is full; None: that is not known.
    """

    def __init__(self, name: str, total: int | None) -> None:
        from otel_ml.logs.streams import bars  # noqa: PLC0415  only a terminal needs it

        self._progress: Any = None
        self._bars = bars
        if bars:
            return
        try:
            from rich.console import Console  # noqa: PLC0415  as above
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            best = TextColumn("{task.fields[best]}")
            self._progress = Progress(*columns, best, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task(name, total=total, best="")
            self._progress.start()
            bars.add(self)
        except Exception as error:  # a terminal that is none, or another bar of rich
            self._progress = None
            health.internal_error("bar of a search", error)

    def update(self, done: int, best: float | None) -> None:
        """Show how many are done, and the best score or value so far."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, best="" if best is None else f"best {best:.4g}")

    def end(self) -> None:
        """Take it away."""
        if self._progress is not None:
            self._progress.stop()
            self._bars.discard(self)
