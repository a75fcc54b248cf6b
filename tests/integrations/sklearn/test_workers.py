"""A search whose fits run in worker processes is one trace, lines included."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from support import run_python
from worker_runs import recorded

PROGRAM = """
import logging, warnings
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

def start(backend):
    if backend in ("dask", "ray"):
        warnings.simplefilter("default")  # they are not ours
    if backend == "dask":
        from distributed import Client
        return Client(n_workers=2, threads_per_worker=1, dashboard_address=None)
    if backend == "ray":
        import ray
        from ray.util.joblib import register_ray
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        register_ray()

def main(backend):
    cluster = start(backend)
    logs = otel_ml.Logs(format="none")
    telemetry = otel_ml.configure(service_name="search", directory="state", audit=False, logs=logs)
    otel_ml.SklearnInstrumentor().instrument()
    pipeline = Pipeline([("scale", Telling()), ("model", LogisticRegression(max_iter=2000))])
    with otel_ml.run("search"), joblib.parallel_config(backend):
        search = GridSearchCV(pipeline, {"model__C": [0.1, 1.0, 10.0]}, cv=4, n_jobs=2)
        search.fit(*load_breast_cancer(return_X_y=True))
    telemetry.shutdown()
    if cluster is not None:
        cluster.shutdown()
"""
FITS = 3 * 4
NEEDED = {"dask": "distributed", "ray": "ray"}


@pytest.fixture(scope="module", params=["loky", "multiprocessing", "threading", "dask", "ray"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Spans and log lines of such a search, from all of its processes."""
    pytest.importorskip(NEEDED.get(request.param, "joblib"))
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
    return recorded(folder)


def test_every_fit_and_score_is_there_under_its_own_parent(run: tuple[Any, Any]) -> None:
    """None is missing and none is twice."""
    spans, _ = run
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


def test_the_lines_of_workers_belong_to_their_spans_and_to_the_run(run: tuple[Any, Any]) -> None:
    """Each has the ids of the fit that wrote it."""
    spans, lines = run
    scaling = {span["spanId"] for span in spans if span["name"] == "Telling.fit_transform"}
    told = [line for line in lines if line["logger"] == "telling"]
    assert {line["span_id"] for line in told} == scaling
    assert len(told) == len(scaling) == FITS + 1
    assert len({line["run_id"] for line in told}) == 1
