"""Keeps forks and collections apart: a child would inherit the SDK's lock as held by a thread that it has not."""

from __future__ import annotations

import os
import threading
from typing import Final

_PATIENCE: Final = 0.5  # seconds that a fork waits at most; an application's callback may hang


class _Gate:
    """Held by one collection at a time, and across a fork; the SDK itself lets one thread collect at a time."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew, in a forked child."""
        self._lock = threading.RLock()
        self._held = threading.local()

    def enter(self) -> None:
        """Begin a collection."""
        self._lock.acquire()
        self._held.times = self._times + 1

    def leave(self) -> None:
        """End it; nothing happens where none was begun, so that it can be ended early."""
        if self._times:
            self._held.times = self._times - 1
            self._lock.release()

    @property
    def _times(self) -> int:
        return getattr(self._held, "times", 0)

    def before_fork(self) -> None:
        """Wait for the collection of another thread."""
        if self._lock.acquire(timeout=_PATIENCE):
            self._held.times = self._times + 1

    def after_in_parent(self) -> None:
        """Let collections go on."""
        self.leave()


gate: Final = _Gate()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=gate.before_fork, after_in_parent=gate.after_in_parent, after_in_child=gate.renew)
