"""What is among the tags of a run of MLflow: our run's id, the trace, and what other tools call this execution."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace

from otel_ml import conventions
from otel_ml.execution import current_run, process_run_id

_LONGEST = 5000  # MLflow refuses longer values


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
    run = current_run()
    tags = {conventions.RUN_ID: process_run_id() if run is None else run.id}
    span_context = trace.get_current_span().get_span_context()
    if span_context.is_valid:
        tags[conventions.TRACE_ID] = trace.format_trace_id(span_context.trace_id)
    labels = {} if run is None else run.labels
    tags.update((name, value) for name, value in labels.items() if name != conventions.MLFLOW_RUN_ID)  # of an outer run
    return tags


def complete(run: Any) -> None:
    """Set the tags of a run that MLflow did not ask for: it asks for none when a run is resumed.

    A tag that has another value gets ours besides, after a comma: it belongs to both executions.

    Args:
        run: An `mlflow.ActiveRun`.
    """
    there = run.data.tags
    changes = {}
    for name, value in current().items():
        values = there[name].split(",") if name in there else []
        if value not in values:
            changes[name] = _joined([*values, value])
    if changes:
        import mlflow  # noqa: PLC0415  the program has imported it
        from mlflow.entities import RunTag  # noqa: PLC0415

        mlflow.MlflowClient().log_batch(run.info.run_id, tags=[RunTag(*item) for item in changes.items()])


def _joined(values: list[str]) -> str:
    """Join values, less the oldest ones where that would be too long."""
    while len(values) > 1 and len(",".join(values)) > _LONGEST:
        values = values[1:]
    return ",".join(values)
