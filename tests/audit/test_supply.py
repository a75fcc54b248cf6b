"""The next segment is made before it is needed."""

from __future__ import annotations

import threading
from pathlib import Path

from audit.calls import segments, wait_for

from otel_ml.audit.jobs import Jobs
from otel_ml.audit.segment import parse
from otel_ml.audit.supply import Supply


def test_segments_of_a_process_are_numbered(tmp_path: Path) -> None:
    """From one, in a directory that is made private."""
    supply = Supply(tmp_path / "audit", "shop", Jobs())
    taken = [supply.take() for _ in range(3)]
    assert [parse(segment.name)[1] for segment in taken] == [1, 2, 3]  # type: ignore[index]
    assert len({parse(segment.name)[0] for segment in taken}) == 1  # type: ignore[index]
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o700
    for segment in taken:
        segment.remove()


def test_a_name_that_is_taken_is_passed_over(tmp_path: Path) -> None:
    """As when the clock went back to where a process of the same id had begun."""
    supply = Supply(tmp_path, "shop", Jobs())
    first = supply.take()
    (tmp_path / first.name.replace("-000001", "-000002")).touch()
    second = supply.take()
    assert parse(second.name)[1] == 3  # type: ignore[index]
    first.remove()
    second.remove()


def test_a_prepared_segment_is_taken_once_and_the_last_one_is_removed(tmp_path: Path) -> None:
    """Asking for it again makes no second one."""
    jobs = Jobs()
    supply = Supply(tmp_path, "shop", jobs)
    wait_for(supply.prepare)
    assert supply.prepare() and len(segments(tmp_path)) == 1
    segment = supply.take()
    assert segment.path == segments(tmp_path)[0]
    wait_for(supply.prepare)
    supply.close()
    assert jobs.close(10.0)
    assert segments(tmp_path) == [segment.path]
    segment.remove()


def test_a_segment_that_cannot_be_made_ahead_is_tried_again(tmp_path: Path) -> None:
    """Not at once, and without an error: who needs it will get one."""
    jobs = Jobs()
    (tmp_path / "audit").write_text("a file")
    supply = Supply(tmp_path / "audit", "shop", jobs)
    assert not supply.prepare()
    wait_for(jobs.is_idle)
    (tmp_path / "audit").unlink()
    wait_for(supply.prepare)
    supply.close()
    assert jobs.close(10.0)


def test_a_segment_that_was_made_too_late_is_not_taken(tmp_path: Path) -> None:
    """Names are in the order of the chain: one that has a later one before it is removed."""
    jobs = Jobs()
    supply = Supply(tmp_path, "shop", jobs)
    busy = threading.Event()
    jobs.submit(busy.wait)
    assert not supply.prepare()
    supply._number = 5  # as it is when the thread is held up between taking a number and making the file
    first = supply.take()
    supply._number = 2
    busy.set()
    wait_for(jobs.is_idle)
    supply._number = 6
    second = supply.take()
    assert first.name < second.name
    wait_for(lambda: len(segments(tmp_path)) == 2)
    first.remove()
    second.remove()
    assert jobs.close(10.0)
