"""One daemon thread behind a bounded queue: the only way from a caller to anything slow."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from otel_ml import health

T = TypeVar("T")

_thread_state = threading.local()


def exporting() -> bool:
    """Return whether this thread is inside an export, so that what it logs is not fed back into it."""
    return getattr(_thread_state, "exporting", False)


class BatchWorker(Generic[T]):
    """Hands items to `consume` in batches on its own thread.

    The thread starts at the first `put`, and again after a fork: a child discards the queue that it inherited,
    because the parent still has it.

    Args:
        signal: Name under which losses are counted: `traces`, `logs` or `metrics`.
        consume: Called with 1 to `batch_size` items, oldest first, never concurrently. What it raises is survived.
        queue_size: Items that may wait; one more is dropped and counted.
        batch_size: Largest number of items in one call of `consume`.
        interval: Seconds between two looks at the queue; a full batch is looked at at once.
    """

    def __init__(
        self, signal: str, consume: Callable[[list[T]], None], *, queue_size: int, batch_size: int, interval: float
    ) -> None:
        self._signal = signal
        self._consume = consume
        self._queue_size = queue_size
        self._batch_size = batch_size
        self._wake_at = min(batch_size, queue_size - 1)
        self._interval = interval
        self._closed = False
        self._reset()
        if hasattr(os, "register_at_fork"):
            weak_reset = weakref.WeakMethod(self._reset)
            os.register_at_fork(after_in_child=lambda: (reset := weak_reset()) and reset())

    def _reset(self) -> None:
        self._queue: deque[T] = deque()
        self._consuming = threading.Lock()
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, item: T) -> bool:
        """Queue one item; never blocks and never raises.

        Returns:
            False when the item was dropped, because the queue is full or closed; the loss is counted.
        """
        if self._closed:
            health.count_dropped(self._signal, "shutdown")
            return False
        queue = self._queue
        waiting = len(queue)
        if waiting >= self._queue_size:
            health.count_dropped(self._signal, "queue_full")
            return False
        queue.append(item)
        if waiting == self._wake_at:  # once a batch, not once an item: an event costs a microsecond
            self._wake.set()
        if self._thread is None:
            self._start()
        return True

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name=f"otel_ml-{self._signal}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is going down: close() consumes what is queued
                return
            self._thread = thread

    def _run(self) -> None:
        wake = self._wake
        while not self._closed:
            wake.wait(self._interval)
            wake.clear()
            self._drain(deadline=None)

    def _drain(self, deadline: float | None) -> bool:
        """Consume until the queue is empty; False when the deadline came first."""
        timeout = -1 if deadline is None else max(0.0, deadline - time.monotonic())
        if not self._consuming.acquire(timeout=timeout):
            return False
        was_exporting, _thread_state.exporting = exporting(), True
        try:
            queue = self._queue
            while queue:
                if deadline is not None and time.monotonic() > deadline:
                    return False
                self._consume_one_batch(queue)
            return True
        finally:
            _thread_state.exporting = was_exporting
            self._consuming.release()

    def _consume_one_batch(self, queue: deque[T]) -> None:
        batch = [queue.popleft() for _ in range(min(len(queue), self._batch_size))]
        try:
            self._consume(batch)
        except Exception as error:  # whatever a sink does, the thread has to live on
            health.count_dropped(self._signal, "export_failed", len(batch))
            health.internal_error(f"export of {self._signal}", error)

    def wake(self) -> None:
        """Have the thread look at the queue now."""
        self._wake.set()

    def flush(self, timeout: float) -> bool:
        """Wait until everything put before has been consumed.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False when the time was not enough.
        """
        deadline = time.monotonic() + timeout
        thread = self._thread
        if thread is None or not thread.is_alive():
            return self._drain(deadline)
        while time.monotonic() < deadline:
            self._wake.set()  # the caller may not run the sink itself: it would be held up by a dead endpoint
            if not self._queue and self._consuming.acquire(timeout=0.005):
                self._consuming.release()
                return True
            time.sleep(0.002)
        return not self._queue and not self._consuming.locked()

    def close(self, timeout: float) -> bool:
        """Flush, then stop the thread; what is still queued when the time is over is counted as lost.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False when items were lost.
        """
        if self._closed:
            return True
        flushed = self.flush(timeout)
        self._closed = True
        self._wake.set()
        if self._queue:
            health.count_dropped(self._signal, "shutdown", len(self._queue))
            self._queue.clear()
        return flushed
