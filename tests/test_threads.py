"""The context goes with threads and with the work of thread pools, and nothing else of theirs changes."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import context, trace

from otel_ml import threads
from otel_ml.decorators import step
from otel_ml.testing import CapturedTelemetry


@pytest.fixture(autouse=True)
def propagating() -> Iterator[None]:
    undo = threads.propagate()
    yield
    undo()


def current_id() -> str:
    return format(trace.get_current_span().get_span_context().span_id, "016x")


def test_a_thread_a_timer_and_a_subclass_take_the_context_along(captured_telemetry: CapturedTelemetry) -> None:
    """Whatever the class; and the thread's own result of `run` is what it was."""
    seen: list[str] = []

    class Own(threading.Thread):
        def run(self) -> None:
            seen.append(current_id())

    with step("outer"):
        started = [
            threading.Thread(target=lambda: seen.append(current_id())),
            threading.Timer(0.001, lambda: seen.append(current_id())),
            Own(),
        ]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
    assert seen == [captured_telemetry.span("outer").span_id] * 3


def test_the_work_of_a_pool_has_the_context_of_its_submitter(captured_telemetry: CapturedTelemetry) -> None:
    """Not that of whoever made the pool start its thread."""
    with ThreadPoolExecutor(1) as pool:
        with step("first"):
            first = pool.submit(current_id).result()
        with step("second"):
            second = next(pool.map(lambda _: current_id(), [1]))
        outside = pool.submit(current_id).result()
    assert first == captured_telemetry.span("first").span_id
    assert second == captured_telemetry.span("second").span_id
    assert outside == "0" * 16


def test_arguments_results_and_exceptions_of_pool_work_are_untouched() -> None:
    """Also when there is a context to carry."""
    token = context.attach(context.set_value("k", 1))
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(divmod, 7, 2).result() == (3, 1)
            assert pool.submit(dict, a=1).result() == {"a": 1}
            with pytest.raises(ZeroDivisionError):
                pool.submit(lambda: 1 / 0).result()
    finally:
        context.detach(token)


def test_a_thread_is_collected_as_before() -> None:
    """What carries the context leaves no cycle behind."""
    token = context.attach(context.set_value("k", 1))
    try:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
    finally:
        context.detach(token)
    gc.collect()
    gc.disable()
    try:
        reference = weakref.ref(thread)
        del thread
        assert reference() is None
    finally:
        gc.enable()


def test_undo_restores_and_leaves_other_wrappers_alone() -> None:
    """Two of us come off in any order."""
    before = threading.Thread.start, ThreadPoolExecutor.submit
    undo = threads.propagate()
    undo()
    assert (threading.Thread.start, ThreadPoolExecutor.submit) == before
