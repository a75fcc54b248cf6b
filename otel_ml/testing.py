"""A pytest fixture that captures the spans, logs and metrics of a test, and asserts on them readably.

Installed with the package: ask for `captured_telemetry` in any test.

    def test_cleaning_is_watched(captured_telemetry):
        clean([1, None])
        captured_telemetry.span("clean").has(attributes={"otel_ml.step.name": "clean"}, status="UNSET")
        assert captured_telemetry.duration_count("otel_ml.step.duration") == 1
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry import trace

from otel_ml.instruments import instruments


@dataclass(frozen=True)
class CapturedLog:
    """One log record, with the ids of the span that was current when it was made.

    Args:
        level: Level name.
        logger: Logger name.
        message: Formatted message.
        trace_id: Trace id in hex; empty outside a span.
        span_id: Span id in hex; empty outside a span.
        attributes: What the caller passed as `extra`, and what libraries added.
    """

    level: str
    logger: str
    message: str
    trace_id: str
    span_id: str
    attributes: dict[str, Any]


@dataclass
class CapturedSpan:
    """One ended span."""

    readable: Any

    @property
    def name(self) -> str:
        """Name of the span."""
        return str(self.readable.name)

    @property
    def attributes(self) -> dict[str, Any]:
        """Its attributes."""
        return dict(self.readable.attributes or {})

    @property
    def status(self) -> str:
        """`UNSET`, `OK` or `ERROR`."""
        return str(self.readable.status.status_code.name)

    @property
    def trace_id(self) -> str:
        """Trace id in hex."""
        return format(self.readable.context.trace_id, "032x")

    @property
    def span_id(self) -> str:
        """Span id in hex."""
        return format(self.readable.context.span_id, "016x")

    @property
    def parent_id(self) -> str | None:
        """Span id of the parent in hex, or None for a root."""
        return None if self.readable.parent is None else format(self.readable.parent.span_id, "016x")

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Its events, as name and attributes."""
        return [(event.name, dict(event.attributes or {})) for event in self.readable.events]

    def has(
        self, *, attributes: dict[str, Any] | None = None, status: str | None = None, parent: CapturedSpan | None = None
    ) -> CapturedSpan:
        """Assert what is given, and return the span.

        Args:
            attributes: Attributes that the span has, among others.
            status: `UNSET`, `OK` or `ERROR`.
            parent: The span's parent.

        Raises:
            AssertionError: It is otherwise; the message shows both.
        """
        found = {key: self.attributes.get(key, "<absent>") for key in attributes or {}}
        assert found == (attributes or {}), f"span {self.name!r}: expected attributes {attributes}, found {found}"
        assert status in (None, self.status), f"span {self.name!r}: expected status {status}, found {self.status}"
        if parent is not None:
            expected = f"{parent.name!r} ({parent.span_id})"
            assert self.parent_id == parent.span_id, (
                f"span {self.name!r}: expected parent {expected}, found {self.parent_id}"
            )
        return self


@dataclass
class CapturedTelemetry:
    """What a test's code emitted so far."""

    _spans: Any
    _metrics: Any
    logs: list[CapturedLog] = field(default_factory=list)

    @property
    def spans(self) -> list[CapturedSpan]:
        """Ended spans, in the order in which they ended."""
        return [CapturedSpan(span) for span in self._spans.get_finished_spans()]

    def span(self, name: str) -> CapturedSpan:
        """Return the one span of that name.

        Raises:
            AssertionError: There is none, or there are several; the message lists all spans.
        """
        found = [span for span in self.spans if span.name == name]
        names = [span.name for span in self.spans]
        assert len(found) == 1, f"expected one span {name!r}, found {len(found)} among {names}"
        return found[0]

    def log(self, text: str) -> CapturedLog:
        """Return the one log record whose message contains `text`.

        Raises:
            AssertionError: There is none, or there are several; the message lists all records.
        """
        found = [record for record in self.logs if text in record.message]
        messages = [record.message for record in self.logs]
        assert len(found) == 1, f"expected one log record with {text!r}, found {len(found)} among {messages}"
        return found[0]

    def points(self, name: str) -> list[Any]:
        """Return the data points of a metric as the OpenTelemetry SDK gives them; none when it was not recorded."""
        data = self._metrics.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def duration_count(self, name: str, **attributes: Any) -> int:
        """Return how many values a histogram took, over the series that have all `attributes` (dots as `__`)."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return sum(point.count for point in self.points(name) if wanted.items() <= dict(point.attributes).items())


class _Collector(logging.Handler):
    def __init__(self, logs: list[CapturedLog]) -> None:
        super().__init__()
        self._logs = logs
        self._standard = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

    def emit(self, record: logging.LogRecord) -> None:
        context = trace.get_current_span().get_span_context()
        extra = {key: value for key, value in vars(record).items() if key not in self._standard}
        self._logs.append(
            CapturedLog(
                level=record.levelname,
                logger=record.name,
                message=record.getMessage(),
                trace_id=format(context.trace_id, "032x") if context.is_valid else "",
                span_id=format(context.span_id, "016x") if context.is_valid else "",
                attributes=extra,
            )
        )


@pytest.fixture
def captured_telemetry() -> Iterator[CapturedTelemetry]:
    """Capture what decorators and standard logging emit in one test; global providers stay as they are."""
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415  plug-ins load in every pytest run
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: PLC0415

    from otel_ml.spans.run_attributes import RunAttributes  # noqa: PLC0415
    from otel_ml.tracing.switch import SwitchProcessor  # noqa: PLC0415

    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(SwitchProcessor((RunAttributes(lambda run: None).start,)))
    tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    meter_provider = MeterProvider([reader], shutdown_on_exit=False)
    captured = CapturedTelemetry(exporter, reader)
    collector, root = _Collector(captured.logs), logging.getLogger()
    level, enabled = root.level, instruments.enabled
    root.addHandler(collector)
    if level > logging.INFO:
        root.setLevel(logging.INFO)
    instruments.enabled = True
    instruments.bind(tracer_provider, meter_provider)
    try:
        yield captured
    finally:
        instruments.bind()
        instruments.enabled = enabled
        root.removeHandler(collector)
        root.setLevel(level)
        tracer_provider.shutdown()
        meter_provider.shutdown()
