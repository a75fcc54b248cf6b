"""Histogram cells as the SDK's own data points, so that every exporter takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from time import time_ns

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml.metrics.histogram import CellHistogram, HistogramCell, RawExemplar, Snapshot


class CellPoints:
    """Adds cells to what the SDK collected, for one reader: each has its own idea of what is new.

    Args:
        histograms: Returns the histograms whose cells are added.
        temporality: Whether points count from the start or from the collection before.
        repeat_exemplars: Whether exemplars that an earlier collection had are given again.
    """

    def __init__(
        self,
        histograms: Callable[[], Iterable[CellHistogram]],
        *,
        temporality: AggregationTemporality = AggregationTemporality.CUMULATIVE,
        repeat_exemplars: bool = False,
    ) -> None:
        self._histograms = histograms
        self._temporality = temporality
        self._repeat_exemplars = repeat_exemplars
        self._before: dict[HistogramCell, tuple[Snapshot, int]] = {}

    def add_to(self, data: MetricsData) -> MetricsData:
        """Return the collected metrics and the cells', which go into the scope that has their name."""
        if not data.resource_metrics:
            return data
        first, *rest = data.resource_metrics
        scopes: dict[InstrumentationScope, ScopeMetrics] = {item.scope: item for item in first.scope_metrics}
        for histogram in self._histograms():
            points = self._points(histogram)
            if points:
                scope = histogram.scope
                known = scopes.get(scope) or ScopeMetrics(scope=scope, metrics=[], schema_url=scope.schema_url or "")
                scopes[scope] = replace(known, metrics=[*known.metrics, self._metric(histogram, points)])
        return MetricsData(resource_metrics=[replace(first, scope_metrics=list(scopes.values())), *rest])

    def _metric(self, histogram: CellHistogram, points: Sequence[HistogramDataPoint]) -> Metric:
        return Metric(
            name=histogram.name,
            description=histogram.description,
            unit=histogram.unit,
            data=Histogram(data_points=points, aggregation_temporality=self._temporality),
        )

    def _points(self, histogram: CellHistogram) -> list[HistogramDataPoint]:
        now = time_ns()
        found = (self._point(cell, histogram.bounds, now) for cell in histogram.cells())
        return [point for point in found if point is not None]

    def _point(self, cell: HistogramCell, bounds: tuple[float, ...], now: int) -> HistogramDataPoint | None:
        """Return what a cell has to say at this collection; None when there is nothing, as the SDK does."""
        current = cell.snapshot()
        before, time_before = (None, 0) if self._repeat_exemplars else self._before.get(cell, (None, 0))
        if before is not None and before.start_ns != current.start_ns:  # it was reset in between
            before = None
        if not self._repeat_exemplars:
            self._before[cell] = (current, now)
        exemplars = _exemplars(current.exemplars, before.exemplars if before is not None else ())
        is_delta = self._temporality is AggregationTemporality.DELTA
        point = _since(before, time_before, current) if is_delta and before is not None else current
        if not point.number:
            return None
        return HistogramDataPoint(
            attributes=cell.attributes,
            start_time_unix_nano=point.start_ns,
            time_unix_nano=now,
            count=point.number,
            sum=float(point.sum),
            bucket_counts=point.bucket_counts,
            explicit_bounds=bounds,
            # Exporters leave None out, as OTLP allows.
            min=point.min,  # type: ignore[arg-type]
            max=point.max,  # type: ignore[arg-type]
            exemplars=exemplars,
        )


def _since(before: Snapshot, time_before: int, current: Snapshot) -> Snapshot:
    """Return what was counted between two snapshots; its least and most were not kept, so it has none."""
    counts = zip(current.bucket_counts, before.bucket_counts, strict=True)
    return current._replace(
        start_ns=time_before,
        bucket_counts=tuple(new - old for new, old in counts),
        sum=max(0.0, current.sum - before.sum),  # never below zero by rounding
        min=None,
        max=None,
    )


def _exemplars(current: Sequence[RawExemplar | None], known: Sequence[RawExemplar | None]) -> list[Exemplar]:
    """Return those that were not known, compared by identity: no clock that jumps hides or repeats one."""
    seen = {id(raw) for raw in known}
    return [
        Exemplar(
            filtered_attributes={},
            value=float(value),
            time_unix_nano=time,
            span_id=span.span_id,
            trace_id=span.trace_id,
        )
        for raw in current
        if raw is not None and id(raw) not in seen
        for value, span, time in (raw,)
    ]
