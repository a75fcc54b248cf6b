"""The meter provider: ours when nobody set one, else the application's with readers of ours."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from opentelemetry import metrics as api
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    ExemplarFilter,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import MetricExporter, MetricReader
from opentelemetry.sdk.resources import Resource

from otel_ml import conventions, health, sdk_compat
from otel_ml.metrics import active
from otel_ml.metrics.family import Family
from otel_ml.metrics.meter import MeterProvider
from otel_ml.metrics.points import Instrument
from otel_ml.metrics.readers import ExportingReader, ScrapeReader
from otel_ml.metrics.ticking import within
from otel_ml.options import Metrics
from otel_ml.version import VERSION

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from otel_ml.metrics.serving import Server

_EXEMPLAR_FILTERS: dict[str, type[ExemplarFilter]] = {
    "trace_based": TraceBasedExemplarFilter,
    "always_on": AlwaysOnExemplarFilter,
    "always_off": AlwaysOffExemplarFilter,
}
_ALWAYS_COUNTED = {  # from zero, so that an alert on their rate sees the first loss too
    ("traces", "queue_full"): 0,
    ("traces", "export_failed"): 0,
    ("logs", "queue_full"): 0,
    ("logs", "export_failed"): 0,
    ("metrics", "export_failed"): 0,
}


class MetricPipeline:
    """The active way of measurements from provider to exporter and `/metrics`.

    Args:
        provider: Takes our readers; None: there is none that could.
        options: Bounds of series, and where `/metrics` is served.
        exporter: Where metrics go at each interval.
        note: What was done with a provider that the application had set; empty when it is ours.
        service: What is measured: processes with the same service are shown together.
    """

    def __init__(
        self,
        provider: sdk.MeterProvider | None,
        options: Metrics,
        exporter: MetricExporter | None,
        note: str = "",
        service: str = "",
    ) -> None:
        self.note = note
        self.registry: CollectorRegistry | None = None
        self._provider = provider
        self._options = options
        self._service = service
        self._server: Server | None = None
        self._family: Family | None = None
        self._scraped: ScrapeReader | None = None
        self._readers: list[MetricReader] = []
        self._exporting: ExportingReader | None = None
        if provider is not None and exporter is not None:
            self._exporting = ExportingReader(
                exporter, self._instruments, interval=options.interval, max_series=options.max_series
            )
            self._attach(self._exporting)

    @property
    def port(self) -> int | None:
        """Port on which `/metrics` is served; None when it is not."""
        return self._server.port if self._server is not None else None

    def expose(self) -> None:
        """Have `registry` filled, from now on when the SDK's own instruments are concerned."""
        if self._provider is None or self.registry is not None:
            return
        from prometheus_client import CollectorRegistry  # noqa: PLC0415  not every program needs it

        from otel_ml.metrics.prometheus import PrometheusCollector  # noqa: PLC0415

        self._family = _family(self._service)
        if isinstance(self._provider, MeterProvider):
            self._provider.live_in(self._family)
        reader = ScrapeReader(self._instruments, max_series=self._options.max_series, family=self._family)
        self._attach(reader)
        self._scraped = reader
        self.registry = CollectorRegistry(support_collectors_without_names=True)
        self.registry.register(PrometheusCollector(reader.read))

    def serve(self) -> None:
        """Serve `registry` over HTTP."""
        self.expose()
        if self.registry is None:
            return
        from otel_ml.metrics.serving import serve  # noqa: PLC0415

        self._server = serve(self._options.host, self._options.port or 0, self.registry, self._family)

    def wake(self) -> None:
        """Export now, without waiting for it."""
        if self._exporting is not None:
            self._exporting.wake()

    def flush(self, timeout: float) -> bool:
        """Collect and export; False when that failed or took longer than `timeout` seconds."""
        return self._exporting is None or self._exporting.flush(timeout)

    def close(self, timeout: float) -> bool:
        """Flush, and take everything of ours off the provider, which stays. Safe to call twice."""
        deadline = time.monotonic() + timeout
        if self._server is not None:
            self._server.close()
        if self.registry is not None:
            self.registry = None
        active.leave(self)
        delivered = self._exporting is None or self._exporting.close(timeout)
        self._leave_family(max(0.1, deadline - time.monotonic()))
        readers, self._readers = self._readers, []
        for reader in readers:
            self._detach(reader)
        return delivered

    def _leave_family(self, timeout: float) -> None:
        family, self._family = self._family, None
        if family is None:
            return
        if self._scraped is not None:
            within(timeout, self._scraped.share)
        if isinstance(self._provider, MeterProvider):
            self._provider.live_in(None)
        family.leave()

    def _instruments(self) -> list[Instrument]:
        return self._provider.instruments() if isinstance(self._provider, MeterProvider) else []

    def _attach(self, reader: MetricReader) -> None:
        if self._provider is not None:
            self._provider.add_metric_reader(reader)
            self._readers.append(reader)

    def _detach(self, reader: MetricReader) -> None:
        try:
            if self._provider is not None:
                self._provider.remove_metric_reader(reader)
        except Exception as error:  # the application's provider may be a subclass with rules of its own
            health.internal_error("detaching a metric reader", error)


def start(options: Metrics, *, resource: Resource, exporter: MetricExporter | None, prometheus: bool) -> MetricPipeline:
    """Connect the global meter provider to an exporter and `/metrics`, and set it if there is none.

    Args:
        options: Bounds of series, interval, and where `/metrics` is served.
        resource: What the measurements are about; used when the provider is ours.
        exporter: Where metrics go; None: nowhere.
        prometheus: Whether `/metrics` is served.
    """
    provider = api.get_meter_provider()
    if sdk_compat.no_meter_provider_yet(provider):
        api.set_meter_provider(MeterProvider(resource, _exemplar_filter(), max_series=options.max_series))
        provider = api.get_meter_provider()
    elif isinstance(provider, MeterProvider):
        sdk_compat.update_resource(provider, resource)
        provider.restart(options.max_series)
    if not isinstance(provider, sdk.MeterProvider):
        return _without(provider, options, exporter)
    note = "" if isinstance(provider, MeterProvider) else "metrics: your MeterProvider stays; our readers were added"
    service = "/".join(str(resource.attributes.get(name, "")) for name in ("service.namespace", "service.name"))
    pipeline = MetricPipeline(provider, options, exporter, note, service)
    _count_what_is_dropped(provider)
    if prometheus:
        pipeline.serve()
    active.use(pipeline)
    return pipeline


def _family(service: str) -> Family | None:
    try:
        return Family(service)
    except Exception as error:  # then this process is shown alone
        health.internal_error("finding the other processes of this service", error)
        return None


def _without(provider: api.MeterProvider, options: Metrics, exporter: MetricExporter | None) -> MetricPipeline:
    if exporter is not None:
        exporter.shutdown()
    kind = f"{type(provider).__module__}.{type(provider).__qualname__}"
    return MetricPipeline(None, options, None, f"metrics: your {kind} stays; it takes no reader of ours")


def _exemplar_filter() -> ExemplarFilter:
    name = os.environ.get("OTEL_METRICS_EXEMPLAR_FILTER", "").strip().lower() or "trace_based"
    if name not in _EXEMPLAR_FILTERS:
        health.warn_once(
            "metrics:exemplar_filter",
            "OTEL_METRICS_EXEMPLAR_FILTER: expected one of %s, received %r; trace_based is used.",
            ", ".join(_EXEMPLAR_FILTERS),
            name,
        )
        name = "trace_based"
    return _EXEMPLAR_FILTERS[name]()


def _count_what_is_dropped(provider: sdk.MeterProvider) -> None:
    """Make the counter of losses; made again, the SDK gives the one that is there.

    It always has something to say, which readers rely on: the SDK does not call one when there is nothing to collect.
    """
    meter = provider.get_meter(conventions.SCOPE, VERSION)
    meter.create_observable_counter(
        conventions.DROPPED, callbacks=[_dropped], unit="{item}", description="Telemetry that was lost."
    )


def _dropped(options: CallbackOptions) -> list[Observation]:
    return [
        Observation(number, {conventions.SIGNAL: signal, conventions.REASON: reason})
        for (signal, reason), number in {**_ALWAYS_COUNTED, **health.dropped()}.items()
    ]
