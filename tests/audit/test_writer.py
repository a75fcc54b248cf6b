"""From callers to the disk: what was put is there, in time, once, or is known to be lost."""

from __future__ import annotations

import gc
import itertools
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from audit.calls import call, entries, failure, ids, lines, lost, records, segments, started, wait_for, writing
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml import health
from otel_ml.audit.reading.verify import verify
from otel_ml.audit.rows import Batch
from support import run_python


def test_nothing_exists_before_the_first_record(tmp_path: Path) -> None:
    """No thread, no directory: a process that predicts nothing, or forks later, has no trace of it."""
    threads = threading.active_count()
    with writing(tmp_path / "audit") as writer:
        assert writer.flush(1.0)
        assert threading.active_count() == threads
    assert not (tmp_path / "audit").exists()


def test_what_was_put_is_on_disk_once_and_in_order(tmp_path: Path) -> None:
    """After `flush` in an open segment, after `close` in a sealed one, and the chain holds both times."""
    directory = tmp_path / "audit"
    with writing(directory) as writer:
        assert all(writer.put(call(number)) for number in range(3000))
        assert writer.flush(10.0)
        assert ids(directory) == [str(number) for number in range(3000)]
        assert segments(directory)[0].name.endswith(".open")
        assert verify(directory)
    assert ids(directory) == [str(number) for number in range(3000)]
    assert [path.suffix for path in segments(directory)] == [".jsonl"]
    assert verify(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert not list(directory.glob("ballast*"))


def test_a_record_is_written_without_any_further_call(tmp_path: Path) -> None:
    """Nobody has to flush, also after the writer had nothing to do for a while."""
    with writing(tmp_path) as writer:
        for number in range(3):
            writer.put(call(number))
            wait_for(lambda number=number: tmp_path.exists() and len(records(tmp_path)) == number + 1)  # type: ignore[misc]
            time.sleep(0.3)


def test_lines_are_numbered_without_a_break_over_segments(tmp_path: Path) -> None:
    """Each segment begins with a header that names the hash before it, and ends with a footer that counts."""
    with writing(tmp_path, segment_bytes=20_000) as writer:
        for number in range(300):
            writer.put(call(number))
            if number % 50 == 49:
                writer.flush(5.0)
    found = segments(tmp_path)
    assert len(found) > 3
    everything = lines(tmp_path)
    assert [line["seq"] for line in everything] == list(range(len(everything)))
    previous = None
    for path in found:
        first, *between, last = map(json.loads, path.read_bytes().splitlines())
        assert (first["event.name"], first["segment"]) == ("otel_ml.audit.segment", path.name)
        assert first["previous"] == previous
        assert last["event.name"] == "otel_ml.audit.seal"
        assert (last["first_seq"], last["last_seq"], last["records"]) == (
            first["seq"],
            last["seq"] - 1,
            len(between) + 1,
        )
        assert last["root"] == (between or [first])[-1]["hash"]
        previous = last["hash"]
    assert {entry["segment"]: entry["end"] for entry in entries(tmp_path)}[found[-1].name] == previous
    assert verify(tmp_path)


def test_a_segment_is_sealed_by_age_also_when_nothing_more_comes(tmp_path: Path) -> None:
    """It does not wait for the next record."""
    with writing(tmp_path, segment_age=0.2) as writer:
        writer.put(call(1))
        wait_for(lambda: any(path.suffix == ".jsonl" for path in segments(tmp_path)))
        writer.put(call(2))
        writer.flush(5.0)
        assert len(segments(tmp_path)) == 2
    assert {line.get("reason") for line in lines(tmp_path)} >= {"age"}
    assert verify(tmp_path)


@pytest.mark.parametrize("bound", [{"queue_size": 50}, {"queue_bytes": 50 * 512}])
def test_a_full_queue_drops_ok_records_counts_them_and_keeps_failures(tmp_path: Path, bound: dict[str, int]) -> None:
    """The newest good ones go, by number or by bytes; the trail says how many, and no failure is among them."""
    with writing(tmp_path, **bound) as writer:
        with writer._working:  # the thread cannot write meanwhile, as on a disk that is stuck
            kept = [number for number in range(200) if writer.put(call(number))]
            failed = [number for number in range(1000, 1100) if writer.put(failure(number))]
        assert kept == list(range(50))
        assert failed == list(range(1000, 1100))
        assert writer.flush(5.0)
    assert sorted(map(int, ids(tmp_path))) == kept + failed
    assert ids(tmp_path)[:100] == list(map(str, failed))  # they went first
    assert lost(tmp_path) == {"queue_full": 150}
    assert health.dropped() == {("audit", "queue_full"): 150}
    assert verify(tmp_path)


def test_failures_are_bounded_too(tmp_path: Path) -> None:
    """At four times the bytes, so that no flood of errors takes all memory; those are counted as well."""
    with writing(tmp_path, queue_bytes=10 * 512) as writer:
        with writer._working:
            kept = [number for number in range(100) if writer.put(failure(number))]
        assert kept == list(range(40))
    assert lost(tmp_path) == {"queue_full": 60}


def test_an_event_goes_the_same_way(tmp_path: Path) -> None:
    """An outcome is a line of the chain like any other."""
    with writing(tmp_path) as writer:
        assert writer.put_event("otel_ml.outcome", {"record_id": "1", "label": True})
    (line,) = [line for line in lines(tmp_path) if line["event.name"] == "otel_ml.outcome"]
    assert (line["record_id"], line["label"]) == ("1", True)
    assert verify(tmp_path)


def test_after_close_records_are_refused_and_counted(tmp_path: Path) -> None:
    """Late calls get nothing but a count; closing twice is closing once."""
    pipeline = started(tmp_path)
    pipeline.writer.put(call(1))
    assert pipeline.close(5.0) and pipeline.close(5.0)
    assert not pipeline.writer.put(call(2))
    assert health.dropped() == {("audit", "shutdown"): 1}
    assert ids(tmp_path) == ["1"]


def test_rows_of_a_batch_go_over_several_writes(tmp_path: Path) -> None:
    """All of them are there, in order, with records of other calls around them."""
    with writing(tmp_path) as writer:
        writer.put(call(1))
        writer.put(call(2, features=Batch.of(np.zeros((5000, 3)), np.zeros(5000), 10_000), prediction=None))
        writer.put(call(3))
    assert ids(tmp_path) == ["1", *(f"2-{row}" for row in range(5000)), "3"]
    assert verify(tmp_path)


def test_threads_lose_nothing_and_tear_nothing(tmp_path: Path) -> None:
    """Sixteen threads at once: each record is there once, those of a thread in their order."""
    with writing(tmp_path, segment_bytes=100_000) as writer:
        threads = [
            threading.Thread(target=lambda t=t: [writer.put(call(t * 1000 + n)) for n in range(500)]) for t in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = [int(identity) for identity in ids(tmp_path)]
    assert sorted(found) == [t * 1000 + n for t in range(16) for n in range(500)]
    for t in range(16):
        assert [i for i in found if i // 1000 == t] == [t * 1000 + n for n in range(500)]
    assert verify(tmp_path)


class Rude:
    """Puts a record when it is collected, wherever that happens to be."""

    def __init__(self, writer, number: int) -> None:
        self.writer = writer
        self.number = number
        self.cycle = self

    def __del__(self) -> None:
        self.writer.put(failure(self.number) if self.number % 2 else call(self.number))


@pytest.mark.parametrize("durability", ["fast", "sync"])
def test_a_destructor_that_records_inside_of_our_code_blocks_nothing(tmp_path: Path, durability: str) -> None:
    """Collections at every few allocations run `__del__` in the middle of puts and of the writer's own work."""
    threshold = gc.get_threshold()
    with writing(tmp_path, durability=durability, queue_size=100_000) as writer:
        gc.set_threshold(5, 2, 2)
        try:
            for number in range(0, 1000, 2):
                Rude(writer, number + 10_000)
                Rude(writer, number + 10_001)
                writer.put(call(number))
            gc.collect()
        finally:
            gc.set_threshold(*threshold)
        assert writer.flush(10.0)
    assert len(set(ids(tmp_path))) == len(ids(tmp_path)) == 1500
    assert verify(tmp_path)


def test_a_signal_handler_that_records_in_the_middle_of_a_put_blocks_nothing(tmp_path: Path) -> None:
    """A timer interrupts the main thread wherever it is."""
    put: list[int] = []
    numbers = itertools.count(10**6)  # a handler may interrupt a handler
    with writing(tmp_path) as writer:
        previous = signal.signal(signal.SIGALRM, lambda *_: put.append(writer.put(failure(next(numbers)))))
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        try:
            deadline = time.monotonic() + 1.0
            number = 0
            while time.monotonic() < deadline and number < 20_000:
                number += bool(writer.put(call(number)))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
    found = ids(tmp_path)
    assert put and len(found) == len(set(found)) == number + sum(put)


def test_sync_returns_when_the_record_is_on_the_disk(tmp_path: Path) -> None:
    """Each of several threads finds its own record in the file as soon as `wait` returns."""
    missing: list[int] = []

    def work(thread: int) -> None:
        for number in range(thread * 100, thread * 100 + 20):
            assert writer.wait(writer.put(call(number)), 60.0)
            if str(number) not in ids(tmp_path):
                missing.append(number)

    with writing(tmp_path, durability="sync", segment_bytes=8000) as writer:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert missing == []
    assert len(segments(tmp_path)) > 1
    assert verify(tmp_path)


def test_waiting_with_fast_durability_or_for_nothing_is_false(tmp_path: Path) -> None:
    """Nobody is told that a record is on the disk when that was not looked at."""
    with writing(tmp_path) as writer:
        assert not writer.wait(writer.put(call(1)))
    with writing(tmp_path, durability="sync") as writer:
        assert not writer.wait(0)
        ticket = writer.put(call(2))
        assert writer.wait(ticket, 60.0)
    assert not writer.wait(writer.put(call(3)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_parent_and_forked_children_write_a_trail_each_without_doubles(tmp_path: Path) -> None:
    """What waited in the parent is the parent's; a child begins anew, and what it inherits keeps no file in use."""
    done = run_python(
        f"""
        import os, sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from pathlib import Path
        from audit.calls import call, started
        pipeline = started(Path("audit"))
        writer = pipeline.writer
        for number in range(1000):
            writer.put(call(number))
        children = []
        for child in range(1, 4):
            pid = os.fork()
            if pid == 0:
                for number in range(500):
                    writer.put(call(child * 10_000 + number))
                os._exit(0 if pipeline.close(5.0) else 1)
            children.append(pid)
            writer.put(call(2000 + child))
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 3
        assert pipeline.close(5.0)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    directory = tmp_path / "audit"
    expected = [*range(1000), *range(2001, 2004), *(c * 10_000 + n for c in range(1, 4) for n in range(500))]
    assert sorted(map(int, ids(directory))) == expected
    assert len({path.name.rsplit("-", 1)[0] for path in segments(directory)}) == 4
    assert all(path.suffix == ".jsonl" for path in segments(directory))
    assert verify(directory)


@settings(max_examples=15)
@given(st.lists(st.sampled_from(["put", "fail", "event", "flush", "sync", "seal"]), min_size=1, max_size=40))
def test_any_history_gives_a_chain_that_holds(tmp_path_factory: pytest.TempPathFactory, actions: list[str]) -> None:
    """Whatever the order of records, flushes and seals is, all that was put is there."""
    directory = tmp_path_factory.mktemp("audit")
    put = 0
    with writing(directory, segment_bytes=3000) as writer:
        for action in actions:
            if action == "flush":
                assert writer.flush(5.0)
            elif action == "seal":
                with writer._working:
                    writer._trail.seal("age")
            elif action == "event":
                writer.put_event("otel_ml.outcome", {"record_id": "1"})
            else:
                put += bool(writer.put(failure(put) if action == "fail" else call(put)))
    assert sorted(map(int, ids(directory))) == list(range(put))
    assert verify(directory)
