"""Log records to OTLP protobuf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml.export.left_out import leave_out
from otel_ml.export.otlp_json.values import text
from otel_ml.export.otlp_protobuf.envelope import RECORD, Block, Place, Places, request
from otel_ml.export.otlp_protobuf.key_values import KeyValues
from otel_ml.export.otlp_protobuf.values import any_value, time
from otel_ml.export.otlp_protobuf.wire import counted, pack_fixed32, utf8, varint

if TYPE_CHECKING:  # spans come this way too
    from opentelemetry.sdk._logs import ReadableLogRecord

# Fields of LogRecord, in their order.
_TIME = b"\x09"
_SEVERITY_NUMBER = b"\x10"
_SEVERITY_TEXT = b"\x1a"
_BODY = b"\x2a"
_ATTRIBUTE = b"\x32"
_DROPPED_ATTRIBUTES = b"\x38"
_FLAGS = b"\x45"
_TRACE_ID = b"\x4a"
_SPAN_ID = b"\x52"
_OBSERVED_TIME = b"\x59"
_EVENT_NAME = b"\x62"

_MOST_SEVERITIES: Final = 256


class LogEncoder:
    """Turns log records, which have been masked, into blocks; safe with any number of threads."""

    def __init__(self) -> None:
        self._places = Places()
        self._attributes = KeyValues(_ATTRIBUTE, None)
        self._severities: dict[tuple[int, str | None], bytes] = {}

    def block(self) -> LogBlock:
        """Return an empty block that this encoder's records can be added to."""
        return LogBlock(self._places)

    def encode(self, batch: Sequence[ReadableLogRecord]) -> Block:
        """Return records as a block; one that cannot be encoded is left out, counted and said once."""
        block = self.block()
        for record in batch:
            try:
                block.add(self.readable(record), record.resource, record.instrumentation_scope)
            except Exception as error:
                leave_out("logs", error)
        return block.close()

    def readable(self, readable: ReadableLogRecord) -> bytes:
        """Return a log record of the SDK as a field of its scope."""
        record = readable.log_record
        severity = record.severity_number
        return self.record(
            made=record.timestamp,
            observed=record.observed_timestamp,
            severity=0 if severity is None else severity.value,
            severity_text=record.severity_text,
            body=record.body,
            attributes=record.attributes,
            dropped=readable.dropped_attributes,
            ids=(id_bytes(record.trace_id, 16), id_bytes(record.span_id, 8), int(record.trace_flags or 0)),
            event_name=record.event_name,
        )

    def record(
        self,
        *,
        made: int | None,
        observed: int | None,
        severity: int,
        severity_text: str | None,
        body: object,
        attributes: Mapping[str, Any] | None,
        dropped: int = 0,
        ids: tuple[bytes, bytes, int] | None,
        event_name: str | None,
    ) -> bytes:
        """Return a log record as a field of its scope.

        Args:
            made: Nanoseconds since the epoch; None: not known.
            observed: When it was collected, in the same way.
            severity: Number of the severity; 0: none.
            severity_text: Its name.
            body: Any value.
            attributes: Names and values.
            dropped: How many attributes were dropped.
            ids: Of the span around it: trace id and span id, empty when there is none, and flags.
            event_name: Name of the event, if it is one.
        """
        known = self._severities.get((severity, severity_text))
        parts = [
            time(_TIME, made),
            self._severity(severity, severity_text) if known is None else known,
            counted(_BODY, any_value(body)),
        ]
        if attributes:
            self._attributes.add(parts, attributes)
        if dropped:
            parts.append(_DROPPED_ATTRIBUTES + varint(dropped))
        if ids is not None:
            trace_id, span_id, flags = ids
            if flags:
                parts.append(_FLAGS + pack_fixed32(flags))
            if trace_id:
                parts.append(counted(_TRACE_ID, trace_id))
            if span_id:
                parts.append(counted(_SPAN_ID, span_id))
        parts.append(time(_OBSERVED_TIME, observed))
        if event_name:
            parts.append(counted(_EVENT_NAME, utf8(text(event_name))))
        return counted(RECORD, b"".join(parts))

    def _severity(self, number: int, name: str | None) -> bytes:
        encoded = _SEVERITY_NUMBER + varint(number) if number else b""
        if name:
            encoded += counted(_SEVERITY_TEXT, utf8(text(name)))
        if len(self._severities) >= _MOST_SEVERITIES:
            self._severities.clear()
        self._severities[number, name] = encoded
        return encoded


class LogBlock:
    """A block to which records are added one by one; for one thread.

    Args:
        places: The encoder's.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._records: dict[Place, list[bytes]] = {}
        self._number = 0

    def add(self, record: bytes, resource: Resource, scope: InstrumentationScope | None) -> None:
        """Add an encoded record to those of its place."""
        self._records.setdefault(self._places.of(resource, scope), []).append(record)
        self._number += 1

    def close(self) -> Block:
        """Return all of it."""
        return Block(self._number, request(self._records))


def id_bytes(number: int | None, length: int) -> bytes:
    """Return an id as so many bytes; nothing for one that stands for none."""
    return number.to_bytes(length, "big") if number else b""
