"""The tracer, histograms and counter that decorators record with: OpenTelemetry API objects and nothing else.

They follow whichever provider the application or `otel_ml.configure` sets, also when that happens later.
"""

from __future__ import annotations

import os

from opentelemetry import metrics, trace

from otel_ml import conventions
from otel_ml.version import VERSION

enabled: bool = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
"""False turns every decorator into a plain call; `OTEL_SDK_DISABLED=true` sets it at import."""

bound: object = None
"""Another object after each `bind`: what is kept of these instruments is found anew then."""

tracer: trace.Tracer
step_duration: metrics.Histogram
inference_duration: metrics.Histogram
inference_rows: metrics.Counter


def bind(
    tracer_provider: trace.TracerProvider | None = None, meter_provider: metrics.MeterProvider | None = None
) -> None:
    """Take tracer and instruments from the given providers.

    Args:
        tracer_provider: Where spans go; None: the global provider, now or whenever it is set.
        meter_provider: Where measurements go; None: the global provider, now or whenever it is set.
    """
    # The one place that binds them.
    global bound, tracer, step_duration, inference_duration, inference_rows  # noqa: PLW0603
    tracer = trace.get_tracer(conventions.SCOPE, VERSION, tracer_provider)
    meter = metrics.get_meter(conventions.SCOPE, VERSION, meter_provider)
    step_duration = meter.create_histogram(
        conventions.STEP_DURATION,
        unit="s",
        description="Wall-clock time of a pipeline step.",
        explicit_bucket_boundaries_advisory=conventions.STEP_BUCKETS,
    )
    inference_duration = meter.create_histogram(
        conventions.INFERENCE_DURATION,
        unit="s",
        description="Wall-clock time of an inference call.",
        explicit_bucket_boundaries_advisory=conventions.INFERENCE_BUCKETS,
    )
    inference_rows = meter.create_counter(
        conventions.INFERENCE_ROWS, unit="{row}", description="Rows that inference calls were given."
    )
    bound = object()


bind()
