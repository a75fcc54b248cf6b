"""The tracer provider that `configure` sets, and what it does with one that is there."""

from __future__ import annotations

from pathlib import Path

from support import run_python


def test_configure_sets_the_fast_provider(tmp_path: Path) -> None:
    """Every tracer of the process is ours, also one that was asked for before, and spans carry the run."""
    done = run_python(f"""
        from opentelemetry import trace
        early = trace.get_tracer("early")
        import otel_ml
        from otel_ml.tracing.span import Span
        otel_ml.configure(service_name="s", directory={str(tmp_path)!r})
        with otel_ml.run("nightly") as run:
            for tracer in (early, trace.get_tracer("late")):
                span = tracer.start_span("s")
                assert type(span) is Span, type(span)
                assert dict(span.attributes) == {{"otel_ml.run.id": run.id, "otel_ml.run.name": "nightly"}}
                span.end()
    """)
    assert done.returncode == 0, done.stderr


def test_a_provider_of_the_application_stays_stock_unless_it_opts_in(tmp_path: Path) -> None:
    """With `Traces(accelerate=True)` its own exporter gets the same spans from fast tracers."""
    done = run_python(f"""
        import sys
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        tracer = trace.get_tracer("application")
        import otel_ml
        from otel_ml.tracing.span import Span
        for accelerate in (False, True):
            options = otel_ml.Traces(accelerate=accelerate)
            with otel_ml.configure(service_name="s", directory={str(tmp_path)!r}, traces=options):
                with otel_ml.run("nightly"), tracer.start_as_current_span("work", attributes={{"a": 1}}) as span:
                    span.add_event("e")
                assert (type(span) is Span) == accelerate, type(span)
                assert provider.force_flush()
                work, run = exporter.get_finished_spans()
                assert work.parent.span_id == run.context.span_id
                assert work.attributes["a"] == 1 and work.attributes["otel_ml.run.name"] == "nightly"
                assert [event.name for event in work.events] == ["e"]
                exporter.clear()
    """)
    assert done.returncode == 0, done.stderr
