"""A fit is seen before it ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from sklearn.datasets import load_iris
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RandomizedSearchCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from otel_ml.integrations.sklearn import progress
from otel_ml.testing import CapturedTelemetry

X, Y = load_iris(return_X_y=True)


def test_the_outermost_fit_is_logged_at_its_start(watched: CapturedTelemetry) -> None:
    """The outermost fit is logged at its start."""
    seen: list[int] = []

    class Looking(StandardScaler):
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(len(watched.logs))
            return super().fit(*args, **kwargs)

    make_pipeline(Looking(), Ridge()).fit(X, Y)
    assert seen == [1]
    (record,) = watched.logs
    assert record.message == "Pipeline.fit started on 150 rows of 4 columns"
    assert record.attributes["event.name"] == "otel_ml.fit.start"
    assert record.span_id == watched.span("Pipeline.fit").span_id


@pytest.mark.parametrize(
    ("search", "total"),
    [
        (GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=3), 6),
        (GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}), 10),
        (GridSearchCV(Ridge(), [{"alpha": [0.1]}, {"alpha": [1.0], "tol": [0.1, 0.2]}], cv=KFold(2)), 6),
        (RandomizedSearchCV(Ridge(), {"alpha": [0.1, 1.0, 2.0]}, n_iter=2, cv=2), 4),
        (GridSearchCV(Ridge(), {"alpha": [0.1]}, cv=[(np.arange(75), np.arange(75, 150))]), 1),
    ],
)
def test_a_search_says_how_many_fits_it_will_make(watched: CapturedTelemetry, search: Any, total: int) -> None:
    """A search says how many fits it will make."""
    search.fit(X, Y)
    assert watched.log("started").attributes["otel_ml.fit.total"] == total


def test_an_iterator_of_folds_is_not_used_up(watched: CapturedTelemetry) -> None:
    """An iterator of folds is not used up."""
    folds: Iterator[Any] = iter([(np.arange(75), np.arange(75, 150)), (np.arange(75, 150), np.arange(75))])
    search = GridSearchCV(Ridge(), {"alpha": [0.1]}, cv=folds).fit(X, Y)
    assert search.n_splits_ == 2


def test_folds_that_need_groups_cost_no_exception(watched: CapturedTelemetry) -> None:
    """Folds that need groups cost no exception."""
    search = GridSearchCV(Ridge(), {"alpha": [0.1]}, cv=GroupKFold(3))
    search.fit(X, Y, groups=np.arange(150) % 3)
    assert search.n_splits_ == 3


@pytest.mark.parametrize("jobs", [None, 2])
def test_progress_is_told_now_and_then(
    watched: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch, jobs: int | None
) -> None:
    """Progress is told now and then."""
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=3, n_jobs=jobs, refit=True).fit(X, Y)
    told = [record for record in watched.logs if record.attributes.get("event.name") == "otel_ml.fit.progress"]
    assert [record.attributes["otel_ml.fit.done"] for record in told] == [1, 2, 3, 4, 5, 6]
    assert {record.attributes["otel_ml.fit.total"] for record in told} == {6}
    assert [name for name, _ in watched.span("GridSearchCV.fit").events] == ["otel_ml.fit.progress"] * 6
    if jobs:
        best = [record.attributes["otel_ml.fit.best_score"] for record in told]
        assert best == sorted(best)


def test_the_bar_shows_fits_and_goes_away(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The bar shows fits and goes away."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    subject = progress.Progress("Search.fit", 2, trace.INVALID_SPAN, progress.Bar("Search.fit", 2))
    subject.done(0.5)
    subject.done(None)
    subject.done(0.9)  # the fit on all data
    subject.end()
    shown = capsys.readouterr().err
    assert "Search.fit" in shown
    assert "2/2" in shown
    assert "best 0.5" in shown


def test_logging_that_is_off_costs_nothing(watched: CapturedTelemetry) -> None:
    """Logging that is off costs nothing."""
    logger = logging.getLogger("otel_ml.sklearn")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        Ridge().fit(X, Y)
    finally:
        logger.setLevel(before)
    assert not watched.logs
