"""OTLP-JSON lines say what the official encoder would put on the wire, and bear what it does not."""

from __future__ import annotations

import enum
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from export import samples
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs as official_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as official_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as official_spans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics import Exemplar, Histogram, MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    InMemoryMetricReader,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState

from otel_ml import health
from otel_ml.export.otlp_json.logs import encode_logs
from otel_ml.export.otlp_json.metrics import encode_metrics
from otel_ml.export.otlp_json.traces import encode_spans
from receivers import parse_line, records_of

CONTEXT = SpanContext(0x1234 << 64, 0x5678, is_remote=False, trace_flags=TraceFlags(1))
RESOURCE = Resource({"service.name": "shop"})
SCOPE = InstrumentationScope("scope")


def same(signal, line, expected):
    """Whether a line reads as the expected message, to the last bit: `==` of messages would call NaN different."""
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    read = parse_line(signal, line)
    equal = read.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    assert equal, difference(read, expected)


def difference(read, expected):
    """The first lines in which two messages differ: pytest's own explanation of large ones takes minutes."""
    pairs = itertools.zip_longest(str(read).splitlines(), str(expected).splitlines())
    return list(itertools.islice((pair for pair in pairs if pair[0] != pair[1]), 5))


@given(samples.span_batches)
def test_spans_equal_the_official_encoding(spans):
    """Any batch of spans reads as the message that the official encoder makes of it."""
    same("traces", encode_spans(spans), official_spans(spans))


@given(samples.log_batches)
def test_logs_equal_the_official_encoding(records):
    """Any batch of log records reads as the message that the official encoder makes of it."""
    same("logs", encode_logs(records), official_logs(records))


@given(samples.metrics_data)
def test_metrics_equal_the_official_encoding(data):
    """Any collected metrics read as the message that the official encoder makes of them."""
    same("metrics", encode_metrics(data), official_metrics(data))


def test_spans_of_the_real_sdk_equal_the_official_encoding():
    """Spans that a TracerProvider made, with exceptions, links, limits and a remote parent, read the same."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(
        resource=RESOURCE,
        span_limits=SpanLimits(max_span_attributes=2, max_events=1, max_links=1),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(SimpleSpanProcessor(memory))
    remote = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "b")]))
    tracer = provider.get_tracer("one", "1.0", "https://example.org/schema", {"k": [1, 2]})
    parent = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    links = [Link(remote, {"n": 1}), Link(CONTEXT)]
    with (
        pytest.raises(ZeroDivisionError),
        tracer.start_as_current_span("outer", parent, SpanKind.SERVER, {"a": 1, "b": 2.5, "c": (1, 2)}, links),
        provider.get_tracer("two").start_as_current_span("inner") as span,
    ):
        span.add_event("first", {"b": b"\x00\xff"})
        raise ZeroDivisionError("no")
    spans = memory.get_finished_spans()
    same("traces", encode_spans(spans), official_spans(spans))
    outer = records_of("traces", parse_line("traces", encode_spans(spans)))[1]
    assert (outer.dropped_attributes_count, outer.dropped_links_count, outer.flags) == (1, 1, 0x300)
    provider.shutdown()


def test_metrics_of_the_real_sdk_equal_the_official_encoding():
    """Counters, gauges and both kinds of histogram with exemplars, as a reader collects them, read the same."""
    explicit = InMemoryMetricReader()
    exponential = InMemoryMetricReader(
        preferred_temporality={Histogram: AggregationTemporality.DELTA},
        preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()},
    )
    provider = MeterProvider(
        [explicit, exponential], RESOURCE, exemplar_filter=TraceBasedExemplarFilter(), shutdown_on_exit=False
    )
    meter = provider.get_meter("meter", "2")
    with trace.use_span(trace.NonRecordingSpan(CONTEXT)):
        meter.create_counter("calls", "1", "number of calls").add(3, {"k": "v"})
        meter.create_up_down_counter("queue").add(-2.5)
        meter.create_gauge("level").set(math.inf)
        durations = meter.create_histogram("duration", "s")
        for value in (0.0, 0.2, 3, -1.5):
            durations.record(value, {"path": "/"})
    for reader in (explicit, exponential):
        data = reader.get_metrics_data()
        same("metrics", encode_metrics(data), official_metrics(data))
        assert b'"exemplars"' in encode_metrics(data)
    provider.shutdown()


def span(name="good", **changes):
    fields = {"context": CONTEXT, "resource": RESOURCE, "instrumentation_scope": SCOPE, "start_time": 1, "end_time": 2}
    return ReadableSpan(name, **(fields | changes))


def log(body="good", **changes):
    fields = {"timestamp": 1, "observed_timestamp": 2, "body": body, "attributes": {}}
    return ReadableLogRecord(LogRecord(**(fields | changes)), RESOURCE, SCOPE)


def gauge(*points, name="gauge"):
    return Metric(name, None, None, Gauge([NumberDataPoint({}, 0, 1, *point) for point in points]))


def collected(*metrics):
    return MetricsData([ResourceMetrics(RESOURCE, [ScopeMetrics(SCOPE, list(metrics), "")], "")])


def attribute(value):
    """How one attribute value reads after it was written."""
    (read,) = records_of("traces", parse_line("traces", encode_spans([span(attributes={"key": value})])))
    return read.attributes[0].value


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "bad",
    [
        span(context=None),
        span(start_time=-1),
        span(end_time=2**64),
        span(context=SpanContext(2**128, 1, is_remote=False)),
        span(parent=SpanContext(1, -1, is_remote=False)),
        span(start_time="yesterday"),
        span(kind=None),
        "no span at all",
    ],
)
def test_a_bad_span_costs_only_itself(bad):
    """A span that cannot be encoded is dropped and counted, and its neighbours are written as ever."""
    good = [span("first"), span("last")]
    same("traces", encode_spans([good[0], bad, good[1]]), official_spans(good))
    assert health.dropped() == {("traces", "encode_failed"): 1}


@pytest.mark.parametrize("bad", [log(timestamp=-1), log(observed_timestamp=2**64), log(attributes=5), None])
def test_a_bad_log_record_costs_only_itself(bad):
    """A log record that cannot be encoded is dropped and counted, and its neighbours are written as ever."""
    good = [log("first"), log("last")]
    same("logs", encode_logs([good[0], bad, good[1]]), official_logs(good))
    assert health.dropped() == {("logs", "encode_failed"): 1}


@pytest.mark.parametrize(
    "point",
    [("a lot",), (10**400,), (1, [Exemplar({}, 1, -5)]), (1, [Exemplar({}, 1, 5, 2**64, 1)]), (1, 7)],
)
def test_a_bad_data_point_costs_only_itself(point):
    """A data point that cannot be encoded is dropped and counted, and its neighbours are written as ever."""
    line = encode_metrics(collected(gauge((1,), point, (2,)), gauge((3,))))
    same("metrics", line, official_metrics(collected(gauge((1,), (2,)), gauge((3,)))))
    assert health.dropped() == {("metrics", "encode_failed"): 1}


def test_a_metric_of_an_unknown_kind_costs_only_itself():
    """A metric that OTLP has no message for is dropped and counted, and its neighbours are written as ever."""
    unknown = replace(gauge((1,)), data="summary")
    same("metrics", encode_metrics(collected(unknown, gauge((3,)))), official_metrics(collected(gauge((3,)))))
    assert health.dropped() == {("metrics", "encode_failed"): 1}


@given(st.lists(st.text(st.characters(categories=["Cs", "L"]), max_size=5), min_size=1, max_size=4))
def test_lone_surrogates_stay_readable_and_cost_nothing(texts):
    """Text that is not Unicode, wherever it is, is written with the offending code points spelled out."""
    spans = [span("good"), *(span(item, attributes={f"k{item}": item}) for item in texts)]
    read = records_of("traces", parse_line("traces", encode_spans(spans)))
    spelled = [item.encode("utf-8", "backslashreplace").decode() for item in texts]
    assert [item.name for item in read] == ["good", *spelled]
    assert [item.attributes[0].key for item in read[1:]] == [f"k{item}" for item in spelled]
    assert [item.attributes[0].value.string_value for item in read[1:]] == spelled


def test_lone_surrogates_in_logs_and_metrics_cost_nothing():
    """A log body and a metric's attribute that are not Unicode leave their neighbours whole."""
    logs = records_of("logs", parse_line("logs", encode_logs([log("caf\udce9"), log("good")])))
    assert [item.body.string_value for item in logs] == ["caf\\udce9", "good"]
    metrics = parse_line("metrics", encode_metrics(collected(gauge((1,), name="caf\udce9"), gauge((2,)))))
    assert [item.name for item in records_of("metrics", metrics)] == ["caf\\udce9", "gauge"]


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        (2**63, "string_value", str(2**63)),
        (-(2**63), "int_value", -(2**63)),
        (Colour.RED, "string_value", "red"),
        (enum.IntEnum("Level", {"LOW": 3}).LOW, "int_value", 3),
        (np.int64(5), "int_value", 5),
        (np.float32(0.5), "double_value", 0.5),
        (np.float64("inf"), "double_value", math.inf),
        (np.str_("text"), "string_value", "text"),
        (np.bool_(True), "string_value", "True"),
        ({1, 2}, "string_value", "{1, 2}"),
        (Unprintable(), "string_value", "<Unprintable whose __repr__ raised RuntimeError>"),
    ],
)
def test_values_that_otlp_has_no_type_for_are_mapped(value, field, expected):
    """Odd numbers become numbers or decimal text, other objects their text, whatever their `__str__` does."""
    read = attribute(value)
    assert read.WhichOneof("value") == field
    assert getattr(read, field) == expected
    assert not health.dropped()


def test_keys_that_are_no_text_become_text():
    """A mapping with keys of any type, odd ones included, loses no entry."""
    read = attribute({1: "a", Unprintable(): "b"}).kvlist_value.values
    assert [item.key for item in read] == ["1", "<Unprintable whose __repr__ raised RuntimeError>"]


def test_a_cycle_ends():
    """A container that contains itself is written up to where it starts again."""
    cycle: list = [1]
    cycle.append(cycle)
    assert attribute(cycle).array_value.values[1].string_value == "<cycle>"


def test_a_deep_value_ends_before_readers_give_up():
    """However deep a value nests, protobuf's readers with their limit of 100 levels read the line."""
    deep: object = "bottom"
    for _ in range(500):
        deep = {"k": [deep]}
    spans = [span(attributes={"deep": deep}, events=[]), span("good")]
    assert len(records_of("traces", parse_line("traces", encode_spans(spans)))) == 2
    assert b'"<depth>"' in encode_spans(spans)


def test_the_same_container_twice_is_no_cycle():
    """Siblings that are one object are both written."""
    shared = [1]
    assert [len(item.array_value.values) for item in attribute([shared, shared]).array_value.values] == [1, 1]


def test_a_resource_that_cannot_be_hashed_is_written():
    """A resource with bytes among its attributes, which the SDK cannot hash, does not cost the batch."""
    resource = Resource({"key": b"\x00"})
    read = parse_line("traces", encode_spans([span(resource=resource), span(resource=resource)]))
    assert len(read.resource_spans) == 1
    assert read.resource_spans[0].resource.attributes[0].value.bytes_value == b"\x00"


def test_a_counter_beyond_64_bits_becomes_a_float():
    """A sum that an integer of 64 bits cannot hold is written as the nearest float."""
    point = NumberDataPoint({}, 0, 1, 2**70)
    metric = Metric("sum", None, None, Sum([point], AggregationTemporality.CUMULATIVE, True))
    (read,) = records_of("metrics", parse_line("metrics", encode_metrics(collected(metric))))
    assert read.sum.data_points[0].as_double == float(2**70)


def test_line_separators_inside_text_do_not_split_the_line():
    """Text with any kind of line break stays inside its line."""
    body = "a\nb\r\nc\u2028d\u2029e\x85f"
    line = encode_logs([log(body)])
    assert line.count(b"\n") == 1
    assert records_of("logs", parse_line("logs", line))[0].body.string_value == body
