"""What is done once there is a reason for it, and not at the start of every process, where it would cost time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final


class Occasion:
    """Something that happens once in a process, or never."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._waiting: list[Callable[[], object]] | None = []

    def then(self, act: Callable[[], object]) -> None:
        """Call a function when it happens; now, when it has happened."""
        with self._lock:
            if self._waiting is not None:
                self._waiting.append(act)
                return
        act()

    def happen(self) -> None:
        """Call what waits for it."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        for act in waiting or ():
            act()


run_begun: Final = Occasion()
"""There is a run in this process: without one, spans need not be asked for theirs."""

audit_wanted: Final = Occasion()
"""An inference call was decorated, or the audit trail is asked for something."""
