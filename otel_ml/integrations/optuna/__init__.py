"""Optuna: an optimization is a span, each of its trials one with its log line, and MLflow gets their values."""

from otel_ml.integrations.optuna.instrumentor import OptunaInstrumentor, instrument, uninstrument

__all__ = ["OptunaInstrumentor", "instrument", "uninstrument"]
