"""Histograms that are updated in place: one cell an attribute set, with the last exemplar of each bucket."""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import HistogramDataPoint

from otel_ml import conventions, health

_Key = frozenset[tuple[str, Any]]


class HistogramCell:
    """Counts of one attribute set. Thread-safe.

    Args:
        attributes: The attribute set.
        bounds: Inclusive upper bounds of the buckets, ascending; one more bucket holds what is above.
    """

    __slots__ = ("_bounds", "_counts", "_exemplars", "_lock", "_maximum", "_minimum", "_started", "_sum", "attributes")

    def __init__(self, attributes: Mapping[str, Any], bounds: Sequence[float]) -> None:
        self.attributes = dict(attributes)
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._exemplars: list[Exemplar | None] = [None] * (len(bounds) + 1)
        self._sum = 0.0
        self._minimum, self._maximum = math.inf, -math.inf
        self._started = time.time_ns()
        self._lock = threading.Lock()

    def observe(self, value: float, span: trace.SpanContext) -> None:
        """Add a value; when the span is sampled, it becomes the exemplar of the value's bucket.

        Args:
            value: Not negative, finite.
            span: Context of the span that the value was measured in.
        """
        index = bisect_left(self._bounds, value)
        exemplar = None
        if span.trace_flags & 1 and span.is_valid:
            exemplar = Exemplar({}, value, time.time_ns(), span.span_id, span.trace_id)
        with self._lock:
            self._counts[index] += 1
            self._sum += value
            if value < self._minimum:
                self._minimum = value
            if value > self._maximum:
                self._maximum = value
            if exemplar is not None:
                self._exemplars[index] = exemplar

    def point(self, exemplars_since: int = 0) -> HistogramDataPoint:
        """Return the cell as a cumulative data point.

        Args:
            exemplars_since: Unix time in nanoseconds; older exemplars are left out.
        """
        with self._lock:
            counts, total = list(self._counts), self._sum
            minimum, maximum = self._minimum, self._maximum
            exemplars = [e for e in self._exemplars if e is not None and e.time_unix_nano >= exemplars_since]
        return HistogramDataPoint(
            attributes=self.attributes,
            start_time_unix_nano=self._started,
            time_unix_nano=time.time_ns(),
            count=sum(counts),
            sum=total,
            bucket_counts=counts,
            explicit_bounds=self._bounds,
            min=minimum,
            max=maximum,
            exemplars=exemplars,
        )


class CellHistogram(Histogram):
    """An OpenTelemetry histogram over cells.

    Args:
        name: Name of the instrument.
        unit: Its unit.
        description: What it measures.
        bounds: Inclusive upper bounds of the buckets, ascending.
        max_series: Attribute sets that have a cell of their own; the others share one that carries
            `otel.metric.overflow`.
    """

    def __init__(
        self, name: str, unit: str = "", description: str = "", *, bounds: Sequence[float], max_series: int = 2000
    ) -> None:
        super().__init__(name, unit, description)
        self.name, self.unit, self.description = name, unit, description
        self._bounds = tuple(bounds)
        self._max_series = max_series
        self.reset()

    def reset(self) -> None:
        """Forget everything recorded."""
        self._lock = threading.Lock()
        self._cells: dict[_Key, HistogramCell] = {}
        self._overflow = HistogramCell({conventions.OVERFLOW: True}, self._bounds)

    def record(
        self, amount: float, attributes: Mapping[str, Any] | None = None, context: Context | None = None
    ) -> None:
        """Add a value, with the span of the context (default: the current one) as exemplar; never raises."""
        try:
            if not 0 <= amount < math.inf:
                health.count_dropped("metrics", "invalid_value")
                health.warn_once(
                    f"value:{self.name}", "%s: expected a finite value >= 0, received %r", self.name, amount
                )
                return
            self.bind(attributes or {}).observe(amount, trace.get_current_span(context).get_span_context())
        except Exception as error:
            health.internal_error(f"recording of {self.name}", error)

    def bind(self, attributes: Mapping[str, Any]) -> HistogramCell:
        """Return the cell of an attribute set, or the overflow cell when there are too many sets.

        Values that cannot be compared are taken as text.
        """
        try:
            key: _Key = frozenset(attributes.items())
        except TypeError:
            attributes = {name: str(value) for name, value in attributes.items()}
            key = frozenset(attributes.items())
        cell = self._cells.get(key)
        return cell if cell is not None else self._new_cell(key, attributes)

    def _new_cell(self, key: _Key, attributes: Mapping[str, Any]) -> HistogramCell:
        with self._lock:
            cell = self._cells.get(key)
            if cell is not None:
                return cell
            if len(self._cells) >= self._max_series:
                health.warn_once(
                    f"series:{self.name}",
                    "%s has more than %d attribute sets; further ones share the series otel.metric.overflow.",
                    self.name,
                    self._max_series,
                )
                return self._overflow
            cell = self._cells[key] = HistogramCell(attributes, self._bounds)
            return cell

    def points(self, exemplars_since: int = 0) -> list[HistogramDataPoint]:
        """Return a data point for each attribute set that was recorded; see `HistogramCell.point`."""
        with self._lock:
            cells = [*self._cells.values(), self._overflow]
        points = [cell.point(exemplars_since) for cell in cells]
        return [point for point in points if point.count]
