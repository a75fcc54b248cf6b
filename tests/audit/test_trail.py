"""The segments of one process as one chain."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from audit.calls import lines, segments, wait_for

from otel_ml.audit.jobs import Jobs
from otel_ml.audit.reading.verify import verify
from otel_ml.audit.record import event
from otel_ml.audit.trail import Trail
from otel_ml.options import Audit


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    jobs = Jobs()
    yield jobs
    assert jobs.close(10.0)


def trail_in(directory: Path, jobs: Jobs, **options: Any) -> Trail:
    return Trail(directory, "shop", Audit(**options), jobs, lambda: None)


def body(number: int) -> bytes:
    return event("test", {"number": number})


def numbers(directory: Path) -> list[int]:
    return [line["number"] for line in lines(directory) if "number" in line]


def test_lines_go_on_in_the_old_segment_until_the_next_one_is_there(tmp_path: Path, jobs: Jobs) -> None:
    """Nothing waits for a file to be made, and at the end no empty one is left."""
    trail = trail_in(tmp_path, jobs, segment_bytes=500)
    for number in range(100):
        trail.tend(time.monotonic())
        trail.append([body(number)])
        time.sleep(0.001)
    trail.close()
    wait_for(jobs.is_idle)
    assert len(segments(tmp_path)) > 3
    assert all(path.suffix == ".jsonl" and path.stat().st_size for path in segments(tmp_path))
    assert numbers(tmp_path) == list(range(100))
    assert verify(tmp_path)


def test_a_spare_segment_is_removed_at_the_end(tmp_path: Path, jobs: Jobs) -> None:
    """It was made for lines that did not come."""
    trail = trail_in(tmp_path, jobs, segment_bytes=500)
    trail.append([body(number) for number in range(50)])
    trail.tend(time.monotonic())
    wait_for(lambda: len(segments(tmp_path)) == 2)
    trail.close()
    wait_for(jobs.is_idle)
    assert len(segments(tmp_path)) == 1
    assert verify(tmp_path)


def test_it_says_when_it_has_something_to_do(tmp_path: Path, jobs: Jobs) -> None:
    """A minute at most, and no later than the next sync or seal."""
    trail = trail_in(tmp_path, jobs, sync_interval=1.0, segment_age=20.0)
    assert trail.due_in(time.monotonic()) == pytest.approx(60.0, abs=0.1)
    trail.append([body(1)])
    assert 0.0 < trail.due_in(time.monotonic()) <= 0.8
    trail.sync()
    assert 10.0 < trail.due_in(time.monotonic()) <= 20.0
    trail.close()


def test_it_is_behind_while_too_much_is_not_on_the_disk(tmp_path: Path, jobs: Jobs) -> None:
    """So that what has to be kept for a failed sync stays bounded."""
    trail = trail_in(tmp_path, jobs, segment_bytes=1 << 30)
    large = event("test", {"text": "x" * (1 << 20)})
    while not trail.is_behind():
        trail.append([large])
    assert 30 <= sum(path.stat().st_size for path in segments(tmp_path)) >> 20 <= 33
    assert not trail.is_synced()
    trail.tend(time.monotonic())
    wait_for(trail.is_synced)
    assert not trail.is_behind()
    trail.close()


def test_sync_returns_when_everything_is_synced(tmp_path: Path, jobs: Jobs) -> None:
    """Without the help of another thread."""
    trail = trail_in(tmp_path, jobs)
    trail.sync()  # nothing to do
    trail.append([body(1)])
    assert not trail.is_synced()
    trail.sync()
    assert trail.is_synced()
    trail.close()


def test_lines_that_cannot_be_written_leave_the_chain_where_it_was(tmp_path: Path, jobs: Jobs) -> None:
    """All of them or none; the next ones follow from the last that is there."""
    directory = tmp_path / "audit"
    directory.write_text("a file")
    trail = trail_in(directory, jobs)
    for _ in range(3):
        with pytest.raises(OSError, match="exists"):
            trail.append([body(1)])
    directory.unlink()
    trail.append([body(2)])
    trail.close()
    wait_for(jobs.is_idle)
    assert numbers(directory) == [2]
    assert [line["seq"] for line in lines(directory)] == [0, 1, 2]
    assert verify(directory)


@pytest.mark.parametrize("held_up", [1, 2, 3])
def test_segments_are_in_the_order_of_their_names_when_making_one_takes_long(
    tmp_path: Path, jobs: Jobs, held_up: int
) -> None:
    """Also when the next one is needed at once, because nothing waits for a sync, while another is being made."""
    trail = trail_in(tmp_path, jobs, segment_bytes=500)
    for number in range(60):
        trail.append([body(number)])
        if number % held_up == 0:
            trail.tend(time.monotonic())
        if number % 5 == 0:
            trail.tend(time.monotonic(), sync=True)
            trail.tend(time.monotonic())
    trail.close()
    wait_for(jobs.is_idle)
    assert [line["seq"] for line in lines(tmp_path)] == list(range(len(lines(tmp_path))))
    assert verify(tmp_path)
