"""Which spans there are, how they are nested, and what they and the histogram say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import otel_ml
from otel_ml.testing import CapturedTelemetry

X, Y = load_iris(return_X_y=True)


def pipeline() -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())])


def tree(telemetry: CapturedTelemetry) -> list[str]:
    """Every span as the path of names that leads to it, in the order in which they started."""
    by_id = {span.span_id: span for span in telemetry.spans}

    def path(span: Any) -> str:
        parent = by_id.get(span.parent_id)
        return span.name if parent is None else f"{path(parent)}/{span.name}"

    return [path(span) for span in sorted(telemetry.spans, key=lambda span: span.readable.start_time)]


def test_a_pipeline_and_its_steps_are_spans_as_they_ran(watched: CapturedTelemetry) -> None:
    """A pipeline and its steps are spans as they ran."""
    fitted = pipeline().fit(X, Y)
    fitted.predict(X[:1])
    assert tree(watched) == [
        "Pipeline.fit",
        "Pipeline.fit/StandardScaler.fit_transform",
        "Pipeline.fit/LogisticRegression.fit",
        "Pipeline.predict",
        "Pipeline.predict/StandardScaler.transform",
        "Pipeline.predict/LogisticRegression.predict",
    ]
    watched.span("LogisticRegression.predict").has(
        attributes={
            "otel_ml.estimator.class": "LogisticRegression",
            "otel_ml.estimator.method": "predict",
            "otel_ml.estimator.step": "model",
            "otel_ml.input.rows": 1,
            "otel_ml.input.columns": 4,
            "otel_ml.input.type": "numpy.ndarray",
            "otel_ml.input.dtypes": "float64",
        },
        status="UNSET",
    )


def test_durations_are_counted_by_class_and_method(watched: CapturedTelemetry) -> None:
    """Durations are counted by class and method."""
    fitted = pipeline().fit(X, Y)
    for _ in range(3):
        fitted.predict(X)
    count = watched.duration_count(
        "otel_ml.estimator.duration", otel_ml__estimator__class="StandardScaler", otel_ml__estimator__method="transform"
    )
    assert count == 3


def test_calls_of_an_estimator_on_itself_are_no_spans(watched: CapturedTelemetry) -> None:
    """Calls of an estimator on itself are no spans."""
    scaled = StandardScaler().fit_transform(X)
    LogisticRegression().fit(scaled, Y).score(scaled, Y)
    assert tree(watched) == ["StandardScaler.fit_transform", "LogisticRegression.fit", "LogisticRegression.score"]
    assert watched.span("LogisticRegression.score").attributes["otel_ml.estimator.score"] > 0.9


def test_members_of_an_ensemble_are_counted_and_not_shown(watched: CapturedTelemetry) -> None:
    """Members of an ensemble are counted and not shown."""
    RandomForestClassifier(7, random_state=1).fit(X, Y)
    BaggingClassifier(pipeline(), n_estimators=3).fit(X, Y).predict(X)
    assert tree(watched) == ["RandomForestClassifier.fit", "BaggingClassifier.fit", "BaggingClassifier.predict"]
    assert watched.span("BaggingClassifier.fit").attributes["otel_ml.estimator.calls_without_span"] >= 3 * 3


def test_tools_inside_an_estimator_are_not_shown(watched: CapturedTelemetry) -> None:
    """Tools inside an estimator are not shown."""
    LogisticRegression(max_iter=1000).fit(X, np.array(["a", "b", "c"])[Y])
    assert tree(watched) == ["LogisticRegression.fit"]


def test_members_that_differ_are_shown_with_their_names(watched: CapturedTelemetry) -> None:
    """Members that differ are shown with their names."""
    columns = ColumnTransformer([("first", StandardScaler(), [0, 1]), ("second", MinMaxScaler(), [2, 3])])
    union = FeatureUnion([("columns", columns), ("all", StandardScaler())])
    vote = VotingClassifier([("plain", LogisticRegression()), ("scaled", pipeline())])
    Pipeline([("union", union), ("vote", vote)]).fit(X, Y)
    steps = {span.name: span.attributes.get("otel_ml.estimator.step") for span in watched.spans}
    assert steps["ColumnTransformer.fit_transform"] == "columns"
    assert steps["MinMaxScaler.fit_transform"] == "second"
    assert steps["VotingClassifier.fit"] == "vote"
    paths = tree(watched)
    assert "Pipeline.fit/VotingClassifier.fit/Pipeline.fit/LogisticRegression.fit" in paths
    assert "Pipeline.fit/FeatureUnion.fit_transform/ColumnTransformer.fit_transform/MinMaxScaler.fit_transform" in paths


def test_a_search_shows_every_fit_and_score(watched: CapturedTelemetry) -> None:
    """A search shows every fit and score."""
    search = GridSearchCV(pipeline(), {"model__C": [0.1, 1.0]}, cv=3).fit(X, Y)
    paths = tree(watched)
    assert paths.count("GridSearchCV.fit/Pipeline.fit") == 2 * 3 + 1
    assert paths.count("GridSearchCV.fit/Pipeline.score") == 2 * 3
    fitted = json.loads(watched.span("GridSearchCV.fit").attributes["otel_ml.estimator.fitted"])
    assert fitted["best_params_"] == search.best_params_
    assert fitted["best_score_"] == pytest.approx(search.best_score_)


def test_an_exception_is_on_the_span_and_reaches_the_caller_untouched(watched: CapturedTelemetry) -> None:
    """An exception is on the span and reaches the caller untouched."""
    with pytest.raises(NotFittedError) as caught:
        StandardScaler().transform(X)
    assert caught.value.__traceback__ is not None
    watched.span("StandardScaler.transform").has(
        status="ERROR", attributes={"error.type": "sklearn.exceptions.NotFittedError"}
    )
    assert "StandardScaler.transform failed" in watched.log("failed").message
    with pytest.raises(TypeError, match="predict"):
        LogisticRegression().predict()  # type: ignore[call-arg]


def test_inference_and_instrumentation_give_one_tree_and_count_rows_once(watched: CapturedTelemetry) -> None:
    """Inference and instrumentation give one tree and count rows once."""
    fitted = pipeline().fit(X, Y)

    @otel_ml.inference(model="iris")
    def predict(rows: Any) -> Any:
        return fitted.predict(rows)

    predict(X[:5])
    assert tree(watched)[-4:] == [
        "predict iris",
        "predict iris/Pipeline.predict",
        "predict iris/Pipeline.predict/StandardScaler.transform",
        "predict iris/Pipeline.predict/LogisticRegression.predict",
    ]
    assert watched.duration_count("otel_ml.inference.duration") == 1
    assert [point.value for point in watched.points("otel_ml.inference.rows")] == [5]


class Own(ClassifierMixin, BaseEstimator):
    """Delegates to a pipeline of its own, as many classes of users do."""

    def fit(self, data: Any, target: Any) -> Own:
        """Fit the pipeline inside."""
        self.classes_ = np.unique(target)
        self.inner_ = pipeline().fit(data, target)
        return self

    def predict(self, data: Any) -> Any:
        """Ask it."""
        return self.inner_.predict(data)


def test_what_runs_inside_a_class_of_ones_own_is_shown(watched: CapturedTelemetry) -> None:
    """What runs inside a class of one's own is shown."""
    Own().fit(X, Y).predict(X)
    assert "Own.fit/Pipeline.fit/LogisticRegression.fit" in tree(watched)
    assert "Own.predict/Pipeline.predict" in tree(watched)


def test_a_class_that_is_defined_later_is_watched_and_keeps_its_output_container(watched: CapturedTelemetry) -> None:
    """A class that is defined later is watched and keeps its output container."""

    class Doubling(TransformerMixin, BaseEstimator):
        def fit(self, data: Any, target: Any = None) -> Doubling:
            return self

        def transform(self, data: Any) -> Any:
            return 2 * data

        def get_feature_names_out(self, names: Any = None) -> Any:
            return np.array(["a", "b", "c", "d"])

    pytest.importorskip("pandas")
    found = Doubling().set_output(transform="pandas").fit(X).transform(X)
    assert list(found.columns) == ["a", "b", "c", "d"]
    assert tree(watched) == ["Doubling.fit", "Doubling.transform"]


def test_nothing_is_recorded_while_telemetry_is_disabled(
    watched: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is recorded while telemetry is disabled."""
    from otel_ml.instruments import instruments

    instruments.enabled = False
    pipeline().fit(X, Y)
    assert not watched.spans


class Odd(list[Any]):
    """Data of a library that nobody knows, with what may be odd about it."""

    shape: Any = None
    dtype: Any = None


class OddArray(np.ndarray):
    """Data of a known library, with attributes that raise."""

    @property
    def dtype(self) -> Any:
        raise RuntimeError("no dtype today")


def odd_data() -> dict[str, Any]:
    """Data that a span must not be lost for."""
    found = {name: Odd([[1.0], [2.0]]) for name in ("list as dtype", "array as dtype", "arrays as shape")}
    found["list as dtype"].dtype = ["f4"]
    found["array as dtype"].dtype = np.array([1, 2])
    found["arrays as shape"].shape = (np.array([1, 2]), 1)
    found["a dtype that raises"] = np.ones((2, 1)).view(OddArray)
    return found


class Passing(TransformerMixin, BaseEstimator):
    """Does not look at its input."""

    def fit(self, X: Any, y: Any = None) -> Passing:
        return self

    def transform(self, X: Any) -> str:
        return "as it was"


@pytest.mark.parametrize("name", odd_data())
def test_no_span_is_lost_for_odd_data(watched: CapturedTelemetry, name: str) -> None:
    """Whatever its shape and dtype are, and also the second time."""
    data, estimator = odd_data()[name], Passing()
    for _ in range(2):
        assert estimator.fit(data) is estimator
        assert estimator.transform(data) == "as it was"
    assert tree(watched) == ["Passing.fit", "Passing.transform"] * 2
