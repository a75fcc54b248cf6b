"""The lock of the few writes to a span that need more than one store: one for all spans, so that a span has none."""

from __future__ import annotations

import os
import threading

lock = threading.RLock()
"""Re-entrant: the caller's `__str__`, a log handler or a signal handler may write to a span too."""


def _after_fork() -> None:
    global lock  # noqa: PLW0603  the inherited one may be held by a thread that does not exist here
    lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
