"""From feeds to the trail: failures first, what was lost in between, and what to do when the disk takes nothing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from otel_ml import health
from otel_ml.audit.feed import Feed
from otel_ml.audit.queue import Gap
from otel_ml.audit.segment import Ballast, is_full
from otel_ml.audit.trail import Trail
from otel_ml.audit.waiters import Waiters

PAUSE: Final = 0.1
"""Seconds between two attempts at a disk that takes nothing."""

GAP_INTERVAL: Final = 1.0
"""Seconds between two lines that tell of losses."""


class Pump:
    """Writes what waits. Used by one thread at a time.

    Args:
        directory: Audit directory.
        trail: Where lines go.
        feeds: Where they come from: failures, then other records.
        gap: What was lost, to be told in the trail.
        waiters: Who waits until records are on the disk; None: nobody does.
    """

    def __init__(
        self, directory: Path, trail: Trail, feeds: tuple[Feed, Feed], gap: Gap, waiters: Waiters | None
    ) -> None:
        self._directory = directory
        self._trail = trail
        self._feeds = feeds
        self._gap = gap
        self._waiters = waiters
        self._ballast = Ballast(directory)
        self._has_ballast = False
        self._is_full = False
        self._gap_at = 0.0
        self._held_until = 0.0

    def turn(self, *, flush_until: float) -> bool:
        """Write once; False when there was nothing, or it could not be written.

        Args:
            flush_until: Monotonic time until which everything is to be synced at once.
        """
        now = time.monotonic()
        try:
            return self._write_some(now, is_flushing=now < flush_until)
        except OSError as error:
            self._cannot_write(error)
        except Exception as error:  # whatever it is, the thread has to live on
            health.internal_error("writing of the audit trail", error)
            self._hold(now)
        return False

    def is_empty(self) -> bool:
        """Whether nothing waits to be written."""
        return all(feed.is_empty() for feed in self._feeds)

    def is_held(self) -> bool:
        """Whether the disk took nothing the last time."""
        return self._held_until > 0.0

    def discard(self) -> None:
        """Count as lost what is still to be written."""
        self._gap.add("shutdown", sum(feed.discard() for feed in self._feeds))
        self._give_up()

    def end(self) -> None:
        """Tell what was lost, and seal the trail."""
        try:
            if self._gap:
                self._write_gap(time.monotonic())
        except OSError as error:
            self._cannot_write(error)
        self._trail.close()
        self._trail.beside(self._ballast.give_up)  # where it may just be reserved

    def _write_some(self, now: float, *, is_flushing: bool) -> bool:
        if now < self._held_until and not is_flushing:
            return False
        self._trail.tend(now, sync=is_flushing)
        if self._trail.is_behind():
            return False
        failures, records = self._feeds
        written = self._write(failures)
        if self._is_full and not self._ballast.reserve():
            self._hold(now)
            return written
        self._is_full, self._held_until = False, 0.0
        written = self._write(records) or written
        if self._gap and now >= self._gap_at:
            self._write_gap(now)
        return written

    def _write(self, feed: Feed) -> bool:
        if not feed.fill():
            return False
        self._trail.append(feed.bodies)
        tickets = feed.written()
        if self._waiters is not None:
            self._trail.sync()
            self._waiters.settle(tickets, durable=True)
        if not self._has_ballast:
            self._has_ballast = True
            self._trail.beside(self._ballast.reserve)
        return True

    def _write_gap(self, now: float) -> None:
        body = self._gap.body()
        self._trail.append([body])
        self._gap.settle(body)
        self._gap_at = now + GAP_INTERVAL

    def _cannot_write(self, error: OSError) -> None:
        """On a full disk give up the ballast, so that failures can be written. What waits goes on to do so."""
        health.warn_once(
            f"audit:write:{error.errno}",
            "audit: %s cannot be written (%s); records wait, failures first, until it can. What finds no room in the "
            "queue is counted and noted in the trail",
            error.filename or self._directory, error.strerror or error,
        )  # fmt: skip
        self._give_up()
        self._is_full = self._is_full or is_full(error)
        if not (is_full(error) and self._ballast.give_up()):
            self._hold(time.monotonic())

    def _hold(self, now: float) -> None:
        self._held_until = now + PAUSE
        self._give_up()

    def _give_up(self) -> None:
        if self._waiters is not None:
            self._waiters.give_up()
