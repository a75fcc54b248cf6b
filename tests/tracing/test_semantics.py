"""What a random program does not reach: tasks, threads, processes, propagation, environment. Each on the SDK as well.

That a test passes with the SDK's own provider shows that it holds ours to nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import logging
import pickle
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from tracing.worlds import LockedProvider

from otel_ml.tracing.locked_span import LockedSpan
from otel_ml.tracing.provider import TracerProvider
from otel_ml.tracing.span import Span
from otel_ml.tracing.switch import SwitchProcessor
from otel_ml.tracing.tracer import Tracer
from support import run_python

PROVIDERS = [sdk.TracerProvider, TracerProvider, LockedProvider]
OURS = PROVIDERS[1:]
Make = Callable[..., sdk.TracerProvider]


@dataclass
class Pipeline:
    """A provider whose spans end in memory."""

    provider: sdk.TracerProvider
    exporter: InMemorySpanExporter
    tracer: trace.Tracer

    def names(self) -> list[str]:
        """Return the names of the spans that were exported."""
        return [span.name for span in self.exporter.get_finished_spans()]

    def only(self) -> ReadableSpan:
        """Return the span that was exported."""
        (span,) = self.exporter.get_finished_spans()
        return span


def pipeline_of(make: Make, **options: Any) -> Pipeline:
    provider, exporter = make(shutdown_on_exit=False, **options), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Pipeline(provider, exporter, provider.get_tracer("test"))


@pytest.fixture(params=PROVIDERS, ids=["stock", "ours", "locked"])
def make(request: pytest.FixtureRequest) -> Make:
    """Each kind of provider."""
    kind: Make = request.param
    return kind


@pytest.fixture
def pipeline(make: Make) -> Pipeline:
    """A pipeline of each kind."""
    return pipeline_of(make)


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Have the interpreter change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(*functions: Callable[[], object]) -> list[BaseException]:
    """Run functions at the same time, and return what they raised."""
    barrier, raised = threading.Barrier(len(functions)), []

    def run(function: Callable[[], object]) -> None:
        barrier.wait()
        try:
            function()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


# --- asyncio ---


def test_tasks_inherit_the_span_that_was_current_when_they_were_made(pipeline: Pipeline) -> None:
    """Three tasks that overlap have the same parent, and none sees another's span."""

    async def leaf(number: int) -> bool:
        with pipeline.tracer.start_as_current_span(f"leaf {number}") as span:
            await asyncio.sleep(0.001 * (3 - number))
            return trace.get_current_span() is span

    @pipeline.tracer.start_as_current_span("decorated")
    async def decorated() -> str:
        await asyncio.sleep(0)
        return trace.get_current_span().name  # type: ignore[attr-defined, no-any-return]

    async def main() -> None:
        with pipeline.tracer.start_as_current_span("root") as root:
            assert await asyncio.gather(*(asyncio.create_task(leaf(number)) for number in range(3))) == [True] * 3
            assert await decorated() == "decorated"
            assert trace.get_current_span() is root

    asyncio.run(main())
    *inner, root = pipeline.exporter.get_finished_spans()
    assert sorted(span.name for span in inner) == ["decorated", "leaf 0", "leaf 1", "leaf 2"]
    assert all(span.parent == root.context for span in inner)


def test_a_generator_closed_in_another_task_logs_and_ends_its_span(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    """The token belongs to another context: nothing is raised into the program."""

    async def generate() -> AsyncIterator[int]:
        with pipeline.tracer.start_as_current_span("generator"):
            yield 1
            yield 2

    async def main() -> None:
        generator = generate()
        await asyncio.create_task(generator.__anext__())  # type: ignore[arg-type]
        await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]

    asyncio.run(main())
    assert ("opentelemetry.context", logging.ERROR, "Failed to detach context") in caplog.record_tuples
    assert pipeline.only().status.status_code is StatusCode.UNSET and not pipeline.only().events


def test_exit_stacks_hold_spans(pipeline: Pipeline) -> None:
    """Synchronous ones and asynchronous ones, closed in order."""

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(pipeline.tracer.start_as_current_span("three"))

    with contextlib.ExitStack() as stack:
        one = stack.enter_context(pipeline.tracer.start_as_current_span("one"))
        two = stack.enter_context(pipeline.tracer.start_as_current_span("two"))
        assert trace.get_current_span() is two and two.parent == one.get_span_context()  # type: ignore[attr-defined]
    asyncio.run(main())
    assert pipeline.names() == ["two", "one", "three"]


@pytest.mark.parametrize("make", OURS)
def test_a_used_context_manager_may_be_used_again(make: Make) -> None:
    """The SDK's fails with AttributeError then; ours starts another span."""
    pipeline = pipeline_of(make)
    manager = pipeline.tracer.start_as_current_span("again")
    for _ in range(2):
        with manager:
            pass
    assert pipeline.names() == ["again", "again"]


# --- context and propagation ---


def test_threads_get_a_span_only_when_they_are_given_one(pipeline: Pipeline) -> None:
    """A new thread has an empty context; one that is handed over makes a child."""
    seen = []
    with pipeline.tracer.start_as_current_span("parent") as parent:
        context = context_api.get_current()

        def look() -> None:
            seen.append(trace.get_current_span())
            pipeline.tracer.start_span("child", context=context).end()

        assert not in_threads(look)
    assert seen == [trace.INVALID_SPAN]
    assert pipeline.exporter.get_finished_spans()[0].parent == parent.get_span_context()


def test_propagators_read_and_continue_our_spans(pipeline: Pipeline) -> None:
    """What is injected names the current span; what is extracted becomes the parent, with flags and state."""
    propagator, carrier = TraceContextTextMapPropagator(), dict[str, str]()
    with pipeline.tracer.start_as_current_span("sender") as sender:
        propagator.inject(carrier)
    ids = sender.get_span_context()
    assert carrier["traceparent"] == f"00-{ids.trace_id:032x}-{ids.span_id:016x}-03"
    carrier["tracestate"] = "a=1,b=2"
    with pipeline.tracer.start_as_current_span("receiver", context=propagator.extract(carrier)) as receiver:
        found = receiver.get_span_context()
        carrier.clear()
        propagator.inject(carrier)
    parent = receiver.parent  # type: ignore[attr-defined]
    assert parent.is_remote and (parent.trace_id, parent.span_id) == (ids.trace_id, ids.span_id)
    assert not found.is_remote and found.trace_id == ids.trace_id and found.trace_flags == 3
    assert carrier["tracestate"] == "a=1,b=2"


def test_a_parent_that_was_not_sampled_is_continued_unsampled(pipeline: Pipeline) -> None:
    """Its children have its trace id, record nothing, and are passed on as not sampled."""
    propagator = TraceContextTextMapPropagator()
    carrier = {"traceparent": f"00-{5:032x}-{6:016x}-00"}
    with pipeline.tracer.start_as_current_span("child", context=propagator.extract(carrier)) as child:
        propagator.inject(carrier)
        assert not child.is_recording() and child.get_span_context().is_valid
        child.set_attribute("a", 1)
        child.record_exception(ValueError("nobody hears it"))
    ids = child.get_span_context()
    assert carrier["traceparent"] == f"00-{5:032x}-{ids.span_id:016x}-00" and ids.span_id != 6
    assert not pipeline.names()


def test_a_span_that_no_tracer_began_is_a_parent_as_its_context_says(pipeline: Pipeline) -> None:
    """Its constructor takes any context: of another process, or an invalid one, which is no parent."""
    kind: Any = type(pipeline.tracer.start_span("any"))
    far = kind("far", context=trace.SpanContext(5, 6, is_remote=True, trace_flags=trace.TraceFlags(1)))
    none = kind("none", context=trace.INVALID_SPAN_CONTEXT)
    child: Any = pipeline.tracer.start_span("child", trace.set_span_in_context(far, context_api.Context()))
    root: Any = pipeline.tracer.start_span("root", trace.set_span_in_context(none, context_api.Context()))
    assert child.parent == far.get_span_context() and child.parent.is_remote and child.get_span_context().trace_id == 5
    assert root.parent is None and root.get_span_context().trace_id != 0


def test_a_span_that_another_tracer_began_is_a_parent(pipeline: Pipeline) -> None:
    """Also one of the same provider for another library, whose spans have something else in common."""
    other = pipeline.provider.get_tracer("other", "2.0")
    with other.start_as_current_span("outer") as outer, pipeline.tracer.start_as_current_span("inner") as inner:
        assert inner.get_span_context().trace_id == outer.get_span_context().trace_id
    assert inner.parent == outer.get_span_context()  # type: ignore[attr-defined]


def test_suppressed_instrumentation_does_not_stop_spans_of_the_program(pipeline: Pipeline) -> None:
    """The key is for instrumentations, which look at it themselves."""
    with suppress_instrumentation(), pipeline.tracer.start_as_current_span("still"):
        assert context_api.get_value(context_api._SUPPRESS_INSTRUMENTATION_KEY)
    assert pipeline.names() == ["still"]


PARENTS = [
    None,
    *(
        trace.SpanContext(5, 6, is_remote, trace.TraceFlags(flags))
        for is_remote in (False, True)
        for flags in (0, 1, 2, 3)
    ),
]


@pytest.mark.parametrize("chosen", range(5))
def test_a_parent_based_sampler_asks_the_right_one(make: Make, chosen: int) -> None:
    """Root, remote or local parent, sampled or not: of its five samplers one says yes."""
    five = [sampling.ALWAYS_ON if number == chosen else sampling.ALWAYS_OFF for number in range(5)]
    sampler = sampling.ParentBased(*five)  # root, remote sampled, remote not, local sampled, local not
    tracer = make(shutdown_on_exit=False, sampler=sampler).get_tracer("test")
    for parent in PARENTS:
        context = context_api.Context()
        if parent is None:
            asked = 0
        else:
            asked = (1 if parent.is_remote else 3) + (0 if parent.trace_flags.sampled else 1)
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent), context)
        span = tracer.start_span("decided", context)
        random = 2 if parent is None else parent.trace_flags & 2
        assert span.is_recording() == (asked == chosen)
        assert span.get_span_context().trace_flags == (asked == chosen) + random


def test_the_same_status_wins_as_with_the_sdk(make: Make) -> None:
    """Of any two that are set one after the other, in either form."""
    statuses = [*StatusCode, *(Status(code) for code in StatusCode), Status(StatusCode.ERROR, "why"), None]

    def outcomes(kind: Make) -> list[Any]:
        tracer, found = kind(shutdown_on_exit=False).get_tracer("test"), []
        for first, second in itertools.product(statuses, repeat=2):
            span: Any = tracer.start_span("judged")
            span.set_status(first)
            span.set_status(second, "description")
            found.append((span.status.status_code, span.status.description))
        return found

    assert outcomes(make) == outcomes(sdk.TracerProvider)


# --- threads ---


@pytest.mark.usefixtures("eager_switches")
def test_a_span_that_four_threads_end_is_exported_once(pipeline: Pipeline) -> None:
    """Three hundred times."""
    for _ in range(300):
        span = pipeline.tracer.start_span("race")
        assert not in_threads(*[span.end] * 4)
    assert len(pipeline.names()) == 300


class Copying(SpanProcessor):
    """Keeps ended spans, and copies of what was in them at that moment."""

    def __init__(self) -> None:
        self.ended: list[tuple[Any, Any]] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append((span, contents(span)))


class Waiting:
    """A value whose text is ready only when somebody says so."""

    def __init__(self) -> None:
        self.entered, self.left = threading.Event(), threading.Event()

    def __str__(self) -> str:
        self.entered.set()
        return str(self.left.wait(20))


def contents(span: ReadableSpan) -> Any:
    return (
        dict(span.attributes or {}), len(span.events), len(span.links), span.name, span.status.description,
        span.dropped_attributes,
    )  # fmt: skip


def write_much(span: Any) -> None:
    for number in range(12):
        span.set_attribute(f"k{number}", number)
        span.set_attribute("list", [number])
        span.set_attributes({"n": number, "m": "text"})
        span.add_event("event", {"number": number})
        span.update_name(f"name {number}")
        span.set_status(StatusCode.ERROR, str(number))


@pytest.mark.usefixtures("eager_switches")
@pytest.mark.parametrize("limit", [None, 4])
def test_no_write_after_the_end_is_ever_seen(make: Make, limit: int | None, caplog: pytest.LogCaptureFixture) -> None:
    """Two threads write while a third ends the span: what processors were given stays as it was."""
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    copying = Copying()
    provider = make(shutdown_on_exit=False, span_limits=sdk.SpanLimits(max_span_attributes=limit))
    provider.add_span_processor(copying)
    tracer = provider.get_tracer("test")
    for _ in range(150):
        span = tracer.start_span("written", attributes={"at": "start"})
        assert not in_threads(lambda span=span: write_much(span), lambda span=span: write_much(span), span.end)
    assert len(copying.ended) == 150
    assert [contents(span) for span, _ in copying.ended] == [kept for _, kept in copying.ended]


def test_a_write_that_had_to_wait_comes_whole_or_not_at_all(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """One writer is at work, others wait for it, and the span ends meanwhile: nobody fails, and no write comes late."""
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    copying = Copying()
    provider = make(shutdown_on_exit=False)
    provider.add_span_processor(copying)
    tracer = provider.get_tracer("test")
    for _ in range(30):
        span: Any = tracer.start_span("written")
        value = Waiting()

        def when_busy(function: Callable[[], object], value: Waiting = value) -> Callable[[], object]:
            return lambda: value.entered.wait(20) and function()

        def let_go(value: Waiting = value) -> None:
            value.entered.wait(20)
            time.sleep(0.002)  # the others wait by now
            value.left.set()

        assert not in_threads(
            lambda span=span, value=value: span.set_attributes({"value": value}),
            when_busy(lambda span=span: span.set_attributes({"list": [1]})),
            when_busy(lambda span=span: span.add_event("event")),
            when_busy(span.end),
            let_go,
        )
    assert len(copying.ended) == 30
    assert [contents(span) for span, _ in copying.ended] == [kept for _, kept in copying.ended]
    assert all(kept[0]["value"] == "True" for _, kept in copying.ended)


@pytest.mark.usefixtures("eager_switches")
@pytest.mark.parametrize("make", OURS)
def test_no_write_after_the_end_is_seen_by_our_own_queue(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """It is handed the span itself, not a copy."""
    caplog.set_level(logging.CRITICAL, "opentelemetry")
    ended: list[tuple[Any, Any]] = []
    provider = make(shutdown_on_exit=False)
    provider.add_span_processor(SwitchProcessor((), (lambda span: ended.append((span, contents(span))),), ()))
    tracer = provider.get_tracer("test")
    for _ in range(150):
        span = tracer.start_span("written")
        assert not in_threads(lambda span=span: write_much(span), lambda span=span: write_much(span), span.end)
    assert len(ended) == 150
    assert [contents(span) for span, _ in ended] == [kept for _, kept in ended]


@pytest.mark.usefixtures("eager_switches")
@pytest.mark.parametrize("looks_inside", [False, True])
def test_readers_of_a_live_span_do_not_mind_writers(make: Make, looks_inside: bool) -> None:
    """Whoever iterates attributes, events and links of a span that others write to gets what is there."""
    tracer = make(shutdown_on_exit=False, span_limits=sdk.SpanLimits(max_span_attributes=-1)).get_tracer("test")
    span: Any = tracer.start_span("live", attributes={"first": 1})
    done = threading.Event()

    def write() -> None:
        try:
            for number in range(8000):
                span.set_attribute(f"k{number}", number)
                if not number % 100:
                    span.add_event("event")
                    span.add_link(span.get_span_context())
        finally:
            done.set()

    def read() -> None:
        while not done.is_set():
            for key in span.attributes:
                assert key
            assert len(dict(span.attributes)) >= 1 and list(span.attributes.items())
            assert all(event.name == "event" for event in span.events) and len(span.links) >= 0
            assert not looks_inside or span.to_json()

    assert not in_threads(write, read, read)


# The SDK hides a deprecation of its own with `warnings.catch_warnings`, which threads undo for one another.
@pytest.mark.filterwarnings("ignore:You should use InstrumentationScope:DeprecationWarning")
@pytest.mark.usefixtures("eager_switches")
def test_threads_that_ask_for_a_tracer_at_once_get_one_that_works(make: Make) -> None:
    """The first look at a scope is made by several threads, which start a span at once."""
    for number in range(100):
        pipeline = pipeline_of(make)

        def use(pipeline: Pipeline = pipeline, number: int = number) -> None:
            pipeline.provider.get_tracer(f"scope {number}").start_span("first").end()

        assert not in_threads(*[use] * 4)
        assert pipeline.names() == ["first"] * 4


# --- processes ---


def test_a_forked_child_has_ids_worker_and_resource_of_its_own() -> None:
    """Its spans are exported by its own worker, under its own process id, also those of earlier tracers."""
    done = run_python(
        """
        import os, random, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from otel_ml.tracing.provider import TracerProvider
        provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
        worker = BatchSpanProcessor(exporter)
        provider.add_span_processor(worker)
        tracer = provider.get_tracer("test")
        tracer.start_span("before").end()
        shared = tracer._shared
        read, write = os.pipe()
        child = os.fork()
        with tracer.start_as_current_span("after") as span:
            pass
        if child == 0:
            provider.force_flush()
            names = [each.name for each in exporter.get_finished_spans()]
            pid = span.resource.attributes["process.pid"]
            alive = worker._batch_processor._worker_thread.is_alive()
            text = f"{span.context.span_id} {names} {pid == os.getpid()} {alive} {tracer._shared is not shared}"
            os.write(write, text.encode())
            os._exit(0)
        os.waitpid(child, 0)
        found, rest = os.read(read, 1000).decode().split(" ", 1)
        assert int(found) != span.context.span_id
        assert rest == "['after'] True True True", rest
        assert tracer._shared is shared and span.resource.attributes["process.pid"] == os.getpid()
        """,
        env={"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process"},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["opentelemetry.sdk.trace", "otel_ml.tracing.provider"])
def test_the_provider_is_shut_down_when_the_process_exits(module: str) -> None:
    """A span that waits in a batch is written at exit, unless that was switched off."""
    code = f"""
        import sys
        from {module} import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
        provider = TracerProvider(shutdown_on_exit=%s)
        provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
        provider.get_tracer("test").start_span("waits").end()
    """
    done = run_python(code % True)
    assert done.returncode == 0 and '"name": "waits"' in done.stdout, done.stderr


def test_a_proxy_made_before_the_provider_leads_to_our_tracer() -> None:
    """Modules that asked for their tracer at import are served."""
    done = run_python("""
        from opentelemetry import trace
        early = trace.get_tracer("early", "1.0")
        from otel_ml.tracing.provider import TracerProvider
        from otel_ml.tracing.span import Span
        trace.set_tracer_provider(TracerProvider())
        with early.start_as_current_span("work") as span:
            assert type(span) is Span and span.instrumentation_scope.version == "1.0"
    """)
    assert done.returncode == 0, done.stderr


def test_without_a_gil_spans_have_a_lock() -> None:
    """The interpreter is asked once, at import."""
    done = run_python("""
        import sys
        sys._is_gil_enabled = lambda: False
        from otel_ml.tracing.provider import TracerProvider
        from otel_ml.tracing.locked_span import LockedSpan
        tracer = TracerProvider().get_tracer("test")
        with tracer.start_as_current_span("locked") as span:
            assert type(span) is LockedSpan, type(span)
    """)
    assert done.returncode == 0, done.stderr


# --- environment ---


def test_a_disabled_sdk_gives_tracers_that_do_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED is obeyed."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", " True ")
    pipeline = pipeline_of(make)
    assert isinstance(pipeline.tracer, NoOpTracer)
    with pipeline.tracer.start_as_current_span("nothing"):
        pass
    assert not pipeline.names()


@pytest.mark.parametrize(
    ("sampler", "argument", "expected"),
    [
        ("always_on", "", (4, 4)),
        ("always_off", "", (0, 0)),
        ("parentbased_always_on", "", (4, 0)),
        ("parentbased_always_off", "", (0, 0)),
        ("traceidratio", "1", (4, 4)),
        ("traceidratio", "0", (0, 0)),
        ("traceidratio", "none", (4, 4)),
        ("parentbased_traceidratio", "1.0", (4, 0)),
        ("unheard of", "", (4, 0)),
    ],
)
def test_the_sampler_comes_from_the_environment(
    make: Make, monkeypatch: pytest.MonkeyPatch, sampler: str, argument: str, expected: tuple[int, int]
) -> None:
    """OTEL_TRACES_SAMPLER decides on four roots, and on four spans whose parent was not sampled."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    pipeline = pipeline_of(make)
    unsampled = TraceContextTextMapPropagator().extract({"traceparent": f"00-{5:032x}-{6:016x}-00"})
    for context in (None, unsampled):
        for _ in range(4):
            pipeline.tracer.start_span("root" if context is None else "child", context=context).end()
    assert (pipeline.names().count("root"), pipeline.names().count("child")) == expected


def test_limits_come_from_the_environment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's variables bound number and length of attributes."""
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")
    pipeline = pipeline_of(make)
    pipeline.tracer.start_span("limited", attributes={"a": 1, "b": "long", "c": ["long"]}).end()
    assert dict(pipeline.only().attributes or {}) == {"b": "lon", "c": ("lon",)}
    assert pipeline.only().dropped_attributes == 1
    pipeline.exporter.clear()
    span = pipeline.tracer.start_span("limited", attributes={"a": "long"})
    span.set_attribute("b", "long")
    span.set_attributes({"b": "other"})
    span.end()
    assert dict(pipeline.only().attributes or {}) == {"a": "lon", "b": "oth"}


def test_a_value_is_cleaned_once(make: Make) -> None:
    """The text of an object is not cut, as the SDK has it, whoever looked inside the span before."""

    class Described:
        def __str__(self) -> str:
            return "described"

    pipeline = pipeline_of(make, span_limits=sdk.SpanLimits(max_attribute_length=4))
    for looks_inside in (False, True):
        span: Any = pipeline.tracer.start_span("described")
        assert not looks_inside or not span._attributes
        span.set_attributes({"many": Described()})
        span.set_attribute("one", Described())
        span.end()
        assert dict(span.attributes) == {"many": "described", "one": "described"}


def test_the_sdk_counts_our_spans_in_its_own_metrics(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started and live spans, by parent and by what the sampler said."""
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    reader = InMemoryMetricReader()
    pipeline = pipeline_of(make, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    with pipeline.tracer.start_as_current_span("root"):
        pipeline.tracer.start_span("child").end()
        points = {
            (metric.name, *sorted((point.attributes or {}).items())): point.value  # type: ignore[union-attr]
            for resource in (reader.get_metrics_data() or pytest.fail("no metrics")).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if metric.name.startswith("otel.sdk.span")
        }
    sampled = ("otel.span.sampling_result", "RECORD_AND_SAMPLE")
    assert points == {
        ("otel.sdk.span.started", ("otel.span.parent.origin", "none"), sampled): 1,
        ("otel.sdk.span.started", ("otel.span.parent.origin", "local"), sampled): 1,
        ("otel.sdk.span.live", sampled): 1,
    }


# --- processors ---


def test_a_shut_down_provider_exports_nothing_more(pipeline: Pipeline) -> None:
    """Its tracers still work."""
    pipeline.tracer.start_span("before").end()
    pipeline.provider.shutdown()
    with pipeline.tracer.start_as_current_span("after") as span:
        assert span.is_recording()
    assert pipeline.names() == ["before"]


def test_flush_reaches_every_processor(make: Make) -> None:
    """A batch is exported, and a processor that fails to flush makes the answer false."""

    class Stuck(SpanProcessor):
        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return False

    provider, exporter = make(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    provider.get_tracer("test").start_span("batched", attributes={"a": 1}).end()
    assert provider.force_flush()
    (span,) = exporter.get_finished_spans()
    assert type(span) is ReadableSpan and dict(span.attributes or {}) == {"a": 1}
    provider.add_span_processor(Stuck())
    assert not provider.force_flush()
    provider.shutdown()


def test_the_concurrent_processor_may_be_the_active_one(make: Make) -> None:
    """Each of its processors gets each span."""
    exporters = [InMemorySpanExporter(), InMemorySpanExporter()]
    active = sdk.ConcurrentMultiSpanProcessor(2)
    provider = make(shutdown_on_exit=False, active_span_processor=active)
    tracer = provider.get_tracer("test")
    for exporter in exporters:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    with tracer.start_as_current_span("both"):
        pass
    assert [[span.name for span in exporter.get_finished_spans()] for exporter in exporters] == [["both"], ["both"]]
    provider.shutdown()
    active._executor.shutdown()


def test_a_method_replaced_on_a_registered_processor_is_the_one_called(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the object, and on the class: both are how libraries patch each other."""
    provider, seen = make(shutdown_on_exit=False), list[str]()
    processor = SimpleSpanProcessor(InMemorySpanExporter())
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("test")
    tracer.start_span("first").end()
    monkeypatch.setattr(SimpleSpanProcessor, "on_end", lambda self, span: seen.append(f"class {span.name}"))
    tracer.start_span("second").end()
    processor.on_end = lambda span: seen.append(f"object {span.name}")  # type: ignore[method-assign, misc]
    processor.on_start = lambda span, parent_context=None: seen.append("start")  # type: ignore[method-assign, misc]
    tracer.start_span("third").end()
    assert seen == ["class second", "start", "object third"]


def test_sub_classes_of_the_sdks_processors_are_called(make: Make) -> None:
    """A batch processor that filters, as many applications have one."""

    class Filtering(BatchSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            if span.name != "health":
                super().on_end(span)

    provider, exporter = make(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(Filtering(exporter))
    for name in ("health", "predict"):
        provider.get_tracer("test").start_span(name).end()
    provider.shutdown()
    assert [span.name for span in exporter.get_finished_spans()] == ["predict"]


def test_what_one_processor_writes_into_a_span_stays_in_that_span(make: Make) -> None:
    """Some write into the dictionary of an ended span: no other span may have it."""

    class Intruding(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            assert not span.attributes
            span._attributes._dict["intruder"] = 1  # type: ignore[union-attr]

    provider = make(shutdown_on_exit=False)
    provider.add_span_processor(Intruding())
    tracer = provider.get_tracer("test")
    for _ in range(2):
        with tracer.start_as_current_span("empty"):
            pass


# --- the objects ---


def test_our_objects_are_the_sdks_for_isinstance(make: Make) -> None:
    """Provider, tracer, span, what processors get."""
    pipeline = pipeline_of(make)
    with pipeline.tracer.start_as_current_span("span") as span:
        pass
    assert isinstance(pipeline.provider, sdk.TracerProvider) and isinstance(pipeline.tracer, sdk.Tracer)
    assert isinstance(span, sdk.Span) and isinstance(span, ReadableSpan) and isinstance(span, trace.Span)
    assert type(pipeline.only()) is ReadableSpan
    assert isinstance(pipeline.tracer.start_as_current_span("unused"), contextlib.AbstractContextManager)


@pytest.mark.parametrize(("make", "kind"), [(TracerProvider, Span), (LockedProvider, LockedSpan)])
def test_a_tracer_may_be_made_without_a_provider(make: Make, kind: type) -> None:
    """As the SDK's: the class is public."""
    model: Any = make(shutdown_on_exit=False).get_tracer("model")
    tracer = Tracer(
        model.sampler, model.resource, model.span_processor, model.id_generator, model.instrumentation_info,
        model._span_limits, model._instrumentation_scope,
    )  # fmt: skip
    tracer.span_class = kind
    assert type(tracer.start_span("own")) is kind


def test_spans_are_objects_like_others(pipeline: Pipeline) -> None:
    """They take attributes of one's own and weak references, and are equal to nothing but themselves."""
    span: Any = pipeline.tracer.start_span("object")
    span.mine = 1
    reference = weakref.ref(span)
    assert span.mine == 1 and reference() is span
    assert span == span and span != pipeline.tracer.start_span("object") and {span: 1}[span] == 1


def test_exported_spans_are_copied_and_pickled_as_the_sdks(make: Make) -> None:
    """A deep copy says the same; what cannot be pickled says so in the same words."""

    def attempt(function: Callable[[Any], Any], span: Any) -> Any:
        try:
            return function(span).to_json()
        except Exception as error:
            return type(error).__name__, str(error)

    def outcomes(kind: Make) -> list[Any]:
        pipeline = pipeline_of(kind)
        pipeline.tracer.start_span("plain", start_time=1).end(2)
        span = pipeline.tracer.start_span("full", start_time=1, attributes={"a": [1]})
        span.add_event("event", {"b": 2}, 3)
        span.end(4)
        functions = (copy.copy, copy.deepcopy, lambda span: pickle.loads(pickle.dumps(span)))
        found = [attempt(each, span) for span in pipeline.exporter.get_finished_spans() for each in functions]
        ids = [format(span.context.span_id, "016x") for span in pipeline.exporter.get_finished_spans()]
        traces = [format(span.context.trace_id, "032x") for span in pipeline.exporter.get_finished_spans()]
        return [without(each, ids + traces) for each in found]

    def without(found: Any, ids: list[str]) -> Any:
        for each in ids:
            found = found.replace(each, "id") if isinstance(found, str) else found
        return found

    assert outcomes(make) == outcomes(sdk.TracerProvider)
