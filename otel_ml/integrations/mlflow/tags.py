"""What is among the tags of a run of MLflow: our run's id, the trace, and what other tools call this execution."""

from __future__ import annotations

from typing import Any

from otel_ml import conventions
from otel_ml.integrations.known_as import added, known_as


class ContextProvider:
    """What MLflow asks for tags of each run that `start_run` creates; entry point `mlflow.run_context_provider`."""

    def in_context(self) -> bool:
        """Whether there are tags: while MLflow is instrumented."""
        from otel_ml.integrations.mlflow.instrumentor import MlflowInstrumentor  # noqa: PLC0415  MLflow loads this first

        return bool(MlflowInstrumentor().is_instrumented_by_opentelemetry)

    def tags(self) -> dict[str, str]:
        """Return the tags."""
        return current()


def current() -> dict[str, str]:
    """Return the tags of a run that is started here and now."""
    tags = known_as()
    tags.pop(conventions.MLFLOW_RUN_ID, None)  # of the run around it, which `mlflow.parentRunId` says
    return tags


def complete(run: Any) -> None:
    """Set the tags of a run that MLflow did not ask for: it asks for none when a run is resumed.

    Args:
        run: An `mlflow.ActiveRun`.
    """
    changes = added(run.data.tags, current())
    if changes:
        import mlflow  # noqa: PLC0415  the program has imported it
        from mlflow.entities import RunTag  # noqa: PLC0415

        mlflow.MlflowClient().log_batch(run.info.run_id, tags=[RunTag(*item) for item in changes.items()])
