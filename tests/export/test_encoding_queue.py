"""The queue of two stages: objects, then bytes."""

from __future__ import annotations

import gc
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_ml import health, worker
from otel_ml.export import encoding_queue
from otel_ml.export.encoding_queue import BlockSender, EncodingQueue
from otel_ml.export.otlp_protobuf import Block
from support import run_python


def encode(items):
    """Encode numbers as lines; a negative one cannot be."""
    good = [item for item in items if item >= 0]
    if len(good) < len(items):
        health.count_dropped("traces", "encode_failed", len(items) - len(good))
    return Block(len(good), b"".join(b"%d\n" % item for item in good))


class Endpoint:
    """Takes requests, when it may."""

    def __init__(self):
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()
        self.requests = []

    def __call__(self, content, number):
        self.asked.set()
        self.open.wait(30)
        lines = [int(line) for line in content.split()]
        assert len(lines) == number
        self.requests.append(lines)

    @property
    def received(self):
        return sorted(item for request in self.requests for item in request)


def queue_to(endpoint, **bounds):
    options = {"queue_size": 1000, "batch_size": 10, "interval": 0.01, **bounds}
    return EncodingQueue("traces", encode, endpoint, **options)


def test_a_block_wakes_a_thread_that_dozes(monkeypatch):
    """Neither thread finds its work by chance, when it looks of its own accord."""
    monkeypatch.setattr(worker, "_LONGEST_DOZE", 3600.0)
    endpoint = Endpoint()
    subject = queue_to(endpoint)
    for number in range(10):
        subject.put(number)
        wait_until(lambda: len(endpoint.received) == number + 1)  # noqa: B023  called before the next number
        wait_until(lambda: subject._dozing and subject._blocks._dozing)
    assert subject.close(10)


def wait_until(condition, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@settings(max_examples=50)
@given(st.lists(st.integers(-3, 1000), max_size=300), st.integers(1, 20), st.integers(1, 50))
def test_every_record_arrives_or_is_counted(items, batch_size, queue_size):
    """Whatever the bounds, and with an endpoint slower than the caller: what was put arrives once, or is counted."""
    health.reset()
    endpoint = Endpoint()
    subject = queue_to(endpoint, batch_size=batch_size, queue_size=queue_size)
    taken = [item for item in items if subject.put(item)]
    assert subject.flush(20)
    assert endpoint.received == sorted(item for item in taken if item >= 0)
    assert sum(health.dropped().values()) == len(items) - len(endpoint.received)
    assert all(len(request) <= batch_size for request in endpoint.requests)
    assert subject.close(20)


@pytest.mark.parametrize("queue_size", [1, 2, 3, 10, 100, 5000])
def test_a_dead_endpoint_fills_exactly_the_queue(queue_size):
    """Both stages together hold `queue_size` records beside the request under way; all others are counted."""
    endpoint = Endpoint()
    endpoint.open.clear()
    subject = queue_to(endpoint, queue_size=queue_size, batch_size=10)
    subject.put(0)
    assert endpoint.asked.wait(20)
    accepted = 0
    deadline = time.monotonic() + 1.0
    number = 1
    while number < 3 * queue_size or time.monotonic() < deadline:
        accepted += subject.put(number)
        number += 1
        if number % 97 == 0:
            time.sleep(0.001)
    # A queue of one has one place in each stage.
    assert accepted == max(queue_size, 2), health.dropped()
    assert health.dropped() == {("traces", "queue_full"): number - 1 - accepted}
    assert not subject.flush(0.05)
    endpoint.open.set()
    assert subject.flush(20)
    assert len(endpoint.received) == accepted + 1
    assert subject.close(20)


def test_a_caller_that_is_faster_than_the_thread_encodes_itself():
    """When objects wait in full, the caller makes bytes of a few instead of dropping its own."""
    threads = set()

    def slowly(items):
        threads.add(threading.current_thread().name)
        if threading.current_thread() is not threading.main_thread():
            hold.wait(20)
        return encode(items)

    hold, endpoint = threading.Event(), Endpoint()
    subject = EncodingQueue("traces", slowly, endpoint, queue_size=100, batch_size=10, interval=0.01)
    accepted = [subject.put(number) for number in range(100)]
    hold.set()
    assert all(accepted)
    assert subject.close(20)
    assert endpoint.received == list(range(100))
    assert threads == {"MainThread", "otel_ml-traces"}


def test_an_encoder_that_raises_costs_its_records_only():
    """Both threads live on, in the caller's too nothing is raised, and the loss is counted."""

    def fails(items):
        if 13 in items:
            raise RuntimeError("no")
        return encode(items)

    endpoint = Endpoint()
    subject = EncodingQueue("traces", fails, endpoint, queue_size=100, batch_size=1, interval=0.01)
    for number in range(20):
        subject.put(number)
    assert subject.close(20)
    assert endpoint.received == [number for number in range(20) if number != 13]
    assert health.dropped()["traces", "encode_failed"] == 1


def test_an_endpoint_that_raises_costs_its_request_only():
    """The thread that sends lives on, and the loss is counted."""
    endpoint = Endpoint()

    def fails(content, number):
        if b"13\n" in content:
            raise OSError("no")
        endpoint(content, number)

    subject = queue_to(fails, batch_size=1)
    for number in range(10, 20):
        subject.put(number)
        assert subject.flush(20)
    assert len(endpoint.received) == 9
    assert health.dropped()["traces", "export_failed"] == 1
    assert subject.close(20)


def test_small_blocks_are_joined_to_a_request():
    """What piled up while the endpoint was slow goes in few requests, which never have more than a batch."""
    endpoint = Endpoint()
    endpoint.open.clear()
    subject = queue_to(endpoint, batch_size=50, queue_size=10_000)
    for number in range(40):
        subject.put(number)
        subject.wake()
        time.sleep(0.005)
    endpoint.open.set()
    assert subject.close(20)
    assert len(endpoint.received) == 40
    assert len(endpoint.requests) <= 4


def test_requests_are_no_larger_than_receivers_take():
    """Blocks of many bytes are not joined: gRPC's default is 4 MiB."""
    sizes = []
    sender = BlockSender(
        "traces", lambda content, number: sizes.append(len(content)), capacity=100, batch_size=100, interval=60.0
    )
    for _ in range(10):
        assert sender.reserve(1) == 1
        sender.put_block(Block(1, bytes(1024 * 1024)), 1)
    assert sender.close(20)
    assert sum(sizes) == 10 * 1024 * 1024
    assert max(sizes) == 3 * 1024 * 1024


def test_close_counts_what_waits_in_either_stage():
    """The end takes the time that was given and no more."""
    endpoint = Endpoint()
    endpoint.open.clear()
    subject = queue_to(endpoint, batch_size=5, queue_size=40)
    for number in range(40):
        subject.put(number)
    started = time.monotonic()
    assert not subject.close(0.3)
    assert time.monotonic() - started < 10
    lost = health.dropped()["traces", "shutdown"]
    assert not subject.put(1)
    endpoint.open.set()
    wait_until(lambda: lost + len(endpoint.received) == 40)
    assert health.dropped() == {("traces", "shutdown"): lost + 1}
    assert subject.close(1)


def test_threads_that_put_at_once_lose_nothing():
    """Sixteen threads, small stages, and callers that encode: the counts agree."""
    endpoint = Endpoint()
    subject = queue_to(endpoint, queue_size=200, batch_size=20)
    taken = []

    def work(first):
        taken.append(sum(subject.put(number) for number in range(first, first + 1000)))

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 16_000, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert subject.close(30)
    assert len(set(endpoint.received)) == len(endpoint.received) == sum(taken)
    assert sum(taken) + sum(health.dropped().values()) == 16_000


def test_flush_waits_for_what_a_caller_is_encoding():
    """A record that has left the first stage and is not in the second yet is waited for."""
    started, go_on = threading.Event(), threading.Event()

    def slowly(items):
        started.set()
        go_on.wait(20)
        return encode(items)

    endpoint = Endpoint()
    subject = EncodingQueue("traces", slowly, endpoint, queue_size=100, batch_size=10, interval=0.01)
    subject.put(1)
    assert started.wait(20)
    assert not subject.flush(0.1)
    go_on.set()
    assert subject.flush(20)
    assert endpoint.received == [1]
    assert subject.close(5)


def test_a_put_inside_a_put_does_not_hang():
    """A `__del__` or a signal handler may end a span in the middle of anything that a put does."""
    endpoint = Endpoint()
    subject = queue_to(endpoint, queue_size=60, batch_size=10)

    ended = []

    class Ending:
        def __del__(self):
            subject.put(1)
            ended.append(1)

    def all_ended():
        gc.collect()  # does nothing while another thread collects
        return len(ended) == 300

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(300):
            cycle = [Ending()]
            cycle.append(cycle)
            del cycle
            subject.put(2)
    finally:
        gc.set_threshold(*threshold)
    wait_until(all_ended)
    assert subject.close(20)
    assert len(endpoint.received) + sum(health.dropped().values()) == 600


def test_what_waits_long_is_not_seen_by_the_garbage_collector():
    """With a dead endpoint, 50,000 records wait, and no more objects than before are tracked for them."""
    endpoint = Endpoint()
    endpoint.open.clear()

    class Item:
        def __init__(self, number):
            self.number = number

    subject = EncodingQueue(
        "traces", lambda items: Block(len(items), b"x" * len(items)), endpoint, queue_size=60_000, batch_size=512,
        interval=0.01,
    )  # fmt: skip
    gc.collect()
    before = len(gc.get_objects())
    accepted = sum(subject.put(Item(number)) for number in range(50_000))
    wait_until(lambda: not subject.queue)
    gc.collect()
    assert accepted == 50_000
    assert len(gc.get_objects()) - before < 5000
    assert not subject.close(0.1)
    endpoint.open.set()


def test_a_forked_child_starts_empty_with_threads_of_its_own():
    """Both stages of the parent are the parent's; the child's own records arrive."""
    done = run_python(
        """
        import os, threading
        from otel_ml.export.encoding_queue import EncodingQueue
        from otel_ml.export.otlp_protobuf import Block
        sent, hold = [], threading.Event()
        def send(content, number):
            hold.wait(20)
            sent.append(content)
        def encode(items):
            return Block(len(items), b",".join(items))
        subject = EncodingQueue("traces", encode, send, queue_size=100, batch_size=2, interval=0.01)
        for _ in range(60):
            subject.put(b"parent")
        pid = os.fork()
        if pid == 0:
            hold.set()
            subject.put(b"child")
            ok = subject.flush(10) and sent == [b"child"] and subject.close(5)
            os._exit(0 if ok else 1)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        hold.set()
        assert subject.flush(10) and b",".join(sent).count(b"parent") == 60, sent
        """
    )
    assert done.returncode == 0, done.stderr


def test_what_is_put_at_interpreter_shutdown_is_delivered_by_close():
    """When no thread can be started any more, whoever closes encodes and sends, however small the stages are."""
    done = run_python(
        """
        import atexit
        from otel_ml.export.encoding_queue import EncodingQueue
        from otel_ml.export.otlp_protobuf import Block
        sent = []
        subject = EncodingQueue(
            "traces", lambda items: Block(len(items), bytes(items)), lambda content, number: sent.append(number),
            queue_size=20, batch_size=3, interval=0.01,
        )
        subject._start = subject._blocks._start = lambda: None  # what it does when the interpreter refuses a thread
        def late():
            assert all([subject.put(number) for number in range(20)])
            assert not subject.put(20)
            assert subject.close(5)
            print(sum(sent))
        atexit.register(late)
        """
    )
    assert (done.returncode, done.stdout.strip()) == (0, "20"), done.stderr


def test_a_queue_that_is_dropped_is_collected():
    """The hooks of the fork hold both stages weakly."""
    import weakref

    subject = queue_to(Endpoint())
    references = [weakref.ref(subject), weakref.ref(subject._blocks)]
    del subject
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_the_first_stage_is_small():
    """However many records may wait, few of them are objects."""
    assert encoding_queue.MOST_OBJECTS == 8192
    assert queue_to(Endpoint(), queue_size=1_000_000)._queue_size == 8192
