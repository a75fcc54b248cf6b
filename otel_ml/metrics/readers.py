"""The two ways out: pushed to an exporter every interval, and pulled by whoever scrapes `/metrics`."""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.metrics import Histogram
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)

from otel_ml import health, sdk_compat
from otel_ml.metrics.histogram import CellHistogram
from otel_ml.metrics.points import CellPoints
from otel_ml.metrics.redacting import masked
from otel_ml.worker import BatchWorker

Histograms = Callable[[], Iterable[CellHistogram]]


class ExportingReader(PeriodicExportingMetricReader):
    """Collects and exports at an interval, on a thread of its own: whoever flushes waits no longer than asked.

    The SDK's reader exports on the thread that flushes, forgets what an exporter answers, and its thread dies of an
    exception. What it has to say about temporality and aggregation is used; its thread is not.

    Args:
        exporter: Where metrics go. It also says whether they count from the start or from the collection before.
        histograms: Returns the histograms whose cells are added to what the SDK collects.
        interval: Seconds between two exports.
        max_series: Attribute sets that a histogram of the SDK keeps apart.
    """

    def __init__(self, exporter: MetricExporter, histograms: Histograms, *, interval: float, max_series: int) -> None:
        super().__init__(
            exporter,
            export_interval_millis=math.inf,  # no thread of the SDK's
            export_timeout_millis=10_000,
            cardinality_limits={Histogram: max_series},
        )
        self._target = exporter
        self._points = CellPoints(histograms, temporality=sdk_compat.histogram_temporality(self))
        self._interval = interval
        self._delivered = True
        self._stopped = threading.Event()
        # Items are mere requests: however many wait, one export answers them all.
        self._worker: BatchWorker[None] = BatchWorker(
            "metrics", self._export, queue_size=1000, batch_size=1000, interval=interval
        )
        self._start_ticking()
        if hasattr(os, "register_at_fork"):
            weak_restart = weakref.WeakMethod(self._start_ticking)
            os.register_at_fork(after_in_child=lambda: (restart := weak_restart()) and restart())

    def _start_ticking(self) -> None:
        if not self._stopped.is_set():
            self._stopped = threading.Event()  # after a fork the inherited one may be locked for ever
            threading.Thread(target=self._tick, args=(self._stopped,), name="otel_ml-interval", daemon=True).start()

    def _tick(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._interval):
            self.wake()

    def wake(self) -> None:
        """Export now, without waiting for it."""
        if not self._stopped.is_set():
            self._worker.put(None)
            self._worker.wake()

    def _export(self, requests: list[None]) -> None:
        self._delivered = False
        with suppress_instrumentation():
            self.collect()

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
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
        if self._stopped.is_set():
            return True
        deadline = time.monotonic() + timeout
        self.wake()
        self._stopped.set()
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
        histograms: Returns the histograms whose cells are added to what the SDK collects.
        max_series: Attribute sets that a histogram of the SDK keeps apart.
    """

    def __init__(self, histograms: Histograms, *, max_series: int) -> None:
        super().__init__(cardinality_limits={Histogram: max_series})
        self._points = CellPoints(histograms, repeat_exemplars=True)
        self._received = threading.local()
        self._stopped = False

    def read(self) -> MetricsData | None:
        """Return all metrics, cumulative; None after `shutdown`."""
        if self._stopped:
            return None
        self._received.data = None
        self.collect()
        data: MetricsData | None = self._received.data
        return data

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        self._received.data = masked(self._points.add_to(metrics_data))

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Give nothing from now on."""
        self._stopped = True


def _count_points(data: MetricsData) -> int:
    return sum(
        len(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )
