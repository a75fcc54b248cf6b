"""What waits for the writer: two bounded lanes, and a count of what found no room."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from typing import Any

from otel_ml import health
from otel_ml.audit.record import GAP, event

_LEAST = 256
"""Bytes that an item counts for at least: the objects that hold it take them."""


class Lane:
    """A queue bounded by number and bytes. Callers take no lock, so that a `__del__` may put in the middle of a put.

    Without a GIL, threads that put at the same moment may exceed the bounds by an item each, and `held` may be a few
    items off until the lane is empty.

    Args:
        most_items: Items that may wait; None: as many as `most_bytes` allows.
        most_bytes: Bytes that may wait. An empty lane takes one item that is larger: its caller holds it already.

    Attributes:
        items: What waits, oldest first: with its size and its ticket, or the body of a line and nothing else.
        held: Bytes of these, and of those that were taken and not released.
        watched: Whether the writer looks of its own accord; else it is to be told of each item.
    """

    __slots__ = ("held", "items", "most_bytes", "most_items", "watched")

    def __init__(self, most_items: int | None, most_bytes: int) -> None:
        self.items: deque[bytes | tuple[Any, int, int]] = deque()
        self.held = 0
        self.watched = False
        self.most_items = sys.maxsize if most_items is None else most_items
        self.most_bytes = most_bytes

    def put(self, item: Any, size: int, ticket: int) -> bool:
        """Append an item; False when there is no room.

        Args:
            item: A call, or the body of a line.
            size: Bytes that it holds.
            ticket: What its caller may wait for; 0: it does not.
        """
        size = max(size, _LEAST)
        if len(self.items) >= self.most_items:
            return False
        if self.held + size > self.most_bytes and self.held > 0:
            return False
        self.held += size
        self.items.append((item, size, ticket))
        return True

    def put_quietly(self, body: bytes) -> bool:
        """Append the body of a line; False when it was not done, for there is no room or nobody watches.

        Args:
            body: The line, but for its end.
        """
        size = size_of(body)
        if not self.watched or len(self.items) >= self.most_items or self.held + size > self.most_bytes:
            return False
        self.held += size
        self.items.append(body)
        return True

    def release(self, size: int) -> None:
        """Say that an item of so many bytes, taken before, is not held any longer."""
        self.held = self.held - size if self.items else 0


def size_of(body: bytes) -> int:
    """Return the bytes that a line counts for while it waits."""
    return max(len(body), _LEAST)


class Gap:
    """What was lost since it was last written into the trail. Also counted in `otel_ml.dropped`.

    Args:
        service: Name of the service that lost it.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._lock = threading.RLock()  # re-entrant: what counting allocates may run a `__del__` that counts
        self._lost: dict[str, int] = {}
        self._span = (0, 0)

    def add(self, reason: str, number: int = 1) -> None:
        """Count records that are lost from now on.

        Args:
            reason: A word for the cause, for example `queue_full`.
            number: How many.
        """
        if not number:
            return
        health.count_dropped("audit", reason, number)
        now = time.time_ns()
        with self._lock:
            self._span = (self._span[0] if self._lost else now, now)
            self._lost[reason] = self._lost.get(reason, 0) + number

    def __bool__(self) -> bool:
        return bool(self._lost)

    def body(self) -> bytes:
        """Return the line that tells of it."""
        with self._lock:
            first, last = self._span
            times = {"first_time_unix_nano": first, "last_time_unix_nano": last}
            fields = {"service.name": self._service, "lost": dict(self._lost), **times}
        return event(GAP, fields)

    def settle(self, body: bytes) -> None:
        """Forget what a line told that is written now; what was lost after it was made stays.

        Args:
            body: What `body` returned.
        """
        told = json.loads(body + b"}")["lost"]
        with self._lock:
            left = {reason: number - told.get(reason, 0) for reason, number in self._lost.items()}
            self._lost = {reason: number for reason, number in left.items() if number}
