"""The private names of the SDK and the API that the tracer builds on; each is looked at once, with a public way beside.

`tests/tracing/test_sdk_layout.py` tells when a release changes one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes, _clean_attribute_value
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace import SpanProcessor, sampling
from opentelemetry.sdk.trace._tracer_metrics import NoOpTracerMetrics
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import DEFAULT_TRACE_STATE, TraceState

is_valid_link = sdk._is_valid_link
UNSET_LIMITS: Final = sdk._UnsetLimits
FLAGS: Final = tuple(TraceFlags(value) for value in range(4))
"""Trace flags by number: bit 0 is sampled, bit 1 a random trace id."""

_new_tuple = tuple.__new__
_PROBE = SpanContext(5, 6, is_remote=False, trace_flags=FLAGS[3], trace_state=DEFAULT_TRACE_STATE)
_IS_KNOWN_TUPLE = tuple(_PROBE) == (5, 6, False, 3, DEFAULT_TRACE_STATE, True)


def clean_value(value: Any, max_length: int | None) -> Any:
    """Return an attribute's value as the SDK keeps it: sequences as tuples, unknown objects as text."""
    return _clean_attribute_value(value, max_length)


def span_context(trace_id: int, span_id: int, flags: TraceFlags, state: TraceState | None) -> SpanContext:
    """Return the context of a span of this process whose ids are known to be valid."""
    if _IS_KNOWN_TUPLE:  # spares 0.3 us of checks
        return _new_tuple(SpanContext, (trace_id, span_id, False, flags, state or DEFAULT_TRACE_STATE, True))
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags, trace_state=state)


def bounded(
    values: dict[str, Any] | None, dropped: int, limit: int | None, max_length: int | None, *, immutable: bool
) -> BoundedAttributes:
    """Return the SDK's attributes around values that are clean already; what is written to one is seen in the other.

    Args:
        values: Clean attributes.
        dropped: How many were dropped before.
        limit: Largest number of attributes; None: any.
        max_length: Longest text; None: any.
        immutable: Whether writing raises `TypeError`.
    """
    attributes = BoundedAttributes(limit, None, immutable=False, max_value_len=max_length)
    attributes._dict = {} if values is None else values
    attributes.dropped = dropped
    attributes._immutable = immutable
    return attributes


def values_of(attributes: Any) -> dict[str, Any]:
    """Return the dictionary inside the SDK's attributes."""
    inner: dict[str, Any] = attributes._dict
    return inner


def freeze(attributes: Any) -> None:
    """Have the SDK's attributes refuse writes from now on."""
    attributes._immutable = True


def processors_in(processor: SpanProcessor) -> tuple[SpanProcessor, ...] | None:
    """Return the processors that a synchronous multi-processor calls; None for any other kind."""
    kind = type(processor)
    # By name: the class is another one after somebody reloaded the SDK's module.
    if (kind.__module__, kind.__qualname__) != ("opentelemetry.sdk.trace", "SynchronousMultiSpanProcessor"):
        return None
    found = getattr(processor, "_span_processors", None)
    return found if isinstance(found, tuple) else None


def counts_spans(tracer: Any) -> bool:
    """Whether a tracer feeds the SDK's metrics about itself; True when that cannot be told."""
    metrics = getattr(tracer, "_tracer_metrics", None)
    return type(metrics).__qualname__ != NoOpTracerMetrics.__qualname__


def is_enabled(tracer: Any) -> bool:
    """Whether a tracer was not switched off by its provider's configurator."""
    return bool(tracer._is_enabled())


_STATIC: Final = (sampling.StaticSampler, sampling._AlwaysOn, sampling._AlwaysOff)
_PARENT_BASED: Final = (
    sampling.ParentBased,
    sampling.ParentBasedTraceIdRatio,
    sampling._ParentBasedAlwaysOn,
    sampling._ParentBasedAlwaysOff,
)
_DELEGATES: Final = (
    "_root",
    "_local_parent_not_sampled",
    "_local_parent_sampled",
    "_remote_parent_not_sampled",
    "_remote_parent_sampled",
)


def static_decision(sampler: object) -> sampling.Decision | None:
    """Return what a sampler decides each time; None when it is not one of those."""
    if type(sampler) not in _STATIC:
        return None
    found = getattr(sampler, "_decision", None)
    return found if isinstance(found, sampling.Decision) else None


def delegates(sampler: object) -> tuple[object, ...] | None:
    """Return what a parent-based sampler asks: root, local not sampled and sampled, remote not sampled and sampled.

    None for any other sampler, and for a sub-class that may decide otherwise.
    """
    if type(sampler) not in _PARENT_BASED:
        return None
    found = tuple(getattr(sampler, name, None) for name in _DELEGATES)
    return None if None in found else found


UNSET: Final = Status(StatusCode.UNSET)
"""The status of spans that were given none: one object for all."""

NOTHING: Final = BoundedAttributes(immutable=True)
"""What a span without attributes shows of them to processors."""

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})
"""The same for readers of `attributes`."""
