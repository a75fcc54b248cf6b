"""One trial: its span, its label, and the line that says how it ended."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import StatusCode

from otel_ml import capture, conventions, exceptions
from otel_ml.instruments import instruments
from otel_ml.labels import labelled
from otel_ml.loggers import own_logger
from otel_ml.operations import record_failure

logger = own_logger("optuna")

_LONGEST_JSON = 8192
_ENDS: Mapping[str, str] = {"complete": "completed", "fail": "failed", "pruned": "was pruned"}


class OpenTrial:
    """A trial that is under way.

    Args:
        study: Name of its study.
        number: Its number there.
        base: The context that it belongs to.
        started_ns: When it started; None: now.
    """

    def __init__(self, study: str, number: int, base: Context, started_ns: int | None = None) -> None:
        self._name = f"trial {number} of {study}"
        self._number = number
        self._facts: dict[str, Any] = {conventions.OPTUNA_STUDY: study, conventions.OPTUNA_NUMBER: number}
        self._outside: Context | None = None
        self._thread = 0
        self._raised = False
        self._returned_ns: int | None = None
        token = context_api.attach(base)
        try:
            with labelled({conventions.OPTUNA_TRIAL: f"{study}#{number}"}):
                self.span = instruments.tracer.start_span(
                    f"trial {study}", attributes=self._facts, start_time=started_ns
                )
                self._inside = trace.set_span_in_context(self.span)
        finally:
            context_api.detach(token)

    def enter(self) -> None:
        """Make it current in this thread, until it is finished: Optuna's line of it and callbacks are inside too."""
        self._outside, self._thread = context_api.get_current(), threading.get_ident()
        context_api.attach(self._inside)

    def failed(self, error: BaseException, objective: Any) -> None:
        """Take note of an exception that left the objective.

        Args:
            error: The exception.
            objective: A function, or anything that can be called; the record points at a function.
        """
        self._raised = True
        if exceptions.is_cancellation(error):
            self.span.set_attribute(conventions.STATUS, conventions.CANCELLED)
        else:
            code = getattr(objective, "__code__", None)
            place = ("", 0, "") if code is None else (code.co_filename, code.co_firstlineno, code.co_name)
            record_failure(self.span, error, logger, self._name, self._facts, code=place)

    def returned(self) -> None:
        """Take note that the objective is done."""
        self._returned_ns = time.time_ns()

    def finish(self, frozen: Any, *, late: bool = False) -> None:
        """End it, with its line.

        Args:
            frozen: What Optuna knows of it, a `FrozenTrial`; None: nothing.
            late: Whether it ended with its objective, a while ago.
        """
        if self._outside is not None and self._thread == threading.get_ident():
            context_api.attach(self._outside)  # whatever the objective has left current
        token = context_api.attach(self._inside)
        try:
            facts = {} if frozen is None else _facts_of(frozen)
            parameters = {} if frozen is None else capture.features(frozen.params)
            self.span.set_attributes({**facts, conventions.OPTUNA_PARAMETERS: as_json(parameters)})
            if facts.get(conventions.OPTUNA_STATE) == "fail" and not self._raised:
                self.span.set_status(StatusCode.ERROR, "the objective returned no value that Optuna takes")
            fields = {**self._facts, conventions.OPTUNA_PARAMETERS: parameters, **facts}
            if logger.isEnabledFor(logging.INFO):
                fields[conventions.EVENT_NAME] = conventions.OPTUNA_TRIAL_ENDED
                logger.info("%s %s", self._name, _outcome(facts), extra=fields)
        finally:
            context_api.detach(token)
            self.span.end(self._returned_ns if late else None)


def as_json(parameters: Any) -> str:
    """Return parameters as JSON of a bounded length."""
    text = json.dumps(parameters, separators=(",", ":"))
    return text if len(text) <= _LONGEST_JSON else json.dumps({"type": "json", "length": len(text)})


def _facts_of(frozen: Any) -> dict[str, Any]:
    """Return what is said of a trial that ended, besides its parameters."""
    facts: dict[str, Any] = {conventions.OPTUNA_STATE: frozen.state.name.lower()}
    values = frozen.values
    if values is not None and len(values) == 1:
        facts[conventions.OPTUNA_VALUE] = values[0]
    elif values is not None:
        facts[conventions.OPTUNA_VALUES] = list(values)
    if frozen.last_step is not None:
        facts[conventions.OPTUNA_STEP] = frozen.last_step
    if frozen.duration is not None:
        facts[conventions.OPTUNA_DURATION] = frozen.duration.total_seconds()
    return facts


def _outcome(facts: dict[str, Any]) -> str:
    """Return how a trial ended, as the end of a sentence."""
    state = str(facts.get(conventions.OPTUNA_STATE, "unknown"))
    text = _ENDS.get(state, "ended")
    if state == "pruned" and conventions.OPTUNA_STEP in facts:
        text += f" at step {facts[conventions.OPTUNA_STEP]}"
    if conventions.OPTUNA_DURATION in facts:
        text += f" after {facts[conventions.OPTUNA_DURATION]:.3f} s"
    if state == "complete":
        values = facts.get(conventions.OPTUNA_VALUES, [facts.get(conventions.OPTUNA_VALUE)])
        text += ", value " + ", ".join(f"{value:.6g}" for value in values)
    return text
