"""What instruments of the SDK counted, copied to where the other processes of the family see it.

The cells of otel_ml are there themselves; other libraries' instruments keep their numbers in the SDK. So these are a
copy: as old as the last one, and what a process counted after it is lost when it is killed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml import conventions
from otel_ml.metrics.attributes import clean
from otel_ml.metrics.counter import COUNTER_WORDS
from otel_ml.metrics.exemplars import EXEMPLAR_WORDS, write_exemplar
from otel_ml.metrics.family import Family
from otel_ml.metrics.series import series_key
from otel_ml.metrics.totals import COUNTER, HISTOGRAM, LEVEL

Numbers = tuple[tuple[int, ...], float]
"""Whole numbers, and the sum of others, of one series."""


class Publisher:
    """Copies data points to the memory that the family shares.

    Args:
        family: The processes that count together.
    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self._base: dict[bytes, Numbers] = {}  # what was in the memory before: counts of one that died
        self._inherited: dict[bytes, Numbers] = {}  # what the parent had counted before it forked
        self._last: dict[bytes, Numbers] = {}

    def begin_in_child(self) -> None:
        """Leave to the parent what it has counted: the SDK's instruments count on from there."""
        self._inherited, self._base, self._last = dict(self._last), {}, {}

    def publish(self, data: MetricsData) -> set[tuple[InstrumentationScope, str]]:
        """Copy what can be summed; return scopes and names of the metrics that were copied whole."""
        return {
            (scope.scope, metric.name)
            for resource in data.resource_metrics[:1]
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if self._copied(scope.scope, metric)
        }

    def _copied(self, scope: InstrumentationScope, metric: Metric) -> bool:
        kind = _kind(metric)
        if kind is None:
            return False
        about = {
            "description": metric.description or "",
            "kind": kind,
            "name": metric.name,
            "scope": [scope.name, scope.version, scope.schema_url],
            "unit": metric.unit or "",
        }
        return all([self._copy(about, point) for point in metric.data.data_points])

    def _copy(self, about: Mapping[str, Any], point: Any) -> bool:
        if isinstance(point, HistogramDataPoint):
            about = {**about, "bounds": list(point.explicit_bounds)}
            counts, total = tuple(point.bucket_counts), float(point.sum)
            size = 1 + len(counts) * (1 + EXEMPLAR_WORDS)
        elif isinstance(point, NumberDataPoint):
            whole = isinstance(point.value, int) and abs(point.value) < 2**62
            counts, total = ((int(point.value),), 0.0) if whole else ((0,), float(point.value))
            size = COUNTER_WORDS
        else:
            return False
        key = series_key(about, clean(point.attributes))
        memory = self._family.place(key, size)
        if memory is None:
            return False
        histogram = about["kind"] == HISTOGRAM
        counts, total = self._since_fork(key, (counts, total), about["scope"][0] == conventions.SCOPE)
        at = 1 if histogram else 0
        words, sums = memory.cast("q"), memory.cast("d")
        if key not in self._base:
            self._base[key] = tuple(words[at : at + len(counts)].tolist()), sums[0 if histogram else 1]
        before, sum_before = self._base[key]
        for index, number in enumerate(counts):
            words[at + index] = before[index] + number
        sums[0 if histogram else 1] = sum_before + total
        if histogram:
            _show(memory, len(counts), point.explicit_bounds, point.exemplars)
        return True

    def _since_fork(self, key: bytes, numbers: Numbers, is_own: bool) -> Numbers:
        self._last[key] = numbers
        inherited = self._inherited.get(key)
        if inherited is None or is_own:
            return numbers
        counts = tuple(new - old for new, old in zip(numbers[0], inherited[0], strict=True))
        total = numbers[1] - inherited[1]
        if min(counts) < 0 or total < 0:  # it began anew in the child
            del self._inherited[key]
            return numbers
        return counts, total


def _kind(metric: Metric) -> str | None:
    data = metric.data
    if not isinstance(data, (Sum, Histogram)) or data.aggregation_temporality is not AggregationTemporality.CUMULATIVE:
        return None
    if isinstance(data, Histogram):
        return HISTOGRAM
    return COUNTER if data.is_monotonic else LEVEL


def _show(memory: memoryview, buckets: int, bounds: Sequence[float], exemplars: Sequence[Exemplar]) -> None:
    for exemplar in exemplars:
        if exemplar.trace_id and exemplar.span_id:
            index = sum(bound < exemplar.value for bound in bounds)
            raw = (float(exemplar.value), exemplar.trace_id, exemplar.span_id, exemplar.time_unix_nano)
            write_exemplar(memory.cast("Q"), memory.cast("d"), 1 + buckets + EXEMPLAR_WORDS * index, raw)
