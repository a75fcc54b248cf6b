"""How much is in the audit trail, and what is missing in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from otel_ml.audit import manifest, place
from otel_ml.audit.reading import sources
from otel_ml.audit.reading.query import query

_TOTALS: Final = """
    SELECT count(*) AS records, coalesce(sum("rows"), 0)::BIGINT AS rows,
        count(*) FILTER (status = 'error') AS failures, min(time) AS first, max(time) AS last,
        count(DISTINCT model_name) AS models, count(DISTINCT subject) AS subjects
    FROM predictions
"""
_LOST: Final = """
    SELECT entry.key AS reason, sum(entry.value::BIGINT)::BIGINT AS number
    FROM gaps, json_each(lost) AS entry GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Stats:
    """What an audit directory holds.

    Args:
        directory: The directory.
        open_segments: Segments that are being written, or whose process was killed.
        sealed_segments: Segments that no process appends to.
        compacted_segments: Of these, those that have a Parquet file.
        bytes: Size of all segments, without Parquet.
        parquet_bytes: Size of all Parquet files.
        records: Predictions on record; a batch has one for each row, or one in all.
        rows: Rows that these predictions were made for.
        failures: Of the records, those of calls that failed.
        outcomes: Outcomes on record.
        models: Different names of models.
        subjects: Different pseudonyms of subjects.
        first: Time of the oldest record, UTC; None when there is none.
        last: Time of the newest record.
        lost: Records that gaps stand for, by reason.
        holds: Why records are kept from being deleted, by the identity of each legal hold.
    """

    directory: Path
    open_segments: int
    sealed_segments: int
    compacted_segments: int
    bytes: int
    parquet_bytes: int
    records: int
    rows: int
    failures: int
    outcomes: int
    models: int
    subjects: int
    first: datetime | None
    last: datetime | None
    lost: dict[str, int]
    holds: dict[str, str]


def stats(*, directory: str | Path | None = None) -> Stats:
    """Return what an audit directory holds.

    Args:
        directory: Audit directory; None: that of this process, else the default one.

    Raises:
        TrailNotFoundError: There is no audit trail.
        MissingExtraError: DuckDB or pyarrow is not installed.
    """
    folder = place.find(directory)
    found = sources.find(folder)
    (totals,) = query(_TOTALS, directory=folder)
    (outcomes,) = query("SELECT count(*) AS number FROM outcomes", directory=folder)
    return Stats(
        directory=folder,
        open_segments=sum(source.is_open for source in found),
        sealed_segments=sum(not source.is_open for source in found),
        compacted_segments=sum(source.parquet is not None for source in found),
        bytes=sum(_size(source.lines) for source in found),
        parquet_bytes=sum(_size(source.parquet) for source in found),
        outcomes=outcomes["number"],
        lost={row["reason"]: row["number"] for row in query(_LOST, directory=folder)},
        holds={hold.id: hold.reason for hold in manifest.read(folder).holds.values()},
        **totals,
    )


def _size(path: Path | None) -> int:
    try:
        return 0 if path is None else path.stat().st_size
    except FileNotFoundError:  # sealed or deleted meanwhile
        return 0
