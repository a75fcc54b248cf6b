"""A record made quickly is the record that the standard library makes."""

from __future__ import annotations

import asyncio
import copy
import itertools
import logging
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs.running import Running

from otel_ml.logs import quick_record

VALUES = st.none() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.integers(), max_size=2)
MAPPINGS = st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
ARGUMENTS = (
    st.none()
    | st.lists(VALUES | MAPPINGS | MAPPINGS.map(MappingProxyType), max_size=3).map(tuple)
    | st.lists(st.integers(), max_size=2)
)
PATHS = (
    st.text("/ab.\\", max_size=12) | st.none() | st.binary(max_size=3) | st.just(PurePosixPath("/a/b.py")) | st.just([])
)


class Frozen:
    """Stands for `time`: both constructors see the same moment."""

    def __init__(self, nanoseconds: int) -> None:
        self.nanoseconds = nanoseconds

    def time_ns(self) -> int:
        return self.nanoseconds

    def time(self) -> float:
        return self.nanoseconds / 1e9


@given(
    st.tuples(
        st.text(), st.integers(0, 60) | st.just("ERROR"), PATHS, st.integers(), VALUES | MAPPINGS, ARGUMENTS,
        st.sampled_from([None, (None, None, None), True]), st.none() | st.text(), st.none() | st.text(),
    ),
    st.integers(0, 2**61) | st.integers(0, 2**31).map(lambda second: second * 10**9 + 999_999_999),
)  # fmt: skip
def test_each_field_is_what_the_constructor_makes_it(arguments: tuple[Any, ...], now: int) -> None:
    """Whatever the arguments and whatever the time: names, order and values."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging, "time", Frozen(now))
        patch.setattr(quick_record, "time", Frozen(now))
        theirs, ours = logging.LogRecord(*arguments), quick_record.make(*arguments)
    assert type(ours) is logging.LogRecord
    assert list(vars(ours)) == list(vars(theirs))
    assert vars(ours) == vars(theirs)
    assert [type(value) for value in vars(ours).values()] == [type(value) for value in vars(theirs).values()]


def fields(make: Callable[..., logging.LogRecord]) -> dict[str, Any]:
    made = vars(make("n", 20, "/a/b.py", 1, "m", (), None))
    return {name: value for name, value in made.items() if name not in ("created", "msecs", "relativeCreated")}


def in_a_task(make: Callable[..., logging.LogRecord]) -> dict[str, Any]:
    async def inside() -> dict[str, Any]:
        return fields(make)

    async def main() -> dict[str, Any]:
        return await asyncio.create_task(inside(), name="a-task")

    return asyncio.run(main())


def in_a_callback_of_a_loop(make: Callable[..., logging.LogRecord]) -> dict[str, Any]:
    loop, made = asyncio.new_event_loop(), []
    loop.call_soon(lambda: (made.append(fields(make)), loop.stop()))
    loop.run_forever()
    loop.close()
    return made[0]


def in_a_thread(make: Callable[..., logging.LogRecord]) -> dict[str, Any]:
    with ThreadPoolExecutor(1, thread_name_prefix="a-thread") as pool:
        made = pool.submit(fields, make).result()
    assert made.pop("thread")
    return made


@pytest.mark.parametrize("place", [fields, in_a_task, in_a_callback_of_a_loop, in_a_thread])
def test_thread_process_and_task_are_named_wherever_it_is_made(place: Callable[..., dict[str, Any]]) -> None:
    """In a thread, in a task, and in a loop without a task."""
    assert place(quick_record.make) == place(logging.LogRecord)


SWITCHES = [
    name for name in ("logThreads", "logMultiprocessing", "logProcesses", "logAsyncioTasks") if hasattr(logging, name)
]


@pytest.mark.parametrize("switch", SWITCHES)
def test_switches_of_logging_are_obeyed(monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    """What an application switched off for speed is left out."""
    monkeypatch.setattr(logging, switch, False)
    assert fields(quick_record.make) == fields(logging.LogRecord)


def test_a_renamed_level_and_process_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered that can change."""
    monkeypatch.setattr(multiprocessing.current_process(), "_name", "renamed")
    monkeypatch.setitem(logging._levelToName, 20, "NOTE")
    made = quick_record.make("n", 20, "/a/b.py", 1, "m", (), None)
    assert (made.levelname, made.processName) == ("NOTE", "renamed")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_its_own_id() -> None:
    """The id is remembered for one process only."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(fields(quick_record.make)["process"]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reading, 20)) == child
    os.close(reading)
    os.close(writing)


def test_a_record_is_copied_and_pickled_as_any_other() -> None:
    """QueueHandler does the one, a queue between processes the other."""
    made = quick_record.make("n", 20, "/a/b.py", 1, "m %s", ("x",), None)
    for again in (copy.copy(made), pickle.loads(pickle.dumps(made))):
        assert vars(again) == vars(made)
        assert again.getMessage() == "m x"


def test_the_time_is_now() -> None:
    """And goes on."""
    before = time.time()
    times = [quick_record.make("n", 20, "/a/b.py", 1, "m", (), None).created for _ in range(3)]
    assert before - 0.001 <= times[0] <= times[1] <= times[2] <= time.time() + 0.001


def test_it_is_used_where_it_is_right_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another Python, or a library that changed the constructor or the class, gets the constructor itself."""
    assert quick_record.maker() is quick_record.make
    original = logging.LogRecord.__init__

    def changed(self: logging.LogRecord, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.tenant = "a"

    class Another(logging.LogRecord):
        pass

    with monkeypatch.context() as patch:
        patch.setattr(logging.LogRecord, "__init__", changed)
        assert quick_record.maker() is logging.LogRecord
    with monkeypatch.context() as patch:
        patch.setattr(logging, "LogRecord", Another)
        assert quick_record.maker() is Another
    with monkeypatch.context() as patch:
        patch.setattr(quick_record, "_COMPARED", ((2, 7),))
        assert quick_record.maker() is logging.LogRecord
    with monkeypatch.context() as patch:
        patch.setattr(quick_record, "_process_name", lambda: "wrong")
        assert quick_record.maker() is logging.LogRecord


def test_the_factory_uses_it_unless_the_application_set_one(run_pipeline: Callable[..., Running]) -> None:
    """A factory of the application's own is called as before."""
    made: list[logging.LogRecord] = []

    def theirs(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made.append(logging.LogRecord(*args, **kwargs))
        return made[-1]

    logging.setLogRecordFactory(theirs)
    running = run_pipeline()
    logging.getLogger("app").info("one")
    assert [record.msg for record in made] == ["one"]
    assert running.messages() == ["one"]


def test_threads_make_records_at_once() -> None:
    """Each gets its own."""
    numbers, found = itertools.count(), []

    def log() -> None:
        for _ in range(200):
            number = next(numbers)
            record = quick_record.make("n", 20, f"/a/f{number}.py", number, "m", (), None)
            found.append((record.filename, record.thread) == (f"f{number}.py", threading.get_ident()))

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 800


def test_a_mapping_as_the_only_argument_becomes_the_arguments() -> None:
    """`logger.info("%(a)s", {"a": 1})`, with any mapping but an empty one."""

    class Own(Mapping[str, int]):
        def __getitem__(self, key: str) -> int:
            return 1

        def __iter__(self) -> Any:
            return iter("a")

        def __len__(self) -> int:
            return 1

    own = Own()
    assert quick_record.make("n", 20, "/a/b.py", 1, "%(a)s", (own,), None).args is own
    assert quick_record.make("n", 20, "/a/b.py", 1, "%s", ({},), None).args == ({},)
