"""Sealed segments as Parquet: what queries read instead of lines. The segments stay, as they are the evidence."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from otel_ml import health
from otel_ml.audit import sources
from otel_ml.audit.columns import COLUMNS, EVENT, OUTCOME, TIME, quoted
from otel_ml.audit.extras import MissingExtraError, require
from otel_ml.audit.record import GAP, PREDICTION

try:
    import fcntl
except ImportError:  # Windows, where two processes may do the same work twice
    fcntl = None  # type: ignore[assignment]

INTERVAL: Final = 60.0
"""Seconds between two looks for sealed segments, in the background."""

_FOLDER: Final = "parquet"
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


def compact(directory: Path, *, threads: int = 0) -> Compacted:
    """Write a Parquet file for every sealed segment that has none.

    A file is there in whole or not at all. What is encrypted stays so. When another process is compacting, nothing is
    done. A segment that cannot be read is left as it is.

    Args:
        directory: Audit directory.
        threads: That work on a segment; 0: as many as there are cores.

    Raises:
        MissingExtraError: DuckDB is not installed.
        OSError: The folder cannot be written.
    """
    duckdb_error = require("duckdb", "audit", _PURPOSE).Error
    sizes: list[tuple[int, int]] = []
    problems: dict[str, str] = {}
    with _alone(directory / _FOLDER) as alone:
        for segment, final in _waiting(directory) if alone else []:
            try:
                done = _compact(segment, final, threads)
            except duckdb_error as error:
                problems[segment.name] = str(error)
            else:
                sizes += [done] if done is not None else []
    return Compacted(len(sizes), sum(size for size, _ in sizes), sum(size for _, size in sizes), problems)


def in_background(directory: Path, interval: float = INTERVAL) -> Callable[[], None]:
    """Compact now and then on a thread of low priority, and return what stops it.

    Args:
        directory: Audit directory.
        interval: Seconds between two looks.
    """
    stopped = threading.Event()
    thread = threading.Thread(target=_loop, args=(directory, interval, stopped), name="otel_ml-compaction", daemon=True)
    thread.start()
    return stopped.set


def _loop(directory: Path, interval: float, stopped: threading.Event) -> None:
    if hasattr(os, "setpriority"):  # Linux: of this thread only
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
    while not stopped.wait(interval):
        try:
            for segment, problem in compact(directory, threads=1).problems.items():
                health.warn_once(f"audit:compact:{segment}", "audit: %s cannot be compacted: %s", segment, problem)
        except MissingExtraError as error:
            health.warn_once("audit:compact", "audit: segments are not compacted. %s", error)
            return
        except Exception as error:  # a full disk, say: queries read the lines meanwhile
            health.internal_error("compaction", error)


def _waiting(directory: Path) -> Iterator[tuple[Path, Path]]:
    for source in sources.find(directory):
        if source.lines is not None and source.parquet is None and not source.is_open:
            yield source.lines, directory / _FOLDER / f"{source.stem}.parquet"


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Take the folder's lock, tidy up after a process that was killed; False when another process has it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink()
        yield True
    finally:
        os.close(descriptor)


def _compact(segment: Path, final: Path, threads: int) -> tuple[int, int] | None:
    """Write one file and return the sizes before and after; None when retention took the segment meanwhile."""
    working = final.with_name(f".{final.stem}.tmp")
    os.close(os.open(working, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # DuckDB would take the umask's mode
    try:
        before = segment.stat().st_size
        _write(segment, working, threads)
        working.chmod(0o400)  # it never changes again
        _sync(working)
        working.rename(final)
        _sync(final.parent)
    except Exception:
        if segment.exists():
            raise
        return None
    finally:
        working.unlink(missing_ok=True)
    if not segment.exists():  # deleted while we read it: the copy goes too
        final.unlink(missing_ok=True)
        return None
    return before, final.stat().st_size


def _write(segment: Path, target: Path, threads: int) -> None:
    keys = ", ".join(f"{quoted(column.key)}: '{column.type}'" for column in COLUMNS)
    fields = ", ".join(f'"{column.key}" AS "{column.name}"' for column in COLUMNS)
    events = ", ".join(quoted(event) for event in (PREDICTION, OUTCOME, GAP))
    lines = (
        f"read_json({quoted(str(segment))}, format = 'newline_delimited', columns = {{{keys}}}, "
        f"maximum_object_size = {_LONGEST_LINE}, ignore_errors = false)"
    )
    duckdb = require("duckdb", "audit", _PURPOSE)
    with duckdb.connect(":memory:", config={"temp_directory": "", **({"threads": threads} if threads else {})}) as own:
        own.execute(
            f"""COPY (
                SELECT {fields}, {quoted(segment.name)} AS segment, {TIME}
                FROM {lines} WHERE "{EVENT.key}" IN ({events})
            ) TO {quoted(str(target))} (FORMAT parquet, COMPRESSION lz4_raw, USE_TMP_FILE false)"""
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
