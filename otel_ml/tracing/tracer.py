"""The tracer: the SDK's, compiled to a `Starter` for all but the rare cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from otel_ml.primitives import blank
from otel_ml.tracing import random_ids, sdk_layout
from otel_ml.tracing.active_span import ActiveSpan
from otel_ml.tracing.locked_span import CONCRETE
from otel_ml.tracing.sampling import bounds_of
from otel_ml.tracing.sdk_layout import FLAGS
from otel_ml.tracing.shared import SharedState
from otel_ml.tracing.span import Span
from otel_ml.tracing.starter import Starter

_INTERNAL: Final = SpanKind.INTERNAL
_RANDOM: Final[int] = TraceFlags.RANDOM_TRACE_ID
_WATCHED: Final = frozenset(
    {
        "_instrumentation_scope",
        "_span_limits",
        "_tracer_config",
        "_tracer_metrics",
        "id_generator",
        "resource",
        "sampler",
        "span_class",
        "span_processor",
    }
)


class Tracer(sdk.Tracer):
    """See `opentelemetry.sdk.trace.Tracer`; made from one by `adopt`.

    What of it spans need is compiled, and compiled anew when one of its attributes is set.
    """

    span_class: type[Span] = CONCRETE
    _shared: SharedState
    starter: Starter

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._compile()

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        if name in _WATCHED and "_shared" in self.__dict__:
            self._compile()

    def _compile(self) -> None:
        state = self.__dict__
        shared = state["_shared"] = SharedState(
            self.resource,
            self._instrumentation_scope,
            self.instrumentation_info,
            self._span_limits,
            self.span_processor,
            self.sampler,
        )
        asked_each_time = (
            type(self.id_generator) is not RandomIdGenerator
            or sdk_layout.counts_spans(self)
            or not sdk_layout.is_enabled(self)
        )
        if "starter" not in state:
            state["starter"] = Starter(MethodType(Tracer._ask_and_start, self))
        span_class = getattr(self, "span_class", CONCRETE)  # the SDK's tracer, while it is adopted, has none
        state["starter"].compile(shared, None if asked_each_time else bounds_of(self.sampler), span_class)

    def start_as_current_span(  # type: ignore[override]  # noqa: PLR0917  the SDK's signature
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = _INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> ActiveSpan:
        """Return a context manager, and decorator of functions and coroutines, around a span that is current in it."""
        return ActiveSpan(
            self, name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception,
            end_on_exit,
        )  # fmt: skip

    def start_span(  # noqa: PLR0917  the SDK's signature
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = _INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Start a span; `context` is where its parent is, default the current one."""
        return self.starter.start(
            name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        )

    def _ask_and_start(  # noqa: PLR0917  those of `start_span`
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
        """Start a span as the SDK does: with a sampler or ids to be asked for, with metrics, or switched off."""
        links = links or ()
        parent: SpanContext | None = trace.get_current_span(context).get_span_context()
        if parent is not None and not isinstance(parent, SpanContext):
            raise TypeError("parent_span_context must be a SpanContext or None.")
        if not sdk_layout.is_enabled(self):
            return NonRecordingSpan(parent)  # type: ignore[arg-type]  # as the SDK does, which gives it None too
        draws_ids = type(self.id_generator) is RandomIdGenerator
        if parent is None or not parent.is_valid:
            parent = None
            trace_id = random_ids.trace_id() if draws_ids else self.id_generator.generate_trace_id()
        else:
            trace_id = parent.trace_id
        result = self.sampler.should_sample(context, trace_id, name, kind, attributes, links)
        random = self.id_generator.is_trace_id_random() if parent is None else parent.trace_flags.random_trace_id
        sampled, recording = result.decision.is_sampled(), result.decision.is_recording()  # type: ignore[no-untyped-call]
        flags = FLAGS[(1 if sampled else 0) | (_RANDOM if random else 0)]
        span_id = random_ids.span_id() if draws_ids else self.id_generator.generate_span_id()
        span_context = SpanContext(
            trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=result.trace_state
        )
        record_end_metrics = self._tracer_metrics.start_span(parent, result.decision)
        if not recording:
            return NonRecordingSpan(context=span_context)
        span: Span = blank(self.span_class)
        span._begin(self._shared, name, span_context, parent, kind)
        span._record_exception, span._set_status_on_exception = record_exception, set_status_on_exception
        span._record_end_metrics = record_end_metrics
        if result.attributes:
            span._put_all(result.attributes)
        if links:
            span._put_links(links)
        span.start(start_time=start_time, parent_context=context)
        return span


def adopt(tracer: sdk.Tracer) -> bool:
    """Turn a tracer of the SDK into ours, in place: whoever holds it has a fast one. False for a sub-class of it."""
    kind = type(tracer)
    if kind is Tracer:
        return True
    # By name: the class is another one after somebody reloaded the SDK's module.
    if (kind.__module__, kind.__qualname__) != ("opentelemetry.sdk.trace", "Tracer"):
        return False
    # Compiled before, because other threads may use it from the moment that it is one of ours; and once more, for what
    # was set in between.
    Tracer._compile(tracer)  # type: ignore[arg-type]
    tracer.__class__ = Tracer
    tracer._compile()  # type: ignore[attr-defined]
    return True
