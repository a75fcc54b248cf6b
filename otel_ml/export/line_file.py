"""Local files that only ever hold whole lines, one a signal and process."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from otel_ml import health


class LineFile:
    """A file that only ever holds whole lines, whatever happens to the disk or to this process.

    It is opened at the first write, and anew in a forked child and after it was deleted. Directories that are
    missing are made with mode 0700, the file with 0600. Safe to use from several threads.

    Args:
        path_for_pid: Returns the path for the current process; asked at each opening.
    """

    def __init__(self, path_for_pid: Callable[[], Path]) -> None:
        self._path_for_pid = path_for_pid
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        if hasattr(os, "register_at_fork"):
            leave = weakref.WeakMethod(self._leave_to_parent)
            os.register_at_fork(after_in_child=lambda: (method := leave()) and method())

    @property
    def path(self) -> Path:
        """The file of the current process, whether it exists yet or not."""
        return self._path_for_pid()

    def write(self, lines: bytes) -> None:
        """Append whole lines.

        Args:
            lines: Text with an end of line at its end.

        Raises:
            OSError: They could not be written; what was written of them has been taken back.
        """
        with self._lock:
            size = None
            try:
                descriptor = self._open()
                size = os.fstat(descriptor).st_size
                _write_all(descriptor, lines)
            except OSError:
                self._take_back(size)
                raise

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        with self._lock:
            self._close()

    def _open(self) -> int:
        if self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0:
            self._close()  # somebody cleaned up: what we write would be gone with the file
        if self._descriptor is None:
            path = self._path_for_pid()
            _make_directories(path.parent)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
            _end_torn_line(self._descriptor)
        return self._descriptor

    def _take_back(self, size: int | None) -> None:
        """Cut the file to its former size, if known, and close it: the next opening mends what that could not."""
        try:
            if self._descriptor is not None and size is not None:
                os.ftruncate(self._descriptor, size)
        except OSError as error:
            health.internal_error("cutting off a torn line", error)
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            os.close(descriptor)
        except OSError as error:  # the application may have closed all that it did not know
            health.internal_error("closing a file", error)

    def _leave_to_parent(self) -> None:
        self._lock = threading.Lock()  # the inherited one may be held by a thread that does not exist here
        self._close()


def _write_all(descriptor: int, data: bytes) -> None:
    """Write in one call where the disk lets us; it takes less than all when it runs full."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _make_directories(directory: Path) -> None:
    """Make what is missing of a path; unlike `Path.mkdir(parents=True)`, all of it private."""
    if not directory.is_dir():
        _make_directories(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def _end_torn_line(descriptor: int) -> None:
    """Give a last line that a killed process left unfinished its end: readers skip it, and ours starts a new one."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        _write_all(descriptor, b"\n")


class SignalFile:
    """The file `<signal>-<pid>.jsonl` of one exporter."""

    def __init__(self, directory: Path, signal: str) -> None:
        self._file = LineFile(lambda: directory / f"{signal}-{os.getpid()}.jsonl")
        self._signal = signal
        self._shut_down = False

    def write(self, lines: bytes) -> bool:
        """Append lines; False, and said once for each kind of failure, when that did not work."""
        if self._shut_down:
            return False
        try:
            self._file.write(lines)
        except OSError as error:
            health.warn_once(
                f"write_failed:{self._signal}:{error.errno}",
                "%s cannot be written (%s); %s are lost, and counted in otel_ml.dropped, until it can.",
                self._file.path,
                error.strerror or type(error).__name__,
                self._signal,
            )
            return False
        return True

    def shutdown(self) -> None:
        """Close the file; nothing more is written."""
        self._shut_down = True
        self._file.close()
