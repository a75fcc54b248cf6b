"""Records made through OpenTelemetry's own logging API, by libraries that emit events: the same way out."""

from __future__ import annotations

import copy
from collections.abc import Callable

from opentelemetry._logs import get_logger_provider, set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource

from otel_ml import redaction, sdk_compat

Put = Callable[[ReadableLogRecord], object]


class _Switch(LogRecordProcessor):
    """Hands records to the pipeline that is active; a processor cannot be taken off a provider again."""

    put: Put | None = None

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        put = self.put
        if put is not None and log_record.resource is not None:
            put(
                ReadableLogRecord(
                    log_record.log_record, log_record.resource, log_record.instrumentation_scope, log_record.limits
                )
            )

    def shutdown(self) -> None:
        """Let nothing through any more; called when the application shuts the provider down."""
        self.put = None

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: the pipeline itself is flushed by `Telemetry`."""
        return True


_switch = _Switch()
_own: LoggerProvider | None = None


def connect(resource: Resource, put: Put) -> str:
    """Send what the logging API makes to `put`, and set a logger provider if there is none.

    Args:
        resource: What the records are about.
        put: Takes a record without blocking.

    Returns:
        What was done with a provider that the application had set; empty when it is ours.
    """
    global _own  # noqa: PLW0603  a provider can be set once a process, so there is one
    current = get_logger_provider()
    if _own is not None and current is _own:
        sdk_compat.update_resource(_own, resource)
    elif sdk_compat.no_logger_provider_yet(current):
        _own = LoggerProvider(resource, shutdown_on_exit=False)
        _own.add_log_record_processor(_switch)
        set_logger_provider(_own)
    else:
        return "logs: your LoggerProvider stays; what is logged through OpenTelemetry's API goes there"
    _switch.put = put
    return ""


def disconnect() -> None:
    """Let what the logging API makes go nowhere."""
    _switch.put = None


def masked(record: ReadableLogRecord) -> ReadableLogRecord:
    """Return a copy of a record with everything sensitive in body and attributes masked."""
    redactor = redaction.current()
    inner = copy.copy(record.log_record)
    inner.body = redactor.value(inner.body)
    if inner.attributes:
        inner.attributes = redactor.mapping(inner.attributes)
    return ReadableLogRecord(inner, record.resource, record.instrumentation_scope, record.limits)
