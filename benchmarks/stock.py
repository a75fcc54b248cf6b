"""The stock OpenTelemetry SDK and prometheus_client, used by hand as their documentation shows."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import prometheus_client
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import Tracer

from benchmarks.exporters import DiscardingMetricExporter, DiscardingSpanExporter, EncodingSpanExporter
from benchmarks.workload import BUCKETS, PREDICTION, Features, Subject, fail, predict

ATTRIBUTES = {"otel_ml.step.name": "predict", "code.function.name": "benchmarks.workload.predict", "model": "churn"}
LABELS = {"model": "churn"}


def bare() -> Subject:
    return Subject(predict, spans_per_call=0)


def tracer(
    exporter: SpanExporter | None = None, *, sampler: Sampler = ALWAYS_ON, **processor_options: Any
) -> tuple[Tracer, TracerProvider]:
    """Set up the stock SDK as an application does."""
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter or DiscardingSpanExporter(), **processor_options))
    return provider.get_tracer("benchmarks"), provider


def span(exporter: SpanExporter | None = None, *, sampler: Sampler = ALWAYS_ON, **processor_options: Any) -> Subject:
    """One span around the call; the reference of every ratio."""
    spans, provider = tracer(exporter, sampler=sampler, **processor_options)

    def call(features: Features) -> float:
        with spans.start_as_current_span("predict"):
            return predict(features)

    return Subject(call, provider.force_flush, spans_per_call=1 if sampler is ALWAYS_ON else 0)


def span_not_sampled() -> Subject:
    return span(sampler=ALWAYS_OFF)


def span_with_backlog(spans: int) -> Subject:
    """No export before the flush: neither the size of the queue nor time asks for one."""
    size = spans + 1024
    return span(max_queue_size=size, max_export_batch_size=size, schedule_delay_millis=3_600_000)


def span_otlp() -> Subject:
    spans, provider = tracer(EncodingSpanExporter())

    def call(features: Features) -> float:
        with spans.start_as_current_span("predict", attributes=ATTRIBUTES):
            return predict(features)

    return Subject(call, provider.force_flush)


def span_raising() -> Subject:
    spans, provider = tracer()

    def call(features: Features) -> float:
        try:
            with spans.start_as_current_span("predict"):
                return fail(features)
        except ValueError:
            return PREDICTION

    return Subject(call, provider.force_flush)


def span_raising_logged() -> Subject:
    """What our failing call does, by hand: span, exception event, ERROR line with stack trace, duration."""
    spans, provider = tracer()
    logger, histogram = _json_logger(), _sdk_histogram()

    def call(features: Features) -> float:
        started = time.perf_counter()
        try:
            with spans.start_as_current_span("predict"):
                try:
                    return fail(features)
                except ValueError as error:
                    logger.exception("predict failed")
                    histogram.record(time.perf_counter() - started, {**LABELS, "error.type": type(error).__name__})
                    raise
        except ValueError:
            return PREDICTION

    return Subject(call, provider.force_flush)


def span_and_histogram() -> Subject:
    spans, provider = tracer()
    histogram = _sdk_histogram()

    def call(features: Features) -> float:
        started = time.perf_counter()
        with spans.start_as_current_span("predict"):
            result = predict(features)
            histogram.record(time.perf_counter() - started, LABELS)
            return result

    return Subject(call, provider.force_flush)


def prometheus() -> Subject:
    """No span: a histogram with an exemplar whose trace id is at hand."""
    histogram = _prometheus_histogram()
    exemplar = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}

    def call(features: Features) -> float:
        started = time.perf_counter()
        result = predict(features)
        histogram.observe(time.perf_counter() - started, exemplar)
        return result

    return Subject(call, spans_per_call=0)


def span_log_and_prometheus() -> Subject:
    """All signals by hand: span, one JSON log line with its ids, histogram with exemplar."""
    spans, provider = tracer()
    logger, histogram = _json_logger(), _prometheus_histogram()

    def call(features: Features) -> float:
        started = time.perf_counter()
        with spans.start_as_current_span("predict") as current:
            result = predict(features)
            logger.info("predicted %s", result)
            context = current.get_span_context()
            exemplar = {
                "trace_id": trace.format_trace_id(context.trace_id),
                "span_id": trace.format_span_id(context.span_id),
            }
            histogram.observe(time.perf_counter() - started, exemplar)
            return result

    return Subject(call, provider.force_flush)


class JsonFormatter(logging.Formatter):
    """The formatter that one writes to have trace ids in JSON logs."""

    def format(self, record: logging.LogRecord) -> str:
        context = trace.get_current_span().get_span_context()
        line = {
            "timestamp": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "trace_id": trace.format_trace_id(context.trace_id),
            "span_id": trace.format_span_id(context.span_id),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _json_logger() -> logging.Logger:
    handler = logging.FileHandler("by-hand.log")
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("benchmarks.by_hand")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger


def _sdk_histogram() -> Any:
    reader = PeriodicExportingMetricReader(DiscardingMetricExporter())
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("benchmarks")
    return meter.create_histogram("duration", unit="s", explicit_bucket_boundaries_advisory=BUCKETS)


def _prometheus_histogram() -> Any:
    histogram = prometheus_client.Histogram("duration_seconds", "Duration", list(LABELS), buckets=BUCKETS)
    return histogram.labels(**LABELS)
