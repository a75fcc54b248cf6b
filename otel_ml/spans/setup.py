"""The tracer provider: ours when nobody set one, else the application's with what can be added to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter

from otel_ml import execution, health, sdk_compat
from otel_ml.options import Traces
from otel_ml.runs import Run
from otel_ml.spans.queue import QueueSpanProcessor
from otel_ml.spans.run_attributes import RunAttributes
from otel_ml.tracing.provider import TracerProvider, accelerate
from otel_ml.tracing.switch import SwitchProcessor

_own: TracerProvider | None = None
_switches: dict[int, tuple[sdk.TracerProvider, SwitchProcessor]] = {}  # by id: a provider need not be hashable


class TracePipeline:
    """The active way of spans from provider to exporters.

    Args:
        switch: Attached to the provider.
        queues: One processor an exporter.
        note: What was done with a provider that the application had set; empty when it is ours.
    """

    def __init__(self, switch: SwitchProcessor, queues: list[QueueSpanProcessor], note: str = "") -> None:
        self._switch = switch
        self._queues = queues
        self.note = note

    def wake(self) -> None:
        """Have the exporters look at their queues now."""
        for queue in self._queues:
            queue.wake()

    def flush(self, timeout: float) -> bool:
        """Wait `timeout` seconds at most until every span that ended has been exported."""
        return all([queue.force_flush(int(timeout * 1000)) for queue in self._queues])

    def close(self, timeout: float) -> bool:
        """Flush and stop; the provider stays, and its spans go nowhere until a new pipeline is started."""
        self._switch.close()
        return all([queue.close(timeout) for queue in self._queues])


def start(
    options: Traces,
    *,
    resource: Resource,
    exporters: list[SpanExporter],
    on_run: Callable[[Run], None],
    foreign_export: bool,
) -> TracePipeline:
    """Connect the global tracer provider to exporters, and set it if there is none.

    Args:
        options: Bounds of the queue.
        resource: What the spans are about; used when the provider is ours.
        exporters: Where spans go.
        on_run: Called with each run when its first span in this process starts.
        foreign_export: Whether spans of a provider that the application had set are exported too.
    """
    global _own  # noqa: PLW0603  a provider can be set once a process, so there is one
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        provider = _own = TracerProvider(resource=resource, shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
    elif provider is _own:
        sdk_compat.update_resource(provider, resource)
        sdk_compat.update_sampler(provider)
    elif isinstance(provider, sdk.TracerProvider):
        return _join(provider, options, exporters if foreign_export else [], on_run)
    else:
        kind = f"{type(provider).__module__}.{type(provider).__qualname__}"
        return TracePipeline(SwitchProcessor(), [], f"traces: your {kind} stays; it takes no span processor of ours")
    return _connect(provider, options, exporters, on_run)


def _join(
    provider: sdk.TracerProvider, options: Traces, exporters: list[SpanExporter], on_run: Callable[[Run], None]
) -> TracePipeline:
    pipeline = _connect(provider, options, exporters, on_run)
    added = "run ids and our exporter were added" if exporters else "run ids were added, its exporters are yours"
    pipeline.note = f"traces: your TracerProvider stays; {added}"
    if options.accelerate:
        is_fast = accelerate(provider)
        pipeline.note += "; its spans are fast" if is_fast else f"; a {type(provider).__qualname__} cannot be made fast"
    return pipeline


def _connect(
    provider: sdk.TracerProvider, options: Traces, exporters: list[SpanExporter], on_run: Callable[[Run], None]
) -> TracePipeline:
    known = _switches.get(id(provider))
    switch = known[1] if known is not None else _attach(provider)
    queues = [QueueSpanProcessor(exporter, options) for exporter in exporters]
    targets = tuple(queues)
    switch.open((), tuple(queue.emit for queue in queues), targets)
    execution.when_in_use(partial(_ask_at_start, switch, targets, RunAttributes(on_run)))
    return TracePipeline(switch, queues)


def _ask_at_start(
    switch: SwitchProcessor, targets: tuple[QueueSpanProcessor, ...], run_attributes: RunAttributes
) -> None:
    if switch.targets is targets:  # nothing was configured anew meanwhile
        switch.starters = (run_attributes.start,)


def _attach(provider: sdk.TracerProvider) -> SwitchProcessor:
    switch = SwitchProcessor()
    try:
        provider.add_span_processor(switch)
    except Exception as error:  # the application's provider may be a subclass with rules of its own
        health.internal_error("adding a span processor", error)
    _switches[id(provider)] = (provider, switch)
    return switch
