"""The tracer, histograms and counter that decorators record with: OpenTelemetry API objects and nothing else.

They follow whichever provider the application or `otel_ml.configure` sets, also when that happens later.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind

from otel_ml import conventions
from otel_ml.version import VERSION


class SpanStarter:
    """What starts spans: `tracing.starter`, which a program without a tracer of ours never loads.

    Attributes:
        span_class: The class of its spans.
    """

    __slots__ = ("span_class",)

    span_class: type[Any]

    def start(  # noqa: PLR0917  the SDK's signature
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: Mapping[str, Any] | None,
        links: Sequence[Link] | None,
        start_time: int | None,
        record_exception: bool,
        set_status_on_exception: bool,
    ) -> trace.Span:
        """Start a span; the arguments are those of `Tracer.start_span`."""
        raise NotImplementedError


class Instruments:
    """The ones in use. There is one such object, `instruments`.

    Attributes:
        enabled: False turns every decorator into a plain call; `OTEL_SDK_DISABLED=true` sets it at import.
        bound: Another object after each `bind`: what is kept of these instruments is found anew then.
        tracer: Starts the spans of decorators.
        starter: Does the same where the tracer is ours, with one call less; else None.
        estimator_duration: Histogram of the calls of estimators.
        step_duration: Histogram of the steps.
        inference_duration: Histogram of the inference calls.
        audit_records: Counter of the records that were handed to the audit trail.
        inference_rows: Counter of the rows that inference calls were given.
        recorder: Puts inference calls on record; None: nobody does.
    """

    __slots__ = (
        "audit_records", "bound", "enabled", "estimator_duration", "inference_duration", "inference_rows", "recorder",
        "starter", "step_duration", "tracer",
    )  # fmt: skip

    audit_records: metrics.Counter
    bound: object
    enabled: bool
    estimator_duration: metrics.Histogram
    inference_duration: metrics.Histogram
    inference_rows: metrics.Counter
    recorder: Any
    starter: SpanStarter | None
    step_duration: metrics.Histogram
    tracer: trace.Tracer

    def __init__(self) -> None:
        self.recorder = None
        self.enabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        self.bind()

    def __reduce__(self) -> str:  # by name: decorated functions that are sent to other processes use those there
        return "instruments"

    def bind(
        self, tracer_provider: trace.TracerProvider | None = None, meter_provider: metrics.MeterProvider | None = None
    ) -> None:
        """Take tracer and instruments from the given providers.

        Args:
            tracer_provider: Where spans go; None: the global provider, now or whenever it is set.
            meter_provider: Where measurements go; None: the global provider, now or whenever it is set.
        """
        self.tracer = trace.get_tracer(conventions.SCOPE, VERSION, tracer_provider)
        starter = getattr(self.tracer, "starter", None)
        self.starter = starter if isinstance(starter, SpanStarter) else None
        meter = metrics.get_meter(conventions.SCOPE, VERSION, meter_provider)
        self.step_duration = meter.create_histogram(
            conventions.STEP_DURATION,
            unit="s",
            description="Wall-clock time of a pipeline step.",
            explicit_bucket_boundaries_advisory=conventions.STEP_BUCKETS,
        )
        self.inference_duration = meter.create_histogram(
            conventions.INFERENCE_DURATION,
            unit="s",
            description="Wall-clock time of an inference call.",
            explicit_bucket_boundaries_advisory=conventions.INFERENCE_BUCKETS,
        )
        self.estimator_duration = meter.create_histogram(
            conventions.ESTIMATOR_DURATION,
            unit="s",
            description="Wall-clock time of a call of an estimator.",
            explicit_bucket_boundaries_advisory=conventions.ESTIMATOR_BUCKETS,
        )
        self.inference_rows = meter.create_counter(
            conventions.INFERENCE_ROWS, unit="{row}", description="Rows that inference calls were given."
        )
        self.audit_records = meter.create_counter(
            conventions.AUDIT_RECORDS, unit="{record}", description="Records handed to the audit trail."
        )
        self.bound = object()


instruments: Final = Instruments()
