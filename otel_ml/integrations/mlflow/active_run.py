"""The active run of MLflow as a label, from its start to its end. MLflow keeps a stack of them for each thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_ml import conventions
from otel_ml.execution import Run, current_run
from otel_ml.labels import label


@dataclass(frozen=True, slots=True)
class _Entered:
    run_id: str
    outer_run_id: str | None
    outside: Context
    inside: Context
    labelled: Run


class _Stack(threading.local):
    def __init__(self) -> None:
        self.entered: list[_Entered] = []


_stack = _Stack()


def enter(run_id: str) -> None:
    """Put a run's id on everything from now on, in this thread and in what is started from here.

    Args:
        run_id: MLflow's.
    """
    outside = context_api.get_current()
    outer = current_run(outside)
    label({conventions.MLFLOW_RUN_ID: run_id})
    labelled = current_run()
    assert labelled is not None  # noqa: S101  for the type checker
    outer_run_id = None if outer is None else outer.labels.get(conventions.MLFLOW_RUN_ID)
    _stack.entered.append(_Entered(run_id, outer_run_id, outside, context_api.get_current(), labelled))


def is_outermost(run_id: str) -> bool:
    """Whether a run of this thread is in no other."""
    return bool(_stack.entered) and _stack.entered[0].run_id == run_id


def leave(run_id: str) -> None:
    """Take the label of a run that has ended off everything, also where its context goes on.

    A run may be ended elsewhere than at the end of the block in which it was started: the context from before is put
    back only where the run's own is still current, and no other token of a context is touched.

    Args:
        run_id: MLflow's. One that was not entered here is nothing to us.
    """
    if any(entered.run_id == run_id for entered in _stack.entered):
        while _take_off(_stack.entered.pop()) != run_id:
            continue


def leave_all() -> None:
    """Take the labels of this thread's runs off."""
    while _stack.entered:
        _take_off(_stack.entered.pop())


def _take_off(entered: _Entered) -> str:
    run = entered.labelled
    labels = {name: value for name, value in run.labels.items() if name != conventions.MLFLOW_RUN_ID}
    if entered.outer_run_id is not None:
        labels[conventions.MLFLOW_RUN_ID] = entered.outer_run_id
    ended = Run(run.id, run.name, labels=labels)
    run.labels, run.attributes = ended.labels, ended.attributes  # other threads may be reading those from before
    if context_api.get_current() is entered.inside:
        context_api.attach(entered.outside)
    return entered.run_id
