"""An application that had set up the SDK's own provider, made fast without touching what it set up."""

from __future__ import annotations

import contextvars
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tracing.worlds import frozen_clock, picture

from otel_ml.tracing import random_ids
from otel_ml.tracing.provider import TracerProvider, accelerate
from otel_ml.tracing.span import Span
from otel_ml.tracing.tracer import Tracer
from support import run_python


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """Let time stand still: spans of two providers can be compared then."""
    with frozen_clock():
        yield


def application(processor: type[SpanProcessor]) -> tuple[sdk.TracerProvider, InMemorySpanExporter]:
    """Return what an application has set up."""
    exporter = InMemorySpanExporter()
    provider = sdk.TracerProvider(
        sampler=sampling.ParentBasedTraceIdRatio(0.7),
        resource=Resource({"service.name": "shop", "answer": 42}),
        span_limits=SpanLimits(max_span_attributes=3, max_attribute_length=6),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(processor(exporter))  # type: ignore[call-arg]
    return provider, exporter


def work(tracer: trace.Tracer) -> None:
    """Use a tracer in the usual ways."""
    for number in range(5):
        with tracer.start_as_current_span("outer", attributes={"number": number}) as outer:
            outer.set_attributes({"a": "long text", "b": [1], "c": True})
            with tracer.start_as_current_span("inner", links=[trace.Link(outer.get_span_context(), {"l": 1})]) as inner:
                inner.add_event("event", {"e": 1})
            outer.set_status(trace.StatusCode.ERROR, "bad")


def spans_of(processor: type[SpanProcessor], *, fast: bool) -> list[Any]:
    """Return what the application's exporter gets from a tracer of before and one of after."""
    provider, exporter = application(processor)
    before = provider.get_tracer("before", "1.0")
    if fast:
        assert accelerate(provider)
    after = provider.get_tracer("after")
    random.seed(7)
    random_ids.seed(7)
    for tracer in (before, after):
        assert (type(tracer) is Tracer) == fast
        contextvars.Context().run(work, tracer)
    assert provider.force_flush()
    provider.shutdown()
    return [picture(span) for span in exporter.get_finished_spans()]


@pytest.mark.parametrize("processor", [SimpleSpanProcessor, BatchSpanProcessor])
def test_the_applications_exporter_gets_the_same_spans(processor: type[SpanProcessor]) -> None:
    """Its sampler, limits, resource and processors stay; its tracers become fast, those of before and of after."""
    fast = spans_of(processor, fast=True)
    assert fast == spans_of(processor, fast=False)
    assert {span["name"][1] for span in fast} == {"'outer'", "'inner'"}


def test_what_was_running_goes_on() -> None:
    """A span that is open, a decorated function and a context manager that was not entered yet."""
    provider, exporter = application(SimpleSpanProcessor)
    tracer = provider.get_tracer("before")
    tracer.sampler = sampling.ALWAYS_ON

    @tracer.start_as_current_span("decorated")
    def decorated() -> trace.Span:
        return trace.get_current_span()

    with tracer.start_as_current_span("open") as span:
        manager = tracer.start_as_current_span("later")
        assert accelerate(provider)
        span.set_attribute("a", 1)
        with manager as later:
            assert type(later) is Span and type(decorated()) is Span
    assert type(span) is not Span
    names = [(each.name, each.parent) for each in exporter.get_finished_spans()]
    ids = [later.get_span_context(), span.get_span_context()]
    assert names == [("decorated", ids[0]), ("later", ids[1]), ("open", None)]


def test_the_provider_can_still_be_configured() -> None:
    """Processors are added, tracers switched off, the resource is changed: tracers of before see it."""
    provider, exporter = application(SimpleSpanProcessor)
    tracer = provider.get_tracer("before")
    tracer.sampler = sampling.ALWAYS_ON
    assert accelerate(provider)
    late = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(late))
    provider._update_resource(Resource({"late": True}))
    tracer.start_span("one").end()
    provider._set_tracer_configurator(tracer_configurator=sdk._disable_tracer_configurator)
    assert not tracer.start_span("two").is_recording()
    provider._set_tracer_configurator(tracer_configurator=sdk._default_tracer_configurator)
    tracer.start_span("three").end()
    for each in (exporter, late):
        assert [span.name for span in each.get_finished_spans()] == ["one", "three"]
        assert all(span.resource.attributes["late"] for span in each.get_finished_spans())


def test_a_sub_class_is_left_alone() -> None:
    """What it changes cannot be known, of a provider and of a tracer."""

    class OwnProvider(sdk.TracerProvider):
        pass

    class OwnTracer(sdk.Tracer):
        pass

    own = OwnProvider(shutdown_on_exit=False)
    tracer = own.get_tracer("own")
    assert accelerate(own) is False
    assert type(own) is OwnProvider and type(tracer) is sdk.Tracer and type(own.get_tracer("later")) is sdk.Tracer
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    theirs = provider.get_tracer("theirs")
    theirs.__class__ = OwnTracer
    assert accelerate(provider) and type(provider.get_tracer("ours")) is Tracer
    assert type(theirs) is OwnTracer and provider.get_tracer("theirs") is theirs


def test_what_is_no_provider_of_the_sdk_is_left_alone() -> None:
    """The API's own, and one that is ours already."""
    assert accelerate(trace.NoOpTracerProvider()) is False
    assert accelerate(trace.ProxyTracerProvider()) is False
    ours = TracerProvider(shutdown_on_exit=False)
    assert accelerate(ours) and accelerate(ours)


def test_threads_that_are_at_work_notice_nothing() -> None:
    """Four threads start and end spans all the while: none fails, and none is lost."""
    exporter = InMemorySpanExporter()
    failures: list[BaseException] = []
    for _ in range(30):
        provider = sdk.TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        tracers = [provider.get_tracer(f"scope {number}") for number in range(20)]
        begin = threading.Barrier(3)

        def use(tracers: list[trace.Tracer] = tracers, begin: threading.Barrier = begin) -> None:
            begin.wait()
            try:
                for tracer in tracers * 2:
                    with tracer.start_as_current_span("work", attributes={"a": 1}):
                        pass
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=use) for _ in range(2)]
        for thread in threads:
            thread.start()
        begin.wait()
        assert accelerate(provider)
        for thread in threads:
            thread.join()
    assert not failures
    assert len(exporter.get_finished_spans()) == 30 * 2 * 40


def test_an_application_opts_in_with_one_option(tmp_path: Any) -> None:
    """Proxies and tracers of before are fast after `configure`, and the application's exporter gets all spans."""
    done = run_python(f"""
        from opentelemetry import trace
        early = trace.get_tracer("early")
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        provider, exporter = TracerProvider(), InMemorySpanExporter()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        with early.start_as_current_span("slow"):
            pass
        import otel_ml
        from otel_ml.tracing.span import Span
        options = otel_ml.Traces(accelerate=True)
        otel_ml.configure(service_name="s", directory={str(tmp_path)!r}, traces=options)
        assert trace.get_tracer_provider() is provider
        for tracer in (early, trace.get_tracer("late"), provider.get_tracer("direct")):
            with tracer.start_as_current_span("fast") as span:
                assert type(span) is Span, type(span)
        provider.force_flush()
        assert [span.name for span in exporter.get_finished_spans()] == ["slow", "fast", "fast", "fast"]
    """)
    assert done.returncode == 0, done.stderr
