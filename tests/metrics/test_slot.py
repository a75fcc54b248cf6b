"""The file of a process's numbers: found again by key, whole under any death, and never read half written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_ml.metrics import processes
from otel_ml.metrics.counter import CounterCell, LockedCounterCell
from otel_ml.metrics.exemplars import read_exemplars
from otel_ml.metrics.histogram_cells import HistogramCell, LockedHistogramCell
from otel_ml.metrics.processes import NOBODY, Process
from otel_ml.metrics.slot import MOST, Owner, Record, Slot, owner_of, records_of
from otel_ml.metrics.totals import totals
from support import run_python

ME = processes.current()
OWNER = Owner(ME, ME, 9464)
BOUNDS = (0.001, 0.01, 0.1, 1.0)
KEY = json.dumps(
    {
        "attributes": {},
        "bounds": BOUNDS,
        "description": "",
        "kind": "histogram",
        "name": "h",
        "scope": ["s", None, None],
    }
).encode()
SAMPLED = NonRecordingSpan(SpanContext(2**127 + 5, 2**63 + 7, False, TraceFlags(1)))


def contents(records: list[Record]) -> dict[bytes, list[int]]:
    return {record.key: record.numbers.cast("q").tolist() for record in records}


@given(
    st.lists(
        st.lists(st.tuples(st.binary(max_size=40), st.integers(1, 300), st.integers(-(2**63), 2**63 - 1)), max_size=12),
        max_size=4,
    )
)
def test_a_file_has_what_all_its_owners_wrote(lives: list[list[tuple[bytes, int, int]]]) -> None:
    """Each owner finds the memory of the ones before, at every size; others read what the owner sees."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "0.cells")
        expected: dict[bytes, list[int]] = {}
        for life in lives:
            slot = Slot(path, OWNER)
            for name, words, value in life:
                key = b"%s/%d" % (name, words)
                memory = slot.place(key, words).cast("q")
                assert memory.tolist() == expected.setdefault(key, [0] * words)
                memory[words - 1] = value
                expected[key][words - 1] = value
            assert contents(records_of(path)) == contents(list(slot.records())) == expected
            assert owner_of(path) == OWNER
            slot.write(Owner(NOBODY, ME, 0))
            assert owner_of(path) == Owner(NOBODY, ME, 0)


def test_memory_does_not_move_when_the_file_grows(tmp_path: Path) -> None:
    """A cell keeps its memory for ever; thousands of series need a handful of mappings."""
    slot = Slot(tmp_path / "0.cells", OWNER)
    cells = [slot.place(b"key %d" % number, 100).cast("q") for number in range(2_000)]
    for number, cell in enumerate(cells):
        cell[0] += number
    assert [words[0] for words in contents(records_of(slot.path)).values()] == list(range(2_000))
    assert len(slot._segments) < 10


def test_a_full_file_system_is_an_error_and_no_signal(tmp_path: Path) -> None:
    """What was placed before goes on counting, and so does what comes when there is room again."""
    done = run_python(
        f"""
        import resource
        from pathlib import Path
        from otel_ml.metrics import processes
        from otel_ml.metrics.slot import MOST, Owner, Slot, records_of
        me = processes.current()
        slot = Slot(Path({str(tmp_path)!r}, "0.cells"), Owner(me, me, 0))
        first = slot.place(b"first", 10).cast("q")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        placed, failed = 0, 0
        for number in range(50):
            try:
                slot.place(b"%d" % number, 1000).cast("q")[0] = 1
                placed += 1
            except OSError:
                failed += 1
        first[0] += 1
        assert placed and failed, (placed, failed)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        slot.place(b"last", 1000).cast("q")[0] = 1
        found = [r.numbers.cast("q")[0] for r in records_of(slot.path)]
        assert sum(found) == placed + 2, (found, placed)
        again = Slot(slot.path, Owner(me, me, 0))
        assert [r.numbers.cast("q")[0] for r in again.records()] == found
        """
    )
    assert done.returncode == 0, done.stderr


def test_a_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    """What has no room is refused, like on a full file system; what is there goes on."""
    slot = Slot(tmp_path / "0.cells", OWNER)
    first = slot.place(b"first", 1).cast("q")
    with pytest.raises(OSError, match="too many"):
        for number in range(100):
            slot.place(b"%d" % number, 128 * 1024)
    first[0] = 5
    assert contents(records_of(slot.path))[b"first"] == [5]
    assert slot.path.stat().st_size <= MOST


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 5000, b"\0" * 100_000], ids=len)
def test_a_file_that_is_none_of_ours_or_unfinished_is_nobodys(tmp_path: Path, content: bytes) -> None:
    """Its maker died before it was done; the next process makes it its own."""
    path = tmp_path / "0.cells"
    path.write_bytes(content)
    assert owner_of(path) is None
    if content.strip(b"x"):
        slot = Slot(path, OWNER)
        slot.place(b"key", 1).cast("q")[0] = 5
        assert contents(records_of(path)) == {b"key": [5]}


@pytest.mark.parametrize("kind", [HistogramCell, LockedHistogramCell])
@given(values=st.lists(st.floats(0, 2) | st.sampled_from(BOUNDS), max_size=20), split=st.integers(0, 20))
def test_cells_count_in_shared_memory_as_they_do_alone(
    kind: type[HistogramCell], values: list[float], split: int
) -> None:
    """Also when they moved there in between, and when the memory had counts of another process."""
    with tempfile.TemporaryDirectory() as folder:
        slot = Slot(Path(folder, "0.cells"), OWNER)
        other = kind({}, BOUNDS, place=lambda attributes, words: slot.place(KEY, words))
        for value in values:
            other.observe(value, SAMPLED)
        alone, moved = kind({}, BOUNDS), kind({}, BOUNDS)
        for index, value in enumerate(values):
            if index == split:
                moved._place = lambda attributes, words: slot.place(KEY, words)
                moved.move()
            alone.observe(value, SAMPLED)
            moved.observe(value, SAMPLED)
        one, two = alone.snapshot(), moved.snapshot()
        assert (one.bucket_counts, one.min, one.max) == (two.bucket_counts, two.min, two.max)
        assert one.sum == pytest.approx(two.sum, abs=1e-12)
        assert [e and e[:3] for e in one.exemplars] == [e and e[:3] for e in two.exemplars]
        if values:
            total = totals([(record, True) for record in records_of(slot.path)])[KEY]
            times = 2 if not moved.is_private else 1
            assert total.counts == [times * count for count in one.bucket_counts]
            assert [e and e[:3] for e in total.exemplars] == [e and e[:3] for e in one.exemplars]


@pytest.mark.parametrize("kind", [CounterCell, LockedCounterCell])
def test_counters_in_shared_memory_hold_any_sum(kind: type[CounterCell], tmp_path: Path) -> None:
    """Above 64 bits it is a float; and what was there before is not this process's own."""
    slot = Slot(tmp_path / "0.cells", OWNER)
    before = kind({}, place=lambda attributes, words: slot.place(b"{}", words))
    before.add(5)
    cell = kind({})
    cell.add(3)
    cell.add(0.5)
    cell._place = lambda attributes, words: slot.place(b"{}", words)
    cell.move()
    cell.add(1)
    assert cell.snapshot()[1:] == (4, 0.5)
    cell.add(2**62)
    cell.add(2**62)
    assert sum(cell.snapshot()[1:]) == pytest.approx(2**63 + 4)
    big = kind({})
    big.add(2**70)
    big._place = lambda attributes, words: slot.place(b"big", words)
    big.move()
    assert sum(big.snapshot()[1:]) == 2**70


def test_no_exemplar_is_read_that_was_never_written(tmp_path: Path) -> None:
    """While another process writes them as fast as it can, ids, value and time always belong together."""
    slot = Slot(tmp_path / "0.cells", OWNER)
    numbers = slot.place(KEY, 1 + 5 + 25)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(slot.path), repr(KEY)])
    try:
        seen = set()
        deadline = time.monotonic() + 30
        while len(seen) < 5_000 and time.monotonic() < deadline:
            found = read_exemplars(numbers, 6, 5)[0]
            if found is not None:
                value, trace_id, span_id, moment = found
                assert trace_id == moment << 64 | moment
                assert (value, span_id) == (float(moment), moment)
                seen.add(moment)
        assert len(seen) > 100
    finally:
        writer.kill()
        writer.wait()


WRITER = """
import sys
from pathlib import Path
from otel_ml.metrics import processes
from otel_ml.metrics.exemplars import write_exemplar
from otel_ml.metrics.slot import MOST, Owner, Slot
me = processes.current()
numbers = Slot(Path(sys.argv[1]), Owner(me, me, 0)).place(eval(sys.argv[2]), 31)
words, doubles, number = numbers.cast("Q"), numbers.cast("d"), 0
while True:
    number += 1
    write_exemplar(words, doubles, 6, (float(number), number << 64 | number, number, number))
"""


def test_a_process_is_told_from_another_with_its_number() -> None:
    """One that ended, or that nobody has waited for, does not live; one that runs does."""
    assert ME.lives
    assert not NOBODY.lives
    assert not Process(ME.pid, ME.started + 1).lives
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    one = processes.process(child.pid)
    assert one.lives
    assert processes.forked_from(one) is None  # it runs a program of its own
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not one.lives
    child.communicate()
    assert not one.lives


def test_the_parent_of_a_forked_process_is_found() -> None:
    """Its memory has the same places."""
    done = run_python(
        """
        import os
        from otel_ml.metrics import processes
        me = processes.current()
        child = os.fork()
        if not child:
            os._exit(0 if processes.forked_from(processes.current()) == me else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        """
    )
    assert done.returncode == 0, done.stderr
