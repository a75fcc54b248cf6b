"""What spans say of estimators and their input."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import otel_ml
from otel_ml import capture, redaction
from otel_ml.integrations.sklearn import facts

X = np.random.default_rng(0).normal(size=(40, 3))
Y = (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (X, {"otel_ml.input.type": "numpy.ndarray", "otel_ml.input.rows": 40, "otel_ml.input.columns": 3,
             "otel_ml.input.dtypes": "float64"}),
        (pd.DataFrame(X), {"otel_ml.input.type": "pandas.DataFrame", "otel_ml.input.rows": 40,
                           "otel_ml.input.columns": 3}),
        (scipy.sparse.csr_array(X), {"otel_ml.input.type": "scipy.sparse.csr_array", "otel_ml.input.rows": 40,
                                     "otel_ml.input.columns": 3, "otel_ml.input.dtypes": "float64"}),
        (["a", "b"], {"otel_ml.input.type": "list", "otel_ml.input.rows": 2}),
        (None, {}),
    ],
)  # fmt: skip
def test_input_is_described_by_type_and_shape(data: Any, expected: dict[str, Any]) -> None:
    """Input is described by type and shape."""
    rows, columns = capture.rows_and_columns(data)
    assert facts.input_attributes((type(data), rows, columns, getattr(data, "dtype", None))) == expected


def test_parameters_are_told_and_nested_estimators_by_class() -> None:
    """Parameters are told and nested estimators by class."""
    subject = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())])
    found = json.loads(facts.before_fit(subject, (X,))["otel_ml.estimator.parameters"])
    assert found["steps"] == [["scale", "StandardScaler"], ["model", "LogisticRegression"]]
    assert json.loads(facts.before_fit(LogisticRegression(C=0.5), (X,))["otel_ml.estimator.parameters"])["C"] == 0.5
    assert facts.before_fit(subject, (X,))["otel_ml.estimator.version"] == f"scikit-learn {sklearn.__version__}"


class Client(BaseEstimator):
    """An estimator with what must not be told."""

    def __init__(self, password: str = "", note: str = "", table: Any = None) -> None:
        self.password = password
        self.note = note
        self.table = table


def test_parameters_are_masked_and_bounded() -> None:
    """Parameters are masked and bounded."""
    subject = Client("hunter2", "write to ada@example.org", list(range(100_000)))
    text = facts.before_fit(subject, (X,))["otel_ml.estimator.parameters"]
    assert "hunter2" not in text
    assert "ada@example.org" not in text
    assert len(text) < 1000


def test_columns_of_a_table_are_told_by_type_at_a_fit() -> None:
    """Columns of a table are told by type at a fit."""
    table = pd.DataFrame({"amount": [1.0, 2.0], "city": ["a", "b"]})
    assert set(json.loads(facts.before_fit(StandardScaler(), (table,))["otel_ml.input.dtypes"])) == {"amount", "city"}


def test_a_fit_tells_sizes_and_no_values() -> None:
    """A fit tells sizes and no values."""
    fitted = json.loads(facts.after_fit(LogisticRegression().fit(X, Y), importances=False)["otel_ml.estimator.fitted"])
    assert fitted["n_features_in_"] == 3
    assert fitted["coef_"] == {"shape": [1, 3]}
    assert fitted["classes_"] == {"shape": [2]}
    forest = RandomForestClassifier(5, oob_score=True, bootstrap=True, random_state=0, warm_start=False)
    with pytest.warns(UserWarning, match="OOB"):
        forest.fit(X, Y)
    found = facts.after_fit(forest, importances=False)
    assert 0 <= json.loads(found["otel_ml.estimator.fitted"])["oob_score_"] <= 1
    assert "otel_ml.estimator.feature_importances" not in found


def test_importances_are_told_when_asked_for_largest_first() -> None:
    """Importances are told when asked for largest first."""
    table = pd.DataFrame(X, columns=["first", "second", "third"])
    forest = RandomForestClassifier(20, random_state=0).fit(table, Y)
    found = json.loads(facts.after_fit(forest, importances=True)["otel_ml.estimator.feature_importances"])
    assert next(iter(found)) == "first"
    assert list(found.values()) == sorted(found.values(), reverse=True)
    linear = LinearRegression().fit(X, Y)
    assert set(json.loads(facts.after_fit(linear, importances=True)["otel_ml.estimator.feature_importances"])) == {
        "0", "1", "2"
    }  # fmt: skip
    assert "otel_ml.estimator.feature_importances" not in facts.after_fit(StandardScaler().fit(X), importances=True)


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 1.0), (0.5, 0.5), (np.float64(0.5), 0.5), (True, None), ("x", None)]
)
def test_a_score_is_a_number(value: Any, expected: float | None) -> None:
    """A score is a number."""
    assert facts.number(value) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (1, 1.0), ([1], (1.0,)), ({"a": 1}, {"a": "1"}), ({1: 2}, {"1": 2}), (0.1, np.float64(0.1))],
)
def test_what_is_remembered_of_one_value_is_not_said_of_another(one: Any, other: Any) -> None:
    """Values that are equal to each other, or look alike, are told apart."""
    for value in (one, other, one):
        assert facts._json(value) == facts._json_anew(value)


class Secretive:
    """Its text is nobody's business."""

    def __repr__(self) -> str:
        raise AssertionError("nobody asked for it")


def test_much_or_foreign_data_is_not_remembered() -> None:
    """Neither is a value whose text may be long or is made by somebody's code."""
    before = dict(facts._known)
    for value in (
        ["x"] * 1000,
        {"a": "x" * 1000},
        {"a": Secretive()},
        [np.zeros(3)],
        {"a": [["y"] * 200, ["z"] * 200]},
        10**5000,
    ):
        assert facts._json(value) == facts._json_anew(value)
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    assert facts._json(cyclic) == facts._json_anew(cyclic)
    assert facts._known == before


def test_another_redactor_shows_in_its_own_way_what_is_remembered() -> None:
    """What was shown under one is not shown under the next."""
    value, before = {"customer": "Ada"}, redaction.current()
    assert "Ada" in facts._json(value)
    redaction.use(redaction.Redactor(otel_ml.Redaction(keys=("customer",))))
    try:
        assert "Ada" not in facts._json(value)
    finally:
        redaction.use(before)
    assert "Ada" in facts._json(value)


def test_a_callback_that_masks_is_asked_each_time() -> None:
    """It may answer differently, so nothing is remembered."""
    asked, before = [], redaction.current()
    redaction.use(redaction.Redactor(otel_ml.Redaction(callback=lambda key, value: asked.append(key) or len(asked))))
    try:
        assert facts._json({"a": "x"}) != facts._json({"a": "x"})
    finally:
        redaction.use(before)
