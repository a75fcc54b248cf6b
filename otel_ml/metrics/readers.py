"""Readers that merge the cells into what the SDK collected: one pushes, one is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml import conventions, health
from otel_ml.metrics.histogram import CellHistogram
from otel_ml.metrics.meter import MeterProvider
from otel_ml.version import VERSION


def with_cells(data: MetricsData, histograms: Sequence[CellHistogram], exemplars_since: int = 0) -> MetricsData:
    """Return collected data with the cells beside it, under the first resource and the scope `otel_ml`.

    Args:
        data: What the SDK collected; it always holds the counter of lost items.
        histograms: Cell histograms; those that recorded nothing are left out.
        exemplars_since: Unix time in nanoseconds; older exemplars are left out.
    """
    added = [
        Metric(h.name, h.description, h.unit, Histogram(points, AggregationTemporality.CUMULATIVE))
        for h in histograms
        if (points := h.points(exemplars_since))
    ]
    if not added or not data.resource_metrics:
        return data
    first, *others = data.resource_metrics
    scopes = list(first.scope_metrics)
    ours = next((i for i, scope in enumerate(scopes) if scope.scope.name == conventions.SCOPE), None)
    if ours is None:
        scope = InstrumentationScope(conventions.SCOPE, VERSION)
        scopes.append(ScopeMetrics(scope, added, ""))
    else:
        scopes[ours] = ScopeMetrics(scopes[ours].scope, [*scopes[ours].metrics, *added], scopes[ours].schema_url)
    return MetricsData([ResourceMetrics(first.resource, scopes, first.schema_url), *others])


def _histograms_of(provider: Any) -> list[CellHistogram]:
    return provider.histograms if isinstance(provider, MeterProvider) else []


class ExportingReader(PeriodicExportingMetricReader):
    """Collects every interval, merges, and exports; what does not arrive is counted.

    Cells are cumulative whatever temporality the exporter prefers for other histograms. An exemplar is sent once.

    Args:
        exporter: Where measurements go.
        provider: Meter provider that the reader is added to.
        interval: Seconds between two collections.
    """

    def __init__(self, exporter: MetricExporter, provider: Any, interval: float) -> None:
        self._provider = provider
        self._exemplars_since = 0
        super().__init__(_Counting(exporter), export_interval_millis=interval * 1000)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Export a last time and stop; safe to call twice."""
        if not self._shutdown:
            super().shutdown(timeout_millis, **kwargs)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        since, self._exemplars_since = self._exemplars_since, time.time_ns()
        merged = with_cells(metrics_data, _histograms_of(self._provider), since)
        super()._receive_metrics(merged, timeout_millis, **kwargs)


class _Counting(MetricExporter):
    """Counts the points of an export that failed; the SDK's reader does not look at the result."""

    def __init__(self, exporter: MetricExporter) -> None:
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)
        self._exporter = exporter

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        try:
            result = self._exporter.export(metrics_data, timeout_millis=timeout_millis, **kwargs)
        except Exception as error:
            health.internal_error("export of metrics", error)
            result = MetricExportResult.FAILURE
        if result is not MetricExportResult.SUCCESS:
            health.count_dropped("metrics", "export_failed", _number_of_points(metrics_data))
            health.warn_once(
                "export:metrics",
                "measurements could not be delivered (%s); cumulative ones arrive with the next export that succeeds. "
                "`otel-ml doctor` says what answers.",
                type(self._exporter).__name__,
            )
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self._exporter.shutdown(timeout_millis=timeout_millis)


def _number_of_points(data: MetricsData) -> int:
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
    return sum(len(metric.data.data_points) for scope in scopes for metric in scope.metrics)


class PullReader(MetricReader):
    """Collects when it is asked; `/metrics` is answered from it.

    Args:
        provider: Meter provider that the reader is added to.
    """

    def __init__(self, provider: Any) -> None:
        super().__init__()
        self._provider = provider
        self._lock = threading.Lock()
        self._data: MetricsData | None = None

    def read(self) -> MetricsData:
        """Return everything recorded so far, cells and their last exemplars included."""
        with self._lock:
            self._data = None
            self.collect()
            data = self._data or MetricsData([])
        return with_cells(data, _histograms_of(self._provider))

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        self._data = metrics_data

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Do nothing: there is neither a thread nor a connection."""
