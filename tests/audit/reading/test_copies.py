"""Parquet copies that are not what compaction wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_ml import audit
from otel_ml.audit import retention
from segments import Process


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    directory = tmp_path / "audit"
    process = Process(directory)
    for _ in range(2):
        process.prediction()
        process.seal()
    audit.compact(directory=directory)
    return directory


def test_copies_that_were_made_are_fine(trail: Path) -> None:
    """Also when one was deleted: it is no evidence, and is made again."""
    assert audit.verify(directory=trail)
    next(trail.glob("parquet/*.parquet")).unlink()
    assert audit.verify(directory=trail)
    assert audit.compact(directory=trail).segments == 1
    assert audit.verify(directory=trail)


def test_a_copy_that_was_changed_is_named(trail: Path) -> None:
    """One byte is enough: answers come from it."""
    copy = sorted(trail.glob("parquet/*.parquet"))[1]
    data = bytearray(copy.read_bytes())
    data[len(data) // 2] ^= 1
    copy.chmod(0o600)
    copy.write_bytes(data)
    report = audit.verify(directory=trail)
    assert not report
    assert [problem.file for problem in report.problems] == [copy.name]
    assert "was changed since it was made" in str(report)
    copy.unlink()
    audit.compact(directory=trail)
    assert audit.verify(directory=trail)


def test_a_copy_that_somebody_else_made_is_named(trail: Path) -> None:
    """A file under the name of a segment would be believed."""
    first, second = sorted(trail.glob("parquet/*.parquet"))
    (trail / "parquet" / second.name.replace("-000002", "-000003")).write_bytes(first.read_bytes())
    (problem,) = audit.verify(directory=trail).problems
    assert "not made by `compact`" in problem.what


def test_what_retention_deletes_leaves_nothing_to_complain_about(trail: Path) -> None:
    """Segments go with their copies, and the trail still holds."""
    assert len(retention.apply(trail, max_age=0, max_bytes=1)) == 2
    assert list(trail.glob("parquet/*.parquet")) == []
    report = audit.verify(directory=trail)
    assert report, report
