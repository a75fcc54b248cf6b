"""Spans, durations and progress of scikit-learn's estimators, pipelines and searches, without a change of user code."""

from otel_ml.integrations.sklearn.instrumentor import SklearnInstrumentor

__all__ = ["SklearnInstrumentor"]
