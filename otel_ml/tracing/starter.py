"""The start of a span: decides, draws ids and fills the slots of a span. It is compiled where that can be done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from otel_ml.clean_attributes import CleanAttributes
from otel_ml.current_span import SPAN_KEY, get_context
from otel_ml.instruments import SpanStarter
from otel_ml.primitives import item, plain_tuple
from otel_ml.tracing.random_ids import span_id as new_span_id
from otel_ml.tracing.random_ids import trace_id as new_trace_id
from otel_ml.tracing.sampling import ALWAYS, TRACE_ID_MASK, Bounds
from otel_ml.tracing.sdk_layout import FLAGS
from otel_ml.tracing.shared import SharedState
from otel_ml.tracing.span import Span
from otel_ml.tracing.span_state import begun
from otel_ml.tracing.unsampled_span import drawn, unsampled
from otel_ml.tracing.unsampled_state import is_below

_RANDOM: Final[int] = TraceFlags.RANDOM_TRACE_ID


class Starter(SpanStarter):
    """What a tracer compiles itself to.

    Args:
        ask: Starts a span as the SDK does.
    """

    __slots__ = ("ask", "bounds", "locks", "shared")

    shared: SharedState
    bounds: Bounds | None
    span_class: type[Span]
    ask: Callable[..., trace.Span]
    locks: bool

    def __init__(self, ask: Callable[..., trace.Span]) -> None:
        self.ask = ask

    def compile(self, shared: SharedState, bounds: Bounds | None, span_class: type[Span]) -> None:
        """Start spans in this way from now on.

        Args:
            shared: What the tracer's spans have in common.
            bounds: How its sampler decides; None: the sampler has to be asked, or ids are not ours to draw.
            span_class: The class of its spans.
        """
        self.shared = shared
        self.locks = span_class.has_lock
        self.span_class = span_class
        self.bounds = bounds

    def start(  # noqa: PLR0912, PLR0917  the SDK's signature; in one piece, for where it is not compiled a call costs 60 ns
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: Mapping[str, Any] | None,
        links: Sequence[Link] | None,
        start_time: int | None,
        record_exception: bool,
        set_status_on_exception: bool,
    ) -> trace.Span:
        """Start a span; the arguments are those of `Tracer.start_span`."""
        bounds = self.bounds
        if bounds is None:
            return self.ask(
                name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
            )
        parent: Any = item(get_context() if context is None else context, SPAN_KEY)
        parent_context: Any = None if parent is None else self._context_of(parent)
        known = () if parent_context is None else plain_tuple(parent_context)
        if not known or not known[5]:
            parent_context = None
            flags, state, bound = _RANDOM, None, bounds[0]
            if bound is ALWAYS:
                trace_id, span_id = new_trace_id(), new_span_id()
            else:
                root = drawn(FLAGS[flags])
                if not is_below(root, bound):
                    return root
                trace_id, span_id = root._trace_id, root._span_id
        else:
            trace_id, _, remote, parent_flags, state, _ = known
            flags = parent_flags & _RANDOM
            bound = bounds[(3 if remote else 1) + (parent_flags & 1)]
            span_id = new_span_id()
            if bound is not ALWAYS and bound <= trace_id & TRACE_ID_MASK:
                return unsampled(trace_id, span_id, FLAGS[flags], state)
        shared = self.shared
        span: Any = begun(
            self.span_class, shared, name, kind, trace_id, span_id, FLAGS[flags | 1], state, parent_context,
            record_exception, set_status_on_exception,
        )  # fmt: skip
        if self.locks:
            span._slow_lock = threading.RLock()
        if type(attributes) is CleanAttributes and len(attributes) <= shared.room_for_clean:
            span._values = attributes  # shared, until somebody writes to it
        elif attributes:
            span._put_all(attributes)
        if links:
            span._put_links(links)
        span._start_time = time_ns() if start_time is None else start_time
        if shared.watched._span_processors is not shared.known:
            shared.route()
        if shared.switch is not None:
            for start in shared.switch.starters:
                start(span, context)
        else:
            shared.processor.on_start(span, parent_context=context)
        return span  # type: ignore[no-any-return]

    def _context_of(self, parent: Any) -> SpanContext | None:
        if type(parent) is self.span_class:  # spares the look whether it is a span
            own = parent  # of a known type where this is compiled
            return own._span_context or own.get_span_context()
        context = parent.get_span_context() if isinstance(parent, trace.Span) else None
        if context is not None and not isinstance(context, SpanContext):
            raise TypeError("parent_span_context must be a SpanContext or None.")
        return context
