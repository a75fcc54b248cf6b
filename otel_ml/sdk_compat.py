"""The private names of the OpenTelemetry SDK that we touch, and what happens when a release no longer has them.

A provider can be set once a process; these let `configure` be called anew after `shutdown`.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.metrics import Histogram
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import _get_from_env_or_default

from otel_ml import health


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
    sampler = _get_from_env_or_default()
    provider.sampler = sampler
    for tracer in getattr(provider, "_tracers", {}).values():
        tracer.sampler = sampler


def no_meter_provider_yet(provider: MeterProvider) -> bool:
    """Return whether this is what the API gives while nobody has set a provider; it has no public name."""
    return type(provider).__name__ == "_ProxyMeterProvider"


def histogram_temporality(reader: MetricReader) -> AggregationTemporality:
    """Return the temporality that a reader was told to give histograms; cumulative when it does not say."""
    temporalities: dict[type, AggregationTemporality] = getattr(reader, "_instrument_class_temporality", {})
    found = [value for kind, value in temporalities.items() if issubclass(kind, Histogram)]
    return found[0] if found else AggregationTemporality.CUMULATIVE


def no_logger_provider_yet(provider: object) -> bool:
    """Return whether this is what the API gives while nobody has set a logger provider; it has no public name."""
    return type(provider).__name__ == "ProxyLoggerProvider"
