"""What a thread waits for that writes what others put: to be told, or to see of its own accord that something waits."""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue

from otel_ml.audit.queue import Lane


class Bell:
    """Wakes one thread.

    Where this is compiled, that thread looks without the GIL: others are not interrupted until there is work.

    Args:
        first: What it is to look at.
        second: The same.
    """

    def __init__(self, first: Lane, second: Lane) -> None:
        self._first = first
        self._second = second
        self._rings: SimpleQueue[None] = SimpleQueue()  # an Event would do, but its `set` is not re-entrant

    def ring(self) -> None:
        """Wake the thread, or have its next wait end at once. May be called anywhere, by any thread."""
        if self._rings.empty():
            self._rings.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait until the bell rings; whether it did.

        Args:
            seconds: To wait at most.
        """
        try:
            self._rings.get(timeout=max(0.0, seconds))
        except Empty:
            return False
        return True

    def watch(self, pause: float, seconds: float) -> None:
        """Wait until the bell rings, or something is in a lane.

        Args:
            pause: Seconds before each look.
            seconds: To wait at most, rounded up to pauses.
        """
        until = time.monotonic() + seconds
        while not (self.wait(pause) or self._first.held or self._second.held or time.monotonic() >= until):
            continue
