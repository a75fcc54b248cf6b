"""The newest records, and those that come: read from the lines, so that nothing but otel_ml is needed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from otel_ml.audit import payloads, place
from otel_ml.audit.reading import sources
from otel_ml.audit.reading.columns import OUTCOME, decode
from otel_ml.audit.reading.sources import Source
from otel_ml.audit.record import GAP, PREDICTION

INTERVAL: Final = 0.2
"""Seconds between two looks for new records."""

_SHOWN: Final = frozenset({PREDICTION, OUTCOME, GAP})
_READ_BACK: Final = 4 * 1024 * 1024
_AT_ONCE: Final = 8 * 1024 * 1024


def tail(
    last: int = 10, *, follow: bool = True, directory: str | Path | None = None, interval: float = INTERVAL
) -> Iterator[dict[str, Any]]:
    """Yield the newest records, then each record when it is written.

    A record is a dict with the names that SQL has for its fields, and `event_name`: predictions, outcomes and gaps.

    Args:
        last: How many of those that are there already; fewer come when the newest segments have fewer.
        follow: Whether to wait for more; it then never ends by itself.
        directory: Audit directory; None: that of this process, else the default one.
        interval: Seconds between two looks.

    Raises:
        TrailNotFoundError: There is no audit trail.
    """
    folder = place.find(directory)
    known = [source for source in sources.find(folder) if source.lines is not None]
    ends = {source.stem: _end(source) for source in known if source.is_open}
    finished = {source.stem for source in known if not source.is_open}
    yield from _newest(folder, known, ends, last)
    while follow:
        for source in sources.find(folder):
            if source.stem in finished or source.lines is None:
                continue
            for line, end in _lines(source, ends.get(source.stem, 0)):
                ends[source.stem] = end
                yield from _records(folder, source, line)
            if not source.is_open:
                finished.add(source.stem)
        time.sleep(interval)


def _newest(directory: Path, known: list[Source], ends: dict[str, int], last: int) -> Iterator[dict[str, Any]]:
    """Yield what was there when the offsets in `ends` were taken, from the segments that changed last."""
    found: list[dict[str, Any]] = []
    for source in sorted(known, key=lambda source: (source.is_open, _changed(source)), reverse=True):
        if len(found) >= last and not source.is_open:
            break
        end = ends[source.stem] if source.is_open else _end(source)
        start = max(0, end - _READ_BACK)
        lines = [line for line, at in _lines(source, start) if at <= end]
        lines = lines[1:] if start else lines  # the first may be the rest of a line
        records = [record for line in lines for record in _records(directory, source, line)]
        found += records[-last:] if last else []
    found.sort(key=lambda record: record.get("time_unix_nano") or record.get("last_time_unix_nano") or 0)
    yield from found[-last:] if last else []


def _records(directory: Path, source: Source, line: bytes) -> Iterator[dict[str, Any]]:
    try:
        record = decode(line)
    except orjson.JSONDecodeError:  # damaged; `verify` says so
        return
    if record.get("event_name") in _SHOWN:
        yield payloads.reveal(directory, {**record, "segment": source.segment})


def _lines(source: Source, start: int) -> Iterator[tuple[bytes, int]]:
    """Yield whole lines from an offset on, each with the offset of its end."""
    file = sources.open_lines(source)
    if file is None:
        return
    with file:
        file.seek(start)
        rest = b""
        while data := file.read(_AT_ONCE):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                start += len(line) + 1
                yield line, start


def _end(source: Source) -> int:
    """Return the offset of the end of the last whole line."""
    file = sources.open_lines(source)
    if file is None:
        return 0
    with file:
        size: int = file.seek(0, 2)
        back = min(size, _READ_BACK)
        file.seek(size - back)
        last_line = bytes(file.read(back)).rfind(b"\n") + 1
        return size - back + last_line


def _changed(source: Source) -> float:
    file = sources.open_lines(source)
    if file is None:
        return 0.0
    with file:
        return os.fstat(file.fileno()).st_mtime
