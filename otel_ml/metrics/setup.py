"""The meter provider, ours or the application's, and the readers that are added to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, NoOpMeterProvider, Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource

from otel_ml import conventions, health, instruments, sdk_compat
from otel_ml.metrics import exposition
from otel_ml.metrics.meter import MeterProvider
from otel_ml.metrics.readers import ExportingReader, PullReader
from otel_ml.options import Metrics
from otel_ml.version import VERSION

_own: MeterProvider | None = None
_with_dropped: set[int] = set()


class MetricPipeline:
    """The readers of one `configure`, and the server of `/metrics`.

    Args:
        provider: What the readers were added to, or None when it takes none.
        exporting: The reader that pushes, or None.
        note: What was done with a provider that the application had set; empty when it is ours.
    """

    def __init__(self, provider: sdk.MeterProvider | None, exporting: ExportingReader | None, note: str) -> None:
        self._provider = provider
        self._exporting = exporting
        self._pull: PullReader | None = None
        self._pull_lock = threading.Lock()
        self._server: exposition.MetricsServer | None = None
        self.note = note
        exposition.serve_from(self.read if provider is not None else None)

    @property
    def port(self) -> int | None:
        """TCP port of `/metrics`, or None when it is not served."""
        return None if self._server is None else self._server.port

    def serve(self, host: str, port: int) -> None:
        """Serve `/metrics`."""
        self._server = exposition.start_server(host, port)

    def read(self) -> MetricsData:
        """Return everything recorded so far; counters of the SDK count from the first call on."""
        if self._provider is None:
            return MetricsData([])
        with self._pull_lock:
            if self._pull is None:
                self._pull = PullReader(self._provider)
                self._provider.add_metric_reader(self._pull)
        return self._pull.read()

    def wake(self) -> None:
        """Do nothing: the reader's thread collects when it is flushed or closed."""

    def flush(self, timeout: float) -> bool:
        """Collect and export now; False when that took longer than `timeout` seconds."""
        reader = self._exporting
        return reader is None or _within(timeout, lambda: reader.force_flush(timeout * 1000))

    def close(self, timeout: float) -> bool:
        """Export a last time, take the readers off the provider, and free the port; False after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        if self._server is not None:
            self._server.close()
        exposition.serve_from(None)
        done = True
        readers: list[MetricReader] = [reader for reader in (self._exporting, self._pull) if reader is not None]
        for reader in readers:
            seconds = max(0.1, deadline - time.monotonic())
            done = _within(seconds, lambda r=reader: _remove(self._provider, r)) and done  # type: ignore[misc]
        return done


def start(options: Metrics, *, resource: Resource, exporter: MetricExporter | None, prometheus: bool) -> MetricPipeline:
    """Connect the global meter provider to an exporter and to `/metrics`, and set it if there is none.

    Args:
        options: Interval, bounds and address.
        resource: What the measurements are about; used when the provider is ours.
        exporter: Where measurements go every interval, or None.
        prometheus: Whether `/metrics` is served.
    """
    provider, note = _provider(options, resource)
    exporting = None
    if provider is not None:
        instruments.bind()
        _observe_dropped(provider)
        if exporter is not None:
            exporting = ExportingReader(exporter, provider, options.interval)
            provider.add_metric_reader(exporting)
    pipeline = MetricPipeline(provider, exporting, note)
    if prometheus:
        pipeline.read()  # from now on, not from the first scrape, the counters of the SDK count
        pipeline.serve(options.host, options.port or 0)
    return pipeline


def _provider(options: Metrics, resource: Resource) -> tuple[sdk.MeterProvider | None, str]:
    global _own  # noqa: PLW0603  a provider can be set once a process, so there is one
    current: Any = metrics.get_meter_provider()
    if current is _own and _own is not None:
        sdk_compat.update_resource(_own, resource)
        _own.reset()
        return _own, ""
    if isinstance(current, sdk.MeterProvider):
        return current, "metrics: your MeterProvider stays; our readers were added"
    if isinstance(current, NoOpMeterProvider) or not _is_proxy(current):
        kind = f"{type(current).__module__}.{type(current).__qualname__}"
        return None, f"metrics: your {kind} stays; it takes no readers of ours"
    _own = MeterProvider(max_series=options.max_series, resource=resource, shutdown_on_exit=False)
    metrics.set_meter_provider(_own)
    return _own, ""


def _is_proxy(provider: object) -> bool:
    return type(provider).__module__.startswith("opentelemetry.metrics")


def _observe_dropped(provider: sdk.MeterProvider) -> None:
    if id(provider) in _with_dropped:
        return
    _with_dropped.add(id(provider))
    meter = provider.get_meter(conventions.SCOPE, VERSION)
    meter.create_observable_counter(
        conventions.DROPPED, [_dropped], unit="{item}", description="Telemetry that was lost, by signal and reason."
    )


def _dropped(options: CallbackOptions) -> Iterable[Observation]:
    """Observe at least one zero: a collection without any data would not reach the readers, and with it the cells."""
    counts = {("traces", "queue_full"): 0, **health.dropped()}
    for (signal, reason), number in counts.items():
        yield Observation(number, {conventions.SIGNAL: signal, conventions.REASON: reason})


def _remove(provider: sdk.MeterProvider | None, reader: MetricReader) -> None:
    if provider is not None:
        reader.shutdown()  # before: its thread collects a last time
        provider.remove_metric_reader(reader)


def _within(timeout: float, action: Callable[[], object]) -> bool:
    """Run an action that may wait for a dead endpoint on a thread; False when it took longer."""
    thread = threading.Thread(target=_survived, args=(action,), name="otel_ml-metrics", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is going down, and refuses threads
        _survived(action)
        return True
    thread.join(timeout)
    return not thread.is_alive()


def _survived(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception as error:
        health.internal_error("export of metrics", error)
