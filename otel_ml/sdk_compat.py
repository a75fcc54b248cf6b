"""The private names of the OpenTelemetry SDK that we touch, and what happens when a release no longer has them.

A provider can be set once a process; these let `configure` be called anew after `shutdown`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.semconv.attributes.http_attributes import HTTP_RESPONSE_STATUS_CODE

from otel_ml import health

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader
    from opentelemetry.sdk.trace import TracerProvider


def update_resource(provider: Any, resource: Resource) -> None:
    """Have a provider of ours, and everything it made, describe another resource from now on.

    The SDK does the same in a forked child (`_update_resource`, which merges into the resource that is there).
    """
    update = getattr(provider, "_update_resource", None)
    if update is None:
        health.warn_once(
            "sdk:resource", "this release of the OpenTelemetry SDK keeps the resource of the first configure"
        )
        return
    update(resource)


def update_sampler(provider: TracerProvider) -> None:
    """Have a provider of ours, and the tracers that it made, sample as the environment says now."""
    from opentelemetry.sdk.trace.sampling import _get_from_env_or_default  # noqa: PLC0415  its loss costs spans only

    sampler = _get_from_env_or_default()
    provider.sampler = sampler
    for tracer in getattr(provider, "_tracers", {}).values():
        tracer.sampler = sampler


def no_meter_provider_yet(provider: MeterProvider) -> bool:
    """Return whether this is what the API gives while nobody has set a provider; it has no public name."""
    return type(provider).__name__ == "_ProxyMeterProvider"


def temporality(reader: MetricReader, kind: type) -> AggregationTemporality:
    """Return the temporality that a reader was told to give instruments of a kind; cumulative when it does not say."""
    from opentelemetry.sdk.metrics.export import AggregationTemporality  # noqa: PLC0415  spans and logs come without it

    temporalities: dict[type, AggregationTemporality] = getattr(reader, "_instrument_class_temporality", {})
    found = [value for known, value in temporalities.items() if issubclass(known, kind)]
    return found[0] if found else AggregationTemporality.CUMULATIVE


def no_logger_provider_yet(provider: object) -> bool:
    """Return whether this is what the API gives while nobody has set a logger provider; it has no public name."""
    return type(provider).__name__ == "ProxyLoggerProvider"


def http_sender(exporter: Any) -> Callable[[bytes, int], bool] | None:
    """Return how the stock OTLP exporter over HTTP sends a request that is ready, as it sends its own.

    Args:
        exporter: The exporter; what a fork renews in it is looked up each time.

    Returns:
        A function of a request and the number of records in it that tells whether it was delivered; None when this
        release of the exporter has no such way.
    """
    export = getattr(getattr(exporter, "_client", None), "export", None)
    operation = getattr(getattr(exporter, "_metrics", None), "export_operation", None)
    if not (callable(export) and callable(operation) and list(inspect.signature(export).parameters) == ["data"]):
        return None

    def send(content: bytes, number: int) -> bool:
        if getattr(exporter, "_shutdown", False):
            return False
        limit = getattr(exporter, "_max_request_size", 0)
        if 0 < limit < len(content):
            health.warn_once("sdk:request_size", "a request of %d bytes is more than the exporter sends", len(content))
            return False
        with exporter._metrics.export_operation(number) as outcome:
            result = exporter._client.export(content)
            if not result.success:
                outcome.error = result.error
                if result.status_code is not None:
                    outcome.error_attrs = {HTTP_RESPONSE_STATUS_CODE: result.status_code}
            return bool(result.success)

    return send


def use_grpc_stub(exporter: Any, make: Callable[[Any], object]) -> bool:
    """Have a stock OTLP exporter over gRPC call a stub of ours, also after it has made a new channel.

    Args:
        exporter: The exporter.
        make: Makes a stub for a channel.

    Returns:
        False when this release of the exporter keeps its stub in another way.
    """
    kept = vars(exporter)
    if kept.get("_channel") is None or kept.get("_client") is None or not callable(kept.get("_stub")):
        return False
    exporter._stub = make
    exporter._client = make(exporter._channel)
    return True
