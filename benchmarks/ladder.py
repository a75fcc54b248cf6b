"""otel_ml itself, a rung at a time. Each function is called once, in a process of its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import otel_ml
from benchmarks import exporters
from benchmarks.workload import PREDICTION, Features, Subject, fail, one_row, predict

Call = Callable[[Features], float]
Flush = Callable[[], None]

QUEUE_SIZE = 65_536
"""Larger than a round, so that no span is dropped: dropping is cheaper than exporting."""


def disabled() -> Subject:
    os.environ["OTEL_SDK_DISABLED"] = "true"
    otel_ml.configure(service_name="benchmark")
    return Subject(otel_ml.step(predict), spans_per_call=0)


def no_sdk() -> Subject:
    """The library as a dependency of a program that sets up no telemetry."""
    return Subject(otel_ml.step(predict), spans_per_call=0)


def not_sampled() -> Subject:
    os.environ["OTEL_TRACES_SAMPLER"] = "always_off"
    flush = _configure(metrics=False, logs=False)
    return Subject(_step(predict), flush, spans_per_call=0)


def span() -> Subject:
    flush = _configure(metrics=False, logs=False)
    return Subject(_step(predict), flush)


def span_with_backlog(spans: int) -> Subject:
    """A batch as large as the queue: a full one would be exported at once, and nothing would wait."""
    room = spans + 1024
    traces = otel_ml.Traces(queue_size=room, batch_size=room, interval=3600.0)
    flush = _configure(metrics=False, logs=False, encoding=True, traces=traces)
    return Subject(_step(predict), flush)


def span_otlp() -> Subject:
    """Three attributes: the step's name, the function's name and one of the caller's."""
    flush = _configure(metrics=False, logs=False, encoding=True)
    return Subject(otel_ml.step("predict", attributes={"model": "churn"})(predict), flush)


def span_otlp_often() -> Subject:
    """The same with a short interval, so that there is an export under way while latencies are taken."""
    flush = _configure(metrics=False, logs=False, encoding=True, interval=0.02)
    return Subject(otel_ml.step("predict", attributes={"model": "churn"})(predict), flush)


def step_with_histogram() -> Subject:
    flush = _configure()
    return Subject(_step(predict), flush)


def inference_with_histogram() -> Subject:
    flush = _configure()
    return Subject(_inference(predict), flush)


def inference_on_record() -> Subject:
    return Subject(_inference(predict), _configure(audit=_audit()))


def inference_with_log() -> Subject:
    flush = _configure(audit=_audit())
    logger = logging.getLogger("benchmarks.model")

    def predict_and_log(features: Features) -> float:
        logger.info("predicted %s", PREDICTION)
        return PREDICTION

    return Subject(_inference(predict_and_log), flush)


def raising() -> Subject:
    """Everything on: the exception is on the span, in the histogram's attributes, and in an ERROR line."""
    flush = _configure()
    watched = _step(fail)

    def call(features: Features) -> object:
        try:
            return watched(features)
        except ValueError:
            return PREDICTION

    return Subject(call, flush)


def pipeline() -> Subject:
    """A scikit-learn pipeline of two steps, asked for one row: three spans, with shapes and names of steps."""
    flush = _configure(logs=False)
    instrumentor = otel_ml.SklearnInstrumentor()
    instrumentor.instrument()

    def switch(on: bool) -> None:
        if on != instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument() if on else instrumentor.uninstrument()

    return Subject(one_row(), flush, spans_per_call=3, switch=switch)


def _configure(*, encoding: bool = False, interval: float = 1.0, **signals: Any) -> Flush:
    exporters.use_for_traces(encoding=encoding)
    options: dict[str, Any] = {
        "traces": otel_ml.Traces(queue_size=QUEUE_SIZE, interval=interval),
        "logs": otel_ml.Logs(format="none", directory=Path("logs").absolute(), queue_size=QUEUE_SIZE),
        "audit": False,
        **signals,
    }
    telemetry = otel_ml.configure(service_name="benchmark", directory=Path("state").absolute(), **options)

    def flush() -> None:
        if not telemetry.flush(timeout=120.0):
            raise TimeoutError("otel_ml did not flush within 120 s")

    return flush


def _audit() -> otel_ml.Audit:
    return otel_ml.Audit(directory=Path("audit").absolute(), queue_size=QUEUE_SIZE)


def _step(function: Call) -> Call:
    return otel_ml.step(function)


def _inference(function: Call) -> Call:
    return otel_ml.inference(model="churn", version="1.2.0", feature_version="7")(function)
