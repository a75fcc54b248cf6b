"""Sealed segments as Parquet: what queries read instead of lines. The segments stay, as they are the evidence."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from otel_ml import health
from otel_ml.audit.descriptors import open_held, release
from otel_ml.audit.extras import require
from otel_ml.audit.manifest import Manifest
from otel_ml.audit.reading import copies, sources, suspects
from otel_ml.audit.reading.columns import COLUMNS, EVENT, FROM_LINE, OUTCOME, TIME, quoted
from otel_ml.audit.reading.sources import Source
from otel_ml.audit.record import GAP, PREDICTION
from otel_ml.audit.segment import lock
from otel_ml.errors import MissingExtraError

FOLDER: Final = "parquet"
"""Name of the folder of the Parquet files, in the audit directory."""

INTERVAL: Final = 60.0
"""Seconds between two looks for sealed segments, in the background."""

_LONGEST_STOP: Final = 5.0
_LONGEST_LINE: Final = 1024 * 1024
_PURPOSE: Final = "to compact the audit trail"


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did.

    Args:
        segments: Segments that have a Parquet file now and had none before.
        bytes_before: Size of their lines.
        bytes_after: Size of their Parquet files.
        problems: Why others could not be compacted, by name of the segment.
    """

    segments: int
    bytes_before: int
    bytes_after: int
    problems: dict[str, str] = field(default_factory=dict)


def compact(directory: Path, connection: Any = None) -> Compacted:
    """Write a Parquet file for every sealed segment that has none.

    A file is there in whole or not at all. What is encrypted stays so. When another process is compacting, nothing is
    done. A segment that cannot be read is left as it is.

    Args:
        directory: Audit directory.
        connection: DuckDB connection to work with; None: one of its own.

    Raises:
        MissingExtraError: DuckDB or pyarrow is not installed.
        OSError: The folder cannot be written.
    """
    connection = connection or _connect()
    duckdb = require("duckdb", "audit", _PURPOSE)
    sizes: list[tuple[int, int]] = []
    problems: dict[str, str] = {}
    with _alone(directory / FOLDER) as alone:
        for source in _waiting(directory) if alone else []:
            try:
                done = _compact(source, directory / FOLDER, connection)
            except duckdb.InterruptException:
                break
            except duckdb.Error as error:
                problems[source.segment] = str(error)
            else:
                sizes += [done] if done is not None else []
    return Compacted(len(sizes), sum(size for size, _ in sizes), sum(size for _, size in sizes), problems)


def in_background(directory: Path, interval: float = INTERVAL) -> Callable[[], None]:
    """Compact sealed segments now and then on a thread of low priority, and return what stops it.

    Several processes may do so: one at a time works. Problems are warned about, and nothing is raised.

    Args:
        directory: Audit directory.
        interval: Seconds between two looks.
    """
    background = _Background(directory, interval)
    background.start()
    atexit.register(background.stop)
    return background.stop


class _Background(threading.Thread):
    """The thread. One that is inside of DuckDB when the interpreter ends would abort the process, so it is stopped."""

    def __init__(self, directory: Path, interval: float) -> None:
        super().__init__(name="otel_ml-audit-compaction", daemon=True)
        self._directory = directory
        self._interval = interval
        self._stopping = threading.Event()
        self._connection: Any = None

    def stop(self) -> None:
        """Interrupt what is under way, which the next process does again."""
        atexit.unregister(self.stop)
        self._stopping.set()
        deadline = time.monotonic() + _LONGEST_STOP
        while self.is_alive() and time.monotonic() < deadline:
            if self._connection is not None:
                self._connection.interrupt()  # again: it does nothing to a statement that has not begun
            self.join(0.02)

    def run(self) -> None:
        """Look for segments until `stop`."""
        if hasattr(os, "setpriority"):  # on Linux that of the thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while not self._stopping.wait(self._interval):
            try:
                self._compact()
            except MissingExtraError as error:
                health.warn_once("audit:compact", "audit: segments are not compacted. %s", error)
                return
            except Exception as error:  # a full disk, say: queries read the lines meanwhile
                health.internal_error("compaction", error)

    def _compact(self) -> None:
        if not _waiting(self._directory):
            return
        if self._connection is None:
            self._connection = _connect(threads=1)
        for segment, problem in compact(self._directory, self._connection).problems.items():
            health.warn_once(f"audit:compact:{segment}", "audit: %s cannot be compacted: %s", segment, problem)


def _connect(**options: Any) -> Any:
    duckdb = require("duckdb", "audit", _PURPOSE)
    require("pyarrow", "audit", _PURPOSE)
    connection = duckdb.connect(":memory:", config={"temp_directory": "", **options})
    connection.execute("SET enable_progress_bar = false")
    return connection


def _waiting(directory: Path) -> list[Source]:
    """Return the segments that can be compacted and are not."""
    found = [s for s in sources.find(directory) if s.lines is not None and s.parquet is None and not s.is_open]
    return [s for s in found if s.confirmed is None or suspects.is_settled(directory, s.segment)]


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Take the folder's lock, tidy up after a process that was killed; False when another process has it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = open_held(folder / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        if not lock(descriptor):
            yield False
            return
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink()
        yield True
    finally:
        release(descriptor)


def _compact(source: Source, folder: Path, connection: Any) -> tuple[int, int] | None:
    """Write one file and return the sizes before and after; None when retention took the segment meanwhile."""
    segment, final = folder.parent / source.segment, folder / f"{source.stem}.parquet"
    working = folder / f".{source.stem}.tmp"
    os.close(os.open(working, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # DuckDB would take the umask's mode
    try:
        before = segment.stat().st_size
        connection.execute(_copy(source, segment, working, connection)).fetchall()
        working.chmod(0o400)  # it never changes again
        _sync(working)
        sha256 = copies.digest(working)
        with Manifest(folder.parent) as marks:  # which retention holds while it deletes
            if not segment.exists():
                return None
            copies.put_on_record(marks, source.segment, sha256)
            working.rename(final)
        _sync(folder)
    except Exception:
        if segment.exists():
            raise
        return None
    finally:
        working.unlink(missing_ok=True)
    return before, final.stat().st_size


def _copy(source: Source, segment: Path, target: Path, connection: Any) -> str:
    """Return SQL that writes the file. DuckDB reads a segment itself, unless not all of its lines count."""
    if source.confirmed is None:
        keys = ", ".join(f"{quoted(column.key)}: '{column.type}'" for column in COLUMNS)
        fields = ", ".join(f'"{column.key}" AS "{column.name}"' for column in COLUMNS)
        lines = (
            f"read_json({quoted(str(segment))}, format = 'newline_delimited', columns = {{{keys}}}, "
            f"maximum_object_size = {_LONGEST_LINE}, ignore_errors = false)"
        )
    else:
        connection.register("lines", sources.Lines([source]))
        fields, lines = FROM_LINE, "lines"
    events = ", ".join(quoted(event) for event in (PREDICTION, OUTCOME, GAP))
    return f"""COPY (
        SELECT *, {TIME} FROM (SELECT {fields}, {quoted(segment.name)} AS segment FROM {lines})
        WHERE {EVENT.name} IN ({events})
    ) TO {quoted(str(target))} (FORMAT parquet, COMPRESSION lz4_raw, USE_TMP_FILE false)"""


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
