"""Legal holds go before erasure: what is needed for legal claims is not to be erased meanwhile, GDPR Art. 17(3)(e)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from otel_ml.audit import sources
from otel_ml.audit.manifest import Hold
from otel_ml.errors import Error


class HeldError(Error):
    """Records that are to be erased are under a legal hold."""


def refuse_erasure(directory: Path, subjects: Sequence[str], holds: Sequence[Hold]) -> None:
    """Raise an error when a hold covers a record of one of some subjects.

    Every segment is read for that, as it needs no database.

    Args:
        directory: Audit directory.
        subjects: Their pseudonyms.
        holds: Those in force.

    Raises:
        HeldError: One does.
        OSError: A segment cannot be read.
    """
    for time in _times(directory, subjects) if holds else ():
        hold = next((hold for hold in holds if hold.covers(time, time)), None)
        if hold is not None:
            raise HeldError(
                f"erase: expected a subject that no legal hold covers, received one with records under {hold.reason!r} "
                f"({hold.id}). Nothing was erased. `otel-ml audit release {hold.id}` ends the hold."
            )


def _times(directory: Path, subjects: Sequence[str]) -> Iterator[int]:
    """Yield when records of subjects were made."""
    marks = [f'"subject":"{subject}"'.encode() for subject in subjects]
    for source in sources.find(directory):
        file = sources.open_lines(source)
        if file is None:
            continue
        with io.BufferedReader(file, 1024 * 1024) as lines:
            for line in lines:
                if any(mark in line for mark in marks):
                    yield from _time(line, subjects)


def _time(line: bytes, subjects: Sequence[str]) -> Iterator[int]:
    """Yield the time of a record, unless the name is in its features only, or the line is not whole."""
    try:
        record = json.loads(line)
    except ValueError:
        return
    if record.get("subject") in subjects:
        yield record["time_unix_nano"]
