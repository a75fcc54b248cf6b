"""A search whose fits run in worker processes is one trace, lines included."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from support import run_python

PROGRAM = """
import logging
import joblib
import otel_ml
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

class Telling(StandardScaler):
    def fit(self, X, y=None, sample_weight=None):
        logging.getLogger("telling").warning("scaling %d rows", len(X))
        return super().fit(X, y, sample_weight)

def main(backend):
    logs = otel_ml.Logs(format="none")
    telemetry = otel_ml.configure(service_name="search", directory="state", audit=False, logs=logs)
    otel_ml.SklearnInstrumentor().instrument()
    pipeline = Pipeline([("scale", Telling()), ("model", LogisticRegression(max_iter=2000))])
    with otel_ml.run("search"), joblib.parallel_config(backend):
        search = GridSearchCV(pipeline, {"model__C": [0.1, 1.0, 10.0]}, cv=4, n_jobs=2)
        search.fit(*load_breast_cancer(return_X_y=True))
    telemetry.shutdown()
"""
FITS = 3 * 4


@pytest.fixture(scope="module", params=["loky", "multiprocessing", "threading"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Spans and log lines of such a search, from all of its processes."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "search.py").write_text(PROGRAM)
    done = run_python(
        f"""
        import sys
        sys.path.insert(0, ".")
        import search
        if __name__ == "__main__":
            search.main("{request.param}")
        """,
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (state,) = (folder / "state").iterdir()
    spans = [
        span
        for path in state.glob("traces-*.jsonl")
        for line in path.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    lines = [json.loads(line) for path in state.glob("*.log") for line in path.read_text().splitlines()]
    return spans, lines


def test_every_fit_and_score_is_there_under_its_own_parent(recorded: tuple[Any, Any]) -> None:
    """None is missing and none is twice."""
    spans, _ = recorded
    by_id = {span["spanId"]: span for span in spans}
    found = Counter((span["name"], by_id.get(span.get("parentSpanId", ""), {}).get("name")) for span in spans)
    assert found == {
        ("run search", None): 1,
        ("GridSearchCV.fit", "run search"): 1,
        ("Pipeline.fit", "GridSearchCV.fit"): FITS + 1,
        ("Telling.fit_transform", "Pipeline.fit"): FITS + 1,
        ("LogisticRegression.fit", "Pipeline.fit"): FITS + 1,
        ("Pipeline.score", "GridSearchCV.fit"): FITS,
        ("Telling.transform", "Pipeline.score"): FITS,
        ("LogisticRegression.score", "Pipeline.score"): FITS,
    }
    assert len({span["traceId"] for span in spans}) == 1


def test_the_lines_of_workers_belong_to_their_spans_and_to_the_run(recorded: tuple[Any, Any]) -> None:
    """Each has the ids of the fit that wrote it."""
    spans, lines = recorded
    scaling = {span["spanId"] for span in spans if span["name"] == "Telling.fit_transform"}
    told = [line for line in lines if line["logger"] == "telling"]
    assert {line["span_id"] for line in told} == scaling
    assert len(told) == len(scaling) == FITS + 1
    assert len({line["run_id"] for line in told}) == 1
