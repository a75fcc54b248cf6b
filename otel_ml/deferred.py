"""A pipeline that is made when there is something for it: not every program has an audit trail."""

from __future__ import annotations

import threading
from collections.abc import Callable

from otel_ml import health
from otel_ml.telemetry import Pipeline


class DeferredPipeline:
    """One of the pipelines of `Telemetry`, which does nothing until it is begun.

    Args:
        name: What it is called in messages.
        make: Makes the pipeline; called once at most.
    """

    def __init__(self, name: str, make: Callable[[], Pipeline]) -> None:
        self._name = name
        self._make = make
        self._pipeline: Pipeline | None = None
        self._ended = False
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Make it, unless that was done or it is closed. An error costs this pipeline and nothing else."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            try:
                self._pipeline = self._make()
            except Exception as error:
                health.internal_error(f"start of {self._name}", error)

    def wake(self) -> None:
        """Have its threads look at their queues now."""
        if self._pipeline is not None:
            self._pipeline.wake()

    def flush(self, timeout: float) -> bool:
        """Wait `timeout` seconds at most until everything before has been delivered."""
        return self._pipeline is None or self._pipeline.flush(timeout)

    def close(self, timeout: float) -> bool:
        """Flush and stop; it is not made any more."""
        with self._lock:
            self._ended = True
        return self._pipeline is None or self._pipeline.close(timeout)
