"""The two ways out: pushed to an exporter every interval, and pulled by whoever scrapes `/metrics`."""

from __future__ import annotations

import math
import threading
import time
from typing import Any, Final

from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)

from otel_ml import health, sdk_compat
from otel_ml.metrics.family import Family
from otel_ml.metrics.family_points import FamilyPoints
from otel_ml.metrics.fork_gate import gate
from otel_ml.metrics.points import CellPoints, Instruments
from otel_ml.metrics.redacting import masked
from otel_ml.metrics.ticking import Ticker
from otel_ml.suppression import suppress_instrumentation
from otel_ml.worker import BatchWorker

_SHARE_INTERVAL: Final = 5.0  # seconds; what other libraries counted is at most that old in the sum of all processes


class ExportingReader(PeriodicExportingMetricReader):
    """Collects and exports at an interval, on a thread of its own: whoever flushes waits no longer than asked.

    The SDK's reader exports on the thread that flushes, forgets what an exporter answers, and its thread dies of an
    exception. What it has to say about temporality and aggregation is used; its thread is not.

    Args:
        exporter: Where metrics go. It also says whether they count from the start or from the collection before.
        instruments: Returns the instruments whose cells are added to what the SDK collects.
        interval: Seconds between two exports.
        max_series: Attribute sets that a histogram of the SDK keeps apart.
    """

    def __init__(self, exporter: MetricExporter, instruments: Instruments, *, interval: float, max_series: int) -> None:
        super().__init__(
            exporter,
            export_interval_millis=math.inf,  # no thread of the SDK's
            export_timeout_millis=10_000,
            cardinality_limits={Histogram: max_series},
        )
        self._target = exporter
        self._points = CellPoints(
            instruments,
            histograms=sdk_compat.temporality(self, Histogram),
            counters=sdk_compat.temporality(self, Counter),
        )
        self._delivered = True
        # Items are mere requests: however many wait, one export answers them all.
        self._worker: BatchWorker[None] = BatchWorker(
            "metrics", self._export, queue_size=1000, batch_size=1000, interval=interval
        )
        self._clock = Ticker("otel_ml-interval", interval, self.wake)

    def wake(self) -> None:
        """Export now, without waiting for it."""
        if not self._clock.stopped:
            self._worker.put(None)
            self._worker.wake()

    def _export(self, requests: list[None]) -> None:
        self._delivered = False
        with suppress_instrumentation():
            gate.enter()
            try:
                self.collect()
            finally:
                gate.leave()

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        gate.leave()  # what follows may wait for a network
        data = masked(self._points.add_to(metrics_data))
        result = self._target.export(data, timeout_millis=timeout_millis)
        self._delivered = result is MetricExportResult.SUCCESS
        if not self._delivered:
            health.not_delivered("metrics", _count_points(data), self._target)

    def flush(self, timeout: float) -> bool:
        """Collect and export; False when that failed or took longer than `timeout` seconds."""
        self.wake()
        return self._worker.flush(timeout) and self._delivered

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collect and export, for the provider."""
        return self.flush(timeout_millis / 1000)

    def close(self, timeout: float) -> bool:
        """Flush and stop within `timeout` seconds; False when the last export failed. Safe to call twice."""
        if self._clock.stopped:
            return True
        deadline = time.monotonic() + timeout
        self.wake()
        self._clock.stop()
        in_time = self._worker.close(timeout)
        try:
            self._target.shutdown(timeout_millis=max(0.0, deadline - time.monotonic()) * 1000)
        except Exception as error:
            health.internal_error("shutdown of the metric exporter", error)
        return in_time and self._delivered

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Flush and stop, for the provider."""
        self.close(timeout_millis / 1000)


class ScrapeReader(MetricReader):
    """Collects when it is asked to, from several threads at once if need be.

    Args:
        instruments: Returns the instruments whose cells are added to what the SDK collects.
        max_series: Attribute sets that an instrument of the SDK keeps apart.
        family: The processes that are shown together; None: this one alone.
    """

    def __init__(self, instruments: Instruments, *, max_series: int, family: Family | None = None) -> None:
        super().__init__(cardinality_limits={Counter: max_series, Histogram: max_series})
        self._family = family
        self._shared = FamilyPoints(instruments, family) if family is not None else None
        self._points = self._shared or CellPoints(instruments, repeat_exemplars=True)
        self._received = threading.local()
        self._stopped = False
        self._ticker = Ticker("otel_ml-share", _SHARE_INTERVAL, self.share) if family is not None else None

    def read(self) -> MetricsData | None:
        """Return all metrics, cumulative; None after `shutdown`."""
        if self._stopped:
            return None
        self._received.data = None
        self._collect_once()
        data: MetricsData | None = self._received.data
        return data

    def share(self) -> None:
        """Let the other processes see what the SDK's instruments counted in this one, if there are others."""
        if self._stopped or self._family is None or self._family.is_alone:
            return
        self._received.only_share = True
        try:
            self._collect_once()
        finally:
            self._received.only_share = False

    def _collect_once(self) -> None:
        gate.enter()
        try:
            self.collect()
        finally:
            gate.leave()

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        gate.leave()
        if self._shared is not None and getattr(self._received, "only_share", False):
            self._shared.publish(metrics_data)
        else:
            self._received.data = masked(self._points.add_to(metrics_data))

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Give nothing from now on."""
        self._stopped = True
        if self._ticker is not None:
            self._ticker.stop()


def _count_points(data: MetricsData) -> int:
    return sum(
        len(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )
