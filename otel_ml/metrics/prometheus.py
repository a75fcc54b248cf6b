"""What a reader collected, as the metric families that prometheus_client writes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client.core import InfoMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample, Timestamp
from prometheus_client.utils import floatToGoString

from otel_ml import health
from otel_ml.metrics import names

Point = NumberDataPoint | HistogramDataPoint

_SUFFIXES: Final = {
    "counter": ("", "_total", "_created"),
    "gauge": ("",),
    "histogram": ("", "_bucket", "_count", "_sum", "_created"),
    "info": ("", "_info"),
}
_NANOSECONDS: Final = 1_000_000_000


class PrometheusCollector(Collector):
    """Reads all metrics when a registry is scraped. What cannot be read or shown is left out, counted and said once.

    Args:
        read: Returns what there is, or None.
    """

    def __init__(self, read: Callable[[], MetricsData | None]) -> None:
        self._read = read

    def collect(self) -> Iterable[Family]:
        """Return the metric families of this moment."""
        try:
            data = self._read()
            return families(data) if data is not None else []
        except Exception as error:  # an application's own observable instrument may take too long
            health.internal_error("collection for /metrics", error)
            return []


def families(data: MetricsData) -> list[Family]:
    """Return collected metrics as metric families, first of all `target_info` with the resource."""
    page = _Page()
    for item in data.resource_metrics[:1]:  # the SDK gives one
        page.add_resource(item.resource)
        for scope in item.scope_metrics:
            for metric in scope.metrics:
                try:
                    page.add(metric)
                except Exception as error:  # one bad metric must not cost the others
                    health.internal_error("conversion of a metric for /metrics", error)
    return page.families()


class _Page:
    """Families under construction; what would make a scraper refuse all of them is left out."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        self._names: dict[str, str] = {}
        self._series: set[tuple[str, tuple[tuple[str, str], ...]]] = set()

    def families(self) -> list[Family]:
        return [family for family in self._families.values() if family.samples]

    def add_resource(self, resource: Resource) -> None:
        family = InfoMetricFamily("target", "Target metadata", value=names.labels(resource.attributes))
        self._claim(family)

    def add(self, metric: Metric) -> None:
        kind = _kind(metric)
        if kind is None:
            health.warn_once(
                f"metrics:prometheus:{metric.name}",
                "metric %s is not on /metrics: the text formats have nothing for a %s",
                metric.name,
                type(metric.data).__name__,
            )
            return
        family = self._family(metric, kind)
        if family is None:
            return
        for point in metric.data.data_points:
            if not isinstance(point, (NumberDataPoint, HistogramDataPoint)):
                continue
            labels = names.labels(point.attributes or {})
            series = (family.name, tuple(labels.items()))
            if series in self._series:  # two scopes measure the same; the labels do not tell them apart
                self._left_out(metric.name, family.name)
                continue
            samples = _samples(family, point, labels)
            self._series.add(series)
            family.samples.extend(samples)

    def _family(self, metric: Metric, kind: str) -> Family | None:
        name = names.metric_name(metric.name)
        if kind == "counter":
            name = name.removesuffix("_total")
        text = names.label_value(metric.description or "")
        family = Family(name, text, kind, names.unit_name(metric.unit or ""))
        known = self._families.get(family.name)
        if known is not None and known.type == kind:
            return known
        if any(family.name + suffix in self._names for suffix in _SUFFIXES[kind]):
            self._left_out(metric.name, family.name)
            return None
        self._claim(family)
        return family

    def _claim(self, family: Family) -> None:
        self._families[family.name] = family
        self._names.update((family.name + suffix, family.name) for suffix in _SUFFIXES[family.type])

    def _left_out(self, metric: str, name: str) -> None:
        health.warn_once(
            f"metrics:prometheus:{metric}",
            "metric %s is not all on /metrics: another one has the name %s there, and the same labels or another type",
            metric,
            name,
        )


def _kind(metric: Metric) -> str | None:
    data = metric.data
    if isinstance(data, Gauge):
        return "gauge"
    if isinstance(data, Sum):
        is_counter = data.is_monotonic and data.aggregation_temporality is AggregationTemporality.CUMULATIVE
        return "counter" if is_counter else "gauge"
    return "histogram" if isinstance(data, Histogram) else None


def _samples(family: Family, point: Point, labels: dict[str, str]) -> list[Sample]:
    if isinstance(point, HistogramDataPoint):
        return _histogram_samples(family.name, point, labels)
    if family.type == "counter":
        last = max(point.exemplars, key=lambda exemplar: exemplar.time_unix_nano, default=None)
        exemplar = _exemplar(last) if last is not None else None
        return [Sample(f"{family.name}_total", labels, float(point.value), None, exemplar)]
    return [Sample(family.name, labels, float(point.value))]


def _histogram_samples(name: str, point: HistogramDataPoint, labels: dict[str, str]) -> list[Sample]:
    bounds = [*point.explicit_bounds, float("inf")]
    exemplars = _by_bucket(point.exemplars, point.explicit_bounds)
    samples: list[Sample] = []
    cumulated = 0
    for index, (bound, count) in enumerate(zip(bounds, point.bucket_counts, strict=True)):
        cumulated += count
        bucket = {**labels, "le": _bound(bound)}
        samples.append(Sample(f"{name}_bucket", bucket, cumulated, None, exemplars.get(index)))
    samples.append(Sample(f"{name}_count", labels, cumulated))
    if bounds[0] >= 0:  # OpenMetrics allows no sum that may fall
        samples.append(Sample(f"{name}_sum", labels, float(point.sum)))
    return samples


def _bound(bound: float) -> str:
    text: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
    return text


def _by_bucket(exemplars: Sequence[sdk.Exemplar], bounds: Sequence[float]) -> dict[int, Exemplar]:
    found: dict[int, sdk.Exemplar] = {}
    for exemplar in exemplars:
        index = bisect_left(bounds, exemplar.value)
        if index not in found or exemplar.time_unix_nano >= found[index].time_unix_nano:
            found[index] = exemplar
    return {index: _exemplar(exemplar) for index, exemplar in found.items()}


def _exemplar(exemplar: sdk.Exemplar) -> Exemplar:
    ids: dict[str, str] = {}
    if exemplar.trace_id and exemplar.span_id:
        ids = {"trace_id": format(exemplar.trace_id, "032x"), "span_id": format(exemplar.span_id, "016x")}
    moment = Timestamp(*divmod(exemplar.time_unix_nano, _NANOSECONDS))
    return Exemplar(ids, float(exemplar.value), moment)
