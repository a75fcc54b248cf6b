"""Cells as the SDK's own data points, so that every exporter takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from time import time_ns
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml.metrics.counter import CellCounter, CounterCell, CounterSnapshot
from otel_ml.metrics.exemplars import RawExemplar
from otel_ml.metrics.histogram import CellHistogram
from otel_ml.metrics.histogram_cells import HistogramCell, Snapshot

Instrument = CellHistogram | CellCounter
Instruments = Callable[[], Iterable[Instrument]]
INT64 = 2**63


class CellPoints:
    """Adds cells to what the SDK collected, for one reader: each has its own idea of what is new.

    Args:
        instruments: Returns the instruments whose cells are added.
        histograms: Whether points of histograms count from the start or from the collection before.
        counters: The same for counters.
        repeat_exemplars: Whether exemplars that an earlier collection had are given again.
    """

    def __init__(
        self,
        instruments: Instruments,
        *,
        histograms: AggregationTemporality = AggregationTemporality.CUMULATIVE,
        counters: AggregationTemporality = AggregationTemporality.CUMULATIVE,
        repeat_exemplars: bool = False,
    ) -> None:
        self._instruments = instruments
        self._histograms = histograms
        self._counters = counters
        self._repeat_exemplars = repeat_exemplars
        self._before: dict[HistogramCell, tuple[Snapshot, int]] = {}
        self._counted: dict[CounterCell, tuple[CounterSnapshot, int]] = {}

    def add_to(self, data: MetricsData) -> MetricsData:
        """Return the collected metrics and the cells', which go into the scope that has their name."""
        now = time_ns()
        found = ((instrument.scope, self._metric(instrument, now)) for instrument in self._instruments())
        return with_metrics(data, [(scope, metric) for scope, metric in found if metric.data.data_points])

    def _metric(self, instrument: Instrument, now: int) -> Metric:
        data: Any
        if isinstance(instrument, CellHistogram):
            points = (self._histogram_point(cell, instrument.bounds, now) for cell in instrument.cells())
            data = Histogram([point for point in points if point is not None], self._histograms)
        else:
            numbers = (self._number_point(cell, now) for cell in instrument.cells())
            data = Sum([point for point in numbers if point is not None], self._counters, is_monotonic=True)
        return Metric(instrument.name, instrument.description, instrument.unit, data)

    def _histogram_point(self, cell: HistogramCell, bounds: tuple[float, ...], now: int) -> HistogramDataPoint | None:
        """Return what a cell has to say at this collection; None when there is nothing, as the SDK does."""
        current = cell.snapshot()
        before, time_before = (None, 0) if self._repeat_exemplars else self._before.get(cell, (None, 0))
        if before is not None and before.start_ns != current.start_ns:  # it was reset in between
            before = None
        if not self._repeat_exemplars:
            self._before[cell] = (current, now)
        found = new_exemplars(current.exemplars, before.exemplars if before is not None else ())
        is_delta = self._histograms is AggregationTemporality.DELTA
        point = _since(before, time_before, current) if is_delta and before is not None else current
        return histogram_point(cell.attributes, bounds, point, found, now) if point.number else None

    def _number_point(self, cell: CounterCell, now: int) -> NumberDataPoint | None:
        current = cell.snapshot()
        start, whole, other = current
        if whole is None:
            return None
        if self._counters is AggregationTemporality.DELTA:
            before, time_before = self._counted.get(cell, (None, 0))
            self._counted[cell] = (current, now)
            if before is not None and before.whole is not None and before.start_ns == start:
                start, whole, other = time_before, whole - before.whole, other - before.other
                if not whole and not other:
                    return None
        return number_point(cell.attributes, whole, other, start, now)


def with_metrics(data: MetricsData, metrics: Iterable[tuple[InstrumentationScope, Metric]]) -> MetricsData:
    """Return collected metrics and these, in the scopes that they name."""
    if not data.resource_metrics:
        return data
    first, *rest = data.resource_metrics
    scopes: dict[InstrumentationScope, ScopeMetrics] = {item.scope: item for item in first.scope_metrics}
    for scope, metric in metrics:
        known = scopes.get(scope) or ScopeMetrics(scope=scope, metrics=[], schema_url=scope.schema_url or "")
        scopes[scope] = replace(known, metrics=[*known.metrics, metric])
    return MetricsData(resource_metrics=[replace(first, scope_metrics=list(scopes.values())), *rest])


def histogram_point(
    attributes: Any, bounds: Sequence[float], snapshot: Snapshot, found: Sequence[Exemplar], now: int
) -> HistogramDataPoint:
    """Return a histogram's data point."""
    return HistogramDataPoint(
        attributes=attributes,
        start_time_unix_nano=snapshot.start_ns,
        time_unix_nano=now,
        count=snapshot.number,
        sum=float(snapshot.sum),
        bucket_counts=snapshot.bucket_counts,
        explicit_bounds=bounds,
        # Exporters leave None out, as OTLP allows.
        min=snapshot.min,  # type: ignore[arg-type]
        max=snapshot.max,  # type: ignore[arg-type]
        exemplars=found,
    )


def number_point(attributes: Any, whole: int, other: float, start: int, now: int) -> NumberDataPoint:
    """Return a counter's data point: a whole number as long as only such were added, and OTLP has room for it."""
    value = whole if not other and whole < INT64 else whole + other
    return NumberDataPoint(attributes, start, now, value if abs(value) < INT64 else float(value), exemplars=[])


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


def new_exemplars(current: Sequence[RawExemplar | None], known: Sequence[RawExemplar | None] = ()) -> list[Exemplar]:
    """Return those that were not known, compared by identity: no clock that jumps hides or repeats one."""
    seen = {id(raw) for raw in known}
    return [
        Exemplar(
            filtered_attributes={},
            value=float(value),
            time_unix_nano=time,
            span_id=span_id,
            trace_id=trace_id,
        )
        for raw in current
        if raw is not None and id(raw) not in seen
        for value, trace_id, span_id, time in (raw,)
    ]
