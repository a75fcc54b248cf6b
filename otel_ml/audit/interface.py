"""The public names of `otel_ml.audit`; those that are made here find the trail and then do one thing with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from otel_ml.audit import manifest, place
from otel_ml.audit.place import TrailNotFoundError
from otel_ml.audit.reading import compaction, copies, erasure
from otel_ml.audit.reading.columns import nanoseconds
from otel_ml.audit.reading.compaction import Compacted
from otel_ml.audit.reading.erasure import HeldError
from otel_ml.audit.reading.export import export
from otel_ml.audit.reading.named_queries import named
from otel_ml.audit.reading.outcomes import outcome
from otel_ml.audit.reading.performance import Performance, performance
from otel_ml.audit.reading.query import query
from otel_ml.audit.reading.statements import QueryError
from otel_ml.audit.reading.stats import Stats, stats
from otel_ml.audit.reading.tail import tail
from otel_ml.audit.reading.verify import Report
from otel_ml.audit.reading.verify import verify as _verify
from otel_ml.errors import ConfigurationError, MissingExtraError

__all__ = [
    "Compacted",
    "HeldError",
    "MissingExtraError",
    "Performance",
    "QueryError",
    "Report",
    "Stats",
    "TrailNotFoundError",
    "compact",
    "erase",
    "export",
    "hold",
    "named",
    "outcome",
    "performance",
    "query",
    "release",
    "stats",
    "tail",
    "verify",
]


def verify(*, directory: str | Path | None = None) -> Report:
    """Check that nothing in the audit trail was changed, deleted or put elsewhere since it was written.

    Args:
        directory: Audit directory; None: that of this process, else the default one.

    Returns:
        A report: true when every chain holds, and the Parquet copies are those that were made. Else it names the first
        bad record of each chain that does not, and each copy that was changed.

    Raises:
        TrailNotFoundError: There is no audit trail.
    """
    folder = place.find(directory)
    report = _verify(folder)
    return replace(report, problems=(*report.problems, *copies.problems(folder)))


def compact(*, directory: str | Path | None = None) -> Compacted:
    """Write a Parquet file for every sealed segment that has none, so that queries are fast. The segments stay.

    Args:
        directory: Audit directory; None: that of this process, else the default one.

    Raises:
        TrailNotFoundError: There is no audit trail.
        MissingExtraError: DuckDB or pyarrow is not installed.
        OSError: The Parquet files cannot be written.
    """
    return compaction.compact(place.find(directory))


def erase(subject: str, *, directory: str | Path | None = None) -> bool:
    """Destroy a subject's key: nobody can read the subject's encrypted records any more, and the chain still holds.

    Segments, Parquet files and later exports are covered; exports from before are not. Records that were written
    without `Audit(encrypt_subjects=True)` are not touched. A legal hold goes before: `release` it first.

    Args:
        subject: What was given to `subject=`, or the pseudonym that the records have.
        directory: Audit directory; None: that of this process, else the default one.

    Returns:
        False when there was no key: nothing was erased.

    Raises:
        TrailNotFoundError: There is no audit trail.
        HeldError: A legal hold covers records of the subject; nothing was erased.
        OSError: The key could not be destroyed; calling this again goes on.
    """
    return erasure.erase(place.find(directory), subject)


def hold(
    reason: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    directory: str | Path | None = None,
) -> str:
    """Keep the records of a time span from retention and from erasure, and return the identity of this legal hold.

    Args:
        reason: Why; it is put on record.
        since: Begin of the span; None: from the first record on. A time without a zone is UTC.
        until: Its end; None: no end.
        directory: Audit directory; None: that of this process, else the default one.

    Raises:
        ConfigurationError: The reason is empty, or the span ends before it begins.
        TrailNotFoundError: There is no audit trail.
        OSError: The manifest cannot be written.
    """
    if not reason.strip():
        raise ConfigurationError("hold(reason)", reason, "why these records are kept")
    first, last = (None if moment is None else nanoseconds(moment) for moment in (since, until))
    if first is not None and last is not None and last < first:
        raise ConfigurationError("hold(until=)", until, f"a time after {since}")
    return manifest.hold(place.find(directory), reason, first, last)


def release(identity: str, *, directory: str | Path | None = None) -> None:
    """End a legal hold.

    Args:
        identity: What `hold` returned.
        directory: Audit directory; None: that of this process, else the default one.

    Raises:
        ManifestError: There is no such hold.
        TrailNotFoundError: There is no audit trail.
        OSError: The manifest cannot be written.
    """
    manifest.release(place.find(directory), identity)
