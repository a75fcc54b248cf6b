"""What a run of MLflow gets of a study: each trial's value as a metric, and the parameters of the best one."""

from __future__ import annotations

import sys
from typing import Any

from otel_ml import capture, health

METRIC = "optuna_value"
"""Metric with the value of each trial, its number being the step; of several objectives `optuna_value_<name>`."""

BEST_METRIC = "optuna_best_value"
"""Metric with the value of the best trial."""

BEST_PARAMETER = "optuna_best_"
"""What a parameter of the best trial has before its name."""

_away: set[str] = set()
"""Runs whose store did not take a value: MLflow tries for minutes, which no further trial shall wait for."""


def active() -> str | None:
    """Return the id of the run of MLflow that is active in this thread; None: there is none, or no MLflow."""
    module = sys.modules.get("mlflow")
    run = None if module is None else module.active_run()
    return None if run is None else str(run.info.run_id)


def log_trial(run_id: str | None, study: Any, frozen: Any) -> None:
    """Log the value of a trial that completed.

    Args:
        run_id: MLflow's; None: nothing is logged.
        study: Its study.
        frozen: What Optuna knows of it.
    """
    if run_id is None or run_id in _away or frozen.state.name != "COMPLETE":
        return
    names = study.metric_names or range(len(frozen.values))
    single = len(frozen.values) == 1
    for name, value in zip(names, frozen.values, strict=True):
        if not _logged("log_metric", run_id, METRIC if single else f"{METRIC}_{name}", value, step=frozen.number):
            _away.add(run_id)


def log_best(run_id: str | None, best: Any) -> None:
    """Log value and parameters of the best trial.

    A parameter that has another value from an earlier optimization stays as it is: MLflow does not change parameters.

    Args:
        run_id: MLflow's; None: nothing is logged.
        best: What Optuna knows of it; None: there is no best one.
    """
    if run_id is None or run_id in _away or best is None:
        return
    _logged("log_metric", run_id, BEST_METRIC, best.value)
    for name, value in capture.features(best.params).items():
        _logged("log_param", run_id, f"{BEST_PARAMETER}{name}", value)


def _logged(method: str, run_id: str, name: str, *args: Any, **kwargs: Any) -> bool:
    try:
        getattr(sys.modules["mlflow"].MlflowClient(), method)(run_id, name, *args, **kwargs)
    except Exception as error:  # the store may be away, or refuse a name
        health.warn_once(f"optuna:mlflow:{method}", "MLflow did not take %s of a study: %s", name, error)
        return False
    return True
