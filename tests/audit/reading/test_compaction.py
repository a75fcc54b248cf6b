"""Parquet files beside sealed segments: whole or absent, and never in the way of the segments."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from otel_ml import health
from otel_ml.audit.reading import compaction
from otel_ml.audit.reading.query import query
from segments import Process, fields
from support import run_python


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def sealed(trail: Path, number: int = 1) -> list[Path]:
    process = Process(trail)
    paths = []
    for _ in range(number):
        process.prediction()
        process.outcome("0", True)
        process.gap(queue_full=1)
        paths.append(process.seal())
    return paths


def test_sealed_segments_get_a_parquet_file_each(trail: Path) -> None:
    """Once, and under the name of the segment, which stays; an open segment waits."""
    segments = sealed(trail, 2)
    done = compaction.compact(trail)
    assert (done.segments, done.problems) == (2, {})
    assert done.bytes_before == sum(path.stat().st_size for path in segments)
    found = sorted(trail.glob("parquet/*.parquet"))
    assert [path.stem for path in found] == [path.stem for path in segments]
    assert done.bytes_after == sum(path.stat().st_size for path in found)
    assert all(path.exists() for path in segments)
    assert compaction.compact(trail).segments == 0


def test_nobody_else_can_read_the_files_and_nobody_write_to_them(trail: Path) -> None:
    """Whatever the umask is: the folder is its owner's, and a file is not changed once it is there."""
    sealed(trail)
    umask = os.umask(0)
    try:
        compaction.compact(trail)
    finally:
        os.umask(umask)
    assert (trail / "parquet").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in trail.glob("parquet/*.parquet")} == {0o400}


def test_a_file_holds_records_outcomes_and_gaps_and_no_plumbing(trail: Path) -> None:
    """Headers and seals stay in the segment. What is encrypted stays encrypted."""
    process = Process(trail)
    process.prediction(features=None, prediction=None, encrypted="Y2lwaGVy", subject="p")
    process.outcome("0", 1)
    process.gap(full=2)
    process.seal()
    compaction.compact(trail)
    (path,) = trail.glob("parquet/*.parquet")
    rows = pq.read_table(path).to_pylist()
    assert [row["event_name"] for row in rows] == ["otel_ml.prediction", "otel_ml.outcome", "otel_ml.audit.gap"]
    assert (rows[0]["encrypted"], rows[0]["features"]) == ("Y2lwaGVy", None)
    assert rows[0]["segment"] == f"{path.stem}.jsonl"


def test_a_segment_that_cannot_be_read_is_left_as_it_is(trail: Path) -> None:
    """The others are compacted, and the problem is told by name; nothing half is left."""
    good, bad = sealed(trail, 2)
    bad.write_bytes(bad.read_bytes()[:-20])
    done = compaction.compact(trail)
    assert (done.segments, list(done.problems)) == (1, [bad.name])
    assert "Malformed JSON" in done.problems[bad.name]
    assert sorted(path.name for path in trail.glob("parquet/[!.]*")) == [f"{good.stem}.parquet"]


def test_two_processes_do_not_compact_at_once(trail: Path) -> None:
    """The one that comes second leaves it to the first."""
    sealed(trail)
    compaction.compact(trail)
    sealed(trail / "again")
    folder = trail / "again" / "parquet"
    folder.mkdir(0o700)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert compaction.compact(trail / "again").segments == 0
    assert compaction.compact(trail / "again").segments == 1


def test_a_child_that_is_forked_meanwhile_keeps_nobody_from_compacting(trail: Path) -> None:
    """It outlives the compaction, and has no part in its lock."""
    sealed(trail)
    code = f"""
        import os, time
        from pathlib import Path
        from otel_ml.audit.reading import compaction
        children, sync = [], compaction._sync
        def fork(path):
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            children.append(pid)
            sync(path)
        compaction._sync = fork
        trail = Path({str(trail)!r})
        assert compaction.compact(trail).segments == 1
        found, deadline = False, time.monotonic() + 20  # a child lets go as soon as it runs
        while not found and time.monotonic() < deadline:
            with compaction._alone(trail / "parquet") as found:
                time.sleep(0.01)
        for pid in children:
            assert os.waitpid(pid, os.WNOHANG) == (0, 0), "it is alive"
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        assert children and found
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_what_a_killed_compaction_left_is_tidied_up(trail: Path) -> None:
    """A process that is killed in the middle leaves a file that no query takes for a segment."""
    (segment,) = sealed(trail)
    code = f"""
        import os
        from pathlib import Path
        from otel_ml.audit.reading import compaction
        compaction._sync = lambda path: os.kill(os.getpid(), 9)
        compaction.compact(Path({str(trail)!r}))
    """
    assert run_python(code).returncode == -9
    assert [path.name for path in trail.glob("parquet/.*.tmp")] == [f".{segment.stem}.tmp"]
    assert list(trail.glob("parquet/*.parquet")) == []
    assert query("SELECT count(*) AS n FROM predictions", directory=trail) == [{"n": 1}]
    assert compaction.compact(trail).segments == 1
    assert sorted(path.name for path in trail.glob("parquet/[!.]*")) == [f"{segment.stem}.parquet"]
    assert list(trail.glob("parquet/.*.tmp")) == []


def test_a_segment_that_is_deleted_meanwhile_leaves_no_copy(trail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention wins, whenever it comes."""
    (segment,) = sealed(trail)
    sync = compaction._sync

    def delete_then_sync(path: Path) -> None:
        segment.unlink(missing_ok=True)
        sync(path)

    monkeypatch.setattr(compaction, "_sync", delete_then_sync)
    assert compaction.compact(trail).segments == 0
    assert list(trail.glob("parquet/*.parquet")) == []


def test_the_background_thread_compacts_what_is_sealed(trail: Path) -> None:
    """Until it is stopped; a problem is said once and counted as no loss."""
    good, bad = sealed(trail, 2)
    bad.write_bytes(b"{\n")
    stop = compaction.in_background(trail, interval=0.01)
    expected = trail / "parquet" / f"{good.stem}.parquet"
    deadline = time.monotonic() + 30
    while not expected.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    stop()
    assert expected.exists()
    assert health.dropped() == {}


def test_the_background_thread_survives_a_folder_that_cannot_be_written(trail: Path) -> None:
    """It is said, and tried again; nothing reaches the program."""
    sealed(trail)
    (trail / "parquet").write_text("in the way")
    stop = compaction.in_background(trail, interval=0.01)
    deadline = time.monotonic() + 30
    while not health.dropped() and time.monotonic() < deadline:
        time.sleep(0.01)
    (trail / "parquet").unlink()
    while not list(trail.glob("parquet/*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    stop()
    assert health.dropped()["internal", "compaction"] >= 1
    assert len(list(trail.glob("parquet/*.parquet"))) == 1


def test_the_end_of_the_program_does_not_wait_for_a_compaction_nor_fall_over_it(trail: Path) -> None:
    """Whenever it comes: the exit code is the program's, what was under way is begun anew by the next one."""
    process = Process(trail)
    for _ in range(6):
        process.add(*(fields(features={"text": "x" * 500}) for _ in range(3000)))
        process.seal()
    for delay in (0.0, 0.2, 0.4, 0.6):
        done = run_python(
            f"""
            import time
            from pathlib import Path
            from otel_ml.audit.reading import compaction
            compaction.in_background(Path({str(trail)!r}), interval=0.001)
            time.sleep({delay})
            """
        )
        assert (done.returncode, done.stderr) == (0, "")
    compaction.compact(trail)
    assert query("SELECT count(*) AS n FROM predictions", directory=trail) == [{"n": 18_000}]


def test_a_child_of_a_process_that_compacts_ends_as_any_other(trail: Path) -> None:
    """The thread and its database are the parent's; the child neither waits for them nor uses them."""
    sealed(trail)
    done = run_python(
        f"""
        import os, sys, time
        from pathlib import Path
        from otel_ml.audit.reading import compaction
        stop = compaction.in_background(Path({str(trail)!r}), interval=0.001)
        while not list(Path({str(trail)!r}).glob("parquet/*.parquet")):
            time.sleep(0.01)
        pid = os.fork()
        if pid == 0:
            stop()
            sys.exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )
    assert (done.stdout.strip(), done.stderr) == ("7", "")


def test_a_service_compacts_what_it_seals(trail: Path) -> None:
    """With `Audit(compact=True)`, beside its own work; records and answers are the same before and after."""
    done = run_python(
        f"""
        import time
        from pathlib import Path
        from otel_ml.audit import query, setup
        from otel_ml.audit.reading import compaction
        from otel_ml.audit.record import Model, Service
        from otel_ml.options import Audit
        compaction.in_background.__defaults__ = (0.01,)
        trail = Path({str(trail)!r})
        pipeline = setup.start(Audit(compact=True, segment_bytes=20_000), directory=trail, service=Service("shop"))
        model = Model("fraud", "1")
        for number in range(1000):
            what = ("ok", None, None, b'{{"a":1}}', b"1", None, 100)
            assert pipeline.writer.put((str(number), time.time_ns(), 0.001, 0, 0, 0, None, model, *what))
            if number % 100 == 0:
                pipeline.flush(10)
        while len(list(trail.glob("parquet/*.parquet"))) < 3:
            time.sleep(0.01)
        pipeline.close(10)
        print(query("SELECT count(*) AS n, count(DISTINCT record_id) AS d FROM predictions", directory=trail))
        """
    )
    assert done.stdout.strip() == "[{'n': 1000, 'd': 1000}]", done.stderr
