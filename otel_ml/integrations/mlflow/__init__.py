"""MLflow: its run's id on all spans and log records, ours among its tags, importances and log file as its artifacts."""

from otel_ml.integrations.mlflow.importances import log_importances
from otel_ml.integrations.mlflow.instrumentor import MlflowInstrumentor, instrument, uninstrument

__all__ = ["MlflowInstrumentor", "instrument", "log_importances", "uninstrument"]
