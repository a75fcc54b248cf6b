"""How much is in the trail, and what is missing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from otel_ml.audit.reading import compaction
from otel_ml.audit.reading.stats import stats
from segments import START, Process


def test_segments_records_and_losses_are_counted(tmp_path: Path) -> None:
    """Rows of summaries count, and gaps say what was lost and why."""
    trail = tmp_path / "audit"
    process = Process(trail)
    process.prediction(record_id="a", subject="p")
    process.seal()
    compaction.compact(trail)
    process.prediction(rows=50_000, time_unix_nano=START + 10**9)
    process.prediction(otel_ml__status="error")
    process.outcome("a", 1)
    process.gap(queue_full=3, failed=1)
    process.gap(queue_full=2)
    process.seal()
    found = stats(directory=trail)
    assert (found.open_segments, found.sealed_segments, found.compacted_segments) == (1, 2, 1)
    assert (found.records, found.rows, found.failures, found.outcomes) == (3, 50_002, 1, 1)
    assert (found.models, found.subjects) == (1, 1)
    assert (found.first, found.last) == (datetime(2026, 11, 22, 16, 39, 48), datetime(2026, 11, 22, 16, 39, 49))
    assert found.lost == {"failed": 1, "queue_full": 5}
    assert found.bytes == sum(path.stat().st_size for path in trail.glob("shop-*.jsonl*"))
    assert found.parquet_bytes == sum(path.stat().st_size for path in trail.glob("parquet/*.parquet"))


def test_an_empty_trail_has_zeros(tmp_path: Path) -> None:
    """Before the first record."""
    found = stats(directory=tmp_path)
    assert (found.records, found.rows, found.first, found.lost, found.bytes) == (0, 0, None, {}, 0)
