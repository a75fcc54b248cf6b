"""The bounded queue and its thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import health, worker
from otel_ml.worker import BatchWorker
from support import run_python


def collecting(items: list[int], **bounds: float) -> BatchWorker[int]:
    options = {"queue_size": 1000, "batch_size": 10, "interval": 0.01, **bounds}
    return BatchWorker("traces", items.extend, **options)  # type: ignore[arg-type]


@given(st.lists(st.integers(), max_size=200), st.integers(1, 20))
def test_every_item_arrives_once_in_order_and_in_bounded_batches(items: list[int], batch_size: int) -> None:
    """What is put is consumed, whatever the size of a batch."""
    batches: list[list[int]] = []
    subject = BatchWorker("traces", batches.append, queue_size=1000, batch_size=batch_size, interval=0.01)
    for item in items:
        assert subject.put(item)
    assert subject.flush(10)
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) <= batch_size for batch in batches)
    assert subject.close(10)


def test_a_thread_that_cannot_start_is_told_of_once_and_tried_again() -> None:
    """The operating system refuses it; what is put meanwhile waits, and goes its way when it starts after all."""
    result = run_python(
        """
        import logging, threading
        from otel_ml.worker import BatchWorker

        logging.basicConfig(format="%(message)s")
        found = []
        subject = BatchWorker("traces", found.extend, queue_size=100, batch_size=10, interval=0.01)
        threading.stack_size(1 << 46)  # more than there is room for
        assert subject.put(1) and subject.put(2)
        threading.stack_size(0)
        assert subject.put(3)
        assert subject.flush(10)
        print(found)
        """
    )
    assert result.stdout == "[1, 2, 3]\n"
    assert result.stderr.count("The thread otel_ml-traces cannot start yet: can't start new thread") == 1


def test_a_full_queue_drops_counts_and_never_waits() -> None:
    """While the sink hangs, the caller goes on; what does not fit is counted."""
    release, entered = threading.Event(), threading.Event()

    def hang(batch: list[int]) -> None:
        entered.set()
        release.wait(30)

    subject = BatchWorker("traces", hang, queue_size=5, batch_size=1, interval=0.01)
    subject.put(0)
    assert entered.wait(10)
    accepted = [subject.put(i) for i in range(20)]
    assert accepted.count(True) == 5
    assert health.dropped() == {("traces", "queue_full"): 15}
    assert not subject.flush(0.05)
    release.set()
    assert subject.close(10)


def test_close_counts_what_did_not_get_out_in_time() -> None:
    """A sink that hangs at the end costs the time that was given and no more, and the loss is counted."""
    release = threading.Event()
    subject = BatchWorker("logs", lambda batch: release.wait(30) and None, queue_size=50, batch_size=1, interval=0.01)
    for item in range(10):
        subject.put(item)
    started = time.monotonic()
    assert not subject.close(0.2)
    assert time.monotonic() - started < 10
    assert health.dropped()["logs", "shutdown"] >= 9 - 1
    release.set()


def test_a_queue_that_fills_is_emptied_before_the_interval_is_over() -> None:
    """A burst does not fill the queue while the thread sleeps."""
    items: list[int] = []
    arrived = threading.Event()

    def consume(batch: list[int]) -> None:
        items.extend(batch)
        arrived.set()

    subject = BatchWorker("traces", consume, queue_size=40, batch_size=10, interval=3600.0)
    for item in range(11):
        subject.put(item)
    assert arrived.wait(30)
    assert subject.close(10)
    assert items == list(range(11))


def test_a_closed_worker_takes_nothing_and_says_so() -> None:
    """Items that come too late are counted, and a second close does nothing."""
    items: list[int] = []
    subject = collecting(items)
    assert subject.close(5) and subject.close(5)
    assert not subject.put(1)
    assert (items, health.dropped()) == ([], {("traces", "shutdown"): 1})


def test_a_sink_that_raises_costs_its_batch_only() -> None:
    """The thread lives on, and the loss is counted."""
    items: list[int] = []

    def consume(batch: list[int]) -> None:
        if 1 in batch:
            raise OSError("disk")
        items.extend(batch)

    subject = BatchWorker("metrics", consume, queue_size=10, batch_size=1, interval=0.01)
    for item in (0, 1, 2):
        subject.put(item)
    assert subject.flush(10)
    assert items == [0, 2]
    assert health.dropped()["metrics", "export_failed"] == 1
    subject.close(5)


def test_the_thread_knows_that_it_is_exporting() -> None:
    """Code can tell that it runs inside an export, and the caller's thread is not inside one."""
    seen: list[bool] = []
    subject: BatchWorker[int] = BatchWorker(
        "logs", lambda batch: seen.append(worker.exporting()), queue_size=1, batch_size=1, interval=0.01
    )
    subject.put(1)
    assert subject.flush(10)
    assert (seen, worker.exporting()) == ([True], False)
    subject.close(5)


def test_a_forked_child_starts_empty_with_a_thread_of_its_own() -> None:
    """The parent's queue is the parent's; the child's own items arrive."""
    done = run_python(
        """
        import os, threading
        from otel_ml.worker import BatchWorker
        items, hold = [], threading.Event()
        def consume(batch):
            items.extend(batch)
        subject = BatchWorker("traces", consume, queue_size=100, batch_size=10, interval=60.0)
        subject.put("parent")
        pid = os.fork()
        if pid == 0:
            items.clear()
            subject.put("child")
            ok = subject.flush(10) and items == ["child"]
            os._exit(0 if ok else 1)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert subject.flush(10) and items == ["parent"], items
        """
    )
    assert done.returncode == 0, done.stderr


def test_threads_that_put_at_once_lose_nothing() -> None:
    """Sixteen threads and one queue: the counts agree."""
    items: list[int] = []
    subject = collecting(items, queue_size=100_000)
    threads = [threading.Thread(target=lambda: [subject.put(1) for _ in range(500)]) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert subject.close(30)
    assert len(items) == 16 * 500


def test_put_at_interpreter_shutdown_is_delivered_by_close() -> None:
    """When no thread can be started any more, the items are consumed by whoever closes."""
    done = run_python(
        """
        import atexit
        from otel_ml.worker import BatchWorker
        items = []
        subject = BatchWorker("traces", items.extend, queue_size=10, batch_size=10, interval=0.01)
        subject._start = lambda: None  # what _start does when the interpreter refuses a thread
        def late():
            subject.put(1)
            assert subject.close(5)
            print(items)
        atexit.register(late)
        """
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[1]"), done.stderr


def test_the_worker_does_not_keep_itself_alive() -> None:
    """A worker that is dropped is collected: the fork hook holds it weakly."""
    import gc
    import weakref

    subject = collecting([])
    reference = weakref.ref(subject)
    del subject
    gc.collect()
    assert reference() is None


def test_a_put_inside_a_put_does_not_hang() -> None:
    """A signal handler or a `__del__` may put an item in the middle of anything that a put does."""
    done = run_python(
        """
        import signal
        from otel_ml.worker import BatchWorker
        items = []
        subject = BatchWorker("traces", items.extend, queue_size=10**7, batch_size=3, interval=0.01)
        nested = []
        def handler(*_):
            nested.append(subject.put(-1))
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for number in range(100_000):
            assert subject.put(number)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert subject.close(30)
        assert nested and all(nested) and len(items) == 100_000 + len(nested)
        """
    )
    assert done.returncode == 0, done.stderr


def dozing(subject: worker.QueueThread[int]) -> None:
    """Wait until the thread dozes."""
    deadline = time.monotonic() + 30
    while not subject._dozing:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_thread_that_has_nothing_to_do_is_left_alone() -> None:
    """To look into an empty queue takes the interpreter from the program."""
    items: list[int] = []
    subject = collecting(items, interval=0.001)
    looks = []
    drain = subject._drain
    subject._drain = lambda deadline: looks.append(1) or drain(deadline)  # type: ignore[method-assign]
    subject.put(1)
    dozing(subject)
    number = len(looks)
    time.sleep(0.2)
    assert (items, len(looks)) == ([1], number)
    assert subject.close(10)


@pytest.fixture
def sleeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[BatchWorker[int], threading.Event]]:
    """A worker whose thread finds nothing by chance, and what tells that something arrived."""
    monkeypatch.setattr(worker, "_LONGEST_DOZE", 3600.0)
    arrived = threading.Event()
    subject: BatchWorker[int] = BatchWorker(
        "traces", lambda batch: arrived.set(), queue_size=10, batch_size=10, interval=0.01
    )
    yield subject, arrived
    assert subject.close(10)


def test_an_item_wakes_a_thread_that_dozes(sleeper: tuple[BatchWorker[int], threading.Event]) -> None:
    """It is not found by chance, when the thread looks of its own accord."""
    subject, arrived = sleeper
    for _ in range(20):
        subject.put(1)
        assert arrived.wait(30)
        arrived.clear()
        dozing(subject)


def test_a_ring_that_comes_too_late_does_not_leave_the_thread_deaf(
    sleeper: tuple[BatchWorker[int], threading.Event],
) -> None:
    """A caller may be held up between its append and the look whether the thread dozes, after its item was found."""
    subject, arrived = sleeper
    subject.put(1)
    assert arrived.wait(30)
    for _ in range(20):
        arrived.clear()
        dozing(subject)
        subject._dozing = False  # what the late caller does
        subject.quiet = subject._wake_at
        subject._ring()
        dozing(subject)
        subject.put(1)
        assert arrived.wait(30)


def test_an_item_of_which_nobody_was_told_is_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller may have looked just before the thread dozed off, and append its item just after."""
    monkeypatch.setattr(worker, "_LONGEST_DOZE", 0.01)
    items: list[int] = []
    subject = collecting(items)
    subject.put(1)
    dozing(subject)
    subject.queue.append(2)
    deadline = time.monotonic() + 30
    while len(items) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert subject.close(10)


def test_the_thread_is_told_once_a_batch() -> None:
    """Between two looks of the thread, all puts but a few are an append and nothing else."""
    hold, items = threading.Event(), []

    def consume(batch: list[int]) -> None:
        hold.wait(30)
        items.extend(batch)

    subject = BatchWorker("traces", consume, queue_size=1000, batch_size=10, interval=3600.0)
    told = []
    attentively = subject.put_attentively
    subject.put_attentively = lambda item: told.append(item) or attentively(item)  # type: ignore[method-assign]
    for item in range(1000):
        subject.put(item)
    assert len(told) <= 4, told
    hold.set()
    assert subject.close(30)
    assert sorted(items) == list(range(1000))
