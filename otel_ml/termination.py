"""SIGTERM: deliver what is queued, then end as the program would have ended without us."""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib.util
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from otel_ml import health


def deliver_on_sigterm(deliver: Callable[[], object], seconds: float) -> Callable[[], None]:
    """Call `deliver` when SIGTERM comes and nobody handles it, then let the signal do what it does.

    A handler that the program has set, or sets later, is the program's: then nothing is done. Forked children inherit
    this, which is how the workers of a `multiprocessing.Pool` deliver when the pool terminates them.

    Args:
        deliver: Runs on a thread of its own, while the program goes on.
        seconds: How long the process may live on for it.

    Returns:
        A function that takes the handler off again.
    """
    if not _is_main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return lambda: None
    watch = _Watch(deliver, seconds)
    signal.signal(signal.SIGTERM, watch.tell)
    return watch.stop


class _Watch:
    """A thread that waits for SIGTERM at the end of a pipe.

    The signal's handler runs between any two instructions of the main thread, which may hold any lock at that moment:
    so it writes one byte, and everything else happens here. That the main thread goes on meanwhile is what lets such a
    lock be released. Python's C code writes the same byte as soon as the signal comes, for a main thread that is in a
    long computation, or about to sleep, runs no handler then.
    """

    def __init__(self, deliver: Callable[[], object], seconds: float) -> None:
        self._deliver = deliver
        self._seconds = seconds
        self._forking = threading.local()
        self._writer = -1
        self._told = False
        self._listen()
        _watches.add(self)
        atexit.register(self._wait_for_end)

    def tell(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        self._told = True
        self._write(number)

    def stop(self) -> None:
        """Leave the signal alone from now on, unless it has come: then this was the delivery, and the process ends."""
        if self._told and self._is_handler():
            _end()
        if not _is_main_thread() or self not in _watches:
            return
        _watches.discard(self)
        atexit.unregister(self._wait_for_end)
        if self._is_handler():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if (fd := signal.set_wakeup_fd(-1)) != self._writer:
            signal.set_wakeup_fd(fd)
        self._write(_STOP)
        os.close(self._writer)

    def before_fork(self) -> None:
        """Keep the signal away from the child until `after_in_child`: a handler there would speak to our pipe."""
        if self._is_handler():
            self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def after_in_parent(self) -> None:
        """Take the signal again; one that came meanwhile went to another thread, or comes now."""
        if (mask := self._forking.__dict__.pop("mask", None)) is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def after_in_child(self) -> None:
        """Begin anew with a pipe and a thread of its own."""
        if "mask" in self._forking.__dict__:
            inherited = (self._reader, self._writer)
            try:
                self._listen()
                for fd in inherited:
                    os.close(fd)
            finally:
                self.after_in_parent()

    def _is_handler(self) -> bool:
        return signal.getsignal(signal.SIGTERM) == self.tell

    def _listen(self) -> None:
        inherited = self._writer
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        threading.Thread(target=self._wait, args=(self._reader,), name="otel_ml-sigterm", daemon=True).start()
        if _trio_is_installed():  # it warns when it finds that somebody uses this
            return
        with suppress(ValueError):  # not the main thread of the main interpreter
            if (other := signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)) not in (-1, inherited):
                signal.set_wakeup_fd(other)

    def _wait(self, reader: int) -> None:
        while True:
            heard = os.read(reader, 64)
            if _STOP in heard:
                os.close(reader)
                return
            if signal.SIGTERM in heard and self._is_handler():
                break
        delivery = threading.Thread(target=self._survived, name="otel_ml-delivery", daemon=True)
        delivery.start()
        delivery.join(self._seconds)
        _end()

    def _wait_for_end(self) -> None:
        """Let the signal end the process, where the program would come to its own end during the delivery."""
        if self._told and self._is_handler():
            time.sleep(self._seconds)
            _end()

    def _write(self, number: int) -> None:
        with suppress(OSError):  # a full pipe: the thread knows already
            os.write(self._writer, bytes([number]))

    def _survived(self) -> None:
        try:
            self._deliver()
        except Exception as error:
            health.internal_error("delivery at SIGTERM", error)


_STOP = 0
_watches: weakref.WeakSet[_Watch] = weakref.WeakSet()


@functools.cache  # also for forked children: it looks through folders
def _trio_is_installed() -> bool:
    return importlib.util.find_spec("trio") is not None


@functools.cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)  # NULL is SIG_DFL
    library.signal.restype = ctypes.c_void_p
    return library


def _end() -> None:
    _libc().signal(signal.SIGTERM, None)  # Python's own function works in the main thread only
    os.kill(os.getpid(), signal.SIGTERM)


def _at_fork(action: Callable[[_Watch], None]) -> None:
    for watch in list(_watches):
        try:
            action(watch)
        except Exception as error:
            health.internal_error("waiting for SIGTERM across a fork", error)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _at_fork(_Watch.before_fork),
        after_in_parent=lambda: _at_fork(_Watch.after_in_parent),
        after_in_child=lambda: _at_fork(_Watch.after_in_child),
    )
