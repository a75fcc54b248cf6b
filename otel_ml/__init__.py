"""Observability for machine learning: one decorator gives a span, correlated logs and a histogram with exemplars.

The decorators need the OpenTelemetry API only. A call of `configure` brings in the SDK, unless that is disabled.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from otel_ml.decorators import inference, step
from otel_ml.errors import ConfigurationError, Error
from otel_ml.options import Audit, Logs, Metrics, Redaction, Traces
from otel_ml.runs import Run, current_run, run

if TYPE_CHECKING:
    from otel_ml import audit
    from otel_ml.configuration import configure
    from otel_ml.integrations import mlflow, optuna, prefect
    from otel_ml.integrations.sklearn import SklearnInstrumentor
    from otel_ml.telemetry import Telemetry

__all__ = [
    "Audit",
    "ConfigurationError",
    "Error",
    "Logs",
    "Metrics",
    "Redaction",
    "Run",
    "SklearnInstrumentor",
    "Telemetry",
    "Traces",
    "audit",
    "configure",
    "current_run",
    "inference",
    "mlflow",
    "optuna",
    "prefect",
    "run",
    "step",
]


def __getattr__(name: str) -> Any:
    if name == "configure":
        from otel_ml.configuration import configure  # noqa: PLC0415  an instrumented library need not configure

        return configure
    if name == "audit":
        return importlib.import_module("otel_ml.audit")
    if name in ("mlflow", "optuna", "prefect"):
        return importlib.import_module(f"otel_ml.integrations.{name}")
    if name == "Telemetry":
        from otel_ml.telemetry import Telemetry  # noqa: PLC0415

        return Telemetry
    if name == "SklearnInstrumentor":
        from otel_ml.integrations.sklearn import SklearnInstrumentor  # noqa: PLC0415

        return SklearnInstrumentor
    if name == "__version__":
        from otel_ml.version import VERSION  # noqa: PLC0415

        return VERSION
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
