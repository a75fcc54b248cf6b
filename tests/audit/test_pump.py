"""From feeds to the trail: failures first, and what was lost is told now and then."""

from __future__ import annotations

import time
from pathlib import Path

from audit.calls import SERVICE, call, failure, ids, lines, lost, segments

from otel_ml import health
from otel_ml.audit.feed import Feed
from otel_ml.audit.jobs import Jobs
from otel_ml.audit.pump import Pump
from otel_ml.audit.queue import Gap, Lane
from otel_ml.audit.reading.verify import verify
from otel_ml.audit.record import Encoder
from otel_ml.audit.trail import Trail
from otel_ml.options import Audit


class World:
    """A pump, and all that it stands between."""

    def __init__(self, directory: Path) -> None:
        self.jobs = Jobs()
        self.gap = Gap("shop")
        self.failures, self.records = Lane(None, 10**6), Lane(None, 10**6)
        feeds = tuple(Feed(lane, Encoder(SERVICE), self.gap) for lane in (self.failures, self.records))
        trail = Trail(directory, "shop", Audit(), self.jobs, lambda: None)
        self.pump = Pump(directory, trail, feeds, self.gap, None)  # type: ignore[arg-type]

    def end(self) -> None:
        self.pump.end()
        assert self.jobs.close(10.0)


def test_failures_go_first_and_a_turn_without_work_says_so(tmp_path: Path) -> None:
    """Whatever came first."""
    world = World(tmp_path)
    assert not world.pump.turn(flush_until=0.0)
    world.records.put(call(1), 300, 0)
    world.failures.put(failure(2), 300, 0)
    assert not world.pump.is_empty()
    assert world.pump.turn(flush_until=0.0)
    assert world.pump.is_empty() and not world.pump.turn(flush_until=0.0)
    world.end()
    assert ids(tmp_path) == ["2", "1"]
    assert [path.suffix for path in tmp_path.iterdir()] == [".jsonl"] * 2  # the segment and the manifest


def test_losses_are_told_once_a_second_at_most_and_at_the_end(tmp_path: Path) -> None:
    """A flood of losses is no flood of lines."""
    world = World(tmp_path)
    for _ in range(50):
        world.gap.add("queue_full")
        world.pump.turn(flush_until=0.0)
    world.end()
    assert lost(tmp_path) == {"queue_full": 50}
    assert sum(line["event.name"] == "otel_ml.audit.gap" for line in lines(tmp_path)) == 2


def test_a_disk_that_takes_nothing_is_left_alone_for_a_moment(tmp_path: Path, caplog) -> None:
    """It is said once, and tried again later or when somebody asks for it."""
    (tmp_path / "audit").write_text("a file")
    world = World(tmp_path / "audit")
    world.records.put(call(1), 300, 0)
    assert not world.pump.turn(flush_until=0.0) and world.pump.is_held()
    (tmp_path / "audit").unlink()
    assert not world.pump.turn(flush_until=0.0)
    assert world.pump.turn(flush_until=time.monotonic() + 10.0) and not world.pump.is_held()
    world.end()
    assert ids(tmp_path / "audit") == ["1"] and verify(tmp_path / "audit")
    assert [record.name for record in caplog.records] == ["otel_ml"]


def test_an_error_of_our_own_costs_a_moment_and_is_said(tmp_path: Path) -> None:
    """The thread that turns the pump has to live on."""
    world = World(tmp_path)
    world.records.items.append(None)  # type: ignore[arg-type]
    assert not world.pump.turn(flush_until=0.0)
    assert ("internal", "writing of the audit trail") in health.dropped()
    world.records.put(call(1), 300, 0)
    assert world.pump.turn(flush_until=time.monotonic() + 10.0)
    world.end()
    assert ids(tmp_path) == ["1"]


def test_what_is_discarded_is_told_in_the_trail(tmp_path: Path) -> None:
    """At the end of a program whose time is over."""
    world = World(tmp_path)
    world.records.put(call(1), 300, 0)
    world.failures.put(failure(2), 300, 0)
    world.pump.discard()
    world.end()
    assert lost(tmp_path) == {"shutdown": 2} == {reason: n for (_, reason), n in health.dropped().items()}
    assert len(segments(tmp_path)) == 1
