"""The newest records, and those that are written meanwhile."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from otel_ml.audit.reading import compaction
from otel_ml.audit.reading.tail import tail
from segments import START, Process
from support import run_python


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def newest(trail: Path, last: int = 10) -> list[str]:
    return [record["record_id"] for record in tail(last, follow=False, directory=trail)]


@contextmanager
def following(trail: Path, last: int = 0) -> Iterator[queue.Queue[dict[str, Any]]]:
    """Give a queue into which another thread puts what `tail` yields, once `tail` has seen what is there."""
    found: queue.Queue[dict[str, Any]] = queue.Queue()
    stopping = threading.Event()
    marker = Process(trail, pid=9999)
    marker.prediction(record_id="marker", time_unix_nano=START + 10**15)

    def follow() -> None:
        for record in tail(last + 1, directory=trail, interval=0.01):
            if stopping.is_set():
                return
            found.put(record)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    while found.get(timeout=30)["record_id"] != "marker":
        pass
    yield found
    stopping.set()
    marker.prediction(record_id="end")
    thread.join(30)


def test_the_newest_records_come_in_the_order_of_time(trail: Path) -> None:
    """From all processes, from open and sealed segments, compacted or not."""
    one, two = Process(trail), Process(trail, pid=2)
    one.prediction(record_id="a", time_unix_nano=START + 1)
    one.seal()
    compaction.compact(trail)
    two.prediction(record_id="b", time_unix_nano=START + 2)
    one.prediction(record_id="c", time_unix_nano=START + 3)
    two.prediction(record_id="d", time_unix_nano=START + 4)
    assert newest(trail) == ["a", "b", "c", "d"]
    assert newest(trail, 2) == ["c", "d"]
    assert newest(trail, 0) == []


def test_a_record_has_the_names_that_sql_has(trail: Path) -> None:
    """And says what it is: predictions, outcomes and gaps come."""
    process = Process(trail)
    process.prediction(record_id="a")
    process.outcome("a", 1)
    process.gap(full=2)
    prediction, outcome, gap = tail(follow=False, directory=trail)
    assert (prediction["event_name"], prediction["model_name"], prediction["features"]["amount"]) == (
        "otel_ml.prediction", "fraud", 12.5,
    )  # fmt: skip
    assert prediction["segment"] == process.sealed.name
    assert (outcome["event_name"], outcome["label"]) == ("otel_ml.outcome", 1)
    assert gap["lost"] == {"full": 2}


def test_records_come_while_they_are_written(trail: Path) -> None:
    """Also in segments that are new, and in those that are sealed in between; each once."""
    process = Process(trail)
    process.prediction(record_id="before")
    with following(trail) as found:
        process.prediction(record_id="0")
        assert found.get(timeout=30)["record_id"] == "0"
        for number in range(1, 30):
            process.prediction(record_id=str(number))
            if number % 10 == 0:
                process.seal()
        assert [found.get(timeout=30)["record_id"] for _ in range(29)] == [str(number) for number in range(1, 30)]
        assert found.empty()


def test_a_line_comes_when_it_is_whole(trail: Path) -> None:
    """A line that is half written waits; one that is no JSON is passed over."""
    process = Process(trail)
    with following(trail) as found:
        process.prediction(record_id="whole")
        line = process.open.read_bytes().splitlines(keepends=True)[-1].replace(b"whole", b"later")
        with process.open.open("ab") as file:
            file.write(b"{broken\n" + line[:50])
        assert found.get(timeout=30)["record_id"] == "whole"
        with process.open.open("ab") as file:
            file.write(line[50:])
        assert found.get(timeout=30)["record_id"] == "later"


def test_neither_duckdb_nor_pyarrow_is_needed(trail: Path) -> None:
    """On a machine that only serves, `tail` works."""
    Process(trail).prediction(record_id="a")
    done = run_python(
        f"""
        import sys
        from otel_ml.audit.reading.tail import tail
        print([record["record_id"] for record in tail(follow=False, directory={str(trail)!r})])
        assert not {{"duckdb", "pyarrow", "numpy"}} & sys.modules.keys()
        """
    )
    assert done.stdout.strip() == "['a']", done.stderr
