"""From callers to the disk: `put` appends to a queue, and a thread writes what is there every few milliseconds."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from otel_ml import conventions, health
from otel_ml.audit.bell import Bell
from otel_ml.audit.feed import Feed
from otel_ml.audit.jobs import Jobs
from otel_ml.audit.pump import GAP_INTERVAL, PAUSE, Pump
from otel_ml.audit.queue import Gap, Lane
from otel_ml.audit.record import Captured, Encoder, event
from otel_ml.audit.trail import Trail
from otel_ml.audit.waiters import Waiters
from otel_ml.options import Audit

WINDOW: Final = 0.010
"""Seconds of records that a killed process loses at most, with `durability="fast"`.

It counts from the first segment on, and what the machine makes a thread or a write wait comes on top.
"""

_LOOK: Final = 0.003
"""Seconds between two looks at the queue while there is traffic: the rest of the window is for the look itself."""

_TRAFFIC: Final = 0.15  # seconds after a record for which others may follow
_MANY: Final = 512
_FAILURES: Final = 4  # times the bytes of other records


class AuditWriter:
    """Puts records into the audit trail.

    The thread starts with the first record, and again after a fork: a child discards what it inherited and has
    segments of its own.

    What callers use takes no lock that is held for long, and is re-entrant: a signal handler or a `__del__` may put a
    record in the middle of another `put` of the same thread.

    Args:
        directory: Audit directory.
        service: Name of the service, for the names of segments.
        options: Bounds, durability, sizes and ages.
        encoder: From captured calls to lines.
        on_start: Called on the writer's thread when a process has its first record; it must not take long.
        on_sealed: Called on a thread of ours after a segment was sealed.

    Attributes:
        records: Where lines of calls that went well wait; another one in a forked child.
    """

    def __init__(
        self, directory: Path, service: str, options: Audit, encoder: Encoder, *,
        on_start: Callable[[], object], on_sealed: Callable[[], object],
    ) -> None:  # fmt: skip
        self._directory = directory
        self._options = options
        self._encoder = encoder
        self._on_start = on_start
        self._is_sync = options.durability == "sync"
        self._closed = self._ended = False
        self._jobs = Jobs()
        self._trail = Trail(directory, service, options, self._jobs, on_sealed)
        self._reset()
        if hasattr(os, "register_at_fork"):
            weak_reset = weakref.WeakMethod(self._after_fork)
            os.register_at_fork(after_in_child=lambda: (reset := weak_reset()) and reset())

    def put(self, item: Captured) -> int:
        """Queue a call; never blocks and never raises.

        Returns:
            A ticket for `wait`; 0 when the record was dropped, because there is no room or the writer is closed. Then
            it is counted, and the trail will say so. Of a call that failed that happens at four times the bytes.
        """
        return self._put(item, item[14], item[8] == conventions.FAILED)

    def put_line(self, body: bytes) -> int:
        """Queue the body of a line of a call that went well, and tell the thread.

        Returns:
            As `put`.
        """
        return self._put(body, len(body), False)

    def put_event(self, name: str, fields: Mapping[str, Any]) -> int:
        """Queue a line that is not a prediction; it has the room that failures have.

        Args:
            name: Its `event.name`.
            fields: Further fields, plain data.

        Returns:
            As `put`.

        Raises:
            ValueError: A number is NaN or infinite, which JSON cannot say.
            TypeError: A value is not plain data.
        """
        body = event(name, fields)
        return self._put(body, len(body), True)

    def wait(self, ticket: int, timeout: float = 5.0) -> bool:
        """Wait until a record is on the disk. For `durability="sync"`; otherwise it returns False at once.

        Args:
            ticket: What `put` returned.
            timeout: Seconds to wait at most, so that a dead disk does not stop the service.

        Returns:
            Whether it is there. False: it may still get there, but that was not waited for.
        """
        if not (ticket and self._is_sync):
            return False
        if threading.get_ident() in self._own_threads:  # a `__del__` that runs there would wait for itself
            return False
        return self._waiters.wait(ticket, timeout)

    def wake(self) -> None:
        """Have the thread look at the queue now."""
        self._bell.ring()

    def flush(self, timeout: float) -> bool:
        """Wait until everything put before is on the disk.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False when the time was not enough.
        """
        deadline = time.monotonic() + timeout
        while not self._is_idle():
            if time.monotonic() >= deadline:
                return False
            self._flush_until = deadline
            if self._thread is not None and self._thread.is_alive():
                self.wake()
            else:
                self._work()
            time.sleep(0.001)
        self._flush_until = 0.0
        return True

    def close(self, timeout: float) -> bool:
        """Write and seal what there is, and stop the threads; what the time was not enough for is counted as lost.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False when records were lost, or are not known to be on the disk.
        """
        if self._closed:
            return True
        deadline = time.monotonic() + timeout
        flushed = self.flush(timeout * 0.75)
        self._closed = True
        self.records.watched = False  # what is put from now on is refused
        self.wake()
        if self._thread is not None:
            self._thread.join(max(0.05, deadline - time.monotonic()))
        if not self._working.acquire(timeout=max(0.05, deadline - time.monotonic())):
            self._lose_rest()  # the thread is in a write that the disk does not take
            return False
        try:
            self._lose_rest()
            self._pump.end()
        finally:
            self._working.release()
        return self._jobs.close(max(0.05, deadline - time.monotonic())) and flushed

    def _reset(self) -> None:
        options = self._options
        self._gap = Gap(self._trail.service)
        self.records = Lane(options.queue_size, options.queue_bytes)
        self._failures = Lane(None, _FAILURES * options.queue_bytes)
        feeds = (Feed(self._failures, self._encoder, self._gap), Feed(self.records, self._encoder, self._gap))
        self._waiters = Waiters()
        self._pump = Pump(self._directory, self._trail, feeds, self._gap, self._waiters if self._is_sync else None)
        self._traffic_until = 0.0
        self._flush_until = 0.0
        self._working = threading.Lock()
        self._starting = threading.Lock()
        self._own_threads: set[int] = set()
        self._bell = Bell(self._failures, self.records)
        self._thread: threading.Thread | None = None

    def _after_fork(self) -> None:
        self._jobs.reset()
        self._trail.reset()
        self._reset()

    def _put(self, item: Any, size: int, is_failure: bool) -> int:
        if self._closed:
            self._gap.add("shutdown")
            return 0
        ticket = self._waiters.ticket() if self._is_sync else 0
        lane = self._failures if is_failure else self.records
        if not lane.put(item, size, ticket):
            self._gap.add("queue_full")
            self._waiters.settle([ticket], durable=False)
            return 0
        if self._ended:  # since the look at `closed`
            self._lose_rest()
            return 0
        self._attend()
        return ticket or 1

    def _attend(self) -> None:
        """Start the thread, or tell it unless it looks of its own accord; it does for a while from now on."""
        if self._thread is None:
            self._start()
        was_watched = self.records.watched
        if not (self._is_sync or self._closed):
            self.records.watched = True
        if not was_watched:
            self.wake()

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="otel_ml-audit", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError:  # the interpreter is going down: close() writes what is queued
            health.count_dropped("internal", "thread_start")
        finally:
            self._starting.release()

    def _run(self) -> None:
        self._own_threads.add(threading.get_ident())
        try:
            self._on_start()
        except Exception as error:
            health.internal_error("start of the audit trail", error)
        while not self._closed:
            self._rest(worked=self._work())
        self._work()

    def _rest(self, *, worked: bool) -> None:
        """Wait for the next look: a moment while there is traffic, else until something is put or due."""
        now = time.monotonic()
        if worked:
            self._traffic_until = now + _TRAFFIC
            if len(self.records.items) >= _MANY:
                return
        due = max(_LOOK, min(self._trail.due_in(now), GAP_INTERVAL if self._gap else 60.0))
        if self._pump.is_held():
            self._bell.wait(PAUSE)
        elif now < self._traffic_until or not self._pump.is_empty():
            self._bell.watch(_LOOK, min(due, max(_LOOK, self._traffic_until - now)))
        elif self.records.watched:
            self.records.watched = False
            self._bell.watch(_LOOK, 2 * _LOOK)  # for a put that saw the old value
        else:
            self._bell.wait(due)

    def _work(self) -> bool:
        """Write once what waits; False when there was nothing, or it could not be written."""
        with self._working:
            return self._pump.turn(flush_until=self._flush_until)

    def _is_idle(self) -> bool:
        return self._pump.is_empty() and self._trail.is_synced() and not self._working.locked()

    def _lose_rest(self) -> None:
        self._ended = True
        self._pump.discard()
