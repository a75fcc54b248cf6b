"""`MlflowInstrumentor`: follows the active run of MLflow from `start_run` to `end_run`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from otel_ml import health
from otel_ml.errors import ConfigurationError
from otel_ml.integrations import console
from otel_ml.integrations.mlflow import active_run, autolog, log_file, own_traces
from otel_ml.integrations.mlflow import tags as run_tags
from otel_ml.patches import Undo, replace, require, when_imported

_undo: list[Undo] = []


class MlflowInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Connects the runs of MLflow with ours.

    Like every instrumentor of OpenTelemetry it is one object a process, and is found by `opentelemetry-instrument`.
    MLflow is not imported before the program does that. `otel_ml.mlflow.instrument` is how a program calls it.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what must be installed for it to work; `mlflow` brings it."""
        return ("mlflow-skinny >= 3.17",)

    def instrument(self, **kwargs: Any) -> None:
        """Begin to follow runs.

        Args:
            **kwargs: `log_file`: whether the log file of this process becomes an artifact of each outermost run;
                default True. Further ones are those of every instrumentor.

        Raises:
            ConfigurationError: An argument is of the wrong type.
        """
        value = kwargs.get("log_file")
        if value is not None and not isinstance(value, bool):
            raise ConfigurationError("otel_ml.mlflow.instrument(log_file=)", value, "True or False")
        log_file.options.enabled = value is not False
        if not self.is_instrumented_by_opentelemetry:  # else what a program says itself goes before what was set up
            super().instrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        _undo.append(when_imported("mlflow", _patch))
        _undo.append(when_imported("mlflow.sklearn", autolog.patch))

    def _uninstrument(self, **kwargs: Any) -> None:
        while _undo:
            _undo.pop()()
        active_run.leave_all()


def instrument(*, log_file: bool = True) -> None:
    """Put the id of MLflow's active run on all spans and log records, and ours among the tags of each new run.

    Call it before the program takes `start_run` or `end_run` out of MLflow by name.

    Args:
        log_file: Whether the log file of this process becomes an artifact of each outermost run at its end.

    Raises:
        ConfigurationError: `log_file` is not a bool.
        MissingExtraError: MLflow is not installed.
    """
    require("mlflow")
    MlflowInstrumentor().instrument(log_file=log_file)


def uninstrument() -> None:
    """Leave MLflow as it was."""
    MlflowInstrumentor().uninstrument()


def _patch() -> list[Undo]:
    import mlflow  # noqa: PLC0415  the program has imported it
    from mlflow.tracking import fluent  # noqa: PLC0415

    own_traces.keep()
    modules = (mlflow, fluent)
    return [
        own_traces.release,
        console.take_over("mlflow"),
        replace(modules, "start_run", _started),
        replace(modules, "end_run", _ended),
        replace((mlflow.MlflowClient,), "create_run", _tagged),
    ]


def _started(start_run: Callable[..., Any]) -> Callable[..., Any]:
    def started(*args: Any, **kwargs: Any) -> Any:
        run = start_run(*args, **kwargs)
        try:
            active_run.enter(run.info.run_id)
            own_traces.keep()
            log_file.remember()
            run_tags.complete(run)
        except Exception as error:
            health.internal_error("start of an MLflow run", error)
        return run

    return started


def _ended(end_run: Callable[..., Any]) -> Callable[..., Any]:
    def ended(*args: Any, **kwargs: Any) -> Any:
        import mlflow  # noqa: PLC0415  as above

        run = mlflow.active_run()
        if run is None:
            return end_run(*args, **kwargs)
        try:
            if active_run.is_outermost(run.info.run_id):
                log_file.store(run.info.run_id)
        except Exception as error:
            health.internal_error("log file of an MLflow run", error)
        try:
            return end_run(*args, **kwargs)
        finally:
            active_run.leave(run.info.run_id)

    return ended


def _tagged(create_run: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(create_run)

    def tagged(*args: Any, **kwargs: Any) -> Any:
        try:
            call = signature.bind(*args, **kwargs)
            call.arguments["tags"] = {**run_tags.current(), **(call.arguments.get("tags") or {})}
        except Exception as error:
            if not isinstance(error, TypeError):  # wrong arguments are MLflow's to refuse
                health.internal_error("tags of an MLflow run", error)
            return create_run(*args, **kwargs)
        return create_run(*call.args, **call.kwargs)

    return tagged
