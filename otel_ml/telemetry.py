"""What `configure` returns: the pipelines of this process, and the way to flush and end them."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import util
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from otel_ml import health
from otel_ml.settings import Settings
from otel_ml.termination import deliver_on_sigterm

AT_EXIT = 2.0
"""Seconds that the end of the program waits at most for telemetry to be delivered."""


class Pipeline(Protocol):
    """One signal's way out of the process."""

    def wake(self) -> None:
        """Have its threads look at their queues now."""
        ...

    def flush(self, timeout: float) -> bool:
        """Wait until everything before has been delivered."""
        ...

    def close(self, timeout: float) -> bool:
        """Flush and stop."""
        ...


_current: Telemetry | None = None


def active() -> Telemetry | None:
    """Return the telemetry of this process; None before `configure` and after `shutdown`."""
    return None if _current is None or _current.closed else _current


def activate(telemetry: Telemetry) -> None:
    """Make a telemetry that of this process."""
    global _current  # noqa: PLW0603  providers are global, so their configuration is
    _current = telemetry


class Telemetry:
    """The telemetry of this process, from `configure` to `shutdown`. Also a context manager.

    Args:
        settings: The values in force.
        directory: This process's folder for local files; it exists when a signal is written there.
        pipelines: One a signal, in the order in which they end.
        notes: One line for everything that was left as the application had set it.
        on_close: Called after the pipelines ended.

    Attributes:
        recipe: The call of `configure` that made it, for processes that are to be set up like this one.
        sendable: What of it can be pickled; None: nobody has looked.
        unfinished: Called first of all at the end: they end spans that are open, which would be lost.
        provisional: Whether a `configure` of the program replaces this; so after `opentelemetry-instrument`.
    """

    def __init__(
        self,
        settings: Settings,
        directory: Path,
        pipelines: list[Pipeline],
        notes: list[str],
        on_close: list[Callable[[], None]],
    ) -> None:
        self.settings = settings
        self.directory = directory
        self.notes = notes
        self.recipe: partial[Telemetry] | None = None
        self.sendable: partial[Telemetry] | None = None
        self.unfinished: list[Callable[[], None]] = []
        self.provisional = False
        self._pipelines = pipelines
        self._on_close = list(on_close)
        self._closed = False
        self._finished = threading.Event()
        if pipelines:
            self._on_close.append(deliver_on_sigterm(self._at_exit, AT_EXIT + 1.0))
        atexit.register(self._at_exit)
        util.register_after_fork(self, _flush_at_process_end)

    @property
    def closed(self) -> bool:
        """Whether `shutdown` has been called."""
        return self._closed

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything recorded so far has been delivered.

        Args:
            timeout: Seconds to wait at most, for all signals together.

        Returns:
            False when the time was not enough.
        """
        return self._each(lambda pipeline, seconds: pipeline.flush(seconds), timeout)

    def shutdown(self, timeout: float = 5.0) -> bool:
        """Deliver what is left and stop. Safe to call twice; also called at exit and on SIGTERM, with two seconds.

        Args:
            timeout: Seconds to wait at most, for all signals together.

        Returns:
            False when something was lost; how much is in `otel_ml.dropped`.
        """
        if self._closed:
            self._finished.wait(timeout)  # SIGTERM may come while the end of the program does this
            return True
        self._closed = True
        atexit.unregister(self._at_exit)
        _call_each(self.unfinished)
        before = sum(health.dropped().values())
        delivered = self._each(lambda pipeline, seconds: pipeline.close(seconds), timeout)
        if not delivered:
            lost = sum(health.dropped().values()) - before
            health.warn_once(
                "shutdown",
                "telemetry was not delivered in full: %s. `otel-ml doctor` says why.",
                f"{lost} items are lost" if lost else f"some was still being sent after {timeout:g} s",
            )
        _call_each(self._on_close)
        self._finished.set()
        return delivered

    def _each(self, act: Callable[[Pipeline, float], bool], timeout: float) -> bool:
        """Let all threads work at once, then wait for one after the other until the common deadline."""
        deadline = time.monotonic() + timeout
        done = True
        for pipeline in self._pipelines:
            pipeline.wake()
        for pipeline in self._pipelines:
            try:
                done = act(pipeline, max(0.1, deadline - time.monotonic())) and done
            except Exception as error:
                health.internal_error("flush", error)
                done = False
        return done

    def _at_exit(self) -> None:
        self.shutdown(AT_EXIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()


def _call_each(actions: list[Callable[[], None]]) -> None:
    for action in actions.copy():
        try:
            action()
        except Exception as error:
            health.internal_error("shutdown", error)


def _flush_at_process_end(telemetry: Telemetry) -> None:
    """Have a forked multiprocessing worker flush: it ends by `os._exit`, which skips atexit."""
    util.Finalize(telemetry, telemetry.shutdown, args=(AT_EXIT,), exitpriority=100)
