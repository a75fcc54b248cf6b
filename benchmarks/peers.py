"""Other instrumentations, set up as their documentation says, with nothing leaving the process.

Each decorates the same function. They record more or less than we do (most keep arguments and results), so a ratio says
what their decorator costs and not that it does the same.
"""

# ruff: noqa: PLC0415  a peer is imported in the process that measures it, if it is installed

from __future__ import annotations

import os

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from benchmarks.exporters import DiscardingSpanExporter
from benchmarks.workload import Subject, predict

NOWHERE = "http://127.0.0.1:9"
"""Nobody listens on the discard port, so a peer that sends after all fails instead of reaching somebody."""


def logfire() -> Subject:
    import logfire

    processor = BatchSpanProcessor(DiscardingSpanExporter())
    logfire.configure(
        send_to_logfire=False,
        console=False,
        metrics=False,
        inspect_arguments=False,
        additional_span_processors=[processor],
    )
    return Subject(logfire.instrument("predict")(predict), logfire.force_flush)


def mlflow() -> Subject:
    """Tracing only, through MLflow's own OTLP processor: without one, each call is a request to a tracking server."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_TRACKING_URI"] = NOWHERE  # mlflow-tracing has no store of its own, and fails quietly without one
    os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = f"{NOWHERE}/v1/traces"
    import mlflow
    from mlflow.tracing import provider

    provider.get_otlp_exporter = DiscardingSpanExporter  # in place of the one that would send
    return Subject(mlflow.trace(predict), provider.get_bridged_tracer_provider().force_flush)


def openinference() -> Subject:
    from openinference.instrumentation import TracerProvider as OpenInferenceTracerProvider

    provider = OpenInferenceTracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(DiscardingSpanExporter()))
    return Subject(provider.get_tracer("benchmarks").chain(predict), provider.force_flush)


def langfuse() -> Subject:
    from langfuse import Langfuse, observe

    provider = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(provider)
    Langfuse(
        public_key="pk-lf-benchmark",
        secret_key="sk-lf-benchmark",  # without keys it switches itself off
        base_url=NOWHERE,
        tracer_provider=provider,
        span_exporter=DiscardingSpanExporter(),
    )
    return Subject(observe(predict), provider.force_flush)
