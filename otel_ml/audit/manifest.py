"""`manifest.jsonl`: what happened to whole segments. A chain of its own, which all processes append to."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from otel_ml import conventions
from otel_ml.audit import descriptors
from otel_ml.audit.chain import Chain, start_of
from otel_ml.audit.descriptors import open_held
from otel_ml.audit.record import RECOVERED, event
from otel_ml.audit.segment import lock, sync_directory
from otel_ml.errors import Error
from otel_ml.identity import uuid7

NAME: Final = "manifest.jsonl"
SEALED: Final = "otel_ml.audit.sealed"
TOMBSTONE: Final = "otel_ml.audit.tombstone"
SUSPECT: Final = "otel_ml.audit.suspect"
DAMAGED: Final = "otel_ml.audit.damaged"
HOLD: Final = "otel_ml.audit.hold"
RELEASE: Final = "otel_ml.audit.release"

_LONGEST: Final = 64 * 1024


class ManifestError(Error):
    """The manifest, or what it should say, is not as it has to be."""


class Hold(NamedTuple):
    """A legal hold: segments of a time span are not deleted.

    Args:
        id: Identity, which `release` takes.
        reason: Why, in the words of who placed it.
        since: Begin of the span, nanoseconds since 1970; None: from the first record on.
        until: Its end; None: no end.
    """

    id: str
    reason: str
    since: int | None = None
    until: int | None = None

    def covers(self, first: float, last: float) -> bool:
        """Whether a span of nanoseconds overlaps that of the hold."""
        return (self.since is None or last >= self.since) and (self.until is None or first <= self.until)


class Marks:
    """What the manifest says, by name of the segment; of several marks of a kind the last.

    Attributes:
        sealed: Segments that were sealed: first and last sequence number, and `end`, the hash of the last line.
        tombstones: Segments that retention deleted: the same, and why.
        suspects: Segments whose end may not be on the disk: the same, `confirmed_seq` and `confirmed`, the last
            sequence number and hash that are.
        holds: Legal holds in force.
    """

    def __init__(self) -> None:
        self.sealed: dict[str, dict[str, Any]] = {}
        self.tombstones: dict[str, dict[str, Any]] = {}
        self.suspects: dict[str, dict[str, Any]] = {}
        self.holds: dict[str, Hold] = {}

    def take(self, entry: dict[str, Any]) -> None:
        """Add one line of the manifest."""
        kind = entry.get(conventions.EVENT_NAME)
        by_segment = {SEALED: self.sealed, TOMBSTONE: self.tombstones, SUSPECT: self.suspects}
        if kind in by_segment:
            by_segment[kind][entry["segment"]] = entry
        elif kind == HOLD:
            self.holds[entry["hold"]] = Hold(entry["hold"], entry["reason"], entry["since"], entry["until"])
        elif kind == RELEASE:
            self.holds.pop(entry["hold"], None)


class Manifest:
    """The manifest, held by this process: a context manager during which no other one changes it.

    Args:
        directory: Audit directory, which exists.
    """

    _chain: Chain
    _descriptor: int
    _size: int

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> Self:
        path = self._directory / NAME
        self._descriptor = open_held(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            lock(self._descriptor, wait=True)
            self._resume()
        except BaseException:
            descriptors.release(self._descriptor)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        descriptors.release(self._descriptor)

    def append(self, name: str, **fields: Any) -> None:
        """Add a line; it is on the disk when this returns.

        Args:
            name: One of the event names of this module.
            **fields: What it says.

        Raises:
            OSError: It could not be written.
        """
        root, seq = self._chain.root, self._chain.seq
        line = self._chain.seal(event(name, {"time_unix_nano": time.time_ns(), **fields}))
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            self._chain = Chain(root, seq)
            raise
        if self._size == 0:
            sync_directory(self._directory)
        self._size += len(line)

    def marks(self) -> Marks:
        """Return what it says so far."""
        return read(self._directory)

    def _resume(self) -> None:
        """Go on after the last whole line; half a line is left by a process that was killed."""
        self._chain = Chain(start_of(NAME))
        self._size = os.fstat(self._descriptor).st_size
        tail = os.pread(self._descriptor, _LONGEST, max(0, self._size - _LONGEST))
        end = tail.rfind(b"\n") + 1
        if end:
            with suppress(ValueError, KeyError, TypeError):  # someone changed it: `verify` says so from this line on
                last = json.loads(tail[tail.rfind(b"\n", 0, end - 1) + 1 : end])
                self._chain = Chain(bytes.fromhex(last["hash"]), last["seq"] + 1)
        torn = len(tail) - end
        if torn:
            self._size -= torn
            os.ftruncate(self._descriptor, self._size)
            self.append(RECOVERED, truncated_bytes=torn)


def read(directory: Path) -> Marks:
    """Return what the manifest of an audit directory says; nothing when there is none.

    Args:
        directory: Audit directory.
    """
    marks = Marks()
    try:
        lines = (directory / NAME).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return marks
    for line in lines:
        try:
            marks.take(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):  # `verify` says which line was changed
            continue
    return marks


def hold(directory: Path, reason: str, since: int | None = None, until: int | None = None) -> str:
    """Keep the segments of a time span from being deleted, and return the identity of the hold.

    Args:
        directory: Audit directory.
        reason: Why, which the manifest keeps.
        since: Begin of the span, nanoseconds since 1970; None: from the first record on.
        until: Its end; None: no end.

    Raises:
        OSError: The manifest cannot be written.
    """
    identity = uuid7()
    with Manifest(directory) as manifest:
        manifest.append(HOLD, hold=identity, reason=reason, since=since, until=until)
    return identity


def release(directory: Path, identity: str) -> None:
    """End a hold.

    Args:
        directory: Audit directory.
        identity: What `hold` returned.

    Raises:
        ManifestError: There is no such hold.
        OSError: The manifest cannot be written.
    """
    with Manifest(directory) as manifest:
        holds = manifest.marks().holds
        if identity not in holds:
            known = ", ".join(holds) or "none"
            raise ManifestError(f"release: expected the identity of a hold in force ({known}), received {identity!r}")
        manifest.append(RELEASE, hold=identity)
