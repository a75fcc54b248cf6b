"""One daemon thread behind a bounded queue: the only way from a caller to anything slow."""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import get_ident
from typing import Final, Generic, TypeVar

from otel_ml import health
from otel_ml.inbox import Inbox

T = TypeVar("T")

_LONGEST_DOZE: Final = 1.0
"""Seconds until the queue is looked at all the same: an item may come at the moment at which its thread dozes off."""

exporting_threads: set[int] = set()
"""Those that are inside an export at this moment."""

if hasattr(os, "register_at_fork"):  # the parent's; a thread of the child's may be given the same number
    os.register_at_fork(after_in_child=exporting_threads.clear)


def exporting() -> bool:
    """Return whether this thread is inside an export, so that what it logs is not fed back into it."""
    return get_ident() in exporting_threads


class QueueThread(Inbox, ABC, Generic[T]):
    """A queue and the thread that empties it.

    The thread starts when the first item is there, and again after a fork: a child discards the queue that it
    inherited, because the parent still has it.

    Nothing here waits for a lock that is held for long, and what callers use is re-entrant: a signal handler or a
    `__del__` may put an item in the middle of another `put` of the same thread. Operations on the queue are atomic,
    with a GIL and without one.

    Args:
        signal: Name under which losses are counted: `traces`, `logs` or `metrics`.
        name: Of the thread.
        interval: Seconds between two looks at the queue, while there is something to be found. Else the thread dozes
            until it is told: each look takes the interpreter from the program.
    """

    queue: deque[T]

    def __init__(self, signal: str, name: str, interval: float) -> None:
        self._signal = signal
        self._name = name
        self._interval = interval
        self._closed = False
        self._reset()
        if hasattr(os, "register_at_fork"):
            weak_reset = weakref.WeakMethod(self._reset)
            os.register_at_fork(after_in_child=lambda: (reset := weak_reset()) and reset())

    def _reset(self) -> None:
        self.queue = deque()
        self.append = self.queue.append
        self.quiet = 0
        self._consuming = threading.Lock()
        self._starting = threading.Lock()
        self._wakes: SimpleQueue[None] = SimpleQueue()  # an Event would do, but its `set` is not re-entrant
        self._dozing = self._urgent = False
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _consume_some(self) -> bool:
        """Take items off the queue and hand them on; False when that is not possible now. May raise nothing."""

    @abstractmethod
    def _discard(self) -> int:
        """Empty the queue and return how many items of the signal it held."""

    def _drained(self) -> None:
        """Called each time the thread has done what it could."""

    def _is_idle(self) -> bool:
        """Whether nothing waits and nothing is being handed on."""
        return not self.queue and not self._consuming.locked()

    def _start(self) -> None:
        if self._thread is not None or not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError as error:  # each item tries again, and close() consumes what is queued
            if not sys.is_finalizing():  # no threads begin any more
                health.warn_once(f"thread:{self._name}", "The thread %s cannot start yet: %s", self._name, error)
        finally:
            self._starting.release()

    def _run(self) -> None:
        is_busy = False
        while not self._closed:
            pause = self._interval
            if not is_busy:
                dozed = self._doze()
                is_busy, pause = dozed < self._interval, max(0.0, self._interval - dozed)
            if not self._urgent:
                self._wait(pause)
            self._urgent = False
            is_busy = is_busy and bool(self.queue)
            self._drain(deadline=None)
            self._drained()
        self._count_rest()  # a caller may have been between its look at `closed` and its append

    def _doze(self) -> float:
        """Wait until there is something to do, and return how long that was."""
        began = time.monotonic()
        while True:
            self._dozing = True  # again after each look: the ring of an item that was found before may have come late
            self._drained()
            if self.queue or self._urgent or self._closed:
                break
            self._wait(_LONGEST_DOZE)
        self._dozing = False
        return time.monotonic() - began

    def _wait(self, timeout: float) -> None:
        try:
            self._wakes.get(timeout=timeout)
            while not self._wakes.empty():
                self._wakes.get_nowait()
        except Empty:  # the time is over, or somebody else was told
            pass

    def _drain(self, deadline: float | None) -> bool:
        """Consume until the queue is empty; False when the deadline came first."""
        timeout = -1 if deadline is None else max(0.0, deadline - time.monotonic())
        if not self._consuming.acquire(timeout=timeout):
            return False
        is_outermost = not exporting()
        exporting_threads.add(get_ident())
        try:
            while self.queue:
                if deadline is not None and time.monotonic() > deadline:
                    return False
                if not self._consume_some():
                    return False
            return True
        finally:
            if is_outermost:
                exporting_threads.discard(get_ident())
            self._consuming.release()

    def wake(self) -> None:
        """Have the thread look at the queue now."""
        self._wake_thread()

    def _wake_thread(self) -> None:
        self._urgent = True
        self._ring()

    def _ring(self) -> None:
        if self._wakes.empty():
            self._wakes.put(None)

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
        while not self._is_idle():
            if time.monotonic() >= deadline:
                return False
            self.wake()  # the caller may not run the sink itself: it would be held up by a dead endpoint
            time.sleep(0.002)
        return True

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
        self._stop()
        return flushed

    def _stop(self) -> None:
        self._closed = True
        self._wake_thread()
        self._count_rest()

    def _count_rest(self) -> None:
        rest = self._discard()
        if rest:
            health.count_dropped(self._signal, "shutdown", rest)


class ItemQueue(QueueThread[T]):
    """A bounded queue that callers put items into.

    Args:
        signal: Name under which losses are counted.
        queue_size: Items that may wait; one more is dropped and counted. Without a GIL, threads that put at the same
            moment may exceed it by one item each.
        wake_at: Number of waiting items at which the thread is woken.
        interval: Seconds between two looks at the queue.

    `quiet` is 0 while the thread has to be started or dozes, and once the queue is closed.
    """

    def __init__(self, signal: str, *, queue_size: int, wake_at: int, interval: float) -> None:
        self._queue_size = queue_size
        self._wake_at = min(wake_at, queue_size - 1)
        super().__init__(signal, f"otel_ml-{signal}", interval)

    def put_attentively(self, item: T) -> bool:
        """Queue an item where somebody has to be told, or there is no room."""
        if self._closed:
            health.count_dropped(self._signal, "shutdown")
            return False
        if self._thread is None:
            self._start()
        waiting = len(self.queue)
        if waiting >= self._queue_size:
            return self._put_into_full(item)
        self.queue.append(item)
        if self._thread is None:
            return True
        if waiting >= self._wake_at:
            self.quiet = self._queue_size  # told once, not with each item; `_drained` makes it attentive again
            self._wake_thread()
        else:
            self.quiet = self._wake_at
            if self._dozing:
                self._dozing = False
                self._ring()
        return True

    def _put_into_full(self, item: T) -> bool:
        health.count_dropped(self._signal, "queue_full")
        return False

    def _drained(self) -> None:
        self.quiet = 0 if self._closed or self._dozing else self._wake_at

    def _stop(self) -> None:
        self.quiet = 0
        super()._stop()
        self.quiet = 0  # the thread may have been in the middle of `_drained`

    def _take(self, number: int) -> list[T]:
        """Take up to so many items off the queue; several threads may do so at once."""
        items: list[T] = []
        take, keep = self.queue.popleft, items.append
        try:
            for _ in range(number):
                keep(take())
        except IndexError:  # there were no more
            pass
        return items

    def _discard(self) -> int:
        return len(self._take(len(self.queue)))


class BatchWorker(ItemQueue[T]):
    """Hands items to `consume` in batches on its own thread.

    Args:
        signal: Name under which losses are counted: `traces`, `logs` or `metrics`.
        consume: Called with 1 to `batch_size` items, oldest first, never concurrently. What it raises is survived.
        queue_size: Items that may wait; one more is dropped and counted.
        batch_size: Largest number of items in one call of `consume`.
        interval: Seconds between two looks at the queue; it is looked at at once when a quarter of it is full, and a
            batch: more often would only take the interpreter from the callers.
    """

    def __init__(
        self, signal: str, consume: Callable[[list[T]], None], *, queue_size: int, batch_size: int, interval: float
    ) -> None:
        self._consume = consume
        self._batch_size = batch_size
        super().__init__(signal, queue_size=queue_size, wake_at=max(batch_size, queue_size // 4), interval=interval)

    def _consume_some(self) -> bool:
        batch = self._take(self._batch_size)
        try:
            if batch:
                self._consume(batch)
        except Exception as error:  # whatever a sink does, the thread has to live on
            health.count_dropped(self._signal, "export_failed", len(batch))
            health.internal_error(f"export of {self._signal}", error)
        return True
