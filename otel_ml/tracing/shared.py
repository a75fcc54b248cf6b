"""What all spans of a tracer have in common, looked up once."""

from __future__ import annotations

import sys
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml.tracing import sdk_layout
from otel_ml.tracing.failure_items import room_for_event
from otel_ml.tracing.switch import NOBODY, SwitchProcessor


class SharedState:
    """What a span needs of its tracer; replaced as a whole when the tracer changes, after a fork for example.

    Args:
        resource: What the spans are about.
        scope: Who makes them.
        info: The scope in the SDK's older form.
        limits: Of attributes, events and links.
        processor: The provider's active one.
        sampler: The tracer's.
    """

    __slots__ = (
        "info",
        "known",
        "limits",
        "max_attributes",
        "max_length",
        "processor",
        "resource",
        "room_for_clean",
        "room_in_event",
        "sampler",
        "scope",
        "switch",
        "watched",
    )

    switch: SwitchProcessor | None
    known: tuple[SpanProcessor, ...]

    def __init__(  # noqa: PLR0917  on the way of each tracer, all of them always given
        self,
        resource: Resource,
        scope: InstrumentationScope | None,
        info: Any,
        limits: SpanLimits,
        processor: SpanProcessor,
        sampler: Any,
    ) -> None:
        self.resource = resource
        self.scope = scope
        self.info = info
        self.limits = limits
        self.processor = processor
        self.sampler = sampler
        limit = limits.max_span_attributes
        self.max_attributes = sys.maxsize if limit is None else limit
        self.max_length = limits.max_span_attribute_length
        self.room_for_clean = self.max_attributes if self.max_length is None else 0
        self.room_in_event = room_for_event(limits)
        self.watched: Any = processor if sdk_layout.processors_in(processor) is not None else _UNWATCHED
        self.route()

    def route(self) -> None:
        """Find out who is told of spans. Spans have it done again when the tuple of processors is another one.

        `switch` is set when nobody but our own processor, or nobody at all, listens: then its functions are called
        with the span itself. Others get what the SDK gives them, by the SDK's own way.
        """
        known = self.known = self.watched._span_processors
        if self.watched is _UNWATCHED or len(known) > 1:
            self.switch = None
        elif not known:
            self.switch = NOBODY
        else:
            self.switch = known[0] if type(known[0]) is SwitchProcessor else None


class _Unwatched:
    """Stands for a processor that is no tuple of others: there is nothing whose change would have to be seen."""

    _span_processors: tuple[SpanProcessor, ...] = ()


_UNWATCHED = _Unwatched()
