"""Slow work on files, on a thread beside the writer's: a disk that takes its time must not hold up what is written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from otel_ml import health


class Jobs:
    """Calls functions one after the other on a daemon thread, which starts with the first one.

    Where no thread can be started, because the interpreter is going down, they run at once.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child has to: its parent still has the thread and what it was to do."""
        self._waiting: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._submitted = 0
        self._done = 0

    def submit(self, job: Callable[[], object]) -> None:
        """Have a function called. What it raises is survived; it says itself what that means.

        Args:
            job: Called without arguments.
        """
        self._submitted += 1
        self._waiting.put(job)
        if self._thread is None or not self._thread.is_alive():
            self._start()

    def waiting(self) -> int:
        """Return how many of those that were submitted are not done."""
        return self._submitted - self._done

    def is_idle(self) -> bool:
        """Whether all that was submitted is done."""
        return self.waiting() <= 0

    def close(self, timeout: float) -> bool:
        """Stop the thread when all is done; False when `timeout` seconds were not enough."""
        deadline = time.monotonic() + timeout
        self._waiting.put(None)
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._run()
        elif thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
        return self.is_idle()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, args=(), name="otel_ml-audit-disk", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._waiting.put(None)
            self._run()
            return
        self._thread = thread

    def _run(self) -> None:
        waiting = self._waiting
        while (job := waiting.get()) is not None:
            try:
                job()
            except Exception as error:
                health.internal_error("work on an audit file", error)
            self._done += 1
