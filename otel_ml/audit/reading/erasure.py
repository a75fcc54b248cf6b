"""Erasure of a subject's records, unless they are under a legal hold.

What is needed for legal claims is not to be erased meanwhile, GDPR Art. 17(3)(e).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from otel_ml.audit import key_files, manifest, pseudonyms
from otel_ml.audit.manifest import Hold, Manifest
from otel_ml.audit.reading import sources
from otel_ml.errors import Error

ERASED: Final = "otel_ml.audit.erased"
"""`event.name` of the manifest's line that says that a subject's key was destroyed."""


class HeldError(Error):
    """Records that are to be erased are under a legal hold."""


def erase(directory: Path, subject: str) -> bool:
    """Destroy a subject's key, so that nobody can read the subject's encrypted records any more.

    The manifest says so. Other processes notice within `subjects.RECHECK` seconds. Records that were written without
    `encrypt_subjects` are not touched.

    Args:
        directory: Audit directory.
        subject: What was given to `subject=`, or the pseudonym that records have.

    Returns:
        False when there was no key: nothing was erased.

    Raises:
        HeldError: A legal hold covers records of the subject; nothing was erased.
        KeyFileError: The file of the pseudonyms' key does not hold a key.
        OSError: It could not be done, or not be said in the manifest; calling this again goes on.
    """
    names = pseudonyms.candidates(directory, subject)
    while True:
        known = manifest.read(directory).holds
        refuse_erasure(directory, names, list(known.values()))  # which takes too long to hold the manifest for
        with Manifest(directory) as marks:
            if marks.marks().holds.keys() <= known.keys():  # else one was placed meanwhile
                return any([_destroy(directory, name, marks) for name in names])


def _destroy(directory: Path, pseudonym: str, marks: Manifest) -> bool:
    doomed = key_files.withdraw(directory / "keys" / f"{pseudonym}.key")
    if doomed:
        marks.append(ERASED, subject=pseudonym)
        key_files.remove(doomed)
    return bool(doomed)


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
