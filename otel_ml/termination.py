"""SIGTERM: deliver what is queued, then end as the program would have ended without us."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from otel_ml import health


def deliver_on_sigterm(deliver: Callable[[], object], seconds: float) -> Callable[[], None]:
    """Call `deliver` when SIGTERM comes and nobody handles it, then let the signal do what it does.

    A handler that the program has set, or sets later, is the program's: then nothing is done. Forked children inherit
    this, which is how the workers of a `multiprocessing.Pool` deliver when the pool terminates them.

    Args:
        deliver: Runs on a thread of its own, because the signal may have come while a lock was held.
        seconds: How long the process may live on for it.

    Returns:
        A function that takes the handler off again.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        _within(deliver, seconds)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def undo() -> None:
        if _is_main_thread() and signal.getsignal(signal.SIGTERM) is handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    if _is_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, handle)
    return undo


def _within(action: Callable[[], object], seconds: float) -> None:
    thread = threading.Thread(target=_survived, args=(action,), name="otel_ml-sigterm", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is going down already, and delivers by itself
        return
    thread.join(seconds)


def _survived(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception as error:
        health.internal_error("delivery at SIGTERM", error)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
