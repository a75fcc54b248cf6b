"""What a span holds, and the few methods that nearly every span needs. It is compiled where that can be done."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, TraceFlags
from opentelemetry.trace.span import TraceState

from otel_ml import conventions
from otel_ml.clean_attributes import CleanAttributes, are_simple
from otel_ml.primitives import blank
from otel_ml.tracing import sdk_layout
from otel_ml.tracing.failure_items import ERROR, EVENT, error_status, only_event
from otel_ml.tracing.sdk_layout import UNSET, span_context
from otel_ml.tracing.shared import SharedState

_logger = logging.getLogger("opentelemetry.sdk.trace")  # applications filter the SDK's warnings by its name


class SpanState:
    """The slots of a span, and its way from `start_span` to the processors.

    What few spans have is None until it is needed. `_bounded` is the SDK's mapping of attributes, once somebody has
    asked for it; from then on it takes all writes.
    """

    __slots__ = (
        "_bounded",
        "_dropped",
        "_end_time",
        "_event_list",
        "_kind",
        "_link_list",
        "_name",
        "_parent",
        "_record_end_metrics",
        "_record_exception",
        "_record_id",
        "_sampled",
        "_set_status_on_exception",
        "_shared",
        "_slow_lock",
        "_span_context",
        "_span_id",
        "_start_time",
        "_status",
        "_trace_flags",
        "_trace_id",
        "_trace_state",
        "_values",
    )

    _bounded: Any
    _dropped: int
    _end_time: int | None
    _event_list: Any
    _kind: SpanKind
    _link_list: Any
    _name: str
    _parent: SpanContext | None
    _record_end_metrics: Any
    _record_exception: bool
    _record_id: str | None
    _sampled: bool
    _set_status_on_exception: bool
    _shared: SharedState
    _slow_lock: Any
    _span_context: SpanContext | None
    _span_id: int
    _start_time: int | None
    _status: Status
    _trace_flags: TraceFlags
    _trace_id: int
    _trace_state: TraceState | None
    _values: dict[str, Any] | None

    def get_span_context(self) -> SpanContext:
        """Return the span's context, made at the first call."""
        if self._span_context is None:
            self._span_context = span_context(self._trace_id, self._span_id, self._trace_flags, self._trace_state)
        return self._span_context

    def is_recording(self) -> bool:
        """Whether the span has not ended."""
        return self._end_time is None

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute; one that was there moves to the end."""
        shared = self._shared
        values = self._values
        if type(values) is CleanAttributes:
            values = self._own_values()
        has_room = shared.max_attributes > (0 if values is None else len(values))
        simple = has_room and type(key) is str and key
        must_clean = simple and (shared.max_length is not None or not is_atom(value))
        if must_clean and self._bounded is None and self._end_time is None:  # the slow way cleans too; twice is wrong
            value = sdk_layout.clean_value(value, shared.max_length)
        # No call from here to the store.
        if self._end_time is not None:
            _logger.warning("Setting attribute on ended span.")
        elif simple and self._bounded is None:
            values = self._values
            if values is None:
                self._values = {key: value}
            else:
                if key in values:
                    del values[key]
                values[key] = value
        else:
            self._write_slowly(self._attributes.__setitem__, key, value)

    def put_record_id(self, record_id: str) -> None:
        """Set the id of an audit record, beside attributes that are shared with other spans as long as nothing else is.

        Args:
            record_id: A UUID, another one each time.
        """
        values = self._values
        if (
            type(values) is CleanAttributes
            and len(values) < self._shared.max_attributes
            and self._bounded is None
            and self._slow_lock is None
            and self._end_time is None
        ):
            self._record_id = record_id
        else:
            self.set_attribute(conventions.AUDIT_RECORD_ID, record_id)

    def put_failure(self, description: str, values: dict[str, Any]) -> None:
        """Set the status ERROR and add the event of an exception, as `set_status` and `add_event` do.

        Args:
            description: Of the status.
            values: Of the event: clean attributes, which nobody else keeps.
        """
        shared = self._shared
        if len(values) <= shared.room_in_event:
            status = error_status(description)
            events = only_event(shared.limits, values)
            # No call from here to the store.
            if (
                self._status is UNSET
                and self._event_list is None
                and self._slow_lock is None
                and self._end_time is None
            ):
                self._status = status
                self._event_list = events
                return
        span: Any = self  # it is one of the SDK's, by its sub-class
        span.set_status(ERROR, description)
        span.add_event(EVENT, CleanAttributes(values))

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes."""
        if self._end_time is not None:
            _logger.warning("Setting attribute on ended span.")
            return
        self._put_all(attributes)

    def _put_all(self, attributes: Mapping[str, Any]) -> None:
        shared, old = self._shared, self._values
        room = shared.max_attributes - (len(old) if old else 0)
        fits = shared.max_length is None and len(attributes) <= room
        if fits and (type(attributes) is CleanAttributes or are_simple(attributes)):
            new = dict(attributes)
            if self._values is None and self._bounded is None and self._end_time is None:
                self._values = new
                return
            if self._bounded is None:
                for key, value in new.items():
                    self.set_attribute(key, value)
                return
        self._write_slowly(self._attributes._set_items, attributes)

    def _own_values(self) -> dict[str, Any]:
        """Return the attributes' dictionary, which no other span has: a decorator's are shared until then."""
        values = self._values
        if values is None or type(values) is CleanAttributes:
            own: dict[str, Any] = {} if values is None else {**values}
            if self._record_id is not None:
                own[conventions.AUDIT_RECORD_ID] = self._record_id
            if self._values is values:  # no call to the store: so of two threads one wins
                self._values = own
            return self._values  # type: ignore[return-value]  # one of the two
        return values

    def _write_slowly(self, write: Callable[..., object], *arguments: Any) -> None:
        """Write to a container that was made before, unless the span has ended; `_settle` waits for it."""
        with self._lock_of_slow_writes():
            if self._end_time is None:
                write(*arguments)
                return
        _logger.warning("Setting attribute on ended span.")

    def end(self, end_time: int | None = None) -> None:
        """End the span, which tells the processors; `end_time` in nanoseconds since the epoch, default now."""
        if end_time is None:
            end_time = time_ns()
        if self._start_time is None:
            raise RuntimeError("Calling end() on a not started span.")
        if self._end_time is not None:
            _logger.warning("Calling end() on an ended span.")
            return
        self._end_time = end_time
        shared = self._shared
        switch = shared.switch
        if (
            switch is None
            or shared.watched._span_processors is not shared.known
            or self._slow_lock is not None
            or self._bounded is not None
            or self._record_end_metrics is not None
        ):
            self._tell_end()
        else:  # most spans; the call is spared
            for emit in switch.emitters:
                emit(self)

    def _tell_end(self) -> None:
        if self._slow_lock is not None or self._bounded is not None:
            self._settle()
        if self._record_end_metrics is not None:
            self._record_end_metrics()
        shared = self._shared
        if shared.watched._span_processors is not shared.known:
            shared.route()
        switch = shared.switch
        if switch is not None:
            for emit in switch.emitters:
                emit(self)
        else:
            span: Any = self  # it is one of the SDK's, by its sub-class
            shared.processor._on_ending(span)
            shared.processor.on_end(self._readable_span())

    def _settle(self) -> None:
        """Wait for writers that came before the end, and have the SDK's attributes refuse later ones.

        A writer makes the lock before it looks whether the span has ended, `end` sets the time before it looks for the
        lock: so one of the two sees the other.
        """
        with self._lock_of_slow_writes():
            bounded = self._bounded
            if isinstance(bounded, BoundedAttributes):
                sdk_layout.freeze(bounded)
                self._values, self._dropped = sdk_layout.values_of(bounded), bounded.dropped

    def _lock_of_slow_writes(self) -> Any:
        """Return the lock of the few writes that need more than one store, made at the first of them.

        One a span, as the SDK has it: under it run the caller's `__str__` and, for warnings, log handlers. Re-entrant,
        for these may write to the span too.
        """
        if self._slow_lock is None:
            made = threading.RLock()
            if self._slow_lock is None:
                self._slow_lock = made
        return self._slow_lock

    def _readable_span(self) -> ReadableSpan:
        """Return what processors get: a copy of its own state that shares attributes, events and links."""
        shared = self._shared
        return ReadableSpan(
            name=self._name,
            context=self.get_span_context(),
            parent=self._parent,
            resource=shared.resource,
            attributes=self._attributes,  # never one that spans share: processors are known to write to `_dict`
            events=() if self._event_list is None else self._event_list,
            links=() if self._link_list is None else self._link_list,
            kind=self._kind,
            status=self._status,
            start_time=self._start_time,
            end_time=self._end_time,
            instrumentation_info=shared.info,
            instrumentation_scope=shared.scope,
        )

    @property
    def _attributes(self) -> Any:
        # Made before it looks again and stores: so of two threads one wins.
        if self._bounded is None:
            self._own_values()
            limits, ended = self._shared.limits, self._end_time is not None
            made = sdk_layout.bounded(
                self._values, self._dropped, limits.max_span_attributes, limits.max_span_attribute_length,
                immutable=ended,
            )  # fmt: skip
            if self._bounded is None:
                self._bounded = made
        return self._bounded

    @_attributes.setter
    def _attributes(self, attributes: Any) -> None:
        self._values = (
            sdk_layout.values_of(attributes) if isinstance(attributes, BoundedAttributes) else dict(attributes)
        )
        self._bounded = attributes


def is_atom(value: object) -> bool:
    """Return whether a value is kept as it is, but for a text that is too long."""
    kind = type(value)  # compared by identity: a class may have a hash or an equality of its own
    return kind is str or kind is int or kind is float or kind is bool or kind is bytes or value is None


def begun(  # noqa: PLR0917  on the way of each span, all of them always given
    kind_of_span: type[SpanState],
    shared: SharedState,
    name: str,
    kind: SpanKind,
    trace_id: int,
    span_id: int,
    flags: TraceFlags,
    state: TraceState | None,
    parent: SpanContext | None,
    record_exception: bool,
    set_status_on_exception: bool,
) -> SpanState:
    """Return a span that has everything but attributes, links and its start."""
    span: SpanState = blank(kind_of_span)
    span._shared = shared
    span._name = name
    span._kind = kind
    span._trace_id = trace_id
    span._span_id = span_id
    span._trace_flags = flags
    span._trace_state = state
    span._parent = parent
    span._record_exception = record_exception
    span._set_status_on_exception = set_status_on_exception
    span._sampled = True
    span._dropped = 0
    span._status = UNSET
    span._span_context = span._start_time = span._end_time = span._values = span._bounded = None
    span._event_list = span._link_list = span._record_end_metrics = span._record_id = span._slow_lock = None
    return span
