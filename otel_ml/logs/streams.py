"""The sink for stdout or stderr: survives a closed one, a broken pipe and a reader that stalls."""

from __future__ import annotations

import io
import os
import select
import stat
from collections.abc import Sequence
from typing import IO

from otel_ml import health

_CHUNK = 4096  # PIPE_BUF on Linux: a pipe that select calls writable takes this much without blocking
_STALL = 2.0  # seconds to wait for a reader before lines are dropped
_ERASE = b"\r\x1b[2K"

bars: set[object] = set()
"""What draws a terminal's last line again and again: our lines go where that line is, and it is drawn below them."""


class StreamSink:
    """Writes lines to a stream.

    A real file descriptor is written to directly: Python's own buffer has a lock, which a fork at the wrong moment
    would leave locked in the child.

    Args:
        stream: `sys.stdout`, `sys.stderr`, or what stands in their place.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._rest = b""  # end of a line whose beginning has been written
        self._pid = os.getpid()
        self._stalled = False
        self._broken = False

    def write(self, lines: Sequence[bytes]) -> None:
        """Write lines, or count them as lost."""
        if self._broken:
            health.count_dropped("logs", "write_failed", len(lines))
            return
        try:
            if self._stream.closed:
                raise ValueError("the stream is closed")
            if self._descriptor is None:
                self._stream.write(b"".join(lines).decode("utf-8", "replace"))
                self._stream.flush()
            else:
                self._write_out(self._descriptor, lines)
        except (OSError, ValueError) as error:
            self._broken = not isinstance(error, TimeoutError)
            self._lost(len(lines), error)

    def _write_out(self, descriptor: int, lines: Sequence[bytes]) -> None:
        if not _may_block(descriptor):
            _write_all(descriptor, b"".join(lines))
            return
        if self._pid != os.getpid():  # a fork: the parent finishes its line itself
            self._rest, self._pid = b"", os.getpid()
        if bars and os.isatty(descriptor):
            lines = [_ERASE + line for line in lines]
        self._rest = self._send(descriptor, self._rest)
        for position, line in enumerate(lines):
            unsent = line if self._rest else self._send(descriptor, line)
            if unsent:
                begun = len(unsent) < len(line)
                self._rest = unsent if begun else self._rest
                self._lost(len(lines) - position - begun, TimeoutError("its reader has stalled"))
                return

    def _send(self, descriptor: int, data: bytes) -> bytes:
        """Write as much as the reader takes; returns what is left."""
        view = memoryview(data)
        while view:
            if not select.select([], [descriptor], [], 0.0 if self._stalled else _STALL)[1]:
                self._stalled = True
                break
            try:
                view = view[os.write(descriptor, view[:_CHUNK]) :]
                self._stalled = False
            except BlockingIOError:  # another writer took the room first
                continue
        return bytes(view)

    def _lost(self, number: int, error: Exception) -> None:
        health.count_dropped("logs", "write_failed", number)
        health.warn_once(
            f"logs:stream:{type(error).__name__}",
            "logs: %s cannot be written (%s); lines for it are dropped and counted",
            getattr(self._stream, "name", "the stream"), getattr(error, "strerror", None) or error,
        )  # fmt: skip


def _descriptor(stream: IO[str]) -> int | None:
    """Return the descriptor of a real file, pipe or terminal; a notebook's stream names one that it does not use."""
    if type(stream) is not io.TextIOWrapper or os.name != "posix":
        return None
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _may_block(descriptor: int) -> bool:
    return not stat.S_ISREG(os.fstat(descriptor).st_mode)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
