"""The meter provider of the distro: the SDK's, with our own histograms and counters in cells."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

from opentelemetry import metrics as api
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, ExemplarFilter
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_ml import conventions
from otel_ml.metrics.counter import CellCounter
from otel_ml.metrics.histogram import CellHistogram
from otel_ml.metrics.points import Instrument
from otel_ml.metrics.series import Home

Cells = TypeVar("Cells", CellHistogram, CellCounter)


class MeterProvider(sdk.MeterProvider):
    """Gives counters of otel_ml's own scope, and histograms that have bucket bounds, as cells; all else is the SDK's.

    Args:
        resource: What the measurements are about.
        exemplar_filter: Which measurements become exemplars. Cells know two cases: those in sampled spans, and none.
        max_series: Attribute sets that an instrument of ours keeps apart.
    """

    def __init__(self, resource: Resource, exemplar_filter: ExemplarFilter, *, max_series: int) -> None:
        super().__init__(resource=resource, exemplar_filter=exemplar_filter, shutdown_on_exit=False)
        self._keep_exemplars = not isinstance(exemplar_filter, AlwaysOffExemplarFilter)
        self._max_series = max_series
        self._instruments: dict[tuple[type, InstrumentationScope, str], Instrument] = {}
        self._home: Home | None = None
        self._creating = threading.Lock()
        self._readers: list[MetricReader] = []

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Any = None,
    ) -> api.Meter:
        """Return the meter of a scope."""
        meter = super().get_meter(name, version, schema_url, attributes)
        if name == conventions.SCOPE and isinstance(meter, sdk.Meter):
            meter.__class__ = CellMeter  # the SDK makes, keeps and switches off its meters itself
            assert isinstance(meter, CellMeter)  # noqa: S101  for the type checker
            meter.provider = self
        return meter

    def instruments(self) -> list[Instrument]:
        """Return the instruments whose cells readers have to add to what the SDK collects."""
        return list(self._instruments.values())

    def cell_histogram(
        self, name: str, unit: str, description: str, bounds: Sequence[float], scope: InstrumentationScope
    ) -> CellHistogram:
        """Return the histogram of that scope and name, made at the first call."""
        return self._only(
            CellHistogram,
            scope,
            name,
            lambda: CellHistogram(
                name,
                unit,
                description,
                bounds,
                scope=scope,
                max_series=self._max_series,
                exemplars=self._keep_exemplars,
            ),
        )

    def cell_counter(self, name: str, unit: str, description: str, scope: InstrumentationScope) -> CellCounter:
        """Return the counter of that scope and name, made at the first call."""
        make = partial(CellCounter, name, unit, description, scope=scope, max_series=self._max_series)
        return self._only(CellCounter, scope, name, make)

    def _only(self, kind: type[Cells], scope: InstrumentationScope, name: str, make: Callable[[], Cells]) -> Cells:
        with self._creating:
            known = self._instruments.get((kind, scope, name))
            if not isinstance(known, kind):
                known = self._instruments[kind, scope, name] = make()
                known.live_in(self._home)
            return known

    def live_in(self, home: Home | None) -> None:
        """Keep the numbers of all cells there from now on. None: in this process, and counted from zero."""
        with self._creating:
            self._home = home
            for instrument in self.instruments():
                instrument.live_in(home)

    def restart(self, max_series: int) -> None:
        """Count from zero, as the SDK does for readers that are added anew."""
        self._max_series = max_series
        for instrument in self.instruments():
            instrument.max_series = max_series
            instrument.reset()

    def add_metric_reader(self, metric_reader: MetricReader) -> None:
        """Attach a reader."""
        super().add_metric_reader(metric_reader)
        self._readers.append(metric_reader)

    def remove_metric_reader(self, metric_reader: MetricReader) -> None:
        """Detach a reader and shut it down."""
        if metric_reader in self._readers:
            self._readers.remove(metric_reader)
        super().remove_metric_reader(metric_reader)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Have every reader deliver; the SDK itself flushes only readers that it was made with, and ours come later."""
        deadline = time.monotonic() + timeout_millis / 1000
        return all([reader.force_flush(_milliseconds_until(deadline)) for reader in list(self._readers)])

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Deliver and stop; for applications that end the global provider themselves."""
        deadline = time.monotonic() + timeout_millis / 1000
        for reader in list(self._readers):
            reader.shutdown(_milliseconds_until(deadline))
        super().shutdown(timeout_millis)


class CellMeter(sdk.Meter):
    """The meter of otel_ml's own scope."""

    provider: MeterProvider

    def create_counter(self, name: str, unit: str = "", description: str = "") -> api.Counter:
        """Return the counter of that name."""
        return self.provider.cell_counter(name, unit, description, self._scope())

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> api.Histogram:
        """Return the histogram of that name; in cells when it has bucket bounds that are finite and rise."""
        bounds = explicit_bucket_boundaries_advisory
        if bounds is None or not _rising(bounds):
            return super().create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)
        return self.provider.cell_histogram(name, unit, description, bounds, self._scope())

    def _scope(self) -> InstrumentationScope:
        return InstrumentationScope(self.name, self.version, self.schema_url)


def _rising(bounds: Sequence[float]) -> bool:
    return all(math.isfinite(bound) for bound in bounds) and all(low < high for low, high in pairwise(bounds))


def _milliseconds_until(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic()) * 1000
