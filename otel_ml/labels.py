"""Labels: what other tools call this execution, on every span and log record inside of it.

A stage of DVC, a run of MLflow, a job of Hydra, a trial of Optuna, a flow run of Prefect: each integration says its
name once, and everything inside carries it beside the run's id, in threads, tasks and processes too. That is how one
name leads to all others.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import Token
from pathlib import Path

from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_ml import redaction
from otel_ml.execution import Run, context_with, current_run, is_inside, process_run_id

_LONGEST = 256


def label(labels: Mapping[str, str]) -> Token[Context]:
    """Put labels on everything from now on, in this thread or task, until `context.detach` is given what it returns.

    Where no run is open, the process's own run is what carries them.

    Args:
        labels: Values by name, a constant of `otel_ml.conventions`. A value replaces an outer one of the same name, and
            is masked, and cut after 256 characters.

    Returns:
        A token for `opentelemetry.context.detach`.
    """
    run = current_run()
    merged = {**({} if run is None else run.labels), **{name: _shown(value) for name, value in labels.items()}}
    if run is None:
        labelled_run = Run(process_run_id(), Path(sys.argv[0]).stem or "python", labels=merged, entered=False)
    else:
        labelled_run = Run(run.id, run.name, run.config, run._span, merged, entered=is_inside())
    return context_api.attach(context_with(labelled_run, context_api.get_current()))


@contextmanager
def labelled(labels: Mapping[str, str]) -> Iterator[None]:
    """Put labels on everything inside of the block; see `label`.

    Args:
        labels: Values by name.
    """
    token = label(labels)
    try:
        yield
    finally:
        context_api.detach(token)


def _shown(value: str) -> str:
    """Return a label as it may stand in the environment of every process: masked, bounded, and valid UTF-8."""
    text = redaction.current().text(str(value)[:_LONGEST])
    return text.encode("utf-8", "replace").decode("utf-8")
