"""The sink for the log file: opens it where and when it is needed, rotates it, and continues after a fault."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from otel_ml import health
from otel_ml.logs.archive import Archive
from otel_ml.options import Logs

try:
    import fcntl
except ImportError:  # Windows, where each process has its own file unless `append` is set
    fcntl = None  # type: ignore[assignment]

_FIRST_TIMESTAMP = re.compile(rb'\{"timestamp":"([0-9T:.-]+Z)"')


class LogFile:
    """Writes lines to `<service>-<time>-<pid>.log`, or to `<service>.log` when `append` is set.

    A file that is too big or too old is renamed to `<name>.<n>`, the highest number being the newest, and compressed
    on another thread. After a fork the child writes a file of its own. Several processes that append to one file take
    turns by a lock on it. A file that someone else moved or removed is opened anew.

    Args:
        directory: Where the file goes; made (mode 0700) when it is missing.
        service: Beginning of the file's name.
        options: Sizes, ages, `append` and `compress`.
    """

    def __init__(self, directory: Path, service: str, options: Logs) -> None:
        self._directory = directory.absolute()  # it is opened later, when the program may be elsewhere
        self._name = base_name(service)
        self._options = options
        self._archive = Archive(self._directory, self._name, options)
        self._descriptor: int | None = None
        self._pid = 0
        self._path = directory
        self._opened = 0.0

    def write(self, lines: Sequence[bytes]) -> None:
        """Write lines, or count them as lost; the next call tries again."""
        try:
            self._write(b"".join(lines))
        except OSError as error:
            health.count_dropped("logs", "write_failed", len(lines))
            health.warn_once(
                f"logs:file:{error.errno}",
                "logs: %s cannot be written (%s); lines are dropped and counted until it can",
                self._path, error.strerror or error,
            )  # fmt: skip

    def close(self, timeout: float) -> bool:
        """Close the file; False when archiving took more than `timeout` seconds and was left to the next process."""
        self._release()
        return self._archive.wait(timeout)

    def _write(self, data: bytes) -> None:
        for _ in range(10):  # each further turn: another process rotated or removed the file meanwhile
            descriptor = self._open()
            with _locked(descriptor):
                current = _is_at(descriptor, self._path)
                size = os.fstat(descriptor).st_size
                rotated = current and self._is_due(size, len(data)) and self._rename()
                if current and not rotated:
                    _append(descriptor, data, size)
                    return
            self._release()
            if rotated:
                self._archive.tidy(self._path)
        raise OSError(None, "the file is replaced again and again")

    def _open(self) -> int:
        if self._descriptor is not None and self._pid == os.getpid():
            return self._descriptor
        if self._pid != os.getpid():
            self._release()
            self._pid = os.getpid()
            started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            name = f"{self._name}.log" if self._options.append else f"{self._name}-{started}-{self._pid}.log"
            self._path = self._directory / name
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._opened = time.monotonic() - _age(self._descriptor)
        self._archive.tidy(self._path)
        return self._descriptor

    def _release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_due(self, size: int, more: int) -> bool:
        if size == 0:
            return False
        too_big = 0 < self._options.max_bytes < size + more
        return too_big or 0 < self._options.max_age <= time.monotonic() - self._opened

    def _rename(self) -> bool:
        taken = [number for path, number in self._archive.files() if number and path.name.startswith(self._path.name)]
        number = max(taken, default=0) + 1
        # A scan can miss a file that is being compressed meanwhile: the gzip is there before the original goes.
        while Path(f"{self._path}.{number}").exists() or Path(f"{self._path}.{number}.gz").exists():
            number += 1
        self._path.rename(f"{self._path}.{number}")
        return True


def base_name(service: str) -> str:
    """Return what the names of a service's log files begin with."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", service).lstrip(".")[:100] or "service"


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there, here = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _append(descriptor: int, data: bytes, size: int) -> None:
    """Append whole lines; what a full disk took of them is cut off again, so that no line is ever half there."""
    if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a process was killed in the middle of a line
        data = b"\n" + data
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _age(descriptor: int) -> float:
    """Return the seconds since the first line of a continued file; 0 for a new one or when the clock went back."""
    found = _FIRST_TIMESTAMP.match(os.pread(descriptor, 64, 0))
    if found is None:
        return 0.0
    try:
        return max(0.0, time.time() - datetime.fromisoformat(found[1].decode()).timestamp())
    except ValueError:
        return 0.0
