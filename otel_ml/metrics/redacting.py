"""Masking of data points at the exit, whoever measured them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics.export import Metric, MetricsData

from otel_ml.unmasked import masked_mapping


def masked(data: MetricsData) -> MetricsData:
    """Return collected data with everything sensitive in attributes of points and exemplars masked."""
    resources = []
    for resource in data.resource_metrics:
        scopes = [replace(s, metrics=[_metric(metric) for metric in s.metrics]) for s in resource.scope_metrics]
        resources.append(replace(resource, scope_metrics=scopes))
    return MetricsData(resource_metrics=resources)


def _metric(metric: Metric) -> Metric:
    points: list[Any] = [_point(point) for point in metric.data.data_points]
    if all(new is old for new, old in zip(points, metric.data.data_points, strict=True)):
        return metric
    data: Any = metric.data
    return replace(metric, data=replace(data, data_points=points))


def _point(point: Any) -> Any:
    attributes = masked_mapping(point.attributes)
    exemplars = [_exemplar(exemplar) for exemplar in point.exemplars]
    same = all(new is old for new, old in zip(exemplars, point.exemplars, strict=True))
    if attributes is point.attributes and same:
        return point
    return replace(point, attributes=attributes, exemplars=exemplars)


def _exemplar(exemplar: Any) -> Any:
    attributes = masked_mapping(exemplar.filtered_attributes)
    return exemplar if attributes is exemplar.filtered_attributes else replace(exemplar, filtered_attributes=attributes)
