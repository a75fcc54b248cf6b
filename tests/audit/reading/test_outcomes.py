"""Ground truth on record, from the process that predicted and from one that comes later."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from audit.calls import lines

from otel_ml import ConfigurationError, health
from otel_ml.audit import active, outcome, performance, place, query, verify
from otel_ml.audit.record import Model, Service
from otel_ml.audit.setup import AuditPipeline, start
from otel_ml.options import Audit
from segments import START, Process
from support import run_python

SECOND = 1_000_000_000


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuditPipeline]:
    """The audit trail that this process writes."""
    monkeypatch.setattr(place, "_in_use", None)
    started = start(Audit(), directory=tmp_path / "audit", service=Service("shop"))
    active.add(started)
    yield started
    active.remove(started)
    started.close(10)


def predict(pipeline: AuditPipeline, record_id: str, prediction: bytes = b"1") -> None:
    """Put one prediction on record."""
    model = Model("fraud", "1")
    outcome_of = ("ok", None, None, b'{"a":1}', prediction, None, 100)
    item = (record_id, START, 0.001, 0, 0, 0, None, model, *outcome_of)
    assert pipeline.writer.put(item)


def test_an_outcome_joins_its_prediction(pipeline: AuditPipeline) -> None:
    """Both are seen at once, without waiting for the writer; the chain holds with both in it."""
    predict(pipeline, "a")
    predict(pipeline, "b", b"0")
    assert outcome("a", 1)
    assert outcome("b", 1)
    sql = "SELECT record_id, prediction, label FROM predictions JOIN outcomes USING (record_id) ORDER BY 1"
    assert [tuple(row.values()) for row in query(sql)] == [("a", 1, 1), ("b", 0, 1)]
    (found,) = performance("fraud")
    assert (found.records, found.labelled, found.value) == (2, 2, 0.5)
    assert pipeline.close(10)
    report = verify()
    assert report, report


def test_every_line_names_its_service(pipeline: AuditPipeline) -> None:
    """Whoever ships lines one by one need not look at the file's name."""
    predict(pipeline, "a")
    assert outcome("a", 1)
    pipeline.writer._gap.add("queue_full")
    assert pipeline.close(10)
    written = lines(pipeline.directory)
    kinds = {"segment", "seal", "gap"}
    assert {line["event.name"] for line in written} == {
        "otel_ml.prediction", "otel_ml.outcome", *(f"otel_ml.audit.{kind}" for kind in kinds)
    }  # fmt: skip
    assert [line["service.name"] for line in written] == ["shop"] * 5


def test_the_time_is_now_or_what_is_given(pipeline: AuditPipeline) -> None:
    """In any zone; one without a zone is UTC."""
    outcome("now", 1)
    outcome("utc", 1, time=datetime(2026, 11, 22, 16, 39, 48, 250_001))
    outcome("zone", 1, time=datetime(2026, 11, 22, 17, 39, 48, tzinfo=timezone(timedelta(hours=1))))
    found = {row["record_id"]: row for row in query("SELECT * FROM outcomes")}
    assert abs(datetime.now(UTC).timestamp() - found["now"]["time_unix_nano"] / SECOND) < 600
    assert found["utc"]["time_unix_nano"] == START + 250_001_000
    assert found["zone"]["time"] == datetime(2026, 11, 22, 16, 39, 48)


def test_a_label_is_masked_and_made_plain(pipeline: AuditPipeline) -> None:
    """Whatever it is: an address is masked, NaN is a text, half a surrogate is no error."""
    outcome("a", {"class": "fraud", "email": "ada@example.org", "score": math.nan})
    outcome("b\ud800", [1, 2.5, None, "\ud800"])
    first, second = query("SELECT label FROM outcomes ORDER BY record_id")
    assert first["label"] == {"class": "fraud", "email": "[redacted]", "score": "NaN"}
    assert second["label"] == [1, 2.5, None, "\\ud800"]


@pytest.mark.parametrize("record_id", ["", "x" * 257, None, 7])
def test_a_record_id_that_cannot_be_is_refused(record_id: object) -> None:
    """Before anything is started or written."""
    with pytest.raises(ConfigurationError, match=r"outcome\(record_id\)"):
        outcome(record_id, 1)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"outcome\(time=\)"):
        outcome("a", 1, time=1.5)  # type: ignore[arg-type]
    assert not Path(".otel_ml").exists()


def test_an_outcome_that_finds_no_room_is_counted(pipeline: AuditPipeline) -> None:
    """The caller is told too."""
    pipeline.close(10)
    assert outcome("a", 1) is False
    assert health.dropped()["audit", "shutdown"] == 1


def test_a_job_without_a_trail_of_its_own_adds_to_the_one_that_is_there(
    pipeline: AuditPipeline, tmp_path: Path
) -> None:
    """Nothing is configured: labels are written at exit at the latest, into segments of the job's own."""
    predict(pipeline, "a")
    done = run_python(
        f"""
        from otel_ml import audit
        for _ in range(3):
            assert audit.outcome("a", 1, directory={str(tmp_path / "audit")!r})
        assert len(audit.query("SELECT * FROM outcomes", directory={str(tmp_path / "audit")!r})) == 3
        """,
        env={"OTEL_ML_SERVICE_NAME": "labels"},
    )
    assert done.returncode == 0, done.stderr
    (segment,) = {row["segment"] for row in query("SELECT segment FROM outcomes")}
    assert segment.startswith("labels-")
    assert (tmp_path / "audit" / segment).exists(), "it is sealed"
    (found,) = performance("fraud")
    assert found.labelled == 1


def test_without_any_trail_the_default_one_is_begun(tmp_path: Path) -> None:
    """Labels may come before the first prediction, or on another machine."""
    done = run_python(
        """
        from otel_ml import audit
        assert audit.outcome("a", 1)
        print(audit.query("SELECT record_id FROM outcomes"))
        """
    )
    assert done.stdout.strip() == "[{'record_id': 'a'}]", done.stderr
    assert list((tmp_path / ".otel_ml" / "audit").glob("*.jsonl"))


def test_a_forked_child_adds_to_segments_of_its_own(tmp_path: Path) -> None:
    """Parent and child both have labels, and both are on record."""
    done = run_python(
        """
        import os
        from otel_ml import audit
        audit.outcome("parent", 1)
        pid = os.fork()
        if pid == 0:
            audit.outcome("child", 1)
            assert audit.active.at(audit.place.find()).flush(10)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        print(sorted(row["record_id"] for row in audit.query("SELECT record_id FROM outcomes")))
        """
    )
    assert done.stdout.strip() == "['child', 'parent']", done.stderr


def test_a_job_deletes_no_records(tmp_path: Path) -> None:
    """How long records are kept is said by the service that makes them, not by the job that brings labels."""
    process = Process(tmp_path / "audit")
    process.prediction()
    sealed = process.seal()
    os.utime(sealed, (0, 0))
    done = run_python(
        f"""
        import time
        from otel_ml import audit
        audit.outcome("a", 1, directory={str(tmp_path / "audit")!r})
        time.sleep(0.5)
        """
    )
    assert done.returncode == 0, done.stderr
    assert sealed.exists()
