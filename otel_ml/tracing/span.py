"""The span: the SDK's in behaviour, with attributes in a plain dictionary and everything else made when it is needed.

No lock: with a GIL, CPython changes threads at calls and backward jumps only, and between looking whether a span has
ended and the store that depends on it there is none. `LockedSpan` is for interpreters without a GIL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from types import MappingProxyType
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, SpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from otel_ml.clean_attributes import CleanAttributes, are_simple
from otel_ml.tracing import sdk_layout
from otel_ml.tracing.live_attributes import LiveAttributes
from otel_ml.tracing.shared import SharedState
from otel_ml.tracing.span_items import SpanItems

_logger = logging.getLogger("opentelemetry.sdk.trace")  # applications filter the SDK's warnings by its name


class Span(SpanItems):
    """See `opentelemetry.sdk.trace.Span`, whose constructor it has; a tracer makes it without one."""

    __slots__ = ()

    def __init__(  # noqa: PLR0917  the SDK's signature
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None = None,
        sampler: Any = None,
        trace_config: None = None,
        resource: Resource | None = None,
        attributes: Mapping[str, Any] | None = None,
        events: Sequence[Event] | None = None,
        links: Sequence[Link] = (),
        kind: SpanKind = SpanKind.INTERNAL,
        span_processor: SpanProcessor = SpanProcessor(),  # noqa: B008  the SDK's signature
        instrumentation_info: Any = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        limits: SpanLimits = sdk_layout.UNSET_LIMITS,
        instrumentation_scope: Any = None,
        *,
        record_end_metrics: Any = None,
    ) -> None:
        resource = Resource.create({}) if resource is None else resource
        shared = SharedState(resource, instrumentation_scope, instrumentation_info, limits, span_processor, sampler)
        self._begin(shared, name, context, parent, kind)
        self._record_exception = record_exception
        self._set_status_on_exception = set_status_on_exception
        self._record_end_metrics = record_end_metrics
        if attributes:
            self._put_all(attributes)
        for event in events or ():
            event._attributes = self._event_attributes(event.attributes)
            self._events.append(event)
        if links:
            self._put_links(links)

    def get_span_context(self) -> SpanContext:
        """Return the span's context, made at the first call."""
        context = self._span_context
        if context is None:
            context = self._span_context = sdk_layout.span_context(
                self._trace_id, self._span_id, self._trace_flags, self._trace_state
            )
        return context

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes; of a span that has not ended they are a live view, which other threads may change."""
        values = self._values
        if not values:
            return sdk_layout.EMPTY
        if self._bounded is not None:
            return MappingProxyType(self._bounded)
        return MappingProxyType(values if self._end_time is not None else LiveAttributes(values))

    @property
    def dropped_attributes(self) -> int:
        """Number of attributes that were not kept."""
        bounded = self._bounded
        return self._dropped if bounded is None else getattr(bounded, "dropped", 0)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute; one that was there moves to the end."""
        shared = self._shared
        values = self._values
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

    def _write_slowly(self, write: Callable[..., object], *arguments: Any) -> None:
        """Write to a container that was made before, unless the span has ended; `_settle` waits for it."""
        with self._lock_of_slow_writes():
            if self._end_time is None:
                write(*arguments)
                return
        _logger.warning("Setting attribute on ended span.")

    def update_name(self, name: str) -> None:
        """Give the span another name."""
        if self._end_time is None:
            self._name = name
        else:
            self._warn_ended("update_name")

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status, unless it is OK already or the new one is UNSET."""
        code: object = status.status_code if isinstance(status, Status) else status  # callers pass anything
        while self._end_time is None:
            old = self._status
            if old.status_code is StatusCode.OK or not isinstance(code, StatusCode) or code is StatusCode.UNSET:
                return
            new = status if isinstance(status, Status) else Status(code, description)
            if self._status is old and self._end_time is None:
                self._status = new
                break
        else:
            self._warn_ended("set_status")
            return
        if isinstance(status, Status) and description is not None:
            _logger.warning("Description %s ignored. Use either `Status` or `(StatusCode, Description)`", description)

    def start(self, start_time: int | None = None, parent_context: Context | None = None) -> None:
        """Start the span, which tells the processors; `start_time` in nanoseconds since the epoch, default now."""
        now = time_ns() if start_time is None else start_time
        if self._start_time is not None:
            _logger.warning("Calling start() on a started span.")
            return
        self._start_time = now
        self._shared.processor.on_start(self, parent_context=parent_context)

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
            shared.processor._on_ending(self)
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

    def is_recording(self) -> bool:
        """Whether the span has not ended."""
        return self._end_time is None

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


def is_atom(value: object) -> bool:
    """Return whether a value is kept as it is, but for a text that is too long."""
    kind = type(value)  # compared by identity: a class may have a hash or an equality of its own
    return kind is str or kind is int or kind is float or kind is bool or kind is bytes or value is None
