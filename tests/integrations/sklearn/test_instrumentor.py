"""What `instrument` and `uninstrument` do to classes, pickles, copies and programs."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators

import otel_ml
from otel_ml.testing import CapturedTelemetry
from support import run_python

X, Y = load_iris(return_X_y=True)


def namespaces() -> dict[type, dict[str, Any]]:
    """Everything that the classes of all estimators hold."""
    kinds = {base for _, kind in all_estimators() for base in kind.__mro__[:-1]}
    return {kind: dict(vars(kind)) for kind in kinds}


def test_uninstrument_restores_every_class_exactly(captured_telemetry: CapturedTelemetry) -> None:
    """Uninstrument restores every class exactly."""
    before = namespaces()
    instrumentor = otel_ml.SklearnInstrumentor()
    instrumentor.instrument()
    assert namespaces() != before
    instrumentor.uninstrument()
    after = namespaces()
    for kind, names in before.items():
        assert list(after[kind]) == list(names), kind
        assert all(after[kind][name] is value for name, value in names.items()), kind
    StandardScaler().fit(X)
    assert not captured_telemetry.spans


def test_a_class_defined_while_watched_is_restored_too(watched: CapturedTelemetry) -> None:
    """A class defined while watched is restored too."""

    class Same(TransformerMixin, BaseEstimator):
        def fit(self, data: Any, target: Any = None) -> Same:
            return self

        def transform(self, data: Any) -> Any:
            return data

    otel_ml.SklearnInstrumentor().uninstrument()
    assert {type(vars(Same)[name]) for name in ("fit", "transform")} == {type(lambda: None)}
    Same().fit_transform(X)
    assert not watched.spans


def test_one_object_can_be_watched_with_what_runs_inside_it(captured_telemetry: CapturedTelemetry) -> None:
    """One object can be watched with what runs inside it."""
    instrumentor = otel_ml.SklearnInstrumentor()
    chosen, other = make_pipeline(StandardScaler(), LogisticRegression()), StandardScaler()
    instrumentor.instrument(chosen)
    other.fit(X)
    chosen.fit(X, Y)
    assert [span.name for span in captured_telemetry.spans] == [
        "StandardScaler.fit_transform",
        "LogisticRegression.fit",
        "Pipeline.fit",
    ]
    instrumentor.uninstrument(chosen)
    chosen.predict(X)
    assert len(captured_telemetry.spans) == 3
    assert inspect.isfunction(vars(StandardScaler)["fit"])


class Duck:
    """An estimator that knows nothing of scikit-learn."""

    def fit(self, data: Any, target: Any = None) -> Duck:
        """Do nothing."""
        return self


def test_an_object_of_another_kind_can_be_watched(captured_telemetry: CapturedTelemetry) -> None:
    """An object of another kind can be watched."""
    duck = Duck()
    otel_ml.SklearnInstrumentor().instrument(duck)
    duck.fit(X)
    otel_ml.SklearnInstrumentor().uninstrument(duck)
    assert [span.name for span in captured_telemetry.spans] == ["Duck.fit"]
    assert inspect.isfunction(vars(Duck)["fit"])


def test_what_is_no_estimator_is_refused() -> None:
    """What is no estimator is refused."""
    with pytest.raises(otel_ml.ConfigurationError, match="an estimator"):
        otel_ml.SklearnInstrumentor().instrument("Pipeline")
    with pytest.raises(otel_ml.ConfigurationError, match="worth_span"):
        otel_ml.SklearnInstrumentor().instrument(worth_span=3)
    with pytest.raises(otel_ml.ConfigurationError, match="feature_importances"):
        otel_ml.SklearnInstrumentor().instrument(feature_importances="yes")


def test_a_policy_of_ones_own_decides(captured_telemetry: CapturedTelemetry) -> None:
    """A policy of one's own decides."""
    instrumentor = otel_ml.SklearnInstrumentor()
    instrumentor.instrument(worth_span=lambda estimator, method, inside: estimator is not StandardScaler)
    make_pipeline(StandardScaler(), Ridge()).fit(X, Y)
    instrumentor.uninstrument()
    assert [span.name for span in captured_telemetry.spans] == ["Ridge.fit", "Pipeline.fit"]


def test_a_program_that_was_instrumented_around_may_say_what_it_wants(watched: CapturedTelemetry) -> None:
    """As `opentelemetry-instrument` does it, before the program's own first line."""
    otel_ml.SklearnInstrumentor().instrument(feature_importances=True, progress=False)
    Ridge().fit(X, Y)
    assert "otel_ml.estimator.feature_importances" in watched.span("Ridge.fit").attributes


def test_a_policy_that_raises_costs_spans_only(captured_telemetry: CapturedTelemetry) -> None:
    """A policy that raises costs spans only."""
    instrumentor = otel_ml.SklearnInstrumentor()
    instrumentor.instrument(worth_span=lambda *_: 1 / 0)
    assert StandardScaler().fit(X).n_features_in_ == 4
    instrumentor.uninstrument()
    assert not captured_telemetry.spans


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_pickles_hold_nothing_of_ours(watched: CapturedTelemetry, dumps: Any) -> None:
    """Pickles hold nothing of ours."""
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    data = dumps(fitted)
    assert b"otel_ml" not in data
    assert (pickle.loads(data).predict(X) == fitted.predict(X)).all()
    method = dumps(fitted.predict)
    assert b"otel_ml" not in method
    assert pickle.loads(method)(X[:1]) == fitted.predict(X[:1])


SCRIPT = """
import sys, otel_ml, cloudpickle
otel_ml.SklearnInstrumentor().instrument()
from sklearn.base import BaseEstimator, TransformerMixin

class Same(TransformerMixin, BaseEstimator):
    def fit(self, data, target=None):
        self.fitted_ = True
        return self

    def transform(self, data):
        return data

data = cloudpickle.dumps(Same().fit([[1.0]]))
assert b"otel_ml" not in data
open("same.pickle", "wb").write(data)
"""


def test_a_class_that_is_pickled_by_value_loads_where_we_are_not_installed(tmp_path: Path) -> None:
    """A class that is pickled by value loads where we are not installed."""
    assert run_python(SCRIPT, cwd=tmp_path).returncode == 0
    code = """
import sys
sys.modules["otel_ml"] = None
import pickle
same = pickle.load(open("same.pickle", "rb"))
assert same.fitted_ and same.fit([[1.0]]).transform([[2.0]]) == [[2.0]]
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_clone_parameters_signatures_and_representations_stay(watched: CapturedTelemetry) -> None:
    """Clone parameters signatures and representations stay."""
    made = make_pipeline(StandardScaler(with_mean=False), LogisticRegression(C=2.0))
    copy = clone(made)
    assert copy.get_params()["logisticregression__C"] == 2.0
    assert isinstance(copy, Pipeline)
    assert list(inspect.signature(StandardScaler.fit).parameters) == ["self", "X", "y", "sample_weight"]
    assert list(inspect.signature(StandardScaler().fit).parameters) == ["X", "y", "sample_weight"]
    assert inspect.isfunction(StandardScaler.fit)
    assert StandardScaler.fit.__qualname__ == "StandardScaler.fit"
    assert "LogisticRegression" in made._repr_html_()
    assert not hasattr(make_pipeline(StandardScaler()), "predict")
    assert hasattr(made, "predict_proba")
    assert vars(made).keys() == {"steps", "transform_input", "memory", "verbose"}


TRAINING = """
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))
"""


@pytest.mark.parametrize("command", [["otel-ml", "run", "--"], ["opentelemetry-instrument"]])
def test_a_script_that_imports_scikit_learn_only_is_traced(tmp_path: Path, command: list[str]) -> None:
    """A script that imports scikit learn only is traced."""
    (tmp_path / "train.py").write_text(TRAINING)
    launcher = str(Path(sys.executable).with_name(command[0]))
    done = subprocess.run(
        [launcher, *command[1:], sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written = "".join(path.read_text() for path in tmp_path.glob(".otel_ml/*/traces-*.jsonl"))
    assert '"LogisticRegression.fit"' in written, done.stderr


def test_scikit_learn_is_not_imported_before_the_program_does_that() -> None:
    """Scikit learn is not imported before the program does that."""
    done = run_python(
        """
        import sys, otel_ml
        otel_ml.SklearnInstrumentor().instrument()
        assert "sklearn" not in sys.modules
        from sklearn.preprocessing import StandardScaler
        assert type(vars(StandardScaler)["fit"]).__name__ == "WatchedMethod"
        otel_ml.SklearnInstrumentor().uninstrument()
        assert type(vars(StandardScaler)["fit"]).__name__ == "function"
        """
    )
    assert done.returncode == 0, done.stderr
