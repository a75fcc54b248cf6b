"""What becomes of log files that are no longer written: compressed, and deleted by age and total size."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from otel_ml import health
from otel_ml.options import Logs

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Archive:
    """The log files of one service in one directory, those of earlier processes included.

    Args:
        directory: The directory; nothing outside it is touched.
        name: Beginning of the files' names.
        options: `compress`, `retention_age` and `retention_bytes`.
    """

    def __init__(self, directory: Path, name: str, options: Logs) -> None:
        self._directory = directory
        self._pattern = re.compile(
            rf"{re.escape(name)}(?:-\d{{8}}T\d{{6}}Z-(?P<pid>\d+))?\.log(?:\.(?P<number>\d+)(?:\.gz(?:\.tmp)?)?)?"
        )
        self._options = options
        self._thread: threading.Thread | None = None
        self._due: Path | None = None

    def files(self) -> Iterator[tuple[Path, int]]:
        """Yield each file with its rotation number; 0 for one that was not rotated."""
        with os.scandir(self._directory) as found:
            for item in found:
                match = self._pattern.fullmatch(item.name)
                if match is not None:
                    yield Path(item.path), int(match["number"] or 0)

    def tidy(self, current: Path) -> None:
        """Compress and delete on a thread that ends when there is nothing left to do.

        Args:
            current: File that is being written, which stays.
        """
        self._due = current
        if self._thread is not None and self._thread.is_alive():
            return  # it looks again before it ends; what comes later still is done by `wait`, or the next time
        thread = threading.Thread(target=self._run, name="otel_ml-logs-archive", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is going down: the next process does it
            return
        self._thread = thread

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is left to do; False when `timeout` seconds were not enough."""
        deadline = time.monotonic() + timeout
        while self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            if self._thread.is_alive():
                return False
            self._thread = None
            if self._due is not None:  # it was asked for while the thread came to its end
                self.tidy(self._due)
        return True

    def _run(self) -> None:
        while (current := self._due) is not None:
            self._due = None
            self._tidy(current)

    def _tidy(self, current: Path) -> None:
        try:
            if self._options.compress:
                for path, number in sorted(self.files(), key=lambda item: item[1]):
                    if number and path.suffix not in (".gz", ".tmp"):
                        compress(path)
            self._delete(current)
        except Exception as error:  # a full disk, a file that another process removed first
            health.internal_error("archiving of log files", error)

    def _delete(self, current: Path) -> None:
        kept: list[tuple[float, int, Path]] = []
        now = time.time()
        for path, _ in self.files():
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            if path == current:
                continue
            if 0 < self._options.retention_age < now - stat.st_mtime:
                path.unlink(missing_ok=True)
            elif not self._is_live(path):
                kept.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if not 0 < self._options.retention_bytes < total:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _is_live(self, path: Path) -> bool:
        """Whether a process of this machine may still be writing a file."""
        match = self._pattern.fullmatch(path.name)
        if match is None or match["number"] or fcntl is None:
            return False
        if match["pid"] is None:
            return True
        try:
            os.kill(int(match["pid"]), 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            return True
        return True


def compress(path: Path) -> None:
    """Replace a file by its gzip; a crash leaves the original, and of several processes one does it."""
    temporary, target = Path(f"{path}.gz.tmp"), Path(f"{path}.gz")
    try:
        source = path.open("rb")
    except FileNotFoundError:
        return  # another process has done it
    with source:
        if not _lock(source.fileno()) or not path.exists():
            return  # another process is at it, or has done it
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as raw, gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw) as out:
            shutil.copyfileobj(source, out, 1024 * 1024)
        os.utime(temporary, (path.stat().st_atime, path.stat().st_mtime))
        temporary.replace(target)
        path.unlink()


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
