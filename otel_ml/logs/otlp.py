"""Entries to OTLP and to the exporter, on threads of their own: as bytes, or as log records of the SDK."""

from __future__ import annotations

import threading
import time
from functools import lru_cache
from typing import Any

from opentelemetry._logs import LogRecord
from opentelemetry.context import Context
from opentelemetry.instrumentation.log_utils import std_to_otel
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes import code_attributes, otel_attributes
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from otel_ml import conventions, health
from otel_ml.export.encoding_queue import EncodingQueue
from otel_ml.export.left_out import leave_out
from otel_ml.export.otlp_protobuf import Block, LogEncoder, id_bytes
from otel_ml.export.sending import Sending, sender_of
from otel_ml.logs import api_records
from otel_ml.logs.entries import Entry
from otel_ml.suppression import suppress_instrumentation
from otel_ml.worker import BatchWorker, ItemQueue

_SEVERITY_TEXT = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_NO_CONTEXT = Context({"otel_ml.outside": True})  # an empty one would be replaced by the exporting thread's
_ID_LENGTHS = (16, 8)
_FAILURE = {
    "type": conventions.EXCEPTION_TYPE,
    "message": conventions.EXCEPTION_MESSAGE,
    "stacktrace": conventions.EXCEPTION_STACKTRACE,
}


def to_log_record(entry: Entry, resource: Resource) -> ReadableLogRecord:
    """Return an entry as the SDK's log record.

    The instrumentation scope is the logger's name, and an extra `otel.event.name` (or the
    older `event.name`) becomes the event name.
    """
    attributes, event_name = _attributes(entry)
    record = LogRecord(
        timestamp=entry.time_ns,
        observed_timestamp=time.time_ns(),
        context=_context(entry),
        severity_text=_SEVERITY_TEXT.get(entry.level_name, entry.level_name),
        severity_number=std_to_otel(entry.level),
        body=entry.message,
        attributes=attributes,
        event_name=event_name,
    )
    return ReadableLogRecord(record, resource, _scope(entry.logger))


def to_bytes(entry: Entry, encoder: LogEncoder) -> bytes:
    """Return an entry as the encoder's record: what `to_log_record` says, without the objects in between."""
    attributes, event_name = _attributes(entry)
    return encoder.record(
        made=entry.time_ns,
        observed=time.time_ns(),
        severity=_severity(entry.level),
        severity_text=_SEVERITY_TEXT.get(entry.level_name, entry.level_name),
        body=entry.message,
        attributes=attributes,
        ids=_ids(entry) if entry.trace_id else None,
        event_name=event_name,
    )


def _attributes(entry: Entry) -> tuple[dict[str, Any], str | None]:
    """Return attributes and name of the event, if it is one."""
    file, function, line = entry.code
    event_name = None
    attributes: dict[str, Any] = {}
    if entry.extra:
        attributes = {key: value for key, value in entry.extra.items() if value is not None}
        event_name = attributes.pop(otel_attributes.OTEL_EVENT_NAME, None) or attributes.pop("event.name", None)
    attributes[code_attributes.CODE_FILE_PATH] = file
    attributes[code_attributes.CODE_FUNCTION_NAME] = function
    attributes[code_attributes.CODE_LINE_NUMBER] = line
    if entry.run_id:
        attributes[conventions.RUN_ID] = entry.run_id
    if entry.exception:
        for key, text in entry.exception.items():
            attributes[_FAILURE[key]] = text
    return attributes, str(event_name) if event_name is not None else None


@lru_cache(maxsize=256)
def _severity(level: int) -> int:
    severity: int = std_to_otel(level).value
    return severity


@lru_cache(maxsize=1024)
def _scope(logger: str) -> InstrumentationScope:
    return InstrumentationScope(logger)


def _context(entry: Entry) -> Context:
    if not entry.trace_id:
        return _NO_CONTEXT
    try:
        trace_id, span_id = int(entry.trace_id, 16), int(entry.span_id, 16)
    except ValueError:  # an application's filter put its own text there
        return _NO_CONTEXT
    span = SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(entry.trace_flags))
    return set_span_in_context(NonRecordingSpan(span), _NO_CONTEXT)


def _ids(entry: Entry) -> tuple[bytes, bytes, int] | None:
    try:
        ids = bytes.fromhex(entry.trace_id), bytes.fromhex(entry.span_id)
        if tuple(map(len, ids)) == _ID_LENGTHS and any(ids[0]) and any(ids[1]):
            return *ids, entry.trace_flags
    except ValueError:  # what follows says what it is
        pass
    try:
        numbers = int(entry.trace_id, 16), int(entry.span_id, 16)
    except ValueError:  # an application's filter put its own text there
        return None
    return id_bytes(numbers[0], 16), id_bytes(numbers[1], 8), entry.trace_flags


class OtlpSink:
    """Exports entries; a dead endpoint holds up nothing but this sink's own bounded queue.

    Args:
        exporter: Where records go.
        resource: Resource of each record.
        queue_size: Entries that may wait; one more is dropped and counted.
    """

    def __init__(self, exporter: LogRecordExporter, resource: Resource, queue_size: int) -> None:
        self._exporter = exporter
        self._resource = resource
        self._encoder = LogEncoder()
        bounds: Any = {"queue_size": queue_size, "batch_size": min(512, queue_size), "interval": 1.0}
        send = sender_of(exporter)
        self._worker: ItemQueue[Entry | ReadableLogRecord] = (
            BatchWorker("logs", self._export, **bounds)
            if send is None
            else EncodingQueue("logs", self._encode, Sending("logs", send, exporter), **bounds)
        )
        self.put = self._worker.put
        self.flush = self._worker.flush
        self.wake = self._worker.wake

    def _encode(self, batch: list[Entry | ReadableLogRecord]) -> Block:
        block = self._encoder.block()
        for entry in batch:
            try:
                if isinstance(entry, Entry):
                    block.add(to_bytes(entry, self._encoder), self._resource, _scope(entry.logger))
                else:
                    record = api_records.masked(entry)
                    block.add(self._encoder.readable(record), record.resource, record.instrumentation_scope)
            except Exception as error:
                leave_out("logs", error)
        return block.close()

    def _export(self, batch: list[Entry | ReadableLogRecord]) -> None:
        records = []
        for entry in batch:
            try:
                if isinstance(entry, Entry):
                    records.append(to_log_record(entry, self._resource))
                else:
                    records.append(api_records.masked(entry))
            except Exception as error:
                leave_out("logs", error)
        with suppress_instrumentation():
            result: Any = self._exporter.export(records)
        if result is not LogRecordExportResult.SUCCESS:
            health.not_delivered("logs", len(records), self._exporter)

    def close(self, timeout: float) -> bool:
        """Export what is queued, then shut the exporter down; False when `timeout` seconds were not enough."""
        deadline = time.monotonic() + timeout
        flushed = self._worker.close(timeout)
        ending = threading.Thread(target=self._exporter.shutdown, name="otel_ml-logs-shutdown", daemon=True)
        try:
            ending.start()
        except RuntimeError:  # the interpreter is going down and starts no thread
            self._exporter.shutdown()  # type: ignore[no-untyped-call]
            return flushed
        ending.join(max(0.1, deadline - time.monotonic()))
        return flushed and not ending.is_alive()
