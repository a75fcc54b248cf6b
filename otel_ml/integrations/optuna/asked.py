"""Trials of ask and tell: Optuna calls nothing in between, so that the span is made when a trial is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_ml import health
from otel_ml.instruments import instruments
from otel_ml.integrations.optuna import mlflow_run
from otel_ml.integrations.optuna.trials import OpenTrial

_asked: WeakKeyDictionary[Any, dict[int, tuple[Context, int]]] = WeakKeyDictionary()
"""By study and number the context and the time of each trial that was asked for; `optimize` takes its own out."""


def remembering(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Return `Study.ask` that takes note of where it was called.

    Args:
        ask: The original.
    """

    def asking(self: Any, *args: Any, **kwargs: Any) -> Any:
        started_ns = time.time_ns()
        trial = ask(self, *args, **kwargs)
        try:
            _asked.setdefault(self, {})[trial.number] = context_api.get_current(), started_ns
        except Exception as error:
            health.internal_error("start of a trial", error)
        return trial

    return asking


def telling(tell: Callable[..., Any]) -> Callable[..., Any]:
    """Return `Study.tell` that records a trial which was asked for here.

    Args:
        tell: The original.
    """

    def told(self: Any, *args: Any, **kwargs: Any) -> Any:
        frozen = tell(self, *args, **kwargs)
        try:
            asked = forget(self, frozen.number)
            if asked is not None and instruments.enabled:
                OpenTrial(self.study_name, frozen.number, *asked).finish(frozen)
                mlflow_run.log_trial(mlflow_run.active(), self, frozen)
        except Exception as error:
            health.internal_error("end of a trial", error)
        return frozen

    return told


def forget(study: Any, number: int) -> tuple[Context, int] | None:
    """Return what was noted of a trial when it was asked for, which is not noted any longer.

    Args:
        study: Its study.
        number: Its number.
    """
    return _asked.get(study, {}).pop(number, None)
