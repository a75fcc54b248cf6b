"""From a lane to lines that can be written: some at a time, and kept until they are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otel_ml import health
from otel_ml.audit.queue import Gap, Lane, size_of
from otel_ml.audit.record import Encoder
from otel_ml.audit.rows import Batch

MOST_LINES: Final = 1024
MOST_BYTES: Final = 1024 * 1024


class Feed:
    """The items of a lane as bodies of lines.

    Args:
        lane: Where items come from.
        encoder: Makes bodies of them.
        gap: Told of items that cannot be encoded; those beside them are written.

    Attributes:
        bodies: What is to be written next, in order. It stays until `written`.
        tickets: Of the items that are complete with these bodies.
    """

    def __init__(self, lane: Lane, encoder: Encoder, gap: Gap) -> None:
        self._lane = lane
        self._encoder = encoder
        self._gap = gap
        self._rows: Iterator[bytes] | None = None
        self._batch = (0, 0)
        self.bodies: list[bytes] = []
        self.tickets: list[int] = []

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not (self.bodies or self._rows is not None or self._lane.items)

    def fill(self) -> bool:
        """Encode some items, unless some are not written yet; False when there is nothing to write."""
        bodies, items, encode = self.bodies, self._lane.items, self._encoder.body
        if bodies:
            return True
        room = MOST_BYTES
        released = 0
        while room > 0 and len(bodies) < MOST_LINES:
            if self._rows is not None:
                room -= self._add_row(self._rows)
                continue
            if not items:
                break
            entry = items.popleft()
            if isinstance(entry, bytes):
                bodies.append(entry)
                room -= len(entry)
                released += size_of(entry)
                continue
            item, size, ticket = entry
            try:
                if type(item) is bytes:
                    body = item
                elif type(item[11]) is Batch:
                    self._rows, self._batch = self._encoder.bodies(item), (size, ticket)
                    continue
                else:
                    body = encode(item)
            except Exception as error:  # whatever one item holds
                self._spoilt(error)
            else:
                bodies.append(body)
                room -= len(body)
            released += size
            if ticket:
                self.tickets.append(ticket)
        self._lane.release(released)
        return bool(bodies)

    def written(self) -> list[int]:
        """Forget the bodies, and return the tickets that are complete now."""
        tickets, self.tickets, self.bodies = self.tickets, [], []
        return tickets

    def discard(self) -> int:
        """Empty it, lane included; return how many records that were, as far as they can be told."""
        lost = len(self.bodies) + (self._rows is not None) + len(self._lane.items)
        self.bodies, self.tickets, self._rows = [], [], None
        self._lane.items.clear()
        self._lane.held = 0
        return lost

    def _add_row(self, rows: Iterator[bytes]) -> int:
        try:
            body = next(rows, b"")
        except Exception as error:  # the rows that are left are lost with it
            self._spoilt(error)
            body = b""
        if body:
            self.bodies.append(body)
        else:
            self._rows = None
            size, ticket = self._batch
            self._lane.release(size)
            if ticket:
                self.tickets.append(ticket)
        return len(body)

    def _spoilt(self, error: Exception) -> None:
        self._gap.add("encode_failed")
        health.internal_error("encoding of an audit record", error)
