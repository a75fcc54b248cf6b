"""Who waits for a record to be on the disk."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable


class _Waiter:
    __slots__ = ("is_durable", "settled")

    def __init__(self) -> None:
        self.is_durable = False
        self.settled = threading.Lock()
        self.settled.acquire()


class Waiters:
    """Tickets, and what became of them. Several threads may use it, also in the middle of a call of their own."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, _Waiter] = {}
        self._lost: set[int] = set()

    def ticket(self) -> int:
        """Return a new ticket, which is settled sooner or later."""
        number = next(self._numbers)
        self._open[number] = _Waiter()
        return number

    def wait(self, ticket: int, timeout: float) -> bool:
        """Return whether the record of a ticket is on the disk, after `timeout` seconds at most."""
        waiter = self._open.get(ticket)
        if waiter is not None and not waiter.settled.acquire(timeout=timeout):
            return False
        is_durable = ticket not in self._lost if waiter is None else waiter.is_durable
        self._lost.discard(ticket)
        return is_durable

    def settle(self, tickets: Iterable[int], *, durable: bool) -> None:
        """Wake who waits for these tickets; those that are settled already stay as they are."""
        for ticket in tickets:
            waiter = self._open.get(ticket)
            if waiter is None:
                continue
            waiter.is_durable = durable
            if not durable:
                self._lost.add(ticket)
            del self._open[ticket]
            waiter.settled.release()

    def give_up(self) -> None:
        """Wake everybody: their records may still get to the disk, but nobody knows when."""
        self.settle(list(self._open), durable=False)
