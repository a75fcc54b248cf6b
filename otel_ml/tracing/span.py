"""The span: the SDK's in behaviour, with attributes in a plain dictionary and everything else made when it is needed.

No lock: with a GIL, CPython changes threads at calls and backward jumps only, and between looking whether a span has
ended and the store that depends on it there is none. `LockedSpan` is for interpreters without a GIL.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from time import time_ns
from types import MappingProxyType
from typing import Any, ClassVar

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, SpanLimits, SpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from otel_ml.tracing import sdk_layout
from otel_ml.tracing.live_attributes import LiveAttributes
from otel_ml.tracing.shared import SharedState
from otel_ml.tracing.span_items import SpanItems

_logger = logging.getLogger("opentelemetry.sdk.trace")  # applications filter the SDK's warnings by its name


class Span(SpanItems):
    """See `opentelemetry.sdk.trace.Span`, whose constructor it has; a tracer makes it without one."""

    __slots__ = ()

    has_lock: ClassVar[bool] = False
    """Whether a span gets its lock when it starts, and not when it first needs one."""

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

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes; of a span that has not ended they are a live view, which other threads may change."""
        values = self._values
        if not values:
            return sdk_layout.EMPTY
        if self._bounded is not None:
            return MappingProxyType(self._bounded)
        if self._record_id is None and self._end_time is not None:
            return MappingProxyType(values)
        own = self._own_values()
        return MappingProxyType(own if self._end_time is not None else LiveAttributes(own))

    @property
    def dropped_attributes(self) -> int:
        """Number of attributes that were not kept."""
        bounded = self._bounded
        return self._dropped if bounded is None else getattr(bounded, "dropped", 0)

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
