from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from logs.running import Running, entry, read_lines
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

import otel_ml.runs
from otel_ml import health
from otel_ml.logs import start
from otel_ml.logs.otlp import OtlpSink, to_log_record
from otel_ml.options import Logs

Run = Callable[..., Running]


class Endpoint(LogRecordExporter):
    """An exporter whose endpoint answers when, and what, the test says."""

    def __init__(self, result: LogRecordExportResult | Exception = LogRecordExportResult.SUCCESS) -> None:
        self.result = result
        self.answers = threading.Event()
        self.batches: list[Sequence[ReadableLogRecord]] = []
        self.shut_down = False
        self.instrumented: bool | None = None

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self.answers.wait(30.0)
        self.instrumented = is_instrumentation_enabled()
        self.batches.append(batch)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def shutdown(self) -> None:
        self.shut_down = True
        self.answers.set()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def test_record_has_all_that_the_line_has(run_pipeline: Run) -> None:
    """The exported record has body, ids, severity, code, exception, run id, event name, and the logger as scope."""
    running = run_pipeline()
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    with otel_ml.runs.run("nightly") as run, tracer.start_as_current_span("s") as span:
        try:
            raise ValueError("m")
        except ValueError:
            extra = {"otel.event.name": "cart.failed", "nested": {"a": [1, None]}, "none": None}
            logging.getLogger("app.cart").exception("failed", extra=extra)
    assert running.pipeline.flush(30.0)
    (found,) = [item for item in running.exporter.get_finished_logs() if item.log_record.body == "failed"]
    record, context = found.log_record, span.get_span_context()
    assert (record.trace_id, record.span_id, record.trace_flags) == (context.trace_id, context.span_id, 1)
    assert (record.severity_number, record.severity_text) == (SeverityNumber.ERROR, "ERROR")
    assert record.event_name == "cart.failed"
    assert found.instrumentation_scope is not None
    assert found.instrumentation_scope.name == "app.cart"
    attributes = dict(record.attributes or {})
    assert attributes["nested"] == {"a": [1, None]}
    assert attributes["otel_ml.run.id"] == run.id
    assert attributes["exception.type"] == "ValueError"
    assert "Traceback" in str(attributes["exception.stacktrace"])
    assert str(attributes["code.file.path"]).endswith("test_otlp.py")
    assert not {"none", "otel.event.name"} & attributes.keys()
    encode_logs([found])  # the stock encoder takes it


@pytest.mark.parametrize(
    ("level", "name", "number", "text"),
    [
        (10, "DEBUG", SeverityNumber.DEBUG, "DEBUG"), (30, "WARNING", SeverityNumber.WARN, "WARN"),
        (50, "CRITICAL", SeverityNumber.FATAL, "FATAL"), (25, "NOTICE", SeverityNumber.INFO4, "NOTICE"),
        (5, "TRACE", SeverityNumber.UNSPECIFIED, "TRACE"), (99, "PANIC", SeverityNumber.FATAL4, "PANIC"),
    ],
)  # fmt: skip
def test_levels_become_severities(level: int, name: str, number: SeverityNumber, text: str) -> None:
    """Levels map to severities as OpenTelemetry says, own levels in between included."""
    record = to_log_record(entry(level=level, level_name=name), Resource({})).log_record
    assert (record.severity_number, record.severity_text) == (number, text)


def test_older_event_name_is_understood() -> None:
    """`event.name`, which the conventions deprecate, names the event too and is no attribute."""
    record = to_log_record(entry(extra={"event.name": "cart.failed"}), Resource({})).log_record
    assert record.event_name == "cart.failed"
    assert "event.name" not in (record.attributes or {})


def test_record_outside_a_span_has_no_ids() -> None:
    """A record made outside a span has none of the exporting thread's span."""
    with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("exporting"):
        record = to_log_record(entry(), Resource({})).log_record
    assert (record.trace_id, record.span_id) == (0, 0)


def test_dead_endpoint_holds_up_neither_caller_nor_file(clean_logging: None, tmp_path: Path) -> None:
    """While the endpoint does not answer, records are in the file at once; what the queue cannot hold is counted."""
    endpoint = Endpoint()
    pipeline = start(
        Logs(format="none", level="INFO", queue_size=64), service="shop", resource=Resource({}), directory=tmp_path,
        exporter=endpoint, set_level=True,
    )  # fmt: skip
    for number in range(640):
        logging.getLogger("app").info("record %d", number)
        assert number % 32 or pipeline._worker.flush(30.0)
    assert pipeline._worker.flush(30.0)
    assert len(read_lines(tmp_path)) == 640
    assert not pipeline.flush(0.05)
    endpoint.answers.set()
    assert pipeline.close(30.0)
    assert sum(map(len, endpoint.batches)) + health.dropped()["logs", "queue_full"] == 640
    assert endpoint.shut_down
    assert endpoint.instrumented is False


def test_record_that_cannot_be_made_costs_only_itself() -> None:
    """An entry that gives no log record is counted, and the others of its batch are exported."""
    endpoint = Endpoint()
    endpoint.answers.set()
    sink = OtlpSink(endpoint, Resource({}), queue_size=10)
    sink.put(entry(code=()))
    sink.put(entry(message="good"))
    sink.wake()
    assert sink.close(30.0)
    assert [record.log_record.body for batch in endpoint.batches for record in batch] == ["good"]
    assert health.dropped()["logs", "encode_failed"] == 1


@pytest.mark.parametrize(
    "result", [LogRecordExportResult.FAILURE, ConnectionError("refused")], ids=["failure", "raises"]
)
def test_failing_export_is_counted(result: LogRecordExportResult | Exception) -> None:
    """An export that fails or raises costs its records, counted, and the sink goes on."""
    endpoint = Endpoint(result)
    endpoint.answers.set()
    sink = OtlpSink(endpoint, Resource({}), queue_size=10)
    sink.put(entry())
    assert sink.flush(30.0)
    sink.put(entry())
    assert sink.close(30.0)
    assert len(endpoint.batches) == 2
    assert health.dropped()["logs", "export_failed"] == 2
