"""Old segments are deleted: by age and by total size, never under a legal hold, and never without a trace."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from otel_ml.audit import manifest
from otel_ml.audit.manifest import Manifest, Marks
from otel_ml.audit.segment import SEALED, parse

_LONGEST_LINE = 64 * 1024
_MARGIN = 3600 * 10**9  # nanoseconds that a record may be older than the segment that it is in


class _Sealed(NamedTuple):
    path: Path
    sealed_at: float
    size: int


def apply(directory: Path, *, max_age: float, max_bytes: int, now: float | None = None) -> list[str]:
    """Delete sealed segments that are too old, then the oldest ones while all of them are too big.

    Each leaves a tombstone in the manifest, so that `verify` knows that it was there and how it ended. Its Parquet copy
    goes with it. Open segments, and those under a hold, stay.

    Args:
        directory: Audit directory.
        max_age: Seconds since a segment was sealed; 0: no limit.
        max_bytes: Of all sealed segments; 0: no limit.
        now: Seconds since 1970; None: now. When the clock was set back, files of the future are not old.

    Returns:
        Names of the segments that were deleted.

    Raises:
        OSError: The manifest cannot be written; then nothing is deleted.
    """
    now = time.time() if now is None else now
    if not (max_age or max_bytes) or not directory.is_dir():
        return []
    with Manifest(directory) as entries:
        marks = entries.marks()
        sealed = _sealed(directory)
        total = sum(segment.size for segment in sealed)
        deleted: list[str] = []
        for segment in sealed:
            is_old = 0 < max_age < now - segment.sealed_at
            if not (is_old or 0 < max_bytes < total) or _is_held(segment, marks):
                continue
            _delete(segment, entries, marks, "age" if is_old else "size")
            deleted.append(segment.path.name)
            total -= segment.size
        return deleted


def _sealed(directory: Path) -> list[_Sealed]:
    """Return the sealed segments, oldest first."""
    found: list[_Sealed] = []
    with os.scandir(directory) as items:
        for item in items:
            parsed = parse(item.name)
            if parsed is not None and not parsed[2]:
                with suppress(FileNotFoundError):  # someone else deletes, too
                    stat = item.stat()
                    found.append(_Sealed(Path(item.path), stat.st_mtime, stat.st_size))
    return sorted(found, key=lambda segment: (segment.sealed_at, segment.path.name))


def _is_held(segment: _Sealed, marks: Marks) -> bool:
    if not marks.holds:
        return False
    try:
        first = json.loads(_first_line(segment.path))["time_unix_nano"] - _MARGIN
    except (ValueError, KeyError, TypeError):
        return True  # who knows what is in it
    return any(hold.covers(first, segment.sealed_at * 1e9) for hold in marks.holds.values())


def _delete(segment: _Sealed, entries: Manifest, marks: Marks, reason: str) -> None:
    name = segment.path.name
    if name not in marks.tombstones:
        fields = marks.sealed.get(name) or marks.suspects.get(name) or _read_end(segment.path)
        where = {key: fields.get(key) for key in ("first_seq", "last_seq", "end")}
        entries.append(manifest.TOMBSTONE, segment=name, **where, reason=reason)
    copy = segment.path.parent / "parquet" / f"{name.removesuffix(SEALED)}.parquet"
    copy.unlink(missing_ok=True)
    segment.path.unlink(missing_ok=True)


def _read_end(path: Path) -> dict[str, object]:
    """Return from the file itself what the manifest does not say, as when its process was killed before it did."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LONGEST_LINE))
        lines = file.read().splitlines()
    try:
        footer = json.loads(lines[-1])
        return {"first_seq": footer["first_seq"], "last_seq": footer["seq"], "end": footer["hash"]}
    except (ValueError, KeyError, IndexError, TypeError):
        return {}


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(_LONGEST_LINE)
