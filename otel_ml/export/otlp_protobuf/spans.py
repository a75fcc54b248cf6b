"""Spans to OTLP protobuf, masked."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from struct import Struct
from struct import error as struct_error
from typing import Any, Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import DEFAULT_TRACE_STATE, Link, SpanContext, Status

from otel_ml import conventions, redaction
from otel_ml.clean_attributes import CleanAttributes
from otel_ml.export.left_out import leave_out
from otel_ml.export.otlp_json.traces import HAS_IS_REMOTE, IS_REMOTE
from otel_ml.export.otlp_protobuf.envelope import RECORD, RECORD_HEADS, Block, Place, Places, request
from otel_ml.export.otlp_protobuf.key_values import KeyValues
from otel_ml.export.otlp_protobuf.readable_span import Slots, has_slots, slots_of
from otel_ml.export.otlp_protobuf.values import key_value, time
from otel_ml.export.otlp_protobuf.wire import counted, pack_fixed32, utf8, varint
from otel_ml.redaction import Redactor
from otel_ml.unmasked import masked_text

# Fields of Span, in their order.
_TRACE_ID = b"\x0a\x10"  # with the length
_SPAN_ID = b"\x12\x08"
_TRACE_STATE = b"\x1a"
_PARENT_SPAN_ID = b"\x22\x08"
_NAME = b"\x2a"
_KIND = b"\x30"
_START = b"\x39"
_END = b"\x41"
_ATTRIBUTE = b"\x4a"
_DROPPED_ATTRIBUTES = b"\x50"
_EVENT = b"\x5a"
_DROPPED_EVENTS = b"\x60"
_LINK = b"\x6a"
_DROPPED_LINKS = b"\x70"
_STATUS = b"\x7a"
_FLAGS = b"\x85\x01"

_RECORD_ID: Final = counted(_ATTRIBUTE, key_value(conventions.AUDIT_RECORD_ID, str(uuid.UUID(int=0))))[:-36]
_NO_STATUS: Final = _STATUS + b"\x00"
_LOCAL: Final = _FLAGS + pack_fixed32(HAS_IS_REMOTE)
_REMOTE: Final = _FLAGS + pack_fixed32(HAS_IS_REMOTE | IS_REMOTE)
_UNSET_LOCAL: Final = _NO_STATUS + _LOCAL
_UNSET_REMOTE: Final = _NO_STATUS + _REMOTE
_pack_times = Struct("<cQcQ").pack

_LONGEST_NAME: Final = 128
_MOST_NAMES: Final = 2048


class SpanEncoder:
    """Turns ended spans into blocks; safe with any number of threads.

    Spans of our own tracer are read by their slots, all others by their public properties.
    """

    def __init__(self) -> None:
        self._places = Places()
        self._own: type[Any] | None = None
        self._masks = _Masks(redaction.current())

    def encode(self, batch: Sequence[ReadableSpan]) -> Block:
        """Return spans as a block; one that cannot be encoded is left out, counted and said once."""
        masks = self._masks
        if masks.redactor is not redaction.current():
            masks = self._masks = _Masks(redaction.current())
        encode, places, known = masks.span, self._places, len(RECORD_HEADS)
        records: dict[Place, list[bytes]] = {}
        number = 0
        fields: list[bytes] = []
        shared: object = None
        for readable in batch:
            try:
                span: Any = readable if type(readable) is self._own else self._slots_of(readable)
                content = encode(span)
                if span._shared is not shared:
                    shared = span._shared
                    fields = records.setdefault(places.of(span._shared.resource, span._shared.scope), [])
            except Exception as error:
                leave_out("traces", error)
                shared = None
                continue
            length = len(content)
            fields.append(RECORD_HEADS[length] if length < known else RECORD + varint(length))
            fields.append(content)
            number += 1
        return Block(number, request(records))

    def _slots_of(self, span: ReadableSpan) -> Any:
        if has_slots(type(span)):
            self._own = type(span)
            return span
        return slots_of(span)


class _Masks:
    """Encodes what is inside spans, as one redactor shows it."""

    def __init__(self, redactor: Redactor) -> None:
        self.redactor = redactor
        self._attributes = KeyValues(_ATTRIBUTE, redactor)
        self._of_events = KeyValues(b"\x1a", redactor)
        self._of_links = KeyValues(b"\x22", redactor)
        self._names: tuple[dict[str, bytes], ...] = ({}, {}, {}, {}, {})  # by kind
        self._unset: Status | None = None

    def span(self, span: Slots) -> bytes:
        """Return a span as a message, of which the length is not part."""
        kind, name = span._kind._value_, span._name
        head = self._names[kind].get(name) or self._head(kind, name)
        parent = span._parent
        parts = [_TRACE_ID, span._trace_id.to_bytes(16, "big"), _SPAN_ID, span._span_id.to_bytes(8, "big")]
        if span._trace_state is not None and span._trace_state is not DEFAULT_TRACE_STATE:
            state = ",".join([f"{key}={value}" for key, value in span._trace_state.items()])
            parts.append(counted(_TRACE_STATE, utf8(state)) if state else b"")
        if parent is not None:
            parts += (_PARENT_SPAN_ID, parent[1].to_bytes(8, "big"))
        try:
            parts += (head, _pack_times(_START, span._start_time, _END, span._end_time))
        except struct_error:
            parts += (head, time(_START, span._start_time), time(_END, span._end_time))
        values = span._values
        if type(values) is CleanAttributes:
            self._add_shared(parts, span, values)
        elif values:
            self._attributes.add(parts, values)
        dropped = span._dropped if span._bounded is None else span.dropped_attributes
        if dropped:
            parts.append(_DROPPED_ATTRIBUTES + varint(dropped))
        if span._event_list is not None:
            self._add_events(parts, span)
        if span._link_list is not None:
            self._add_links(parts, span)
        is_remote = parent is not None and parent[2]
        if span._status is self._unset:
            parts.append(_UNSET_REMOTE if is_remote else _UNSET_LOCAL)
        else:
            parts += (self._status(span._status), _REMOTE if is_remote else _LOCAL)
        return b"".join(parts)

    def _add_shared(self, parts: list[bytes], span: Slots, values: CleanAttributes) -> None:
        if span._record_id is None:
            self._attributes.add_shared(parts, values)
        elif self.redactor.repeatable:
            self._attributes.add_shared(parts, values)
            parts.append(_RECORD_ID + span._record_id.encode())
        else:  # a callback is to see all of them
            self._attributes.add(parts, span.attributes)

    def _head(self, kind: int, name: str) -> bytes:
        """Return name and kind; kept when nothing is masked in the name."""
        shown = masked_text(name)
        head = (counted(_NAME, utf8(shown)) if shown else b"") + _KIND + varint(kind + 1)
        if type(name) is str and shown == name and len(name) <= _LONGEST_NAME and self.redactor.repeatable:
            known = self._names[kind]
            if len(known) >= _MOST_NAMES:
                known.clear()
            known[name] = head
        return head

    def _add_events(self, parts: list[bytes], span: Slots) -> None:
        for event in span.events:
            parts.append(counted(_EVENT, self._event(event)))
        if span.dropped_events:
            parts.append(_DROPPED_EVENTS + varint(span.dropped_events))

    def _event(self, event: Event) -> bytes:
        parts = [time(b"\x09", event.timestamp), counted(b"\x12", utf8(masked_text(event.name)))]
        if event.attributes:
            self._of_events.add(parts, event.attributes)
        if event.dropped_attributes:
            parts.append(b"\x20" + varint(event.dropped_attributes))
        return b"".join(parts)

    def _add_links(self, parts: list[bytes], span: Slots) -> None:
        for link in span.links:
            parts.append(counted(_LINK, self._link(link)))
        if span.dropped_links:
            parts.append(_DROPPED_LINKS + varint(span.dropped_links))

    def _link(self, link: Link) -> bytes:
        context: SpanContext = link.context
        parts = [b"\x0a\x10", context.trace_id.to_bytes(16, "big"), b"\x12\x08", context.span_id.to_bytes(8, "big")]
        if link.attributes:
            self._of_links.add(parts, link.attributes)
        if link.dropped_attributes:
            parts.append(b"\x28" + varint(link.dropped_attributes))
        parts.append(b"\x35" + pack_fixed32(HAS_IS_REMOTE | IS_REMOTE if context.is_remote else HAS_IS_REMOTE))
        return b"".join(parts)

    def _status(self, status: Status) -> bytes:
        code, description = status.status_code.value, status.description
        if not code and not description:
            self._unset = status  # spans that have no status share one
            return _NO_STATUS
        text = counted(b"\x12", utf8(self.redactor.text(description))) if description else b""
        return counted(_STATUS, text + (b"\x18" + varint(code) if code else b""))
