"""Names as Prometheus and Loki store them; our own are translated from `otel_ml.conventions`, never spelled again."""

from __future__ import annotations

from typing import Final

from otel_ml import conventions
from otel_ml.metrics.names import label_name, metric_name, unit_name


def _histogram(name: str) -> str:
    return f"{metric_name(name)}_{unit_name('s')}"


def _counter(name: str) -> str:
    return f"{metric_name(name)}_total"


INFERENCE: Final = _histogram(conventions.INFERENCE_DURATION)
STEP: Final = _histogram(conventions.STEP_DURATION)
ROWS: Final = _counter(conventions.INFERENCE_ROWS)
DROPPED: Final = _counter(conventions.DROPPED)
AUDITED: Final = _counter(f"{conventions.SCOPE}.audit.records")

MODEL: Final = label_name(conventions.MODEL_NAME)
VERSION: Final = label_name(conventions.MODEL_VERSION)
STEP_NAME: Final = label_name(conventions.STEP_NAME)
ERROR_TYPE: Final = label_name(conventions.ERROR_TYPE)
SIGNAL: Final = label_name(conventions.SIGNAL)
REASON: Final = label_name(conventions.REASON)
STATUS: Final = label_name(conventions.STATUS)
RUN_ID: Final = label_name(conventions.RUN_ID)
RUN_NAME: Final = label_name(conventions.RUN_NAME)
RUN_STATUS: Final = label_name(conventions.RUN_STATUS)
RUN_DURATION: Final = label_name(conventions.RUN_DURATION)
EVENT_NAME: Final = label_name(conventions.EVENT_NAME)
EXCEPTION_MESSAGE: Final = label_name(conventions.EXCEPTION_MESSAGE)
PREDICTION_EVENT: Final = f"{conventions.SCOPE}.prediction"
GAP_EVENT: Final = f"{conventions.SCOPE}.audit.gap"

SERVICE: Final = "service_name"
ENVIRONMENT: Final = "deployment_environment_name"

# What the gateway's span_metrics connector makes of spans, before sampling.
SPANS: Final = "traces_span_metrics_calls_total"
SPAN_DURATION: Final = "traces_span_metrics_duration_seconds"
SERVED: Final = 'span_kind=~"SPAN_KIND_SERVER|SPAN_KIND_CONSUMER"'
FAILED_SPAN: Final = 'status_code="STATUS_CODE_ERROR"'
