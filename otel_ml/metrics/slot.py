"""One process's numbers in a file that others read, mapped into memory: they are there when it dies, however it dies.

A file is one page about its owner, then segments, each of which a process maps once and for ever, so that memory
given to a cell never moves. A segment is its length, the bytes in use, and records:

    length of the record | 1 when it is complete | length of the key | numbers, 64 bits each | key

The file's bytes are written before they are mapped: on a full file system that is an error, and not a signal that
ends the process when it counts.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from otel_ml.metrics.processes import NOBODY, Process

SUFFIX: Final = ".cells"
_MAGIC: Final = 0x315F4C4D4C45544F  # OTELML_1
_OWNER: Final = struct.Struct("=6q")
_PAGE: Final = mmap.ALLOCATIONGRANULARITY
_SEGMENT: Final = 64 * 1024
MOST: Final = 16 * 1024 * 1024 + _PAGE
"""Bytes of a file, some 14,000 histogram series: those of workers that died are kept, so that they could add up."""
_WORD: Final = 8
_RECORD_HEAD: Final = 3 * _WORD
_NO_DESCRIPTOR: Final[dict[str, Any]] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


class Owner(NamedTuple):
    """What the first page says.

    Args:
        process: Who counts in this file; nobody after it left.
        root: Whom the family of processes is named after.
        port: TCP port on which the owner serves `/metrics`, or would if another did not.
    """

    process: Process
    root: Process
    port: int


class Record(NamedTuple):
    """One series of one process.

    Args:
        key: Instrument and attributes.
        numbers: Its memory.
    """

    key: bytes
    numbers: memoryview


def owner_of(path: Path) -> Owner | None:
    """Return whose file it is; None when it is no such file."""
    try:
        with path.open("rb") as file:
            head = file.read(_OWNER.size)
    except OSError:
        return None
    return _owner(head)


def records_of(path: Path) -> list[Record]:
    """Return what another process has counted until now."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _PAGE:
            return []
        view = memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))
    return [record for segment in _segments(view) for record in _records(segment)]


class Slot:
    """The file of this process.

    Args:
        path: A file that is there, of somebody who died, or a new one.
        owner: What its first page says from now on.
    """

    def __init__(self, path: Path, owner: Owner) -> None:
        self.path = path
        self._segments: list[memoryview] = []
        self._known: dict[tuple[bytes, int], memoryview] = {}
        self._end = _PAGE
        with self._open(os.O_CREAT) as file:
            _fill(file, os.fstat(file.fileno()).st_size, _PAGE)
            self.write(owner)
            size = os.fstat(file.fileno()).st_size
            while self._end + _PAGE <= size:
                length = int.from_bytes(os.pread(file.fileno(), _WORD, self._end), sys.byteorder)
                if length <= 0 or self._end + length > size:  # its owner died while it made the segment
                    break
                self._map(file, length)
        for record in self.records():
            self._known[record.key, record.numbers.nbytes] = record.numbers

    def _open(self, flags: int = 0) -> BinaryIO:
        """Open the file for a moment: programs that become daemons close every descriptor, whosever it is."""
        return os.fdopen(os.open(self.path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600), "r+b", buffering=0)

    def write(self, owner: Owner) -> None:
        """Say whose file it is."""
        process, root, port = owner
        with self._open() as file:
            os.pwrite(file.fileno(), _OWNER.pack(_MAGIC, *process, *root, port), 0)

    def records(self) -> Iterator[Record]:
        """Return all series, those of an earlier owner too."""
        for segment in list(self._segments):
            yield from _records(segment)

    def place(self, key: bytes, words: int) -> memoryview:
        """Return the memory of a series, the one that is there already or new.

        Raises:
            OSError: There is no room.
        """
        size = words * _WORD
        found = self._known.get((key, size))
        if found is None:
            found = self._known[key, size] = self._add(key, size)
        return found

    def _add(self, key: bytes, size: int) -> memoryview:
        length = _RECORD_HEAD + size + _padded(len(key))
        if not self._segments or _used(self._segments[-1]) + length > len(self._segments[-1]):
            self._grow(length)
        segment = self._segments[-1]
        head = segment[: 2 * _WORD].cast("q")
        at = head[1]
        record = segment[at : at + length]
        words = record[:_RECORD_HEAD].cast("q")
        words[0], words[1], words[2] = length, 0, len(key)
        head[1] = at + length
        record[_RECORD_HEAD + size : _RECORD_HEAD + size + len(key)] = key
        words[1] = 1
        return record[_RECORD_HEAD : _RECORD_HEAD + size]

    def _grow(self, needed: int) -> None:
        length = max(_SEGMENT, self._end - _PAGE)  # twice as much each time, so that segments stay few
        while length < needed + 2 * _WORD:
            length *= 2
        if self._end + length > MOST:
            raise OSError(errno.ENOSPC, "this process and those before it measured too many series")
        with self._open() as file:
            # Never made shorter again: for a reader that has mapped it, a byte that is gone is the end.
            _fill(file, os.fstat(file.fileno()).st_size, self._end + length)
            self._map(file, length)
        head = self._segments[-1][: 2 * _WORD].cast("q")
        head[1] = 2 * _WORD
        head[0] = length

    def _map(self, file: BinaryIO, length: int) -> None:
        self._segments.append(memoryview(mmap.mmap(file.fileno(), length, offset=self._end, **_NO_DESCRIPTOR)))
        self._end += length


def _owner(head: bytes) -> Owner | None:
    if len(head) < _OWNER.size:
        return None
    magic, pid, started, root_pid, root_started, port = _OWNER.unpack(head)
    if magic != _MAGIC:
        return None
    return Owner(Process(pid, started) if pid else NOBODY, Process(root_pid, root_started), port)


def _fill(file: BinaryIO, size: int, wanted: int) -> None:
    """Write zeros up to the size wanted: the file system has to say now whether it has room."""
    while size < wanted:
        size += os.pwrite(file.fileno(), bytes(wanted - size), size)


def _segments(view: memoryview) -> Iterator[memoryview]:
    at = _PAGE
    while at + _PAGE <= len(view):
        length = view[at : at + _WORD].cast("q")[0]
        if length <= 0 or at + length > len(view):  # under construction
            return
        yield view[at : at + length]
        at += length


def _used(segment: memoryview) -> int:
    used: int = segment[: 2 * _WORD].cast("q")[1]
    return used


def _records(segment: memoryview) -> Iterator[Record]:
    at, used = 2 * _WORD, _used(segment)
    while at + _RECORD_HEAD <= used:
        length, complete, key_length = segment[at : at + _RECORD_HEAD].cast("q")
        if length <= 0:
            return
        if complete:
            end = at + length - _padded(key_length)
            yield Record(bytes(segment[end : end + key_length]), segment[at + _RECORD_HEAD : end])
        at += length


def _padded(length: int) -> int:
    return -(-length // _WORD) * _WORD
