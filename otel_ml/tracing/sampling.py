"""Samplers that can be asked once: those whose decision is a comparison of the trace id with a bound."""

from __future__ import annotations

from typing import Final

from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from otel_ml.tracing import sdk_layout

TRACE_ID_MASK: Final = (1 << 64) - 1
"""The bits of a trace id that the ratio sampler looks at (`TraceIdRatioBased.TRACE_ID_LIMIT`)."""

ALWAYS: Final = TRACE_ID_MASK + 1
"""The bound below which all trace ids are, this very object: for most spans, there is nothing to compare."""

_NEVER: Final = 0

Bounds = tuple[int, int, int, int, int]
"""A span is sampled when `trace_id & TRACE_ID_MASK` is below the bound for its parent: none, local not sampled, local
sampled, remote not sampled, remote sampled."""


def bounds_of(sampler: object) -> Bounds | None:
    """Return the bounds that decide as a sampler does; None when it has to be asked for each span.

    Only samplers of the SDK whose class is exactly known have bounds: a sub-class may decide by anything.
    """
    asked = sdk_layout.delegates(sampler) or (sampler,) * 5
    root, local_off, local_on, remote_off, remote_on = (_bound(each) for each in asked)
    if root is None or local_off is None or local_on is None or remote_off is None or remote_on is None:
        return None
    return root, local_off, local_on, remote_off, remote_on


def _bound(sampler: object) -> int | None:
    if type(sampler) is TraceIdRatioBased:
        return sampler.bound
    decision = sdk_layout.static_decision(sampler)
    if decision is Decision.RECORD_AND_SAMPLE:
        return ALWAYS
    return _NEVER if decision is Decision.DROP else None
