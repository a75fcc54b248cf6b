"""Something done on a thread of its own: again and again, in forked children too, or once and not for long."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

from otel_ml import health


class Ticker:
    """Calls a function at an interval until it is stopped.

    Args:
        name: Of the thread.
        interval: Seconds between two calls.
        tick: The function. What it raises is survived.
        in_children: Whether a forked child goes on with a thread of its own.
    """

    def __init__(self, name: str, interval: float, tick: Callable[[], object], *, in_children: bool = True) -> None:
        self._name = name
        self._interval = interval
        self._tick = tick
        self._stopped = threading.Event()
        self._start()
        if in_children and hasattr(os, "register_at_fork"):
            weak_start = weakref.WeakMethod(self._start)
            os.register_at_fork(after_in_child=lambda: (start := weak_start()) and start())

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Call no more."""
        self._stopped.set()

    def _start(self) -> None:
        if not self._stopped.is_set():
            self._stopped = threading.Event()  # after a fork the inherited one may be locked for ever
            threading.Thread(target=self._run, args=(self._stopped,), name=self._name, daemon=True).start()

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._interval):
            try:
                self._tick()
            except Exception as error:
                health.internal_error(self._name, error)


def within(timeout: float, action: Callable[[], object]) -> None:
    """Call a function, and wait for it no longer than so many seconds. What it raises is survived.

    Args:
        timeout: Seconds.
        action: The function; it goes on when the time is over.
    """

    def survived() -> None:
        try:
            action()
        except Exception as error:
            health.internal_error("end of the metrics", error)

    thread = threading.Thread(target=survived, name="otel_ml-metrics-end", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is going down
        return
    thread.join(timeout)
