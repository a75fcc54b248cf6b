"""A meter provider of the SDK whose duration histograms are cells of ours."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry import metrics
from opentelemetry.sdk import metrics as sdk

from otel_ml import conventions
from otel_ml.metrics.histogram import CellHistogram


class MeterProvider(sdk.MeterProvider):
    """The SDK's provider, except that histograms with buckets of the scope `otel_ml` are `CellHistogram`s.

    Args:
        max_series: Attribute sets that one histogram keeps.
        **arguments: Those of the SDK's provider.
    """

    def __init__(self, *, max_series: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.max_series = max_series
        self._histograms: dict[str, CellHistogram] = {}
        if hasattr(os, "register_at_fork"):
            weak_reset = weakref.WeakMethod(self.reset)
            os.register_at_fork(after_in_child=lambda: (reset := weak_reset()) and reset())

    @property
    def histograms(self) -> list[CellHistogram]:
        """The cell histograms made so far."""
        return list(self._histograms.values())

    def reset(self) -> None:
        """Start all cell histograms from zero: a new pipeline, or a forked child, is a stream of its own."""
        for histogram in self.histograms:
            histogram.reset()

    def get_meter(self, name: str, *args: Any, **kwargs: Any) -> metrics.Meter:
        """Return the SDK's meter, around which the scope `otel_ml` gets one that makes cell histograms."""
        meter = super().get_meter(name, *args, **kwargs)
        return CellMeter(meter, self._cell_histogram) if name == conventions.SCOPE else meter

    def _cell_histogram(self, name: str, unit: str, description: str, bounds: Sequence[float]) -> CellHistogram:
        known = self._histograms.get(name)
        if known is None:
            known = CellHistogram(name, unit, description, bounds=bounds, max_series=self.max_series)
            self._histograms[name] = known
        return known


class CellMeter(metrics.Meter):
    """Makes cell histograms, and leaves every other instrument to the SDK's meter.

    Args:
        meter: The SDK's meter.
        make_histogram: Returns the histogram of a name, unit, description and bounds.
    """

    def __init__(self, meter: metrics.Meter, make_histogram: Callable[..., CellHistogram]) -> None:
        super().__init__(meter.name, meter.version, meter.schema_url)
        self._meter = meter
        self._make_histogram = make_histogram

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> metrics.Histogram:
        """Return a cell histogram when bounds are given."""
        if explicit_bucket_boundaries_advisory is None:
            return self._meter.create_histogram(name, unit, description)
        return self._make_histogram(name, unit, description, explicit_bucket_boundaries_advisory)

    def create_counter(self, *args: Any, **kwargs: Any) -> metrics.Counter:
        """Return a counter of the SDK."""
        return self._meter.create_counter(*args, **kwargs)

    def create_up_down_counter(self, *args: Any, **kwargs: Any) -> metrics.UpDownCounter:
        """Return an up-down counter of the SDK."""
        return self._meter.create_up_down_counter(*args, **kwargs)

    def create_gauge(self, *args: Any, **kwargs: Any) -> Any:
        """Return a gauge of the SDK."""
        return self._meter.create_gauge(*args, **kwargs)

    def create_observable_counter(self, *args: Any, **kwargs: Any) -> metrics.ObservableCounter:
        """Return an observable counter of the SDK."""
        return self._meter.create_observable_counter(*args, **kwargs)

    def create_observable_up_down_counter(self, *args: Any, **kwargs: Any) -> metrics.ObservableUpDownCounter:
        """Return an observable up-down counter of the SDK."""
        return self._meter.create_observable_up_down_counter(*args, **kwargs)

    def create_observable_gauge(self, *args: Any, **kwargs: Any) -> metrics.ObservableGauge:
        """Return an observable gauge of the SDK."""
        return self._meter.create_observable_gauge(*args, **kwargs)
