"""The SDK's private names are what the tracer takes them for; a release that changes one is found here."""

from __future__ import annotations

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import (
    ConcurrentMultiSpanProcessor,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    ParentBased,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanContext
from opentelemetry.trace.span import TraceState

from otel_ml.tracing import sdk_layout
from otel_ml.tracing.sampling import bounds_of
from otel_ml.tracing.switch import SwitchProcessor


def test_a_context_made_the_short_way_equals_one_that_was_constructed() -> None:
    """All six fields, with and without a trace state, and the short way is the one in use."""
    assert sdk_layout._IS_KNOWN_TUPLE
    state = TraceState([("vendor", "x")])
    for given in (None, state):
        made = sdk_layout.span_context(2**127 + 1, 2**63 + 1, sdk_layout.FLAGS[3], given)
        assert made == SpanContext(2**127 + 1, 2**63 + 1, False, sdk_layout.FLAGS[3], given)
        assert made.is_valid and not made.is_remote and made.trace_flags.sampled
        assert type(made) is SpanContext and dict(made.trace_state) == dict(given or {})


def test_bounded_attributes_share_their_values() -> None:
    """What is written to the SDK's mapping stands in the dictionary, within the limit, until it is frozen."""
    values = {"a": 1}
    attributes = sdk_layout.bounded(values, 5, 2, 3, immutable=False)
    attributes["text"] = "long text"
    assert values == {"a": 1, "text": "lon"}
    assert sdk_layout.values_of(attributes) is values
    attributes["c"] = 3
    assert (list(values), attributes.dropped) == (["text", "c"], 6)
    sdk_layout.freeze(attributes)
    with pytest.raises(TypeError):
        attributes["d"] = 4
    assert isinstance(sdk_layout.NOTHING, BoundedAttributes) and len(sdk_layout.NOTHING) == 0


def test_the_processors_of_a_provider_are_seen() -> None:
    """Those of the synchronous kind as a tuple that is another one after each addition; of other kinds nothing."""
    several = SynchronousMultiSpanProcessor()
    assert sdk_layout.processors_in(several) == ()
    one = SwitchProcessor()
    several.add_span_processor(one)
    assert sdk_layout.processors_in(several) == (one,)
    assert sdk_layout.processors_in(ConcurrentMultiSpanProcessor()) is None
    assert sdk_layout.processors_in(SpanProcessor()) is None


def test_a_tracer_of_the_sdk_neither_counts_nor_is_off_by_default() -> None:
    """Else every span would take the long way."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
    assert not sdk_layout.counts_spans(tracer)
    assert sdk_layout.is_enabled(tracer)


class _Ratio(TraceIdRatioBased):
    """An application's sub-class, which may decide by anything."""


@pytest.mark.parametrize(
    ("sampler", "bounds"),
    [
        (ALWAYS_ON, (2**64,) * 5),
        (ALWAYS_OFF, (0,) * 5),
        (TraceIdRatioBased(0.5), (2**63,) * 5),
        (DEFAULT_ON, (2**64, 0, 2**64, 0, 2**64)),
        (DEFAULT_OFF, (0, 0, 2**64, 0, 2**64)),
        (ParentBasedTraceIdRatio(0.25), (2**62, 0, 2**64, 0, 2**64)),
        (
            ParentBased(ALWAYS_OFF, remote_parent_sampled=TraceIdRatioBased(0.5), local_parent_not_sampled=ALWAYS_ON),
            (0, 2**64, 2**64, 0, 2**63),
        ),
        (_Ratio(0.5), None),
        (ParentBased(_Ratio(0.5)), None),
    ],
)
def test_samplers_of_the_sdk_become_bounds(sampler: Sampler, bounds: tuple[int, ...] | None) -> None:
    """Root, local parent not sampled and sampled, remote parent not sampled and sampled."""
    assert bounds_of(sampler) == bounds


def test_the_static_decisions_are_known() -> None:
    """Also those that the environment variable `OTEL_TRACES_SAMPLER` makes."""
    from opentelemetry.sdk.trace import sampling

    assert sdk_layout.static_decision(sampling._AlwaysOn(None)) is Decision.RECORD_AND_SAMPLE
    assert sdk_layout.static_decision(sampling._AlwaysOff(None)) is Decision.DROP
    assert bounds_of(sampling._ParentBasedAlwaysOn(None)) == bounds_of(DEFAULT_ON)
