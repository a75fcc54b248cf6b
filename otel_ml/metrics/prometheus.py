"""From OpenTelemetry's data to Prometheus's families, exemplars included.

Names follow OpenTelemetry's compatibility specification: characters that Prometheus does not know become `_`, the unit
is spelt out and appended, counters end in `_total`, and the resource is `target_info`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from opentelemetry.sdk.metrics.export import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from otel_ml import health

_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes",
          "MiBy": "mebibytes", "GiBy": "gibibytes", "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts",
          "g": "grams", "Cel": "celsius", "Hz": "hertz", "%": "percent"}  # fmt: skip


def families(data: MetricsData) -> Iterator[Family]:
    """Yield one family a metric name; what cannot be shown is left out with a warning, and costs nothing else.

    Args:
        data: What a reader collected.
    """
    found: dict[str, Family] = {}
    for resource in data.resource_metrics:
        _add(found, _target_info(resource.resource.attributes))
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                try:
                    _add(found, _family(metric))
                except Exception as error:
                    health.internal_error(f"exposition of {metric.name}", error)
    yield from found.values()


def _add(found: dict[str, Family], family: Family | None) -> None:
    if family is None:
        return
    known = found.setdefault(family.name, family)
    if known is family:
        return
    if known.type != family.type:
        health.warn_once(
            f"family:{family.name}", "/metrics: %s is both a %s and a %s; the first is shown.",
            family.name, known.type, family.type,
        )  # fmt: skip
        return
    known.samples.extend(family.samples)


def _target_info(attributes: Mapping[str, Any]) -> Family:
    family = Family("target", "Resource that the metrics are about.", "info")
    family.add_sample("target_info", _labels(attributes), 1)
    return family


def _family(metric: Metric) -> Family | None:
    data, help_text = metric.data, metric.description or ""
    if isinstance(data, Histogram):
        family = Family(_name(metric), help_text, "histogram", _unit(metric))
        for point in data.data_points:
            _add_histogram(family, point)
    elif isinstance(data, Sum) and data.is_monotonic:
        family = Family(_name(metric).removesuffix("_total"), help_text, "counter", _unit(metric))
        for number in data.data_points:
            family.add_sample(f"{family.name}_total", _labels(number.attributes), number.value, exemplar=_last(number))
    elif isinstance(data, (Sum, Gauge)):
        family = Family(_name(metric), help_text, "gauge", _unit(metric))
        for number in data.data_points:
            family.add_sample(family.name, _labels(number.attributes), number.value)
    else:
        health.warn_once(
            f"kind:{metric.name}", "/metrics: %s is a %s, which is not shown.", metric.name, type(data).__name__
        )
        return None
    return family


def _add_histogram(family: Family, point: HistogramDataPoint) -> None:
    labels = _labels(point.attributes)
    bounds = [*(float(bound) for bound in point.explicit_bounds), float("inf")]
    exemplars = _by_bucket(point, bounds)
    for bound, count in zip(bounds, accumulate(point.bucket_counts), strict=True):
        family.add_sample(
            f"{family.name}_bucket", {**labels, "le": floatToGoString(bound)}, count, exemplar=exemplars.get(bound)
        )
    family.add_sample(f"{family.name}_count", labels, point.count)
    family.add_sample(f"{family.name}_sum", labels, point.sum)


def _by_bucket(point: HistogramDataPoint, bounds: list[float]) -> dict[float, Exemplar]:
    """Take the newest exemplar of each bucket."""
    found: dict[float, Exemplar] = {}
    for exemplar in sorted(point.exemplars, key=lambda exemplar: exemplar.time_unix_nano):
        shown = _exemplar(exemplar)
        if shown is not None:
            found[next(bound for bound in bounds if exemplar.value <= bound)] = shown
    return found


def _last(point: NumberDataPoint) -> Exemplar | None:
    newest = max(point.exemplars, key=lambda exemplar: exemplar.time_unix_nano, default=None)
    return None if newest is None else _exemplar(newest)


def _exemplar(exemplar: Any) -> Exemplar | None:
    if exemplar.trace_id is None or exemplar.span_id is None:
        return None
    labels = {"trace_id": format(exemplar.trace_id, "032x"), "span_id": format(exemplar.span_id, "016x")}
    return Exemplar(labels, exemplar.value, exemplar.time_unix_nano / 1e9)


def _name(metric: Metric) -> str:
    name = re.sub(r"[^a-zA-Z0-9_:]", "_", metric.name)
    return f"_{name}" if name[:1].isdigit() else name


def _unit(metric: Metric) -> str:
    return _UNITS.get(metric.unit or "", "")


def _labels(attributes: Mapping[str, Any] | None) -> dict[str, str]:
    """Names that become equal have their values joined by `;`, as the specification says."""
    labels: dict[str, str] = {}
    for key, value in sorted((attributes or {}).items()):
        name = re.sub(r"[^a-zA-Z0-9_]", "_", key)
        name = f"_{name}" if name[:1].isdigit() else name
        text = str(value).lower() if isinstance(value, bool) else str(value)
        labels[name] = f"{labels[name]};{text}" if name in labels else text
    return labels
