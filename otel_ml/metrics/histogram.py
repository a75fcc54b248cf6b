"""Histograms of otel_ml's own scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml import health
from otel_ml.metrics.histogram_cells import Cell, HistogramCell
from otel_ml.metrics.series import Series, reject

_INFINITY: Final = float("inf")


class CellHistogram(Series[HistogramCell], metrics.Histogram):
    """A histogram that keeps a cell for each attribute set, and one more for those above the bound.

    Args:
        name: Name of the instrument.
        unit: Its unit.
        description: What it measures.
        bounds: Upper bounds of the buckets, finite and in rising order.
        scope: Who measures.
        max_series: Attribute sets that get a cell of their own. Threads that meet at the bound may pass it by their
            number.
        exemplars: Whether exemplars are kept.
    """

    def __init__(
        self,
        name: str,
        unit: str,
        description: str,
        bounds: Sequence[float],
        *,
        scope: InstrumentationScope,
        max_series: int,
        exemplars: bool = True,
    ) -> None:
        self.bounds = tuple(float(bound) for bound in bounds)
        self._exemplars = exemplars
        super().__init__(name, unit, description, scope=scope, max_series=max_series)

    def record(
        self, amount: float, attributes: Mapping[str, Any] | None = None, context: Context | None = None
    ) -> None:
        """Count one value; never raises.

        Args:
            amount: The value; what is negative or no finite number is dropped, and that is counted.
            attributes: Of the series. What cannot be an attribute is left out with a warning.
            context: Where the span for the exemplar is; None: the current context.
        """
        try:
            value = amount if type(amount) is float else _number(amount)
            if 0.0 <= value < _INFINITY:
                self.bind(attributes).observe(value, trace.get_current_span(context))
            else:
                reject("histogram", amount)
        except Exception as error:  # a span or an attribute of a foreign class may do anything
            health.internal_error("recording of a measurement", error)

    def _make(self, attributes: Mapping[str, Any]) -> HistogramCell:
        return Cell(attributes, self.bounds, exemplars=self._exemplars, place=self.place)

    def describe(self) -> dict[str, Any]:
        """Return what tells this instrument from others, for other processes."""
        return {**super().describe(), "kind": "histogram", "bounds": self.bounds}


def _number(amount: object) -> float:
    try:
        return float(amount)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return float("nan")
