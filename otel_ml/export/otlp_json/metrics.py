"""Metrics to OTLP-JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
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

from otel_ml.export.otlp_json.envelope import encode_each, line, resource, scope
from otel_ml.export.otlp_json.values import Json, attributes, double, number, span_id, text, trace_id, unsigned


def encode_metrics(data: MetricsData) -> bytes:
    """Return collected metrics as one line of OTLP-JSON, an ExportMetricsServiceRequest.

    A data point that cannot be encoded is left out, counted as `encode_failed` and warned about once.
    """
    return line({"resourceMetrics": [_resource_metrics(item) for item in data.resource_metrics]})


def _resource_metrics(item: ResourceMetrics) -> Json:
    return {**resource(item.resource), "scopeMetrics": [_scope_metrics(inner) for inner in item.scope_metrics]}


def _scope_metrics(item: ScopeMetrics) -> Json:
    return {**scope(item.scope), "metrics": encode_each("metrics", item.metrics, _metric)}


def _metric(metric: Metric) -> Json:
    name, encode_point, data = _kind(metric.data)
    encoded: Json = {"name": text(metric.name)}
    if metric.description:
        encoded["description"] = text(metric.description)
    if metric.unit:
        encoded["unit"] = text(metric.unit)
    points = encode_each("metrics", metric.data.data_points, encode_point)
    if points:  # without points the message has no data either
        encoded[name] = {**data, "dataPoints": points}
    return encoded


def _kind(data: Any) -> tuple[str, Callable[[Any], Json], Json]:
    """Return the message's field, the encoder of its points, and what it holds beside the points."""
    if isinstance(data, Gauge):
        return "gauge", _gauge_point, {}
    if isinstance(data, Sum):
        monotonic = {"isMonotonic": True} if data.is_monotonic else {}
        return "sum", _sum_point, {"aggregationTemporality": int(data.aggregation_temporality), **monotonic}
    if isinstance(data, Histogram):
        return "histogram", _histogram_point, {"aggregationTemporality": int(data.aggregation_temporality)}
    if isinstance(data, ExponentialHistogram):
        return "exponentialHistogram", _exponential_point, {"aggregationTemporality": int(data.aggregation_temporality)}
    raise TypeError(f"OTLP has no metric of type {type(data).__name__}")


def _point(point: NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint) -> Json:
    encoded: Json = {"timeUnixNano": unsigned(point.time_unix_nano), "attributes": attributes(point.attributes)}
    if point.exemplars:
        encoded["exemplars"] = [_exemplar(exemplar) for exemplar in point.exemplars]
    return encoded


def _gauge_point(point: NumberDataPoint) -> Json:
    return {**_point(point), **number(point.value)}


def _sum_point(point: NumberDataPoint) -> Json:
    return {**_started(point), **number(point.value)}


def _started(point: NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint) -> Json:
    encoded = _point(point)
    if point.start_time_unix_nano is not None:
        encoded["startTimeUnixNano"] = unsigned(point.start_time_unix_nano)
    return encoded


def _distribution(point: HistogramDataPoint | ExponentialHistogramDataPoint) -> Json:
    encoded = _started(point)
    encoded["count"] = unsigned(point.count)
    for name, value in (("sum", point.sum), ("min", point.min), ("max", point.max)):
        if value is not None:
            encoded[name] = double(value)
    return encoded


def _histogram_point(point: HistogramDataPoint) -> Json:
    encoded = _distribution(point)
    encoded["bucketCounts"] = [unsigned(count) for count in point.bucket_counts]
    encoded["explicitBounds"] = [double(bound) for bound in point.explicit_bounds]
    return encoded


def _exponential_point(point: ExponentialHistogramDataPoint) -> Json:
    encoded = _distribution(point)
    encoded["scale"] = int(point.scale)
    encoded["zeroCount"] = unsigned(point.zero_count)
    if point.flags:
        encoded["flags"] = int(point.flags)
    for name, buckets in (("positive", point.positive), ("negative", point.negative)):
        if buckets.bucket_counts:
            counts = [unsigned(count) for count in buckets.bucket_counts]
            encoded[name] = {"offset": int(buckets.offset), "bucketCounts": counts}
    return encoded


def _exemplar(exemplar: Exemplar) -> Json:
    encoded: Json = {
        "timeUnixNano": unsigned(exemplar.time_unix_nano),
        "filteredAttributes": attributes(exemplar.filtered_attributes),
        **number(exemplar.value),
    }
    if exemplar.trace_id is not None and exemplar.span_id is not None:
        encoded["traceId"] = trace_id(exemplar.trace_id)
        encoded["spanId"] = span_id(exemplar.span_id)
    return encoded
