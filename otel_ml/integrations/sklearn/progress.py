"""A fit that runs for hours is seen before it ends: a record at its start, and how far a search is."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any

from opentelemetry.trace import Span

from otel_ml import conventions, health
from otel_ml.capture import rows_and_columns
from otel_ml.integrations.bar import Bar
from otel_ml.loggers import own_logger

INTERVAL = 10.0
"""Seconds between two records of a search's progress."""

_logger = own_logger("sklearn")


def begin_fit(
    estimator: Any, name: str, data: tuple[Any, ...], *, span: Span, is_outermost: bool, bar: bool | None
) -> Progress | None:
    """Log that a fit begins, if it is the outermost one or a search; return what tells how far a search is.

    Args:
        estimator: What is fitted.
        name: Of its span.
        data: What it is fitted on, and the target if there is one.
        span: Its span.
        is_outermost: Whether no other estimator's call is around it.
        bar: Whether a bar is shown; None: on a terminal.
    """
    total = _total(estimator, data)
    if not is_outermost and total is None:
        return None
    rows, columns = rows_and_columns(data[0]) if data else (None, None)
    size = "" if rows is None else f" on {rows} rows" + ("" if columns is None else f" of {columns} columns")
    fields: dict[str, Any] = {conventions.EVENT_NAME: conventions.FIT_STARTED}
    plan = ""
    if total is not None:
        plan, fields[conventions.FITS_TOTAL] = f", {total} fits", total
    _log("%s started%s%s", (name, size, plan), fields)
    if total is None:
        return None
    return Progress(name, total, span, Bar(name, total) if (sys.stderr.isatty() if bar is None else bar) else None)


class Progress:
    """How far a search is. Threads may tell of fits at once.

    Args:
        name: Of the search's span.
        total: Fits that it will make.
        span: Its span.
        bar: Shows it; None: nothing does.
    """

    def __init__(self, name: str, total: int, span: Span, bar: Bar | None) -> None:
        self._name = name
        self._total = total
        self._span = span
        self._bar = bar
        self._lock = threading.Lock()
        self._done = 0
        self._best: float | None = None
        self._told = time.monotonic()

    def done(self, score: float | None) -> None:
        """Count a fit that has ended.

        Args:
            score: Its score; None: it is not known.
        """
        with self._lock:
            if self._done >= self._total:  # the last fit, on all data, was not announced
                return
            self._done += 1
            if score is not None and score == score and (self._best is None or score > self._best):  # noqa: PLR0124
                self._best = score
            done, best = self._done, self._best
            now = time.monotonic()
            is_due = now - self._told >= INTERVAL
            if is_due:
                self._told = now
        if self._bar is not None:
            self._bar.update(done, best)
        if is_due:
            self._tell(done, best)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.end()

    def _tell(self, done: int, best: float | None) -> None:
        fields: dict[str, Any] = {conventions.FITS_DONE: done, conventions.FITS_TOTAL: self._total}
        if best is not None:
            fields[conventions.BEST_SCORE] = best
        self._span.add_event(conventions.FIT_PROGRESS, fields)
        suffix = "" if best is None else f", best score of one so far {best:.6g}"
        message = ("%s: %d of %d fits%s", (self._name, done, self._total, suffix))
        _log(*message, {conventions.EVENT_NAME: conventions.FIT_PROGRESS, **fields})


def _log(message: str, values: tuple[Any, ...], fields: dict[str, Any]) -> None:
    if _logger.isEnabledFor(logging.INFO):
        _logger.info(message, *values, extra=fields)


def _total(estimator: Any, data: tuple[Any, ...]) -> int | None:
    """Return how many fits a search will make; None when it is none, or cannot say before."""
    module = sys.modules.get("sklearn.model_selection")
    try:
        if module is None or not (hasattr(estimator, "cv") and hasattr(estimator, "refit")):
            return None
        if hasattr(estimator, "param_grid") and not hasattr(estimator, "factor"):  # not by halves
            candidates = len(module.ParameterGrid(estimator.param_grid))
        elif hasattr(estimator, "n_iter") and hasattr(estimator, "param_distributions"):
            sampler = module.ParameterSampler(estimator.param_distributions, estimator.n_iter)
            candidates = len(sampler)
        else:
            return None
        folds = _folds(module, estimator, data)
        return None if folds is None else candidates * folds
    except Exception as error:  # parameters of a search that its own fit will refuse
        if not isinstance(error, (TypeError, ValueError)):
            health.internal_error("count of a search's fits", error)
        return None


def _folds(module: Any, estimator: Any, data: tuple[Any, ...]) -> int | None:
    cv = estimator.cv
    if cv is None or isinstance(cv, int):
        target = data[1] if len(data) > 1 else None
        is_classifier = sys.modules["sklearn.base"].is_classifier(estimator.estimator)
        return int(module.check_cv(cv, target, classifier=is_classifier).get_n_splits())
    if hasattr(cv, "n_splits"):
        return int(cv.get_n_splits(*data[:2]))
    return len(cv) if isinstance(cv, (list, tuple)) else None  # an iterator would be used up by a look at it
