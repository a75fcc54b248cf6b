"""One call of `Study.optimize`: its span, and what is put around its objective."""

from __future__ import annotations

import inspect
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace

from otel_ml import capture, conventions, exceptions, health
from otel_ml.instruments import instruments
from otel_ml.integrations.bar import Bar
from otel_ml.integrations.known_as import added, known_as
from otel_ml.integrations.optuna import asked, console, mlflow_run
from otel_ml.integrations.optuna.trials import OpenTrial, as_json, logger
from otel_ml.operations import record_failure


@dataclass
class Options:
    """What the instrumentor was told: `progress`, whether a bar is shown; None: on a terminal."""

    progress: bool | None = None


options = Options()


def watched(optimize: Callable[..., Any]) -> Callable[..., Any]:
    """Return `Study.optimize` with a span around it and one around each trial.

    Args:
        optimize: The original.
    """
    signature = inspect.signature(optimize)

    def watching(*args: Any, **kwargs: Any) -> Any:
        try:
            call = signature.bind(*args, **kwargs)
            call.apply_defaults()
            current = Optimization(call.arguments) if instruments.enabled else None
        except Exception as error:  # wrong arguments are the library's to refuse
            if not isinstance(error, TypeError):
                health.internal_error("start of an optimization", error)
            current = None
        if current is None:
            return optimize(*args, **kwargs)
        with current:
            return optimize(*call.args, **call.kwargs)

    return watching


class Optimization:
    """One optimization under way; entered around the call of the original.

    Args:
        arguments: Those of `Study.optimize` by name. Objective and callbacks are replaced by watched ones.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._study = arguments["self"]
        self._name = self._study.study_name
        self._objective = arguments["func"]
        self._total = arguments["n_trials"]
        self._jobs = arguments["n_jobs"]
        self._states: Counter[str] = Counter()
        self._open: dict[int, OpenTrial] = {}
        self._lock = threading.Lock()
        self._cleanup = ExitStack()
        self._bar: Bar | None = None
        self._span: trace.Span = trace.INVALID_SPAN
        self._context = context_api.get_current()
        self._run_id: str | None = None
        self._shows = sys.stderr.isatty() if options.progress is None else options.progress
        callbacks = [*(arguments["callbacks"] or ()), self._ended]  # the others are inside of the trial
        if self._shows:
            arguments["show_progress_bar"] = False  # one bar, above which log lines go
        arguments["func"], arguments["callbacks"] = self._try, callbacks

    def __enter__(self) -> None:
        try:
            attributes = {conventions.OPTUNA_STUDY: self._name, conventions.OPTUNA_JOBS: self._jobs}
            if self._total is not None:
                attributes[conventions.OPTUNA_TRIALS] = self._total
            self._span = instruments.tracer.start_span(f"optimize {self._name}", attributes=attributes)
            self._cleanup.callback(self._span.end)
            self._context = trace.set_span_in_context(self._span)
            self._cleanup.callback(context_api.detach, context_api.attach(self._context))
            self._run_id = mlflow_run.active()
            for name, value in added(self._study.user_attrs, known_as()).items():
                self._study.set_user_attr(name, value)
            if self._shows:
                self._bar = Bar(f"optimize {self._name}", self._total)
                self._cleanup.callback(self._bar.end)
        except Exception as error:  # the study may have a storage that is away, a tracer may do anything
            health.internal_error("start of an optimization", error)

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            console.take_over()  # and when it closes, another
            self._finish_left()
            if error is not None and exceptions.is_cancellation(error):
                self._span.set_attribute(conventions.STATUS, conventions.CANCELLED)
            elif error is not None:
                record_failure(self._span, error, logger, f"optimize {self._name}", {})
            self._say_end()
        except Exception as own:
            health.internal_error("end of an optimization", own)
        try:
            self._cleanup.close()
        except Exception as own:
            health.internal_error("end of an optimization", own)

    def _try(self, trial: Any) -> Any:
        """Call the objective, in the span of its trial. Threads of Optuna's have no context: ours is the study's."""
        opened = self._opened(trial)
        if opened is None:
            return self._objective(trial)
        try:
            return self._objective(trial)
        except BaseException as error:
            self._note(opened, error)
            raise
        finally:
            opened.returned()

    def _opened(self, trial: Any) -> OpenTrial | None:
        try:
            number = trial.number
            if not self._states and not self._open:
                console.take_over()  # Optuna's own bar has switched a handler on by now
            asked.forget(self._study, number)
            opened = OpenTrial(self._name, number, self._context)
            self._open[number] = opened
            opened.enter()
        except Exception as error:
            health.internal_error("start of a trial", error)
            return None
        return opened

    def _note(self, opened: OpenTrial, error: BaseException) -> None:
        try:
            if not isinstance(error, sys.modules["optuna"].TrialPruned):
                opened.failed(error, self._objective)
        except Exception as own:
            health.internal_error("recording of an exception", own)

    def _ended(self, study: Any, frozen: Any) -> None:
        """Take note of a trial that ended; Optuna calls this in the trial's thread, unless its exception goes on."""
        try:
            self._finish(frozen.number, frozen)
            mlflow_run.log_trial(self._run_id, study, frozen)
            if self._bar is not None:
                best = self._best()
                self._bar.update(self._states.total(), None if best is None else best.value)
        except Exception as error:
            health.internal_error("end of a trial", error)

    def _finish(self, number: int, frozen: Any, *, late: bool = False) -> None:
        with self._lock:
            opened = self._open.pop(number, None)
            self._states["unknown" if frozen is None else frozen.state.name.lower()] += 1
        if opened is not None:
            opened.finish(frozen, late=late)

    def _finish_left(self) -> None:
        """End the trials that no call of `_ended` came for: an exception is on its way to the caller."""
        if not self._open:
            return
        known = {frozen.number: frozen for frozen in self._study.get_trials(deepcopy=False)}
        for number in list(self._open):
            self._finish(number, known.get(number), late=True)

    def _best(self) -> Any:
        """Return the best trial; None: none completed, or there are several objectives."""
        try:
            return None if len(self._study.directions) > 1 else self._study.best_trial
        except ValueError:
            return None

    def _say_end(self) -> None:
        best = self._best()
        fields: dict[str, Any] = {conventions.OPTUNA_STUDY: self._name, conventions.OPTUNA_TRIALS: self._states.total()}
        counts = ", ".join(f"{number} {state}" for state, number in sorted(self._states.items())) or "none"
        text = f"{self._states.total()} trials ({counts})"
        if best is not None:
            found = {conventions.OPTUNA_BEST_NUMBER: best.number, conventions.OPTUNA_BEST_VALUE: best.value}
            parameters = capture.features(best.params)
            self._span.set_attributes({**found, conventions.OPTUNA_PARAMETERS: as_json(parameters)})
            fields.update(found)
            fields[conventions.OPTUNA_PARAMETERS] = parameters
            text += f", best #{best.number} with value {best.value:.6g}"
        if logger.isEnabledFor(logging.INFO):
            fields[conventions.EVENT_NAME] = conventions.OPTUNA_STUDY_ENDED
            logger.info("optimize %s: %s", self._name, text, extra=fields)
        mlflow_run.log_best(self._run_id, best)
