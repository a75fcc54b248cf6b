"""Hypothesis strategies that draw spans, log records and metrics of every shape that the SDK can hold."""

from __future__ import annotations

import copy
import math

from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Buckets as ExponentialBuckets
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
int64 = st.integers(-(2**63), 2**63 - 1)
uint64 = st.integers(0, 2**64 - 1)
uint32 = st.integers(0, 2**32 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
floats = st.floats(allow_nan=False) | st.just(math.nan)  # JSON has one NaN where a double has many
scalars = st.none() | st.booleans() | int64 | floats | text | st.binary(max_size=12)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def attributes(draw, values=values):
    """Attributes as the SDK keeps them, some less a few that were dropped."""
    kept = BoundedAttributes(attributes=draw(st.dictionaries(keys, values, max_size=5)))
    kept.dropped = draw(st.sampled_from([0, 0, 3]))
    return kept


# A Resource of the SDK cannot be hashed with bytes inside, so the official encoder cannot take one.
resources = st.builds(
    Resource,
    st.dictionaries(keys, st.booleans() | int64 | floats.filter(lambda x: x == x) | text, max_size=3),
    text,
)
scopes = st.builds(InstrumentationScope, text, st.none() | text, st.none() | text, attributes())
trace_states = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True), st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True), max_size=3
).map(lambda items: TraceState(list(items.items())))
trace_ids = st.integers(1, 2**128 - 1)
span_ids = st.integers(1, 2**64 - 1)
contexts = st.builds(
    SpanContext, trace_ids, span_ids, st.booleans(), st.sampled_from([TraceFlags(0), TraceFlags(1)]), trace_states
)
events = st.builds(Event, text, attributes(), uint64)
links = st.builds(Link, contexts, attributes())
statuses = st.one_of(
    st.just(Status(StatusCode.UNSET)),
    st.just(Status(StatusCode.OK)),
    st.builds(Status, st.just(StatusCode.ERROR), text),
)


@st.composite
def bounded(draw, items):
    """A list of the SDK, some with a bound that dropped a few."""
    drawn = draw(st.lists(items, max_size=3))
    if not draw(st.booleans()):
        return drawn
    kept = BoundedList(2)
    kept.extend(drawn)
    return kept


span_fields = st.fixed_dictionaries(
    {
        "name": text,
        "context": contexts,
        "parent": st.none() | contexts,
        "attributes": attributes(),
        "events": bounded(events),
        "links": bounded(links),
        "kind": st.sampled_from(SpanKind),
        "status": statuses,
        "start_time": st.none() | uint64,
        "end_time": st.none() | uint64,
    }
)
log_fields = st.fixed_dictionaries(
    {
        "timestamp": st.none() | uint64,
        "observed_timestamp": uint64,
        "context": (st.none() | contexts).map(
            lambda own: trace.set_span_in_context(trace.INVALID_SPAN if own is None else trace.NonRecordingSpan(own))
        ),
        "severity_text": st.none() | text,
        "severity_number": st.none() | st.sampled_from(SeverityNumber),
        "body": values,
        "attributes": st.none() | attributes(),
        "event_name": st.none() | text,
    }
)
few_resources = st.lists(resources, min_size=1, max_size=2)
few_scopes = st.lists(st.none() | scopes, min_size=1, max_size=2)
places = st.tuples(st.integers(0, 3), st.integers(0, 3))


@st.composite
def batches(draw, fields, build):
    """Records that share a few resources and scopes, which also come as equal copies."""
    about, by = draw(few_resources), draw(few_scopes)
    about += [Resource(item.attributes, item.schema_url) for item in about]
    by += [copy.deepcopy(item) for item in by]
    drawn = draw(st.lists(st.tuples(fields, places), max_size=5))
    return [build(record, about[i % len(about)], by[j % len(by)]) for record, (i, j) in drawn]


span_batches = batches(
    span_fields, lambda record, about, by: ReadableSpan(**record, resource=about, instrumentation_scope=by)
)
log_batches = batches(log_fields, lambda record, about, by: ReadableLogRecord(LogRecord(**record), about, by))
temporalities = st.sampled_from(AggregationTemporality)
numbers = int64 | floats
exemplars = st.lists(
    st.one_of(
        st.builds(Exemplar, attributes(), numbers, uint64),
        st.builds(Exemplar, attributes(), numbers, uint64, span_ids, trace_ids),
    ),
    max_size=2,
)
number_points = st.lists(st.builds(NumberDataPoint, attributes(), uint64, uint64, numbers, exemplars), max_size=3)
counts = st.lists(uint64, max_size=4)
histogram_points = st.lists(
    st.builds(
        HistogramDataPoint, attributes(), uint64, uint64, uint64, numbers, counts, st.lists(floats, max_size=3), floats,
        floats, exemplars,
    ),
    max_size=3,
)  # fmt: skip
buckets = st.builds(ExponentialBuckets, int32, counts)
exponential_points = st.lists(
    st.builds(
        ExponentialHistogramDataPoint, attributes(), uint64, uint64, uint64, numbers, int32, uint64, buckets, buckets,
        uint32, floats, floats, exemplars,
    ),
    max_size=3,
)  # fmt: skip
data = st.one_of(
    st.builds(Gauge, number_points),
    st.builds(Sum, number_points, temporalities, st.booleans()),
    st.builds(Histogram, histogram_points, temporalities),
    st.builds(ExponentialHistogram, exponential_points, temporalities),
)
metrics = st.builds(Metric, text, st.none() | text, st.none() | text, data)
scope_metrics = st.builds(ScopeMetrics, scopes, st.lists(metrics, max_size=3), text)
# The official encoder keeps one of several equal resources or scopes, and the SDK never makes any.
resource_metrics = st.builds(
    ResourceMetrics, resources, st.lists(scope_metrics, max_size=2, unique_by=lambda item: item.scope), text
)
metrics_data = st.builds(MetricsData, st.lists(resource_metrics, max_size=2, unique_by=lambda item: item.resource))
