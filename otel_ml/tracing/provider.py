"""The tracer provider: the SDK's registry, configuration and fork handling, with tracers of ours."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  imported after a provider was made, its fork hook and the SDK's deadlock
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk import trace as sdk

from otel_ml.tracing.tracer import adopt


class TracerProvider(sdk.TracerProvider):
    """See `opentelemetry.sdk.trace.TracerProvider`: the same arguments, the same behaviour, cheaper spans."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Any = None,
    ) -> trace.Tracer:
        """Return the tracer of a scope, always the same one."""
        tracer = super().get_tracer(instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        if isinstance(tracer, sdk.Tracer):
            adopt(tracer)
        return tracer


def accelerate(provider: trace.TracerProvider) -> bool:
    """Turn a provider of the SDK that is in use into ours, in place, with all tracers that it has given out.

    Its processors, exporters, sampler, limits and resource stay. A sub-class of the SDK's provider is left alone,
    because what it changes cannot be known.

    Args:
        provider: The application's.

    Returns:
        Whether it is fast now.
    """
    kind = type(provider)
    if kind is TracerProvider:
        return True
    if (kind.__module__, kind.__qualname__) != ("opentelemetry.sdk.trace", "TracerProvider"):
        return False
    provider.__class__ = TracerProvider
    for tracer in list(getattr(provider, "_tracers", {}).values()):
        adopt(tracer)
    return True
