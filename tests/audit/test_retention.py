"""Old segments are deleted by age and size, never under a hold, and never without a trace."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from audit.calls import call, entries, failure, segments, started, wait_for, writing
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml.audit import manifest
from otel_ml.audit.reading.verify import verify
from otel_ml.audit.retention import apply

DAY = 86_400.0


def trail(directory: Path, ages: list[float]) -> list[Path]:
    """Make a process's trail with a sealed segment for each age in days, oldest first, and return the segments."""
    with writing(directory, retention_age=0) as writer:
        for number in range(len(ages)):
            writer.put(call(number))
            writer.flush(5.0)
            with writer._working:
                writer._trail.seal("size")
            wait_for(lambda number=number: len(list(directory.glob("*Z-*.jsonl"))) == number + 1)  # type: ignore[misc]
    found = segments(directory)
    for path, age in zip(found, sorted(ages, reverse=True), strict=True):
        os.utime(path, (time.time() - age * DAY,) * 2)
    return found


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_what_is_too_old_is_deleted_with_a_tombstone_and_its_copy(tmp_path: Path) -> None:
    """`verify` knows that it was there; nothing else of it is left."""
    found = trail(tmp_path, [200, 190, 10])
    copies = tmp_path / "parquet"
    copies.mkdir()
    for path in found:
        (copies / f"{path.stem}.parquet").touch()
    assert apply(tmp_path, max_age=184 * DAY, max_bytes=0) == names(found[:2])
    assert names(segments(tmp_path)) == names(found[2:])
    assert [path.stem for path in copies.iterdir()] == [found[2].stem]
    tombstones = [entry for entry in entries(tmp_path) if entry["event.name"] == manifest.TOMBSTONE]
    assert [(entry["segment"], entry["reason"]) for entry in tombstones] == [(p.name, "age") for p in found[:2]]
    assert verify(tmp_path)
    assert apply(tmp_path, max_age=184 * DAY, max_bytes=0) == []


def test_a_segment_that_is_gone_without_a_tombstone_is_still_a_problem(tmp_path: Path) -> None:
    """Retention does not excuse other deletions."""
    found = trail(tmp_path, [200, 190, 10])
    apply(tmp_path, max_age=195 * DAY, max_bytes=0)
    found[1].unlink()
    report = verify(tmp_path)
    assert report.problems[0].file == found[1].name and report.problems[0].seq == 3


@settings(max_examples=12)
@given(ages=st.lists(st.integers(1, 400), min_size=1, max_size=5, unique=True), kept=st.integers(0, 5))
def test_the_oldest_go_while_all_are_too_big(
    tmp_path_factory: pytest.TempPathFactory, ages: list[float], kept: int
) -> None:
    """What stays is within the bound, and one more would not be."""
    directory = tmp_path_factory.mktemp("audit")
    found = trail(directory, ages)
    kept = min(kept, len(found))
    bound = max(1, sum(path.stat().st_size for path in found[len(found) - kept :]))
    assert apply(directory, max_age=0, max_bytes=bound) == names(found[: len(found) - kept])
    assert names(segments(directory)) == names(found[len(found) - kept :])
    assert verify(directory)


def test_a_hold_keeps_what_it_covers_until_it_is_released(tmp_path: Path) -> None:
    """By age and by size."""
    found = trail(tmp_path, [300, 200])
    identity = manifest.hold(tmp_path, "case 12")
    assert apply(tmp_path, max_age=DAY, max_bytes=1) == []
    manifest.release(tmp_path, identity)
    assert apply(tmp_path, max_age=DAY, max_bytes=1) == names(found)


def test_a_hold_of_a_span_keeps_only_segments_of_that_span(tmp_path: Path) -> None:
    """A segment is of the time from its header to its seal."""
    found = trail(tmp_path, [2, 1])
    manifest.hold(tmp_path, "later", since=time.time_ns() + 3600 * 10**9)
    assert apply(tmp_path, max_age=1.5 * DAY, max_bytes=0) == names(found[:1])
    manifest.hold(tmp_path, "from then on", since=int((time.time() - 1.2 * DAY) * 1e9))
    assert apply(tmp_path, max_age=0.5 * DAY, max_bytes=0) == []


def test_open_segments_are_never_deleted(tmp_path: Path) -> None:
    """However old and large."""
    with writing(tmp_path) as writer:
        writer.put(call(1))
        writer.flush(5.0)
        (path,) = segments(tmp_path)
        os.utime(path, (1, 1))
        assert apply(tmp_path, max_age=1.0, max_bytes=1) == []
        assert path.exists()


def test_no_limits_delete_nothing(tmp_path: Path) -> None:
    """And a directory that is not there is none."""
    trail(tmp_path, [9999])
    assert apply(tmp_path, max_age=0, max_bytes=0) == []
    assert apply(tmp_path / "nowhere", max_age=1, max_bytes=1) == []


def test_a_clock_that_went_back_deletes_nothing(tmp_path: Path) -> None:
    """Segments of the future are not old."""
    trail(tmp_path, [0.001])
    assert apply(tmp_path, max_age=60.0, max_bytes=0, now=time.time() - 400 * DAY) == []


def test_a_killed_deletion_is_finished(tmp_path: Path) -> None:
    """The tombstone is written first; a file that is still there goes with the next run, without a second one."""
    found = trail(tmp_path, [300])
    content = found[0].read_bytes()
    apply(tmp_path, max_age=DAY, max_bytes=0)
    found[0].write_bytes(content)
    os.utime(found[0], (1, 1))
    assert verify(tmp_path)
    assert apply(tmp_path, max_age=DAY, max_bytes=0) == names(found)
    assert [entry["event.name"] for entry in entries(tmp_path)].count(manifest.TOMBSTONE) == 1


def test_a_segment_that_the_manifest_does_not_know_speaks_for_itself(tmp_path: Path) -> None:
    """Its process was killed before it could say that it was sealed."""
    found = trail(tmp_path, [300, 200, 1])
    (tmp_path / manifest.NAME).unlink()
    assert apply(tmp_path, max_age=100 * DAY, max_bytes=0) == names(found[:2])
    assert verify(tmp_path)


def test_the_writer_deletes_after_each_seal(tmp_path: Path) -> None:
    """A service that runs for years needs nobody to look after its disk."""
    pipeline = started(tmp_path, segment_bytes=2000, retention_bytes=6000)
    for number in range(60):
        pipeline.writer.put(failure(number))
        pipeline.writer.flush(5.0)
    assert pipeline.close(5.0)
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= 6000
    assert verify(tmp_path)
