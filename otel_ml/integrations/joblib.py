"""joblib's workers take the caller's context along, and what they record leaves them before they end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from otel_ml import health


class Rider(Protocol):
    """What another integration sends along with the tasks of one `Parallel` call; an object of a module."""

    def board(self) -> object:
        """Return what goes along, which can be pickled; None: nothing does. Called where `Parallel` is."""
        ...

    def ride(self, payload: object) -> AbstractContextManager[object]:
        """Return what is entered around each batch of tasks in a worker process.

        Args:
            payload: What `board` returned.
        """
        ...

    def arrived(self, payload: object, results: list[Any]) -> None:
        """Take note of a batch that is done, in the process that called `Parallel`.

        Args:
            payload: What `board` returned.
            results: Of its tasks.
        """
        ...


def propagate(*riders: Rider) -> Callable[[], None]:
    """Have joblib's back ends take the caller's context, run and baggage to their workers, and set these up.

    `loky`, `threading` and `multiprocessing`, however they are chosen, and what is nested in them. A worker process
    without telemetry of its own gets that of the process that calls, in the same run's folder or at the same endpoint,
    and delivers after each batch, because joblib kills workers.

    Args:
        riders: What goes along besides.

    Returns:
        A function that registers again what was registered before, unless somebody else has replaced ours since.
    """
    try:
        from otel_ml.integrations import joblib_backends  # noqa: PLC0415  joblib loads when it is used
    except ImportError as error:
        health.warn_once("joblib", "joblib cannot be watched (%s): pip install joblib", error)
        return _nothing
    return joblib_backends.register(riders)


def _nothing() -> None:
    """Undo what was not done."""
