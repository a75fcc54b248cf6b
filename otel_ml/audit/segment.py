"""One file of the audit trail while it is written, its name, and the reserve for a full disk."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from otel_ml.audit.chain import Chain
from otel_ml.audit.descriptors import open_held, release

SEALED: Final = ".jsonl"
OPEN: Final = ".jsonl.open"
BALLAST: Final = "ballast-"
BALLAST_BYTES: Final = 1024 * 1024

_NAME: Final = re.compile(r"(?P<process>.+-\d+-\d{8}T\d{6}\.\d{6}Z)-(?P<number>\d{6,})\.jsonl(?P<open>\.open)?")
_synchronise = getattr(os, "fdatasync", os.fsync)  # macOS has the latter only


def process_name(service: str) -> str:
    """Return the part that the names of a process's segments share: service, host, process id and time.

    Args:
        service: Name of the service; what a file name should not have becomes `_`.
    """
    words = (re.sub(r"[^A-Za-z0-9._]", "_", word).lstrip(".")[:100] for word in (service, socket.gethostname()))
    return f"{'-'.join(word or '_' for word in words)}-{os.getpid()}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"


def parse(name: str) -> tuple[str, int, bool] | None:
    """Return process, number, and whether it is open, from the name of a segment; None for another file."""
    match = _NAME.fullmatch(name)
    return None if match is None else (match["process"], int(match["number"]), match["open"] is not None)


def lock(descriptor: int, *, wait: bool = False) -> bool:
    """Mark a file as in use.

    Args:
        descriptor: Of the file.
        wait: Whether to wait for who uses it now.

    Returns:
        False when another process, or another place of this one, uses it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Segment:
    """A file that this process appends to: `<name>.open` until it is sealed.

    Args:
        directory: Audit directory.
        name: Name that the file has when it is sealed.

    Attributes:
        size: Bytes in the file.
        opened: Monotonic time at which it was made, or its first line was written.
        first_seq: Sequence number of its first line.
        end: What follows on its last line, sequence number and hash; None while lines are appended.
        is_suspect: Whether a sync has failed, or a write that may have left something behind.
        is_set_aside: Whether it is marked as suspect, or about to be.

    Raises:
        FileExistsError: There is a segment of that name.
        OSError: The file cannot be made.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.first_seq = 0
        self.end: tuple[int, bytes] | None = None
        self.is_suspect = False
        self.is_set_aside = False
        self.size = 0
        self.opened = time.monotonic()
        self.path = directory / f"{name.removesuffix(SEALED)}{OPEN}"
        self._directory = directory
        self._is_entered = False
        if (directory / name).exists():
            raise FileExistsError(None, "a sealed segment has this name", str(directory / name))
        self._descriptor = open_held(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        if not lock(self._descriptor) or self.is_gone():  # who recovers what was left behind was quicker than our lock
            self.release()
            raise FileExistsError(None, "another process recovers this segment", str(self.path))

    def append(self, bodies: list[bytes], chain: Chain) -> int:
        """Append whole lines, or nothing: what a full disk took of them is cut off again.

        Args:
            bodies: Of the lines.
            chain: Gives them numbers and hashes; it does not go on when they are not written.

        Returns:
            Bytes that they take.

        Raises:
            OSError: They could not be written. When the segment cannot be used any more, it is suspect from now on.
        """
        seq, root = chain.seq, chain.root
        data, written = chain.seal_all(bodies, self._descriptor)
        try:
            if written < 0:
                raise OSError(-written, os.strerror(-written), str(self.path))
            view = memoryview(data)[written:]
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            chain.seq, chain.root = seq, root
            self.is_suspect = error.errno == errno.EIO
            try:
                os.ftruncate(self._descriptor, self.size)
            except OSError:
                self.is_suspect = True
            raise
        self.size += len(data)
        return len(data)

    def sync(self) -> None:
        """Return when all that was appended is on the disk, and the file's name too.

        Raises:
            OSError: It may not be there, and asking again would not tell.
        """
        _synchronise(self._descriptor)
        if not self._is_entered:
            sync_directory(self._directory)
            self._is_entered = True

    def is_gone(self) -> bool:
        """Whether someone has removed the file."""
        return os.fstat(self._descriptor).st_nlink == 0

    def rename(self) -> None:
        """Give the file its final name and close it; it was synced before.

        Raises:
            OSError: It cannot be renamed; it is closed all the same.
        """
        try:
            finish(self.path, self._directory / self.name)
        finally:
            self.release()

    def remove(self) -> None:
        """Remove a file that holds nothing of value."""
        self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Close the file as it is."""
        release(self._descriptor)


def finish(path: Path, sealed: Path) -> None:
    """Rename a segment that is complete, durably."""
    path.rename(sealed)
    sync_directory(sealed.parent)


def sync_directory(directory: Path) -> None:
    """Return when the names in a directory are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_full(error: OSError) -> bool:
    """Whether an error says that there is no room: on the disk, in a quota, or below a limit."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Ballast:
    """Room on the disk that is given up when it is full, so that failures can still be written.

    Args:
        directory: Audit directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor = -1
        self._path = directory

    def reserve(self) -> bool:
        """Take the room, if it can be had; False when the disk is full."""
        if self._descriptor >= 0:
            return True
        self._path = self._directory / f"{BALLAST}{os.getpid()}"
        try:
            self._descriptor = open_held(self._path, os.O_WRONLY | os.O_CREAT)
            if lock(self._descriptor):
                os.posix_fallocate(self._descriptor, 0, BALLAST_BYTES)
                return True
        except OSError as error:
            self.give_up()
            return not is_full(error)
        self.forget()  # of another host or container, with the same process id: it is theirs
        return True

    def give_up(self) -> bool:
        """Return the room to the disk; False when there is none."""
        if self._descriptor < 0:
            return False
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        self.forget()
        return True

    def forget(self) -> None:
        """Close the file as it is, as a forked child has to."""
        release(self._descriptor)
        self._descriptor = -1
