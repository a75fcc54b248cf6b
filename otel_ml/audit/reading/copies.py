"""Whether the Parquet copies are as compaction wrote them: queries read them, and not the lines that have a chain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from typing import Final

from otel_ml import conventions
from otel_ml.audit import manifest
from otel_ml.audit.manifest import Manifest
from otel_ml.audit.reading import sources
from otel_ml.audit.reading.verify import Problem

COMPACTED: Final = "otel_ml.audit.compacted"
"""`event.name` of the manifest's line that says what a Parquet copy holds."""

_CHANGED: Final = "the Parquet copy was changed since it was made"
_UNKNOWN: Final = "the Parquet copy was not made by `compact`"


def put_on_record(marks: Manifest, segment: str, sha256: str) -> None:
    """Note in the manifest what a copy holds.

    Args:
        marks: The manifest, held by this process.
        segment: Name of the sealed segment.
        sha256: Of its Parquet file, as `digest` returns it.

    Raises:
        OSError: The manifest cannot be written.
    """
    marks.append(COMPACTED, segment=segment, sha256=sha256)


def problems(directory: Path) -> Iterator[Problem]:
    """Yield what is wrong with Parquet copies.

    Args:
        directory: Audit directory.
    """
    known = _on_record(directory)
    for source in sources.find(directory):
        if source.parquet is None:
            continue
        try:
            found = digest(source.parquet)
        except FileNotFoundError:  # retention was here
            continue
        if found != known.get(source.segment):
            what = _CHANGED if source.segment in known else _UNKNOWN
            yield Problem(source.parquet.name, 0, f"{what}; delete it, and `compact` makes another one")


def _on_record(directory: Path) -> dict[str, str]:
    try:
        lines = (directory / manifest.NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    found = {}
    for line in lines:
        if COMPACTED.encode() in line:
            try:
                entry = json.loads(line)
                if entry[conventions.EVENT_NAME] == COMPACTED:
                    found[str(entry["segment"])] = str(entry["sha256"])
            except (ValueError, KeyError, TypeError):  # `verify` says that the manifest was changed
                continue
    return found


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits.

    Args:
        path: The file.
    """
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
