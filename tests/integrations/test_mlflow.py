"""MLflow's runs and ours: either finds the other, whatever starts and ends them, in each kind of store."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow")

from otel_ml import conventions
from support import is_ambient, run_python
from worker_runs import Lines, recorded

LABEL = conventions.MLFLOW_RUN_ID
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}

START = """
import json, logging, os, sys, threading, warnings
warnings.simplefilter("ignore")
import otel_ml
from otel_ml import conventions
from otel_ml.labels import labelled

log = logging.getLogger("work")
said = {}

def begin(**options):
    telemetry = otel_ml.configure(service_name="t", directory="state", audit=False, logs=otel_ml.Logs(format="none"))
    otel_ml.mlflow.instrument(**options)
    return telemetry

def tell():
    with open("said.json", "w") as file:
        json.dump(said, file)
"""


def ran(folder: Path, body: str, **environment: str) -> tuple[dict[str, Any], Lines, Lines]:
    """Run a program, and return what it said, its spans and its log lines."""
    done = run_python(START + body, cwd=folder, env={**ENVIRONMENT, **environment}, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    spans, lines = recorded(folder)
    troubles = [line for line in lines if line["logger"] == "otel_ml" and line["level"] in ("WARNING", "ERROR")]
    assert troubles == []
    said = folder / "said.json"
    return json.loads(said.read_text()) if said.exists() else {}, spans, lines


def working(lines: Lines) -> dict[str, Any]:
    """Return the MLflow run of each of the program's own lines."""
    return {line["message"]: line.get(LABEL) for line in lines if line["logger"] == "work"}


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    """Return a span's attributes as text."""
    return {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}


RUNS = """
telemetry = begin()
import mlflow
mlflow.set_tracking_uri(os.environ["STORE"])
client = mlflow.MlflowClient()

with labelled({conventions.DVC_STAGE: "train", conventions.HYDRA_JOB: "job#1"}), otel_ml.run("nightly") as ours:
    said["ours"] = ours.id
    log.info("before")
    with otel_ml.step("around") as span, mlflow.start_run() as outer:
        said["trace"] = f"{span.get_span_context().trace_id:032x}"
        said["outer"] = outer.info.run_id
        log.info("outer")
        with otel_ml.step("inside"):
            pass
        with mlflow.start_run(nested=True) as inner:
            said["inner"] = inner.info.run_id
            log.info("inner")
        log.info("outer again")
        thread = threading.Thread(target=lambda: log.info("thread of outer"))
        thread.start(); thread.join()
    log.info("between")

    try:
        with mlflow.start_run() as failing:
            said["failing"] = failing.info.run_id
            raise ZeroDivisionError
    except ZeroDivisionError:
        log.info("after failure")

    def other():
        mlflow.log_metric("m", 1.0)  # MLflow opens a run: that of the main thread is not active here
        said["implicit"] = mlflow.active_run().info.run_id
        log.info("implicit")
        mlflow.end_run()
        log.info("after implicit")
    with mlflow.start_run() as main:
        said["main"] = main.info.run_id
        thread = threading.Thread(target=other)
        thread.start(); thread.join()
        log.info("main")

    with otel_ml.step("opens"):
        said["unbalanced"] = mlflow.start_run().info.run_id
        with otel_ml.step("closes"):
            log.info("unbalanced")
            mlflow.end_run()
            log.info("ended inside")
        log.info("ended outside")
    log.info("after unbalanced")

    made = client.create_run(outer.info.experiment_id, tags={"mine": "1"})
    client.set_terminated(made.info.run_id)

with labelled({conventions.DVC_STAGE: "evaluate"}), otel_ml.run("second"):
    with mlflow.start_run(run_id=outer.info.run_id):
        log.info("resumed")
said["tags"] = {
    name: client.get_run(run_id).data.tags
    for name, run_id in {**said, "made": made.info.run_id}.items()
    if name in ("outer", "inner", "failing", "implicit", "made")
}
said["status"] = client.get_run(said["failing"]).info.status
said["files"] = {
    name: [file.path for file in client.list_artifacts(said[name], "logs")] for name in ("outer", "inner", "implicit")
}
said["provider"] = type(__import__("opentelemetry").trace.get_tracer_provider()).__module__
tell()
mlflow.start_run()
log.info("at exit")
"""


def check_runs(said: dict[str, Any], spans: Lines, lines: Lines) -> None:
    """Every line and span is in its run of MLflow, and every run of MLflow knows ours."""
    found = working(lines)
    at_exit = found.pop("at exit")
    assert len(at_exit) == 32 and at_exit not in said.values()
    assert found == {
        "before": None,
        "outer": said["outer"],
        "inner": said["inner"],
        "outer again": said["outer"],
        "thread of outer": said["outer"],
        "between": None,
        "after failure": None,
        "implicit": said["implicit"],
        "after implicit": said["main"],
        "main": said["main"],
        "unbalanced": said["unbalanced"],
        "ended inside": None,
        "ended outside": None,
        "after unbalanced": None,
        "resumed": said["outer"],
    }
    by_name = {span["name"]: attributes(span).get(LABEL) for span in spans}
    assert (by_name["around"], by_name["inside"], by_name["closes"]) == (None, said["outer"], said["unbalanced"])
    for name, stage in {"outer": "train,evaluate", "inner": "train", "implicit": "train", "made": "train"}.items():
        tags = said["tags"][name]
        assert tags[conventions.RUN_ID] == said["ours"]
        assert (tags[conventions.DVC_STAGE], tags[conventions.HYDRA_JOB]) == (stage, "job#1")
        assert LABEL not in tags
    assert said["tags"]["inner"][conventions.TRACE_ID] == said["trace"]
    assert said["tags"]["outer"][conventions.TRACE_ID].startswith(said["trace"])
    assert said["tags"]["made"]["mine"] == "1"
    assert said["status"] == "FAILED"
    assert len(said["files"]["outer"]) == len(said["files"]["implicit"]) == 1 and said["files"]["inner"] == []
    assert said["provider"].startswith("otel_ml.")


def test_runs_in_sqlite_are_labels_and_have_our_ids_as_tags(tmp_path: Path) -> None:
    """Fluent, nested, implicit, failing, resumed and left open, in threads, and by the client."""
    check_runs(*ran(tmp_path, RUNS, STORE="sqlite:///mlflow.db"))
    (left_open,) = (path for path in tmp_path.glob("mlruns/*/*/artifacts/logs/*.log") if "at exit" in path.read_text())
    last = json.loads(left_open.read_text().splitlines()[-1])
    assert last[LABEL] == left_open.parents[2].name


def test_runs_in_files_are_labels_and_have_our_ids_as_tags(tmp_path: Path) -> None:
    """The same in a store of files."""
    check_runs(*ran(tmp_path, RUNS, STORE=str(tmp_path / "runs"), MLFLOW_ALLOW_FILE_STORE="true"))


@contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """Start a real tracking server, and end it with its children."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "served")]
    environ = {name: value for name, value in os.environ.items() if not is_ambient(name)} | ENVIRONMENT
    with (folder / "server.log").open("w") as output:
        server = subprocess.Popen(
            command + store, cwd=folder, env=environ, stdout=output, stderr=output, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(f"{address}/health", folder / "server.log")
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(20)


def wait_for(address: str, log: Path) -> None:
    for _ in range(240):
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-2000:])


def test_runs_on_a_tracking_server_are_labels_and_have_our_ids_as_tags(tmp_path: Path) -> None:
    """The same on a server, which also gets the log file."""
    with tracking_server(tmp_path) as address:
        check_runs(*ran(tmp_path, RUNS, STORE=address))
    assert len(list((tmp_path / "served").glob("**/logs/*.log"))) >= 4


def test_a_program_without_a_line_of_ours_is_connected(tmp_path: Path) -> None:
    """`otel-ml run` finds the instrumentor; a run that the environment names is resumed, and found as well."""
    (tmp_path / "train.py").write_text(
        "import logging, os, mlflow, warnings\n"
        "from mlflow import start_run\n"
        "mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "with start_run() as run:\n"
        "    logging.getLogger('work').warning('first')\n"
        "os.environ['MLFLOW_RUN_ID'] = run.info.run_id\n"
        "mlflow.MlflowClient().set_tag(run.info.run_id, 'otel_ml.run.id', 'earlier')\n"
        "with mlflow.start_run() as again:\n"
        "    logging.getLogger('work').warning('again')\n"
        "run = mlflow.get_run(run.info.run_id)\n"
        "print('TAGS', run.data.tags['otel_ml.run.id'], run.data.tags['otel_ml.trace_id'], run.info.run_id)\n"
    )
    otel_ml = str(Path(sys.executable).parent / "otel-ml")
    done = subprocess.run(
        [otel_ml, "run", "--name", "nightly", "--", sys.executable, "train.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={name: value for name, value in os.environ.items() if not is_ambient(name)} | ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (words,) = [line.split() for line in done.stdout.splitlines() if line.startswith("TAGS")]
    (folder,) = (tmp_path / ".otel_ml").glob("*-*-*")
    (file,) = [path for path in folder.glob("*.log") if "train" in path.name]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert working(lines) == {"first": words[3], "again": words[3]}
    assert {(f"earlier,{line['run_id']}", line["trace_id"]) for line in lines if line["logger"] == "work"} == {
        (words[1], words[2])
    }


LEARNING = """
telemetry = begin()
otel_ml.SklearnInstrumentor().instrument()
import mlflow
import numpy
import pandas
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
mlflow.set_tracking_uri("sqlite:///mlflow.db")
client = mlflow.MlflowClient()
random = numpy.random.default_rng(0)
X = pandas.DataFrame(random.normal(size=(80, 3)), columns=["decides", "helps", "noise"])
y = (2 * X["decides"] + 0.5 * X["helps"] > 0).astype(int)

@mlflow.trace
def traced():
    log.info("traced")
    with otel_ml.step("step in a trace"):
        return 1

with otel_ml.run("learning"):
    mlflow.sklearn.autolog(log_models=False)
    search = GridSearchCV(RandomForestClassifier(n_estimators=5, random_state=0), {"max_depth": [1, 3]}, cv=2)
    search.fit(X, y)
    log.info("after autolog")
    children = client.search_runs([mlflow.search_runs(output_format="list")[0].info.experiment_id])
    said["autolog"] = [run.data.tags.get(conventions.RUN_ID) for run in children]
    said["ours"] = otel_ml.current_run().id

    with mlflow.start_run() as run:
        with otel_ml.step("importances"):
            otel_ml.mlflow.log_importances(search, X, y, n_repeats=3)
        traced()
    said["metrics"] = sorted(client.get_run(run.info.run_id).data.metrics)
    mlflow.sklearn.autolog(disable=True)

    pipeline = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]).fit(X, y)
    with mlflow.start_run() as linear:
        otel_ml.mlflow.log_importances(pipeline, X.to_numpy(), y)
    with mlflow.start_run() as neighbours:
        otel_ml.mlflow.log_importances(KNeighborsClassifier().fit(X, y), X, y)

for name, run_id in (("forest", run), ("linear", linear), ("neighbours", neighbours)):
    run_id = run_id.info.run_id
    found = [file.path for file in client.list_artifacts(run_id, "feature_importances")]
    said[name] = {path: mlflow.artifacts.load_text(f"runs:/{run_id}/{path}") for path in found if path.endswith("csv")}
    said[name] |= {path: None for path in found if path.endswith("png")}
mlflow.flush_trace_async_logging()
(stored,) = mlflow.search_traces(locations=[run.info.experiment_id], return_type="list")
said["trace"] = [stored.info.trace_metadata.get("mlflow.sourceRun"), run.info.run_id, stored.data.spans[0].name]
try:
    otel_ml.mlflow.log_importances(object(), X, y)
except otel_ml.ConfigurationError as error:
    said["refused"] = str(error)
tell()
"""


def test_autolog_importances_and_traces_of_mlflow_live_with_ours(tmp_path: Path) -> None:
    """Runs that autolog starts are tagged; tables and pictures are artifacts; MLflow keeps its own traces."""
    said, spans, lines = ran(tmp_path, LEARNING)
    assert set(said["autolog"]) == {said["ours"]} and len(said["autolog"]) == 3
    fits = Counter((span["name"], attributes(span).get(LABEL) is None) for span in spans if ".fit" in span["name"])
    assert fits[("GridSearchCV.fit", True)] == 1  # outside of the run that it starts
    assert fits[("RandomForestClassifier.fit", False)] == 5
    assert said["metrics"] == []  # nor did the scores of the permutation become some
    folder = "feature_importances"
    for name, own in (("forest", "impurity"), ("linear", "coefficients")):
        expected = {f"{folder}/{kind}.{ending}" for kind in (own, "permutation") for ending in ("csv", "png")}
        assert said[name].keys() == expected
    assert said["neighbours"].keys() == {f"{folder}/permutation.csv", f"{folder}/permutation.png"}
    rows = [line.split(",") for line in said["forest"][f"{folder}/permutation.csv"].splitlines()]
    assert rows[0] == ["feature", "importance", "std"] and rows[1][0] == "decides"
    assert said["forest"][f"{folder}/impurity.csv"].splitlines()[1].startswith("decides,")
    assert said["linear"][f"{folder}/coefficients.csv"].splitlines()[1].startswith("decides,")
    assert said["linear"][f"{folder}/permutation.csv"].splitlines()[1].startswith("decides,")
    assert said["trace"] == [said["trace"][1], said["trace"][1], "traced"]
    assert "log_importances(model): expected a fitted estimator" in said["refused"]
    by_id = {span["spanId"]: span for span in spans}
    assert not [span for span in spans if by_id.get(span.get("parentSpanId"), {}).get("name") == "importances"]
    (step,) = (span for span in spans if span["name"] == "step in a trace")
    assert attributes(step)[LABEL] == said["trace"][1]
    assert by_id[step["parentSpanId"]]["name"] == "run learning"
    assert working(lines) == {"after autolog": None, "traced": said["trace"][1]}


OPTIONS = """
telemetry = begin(log_file=False)
import mlflow
start, end, create = mlflow.start_run, mlflow.end_run, mlflow.MlflowClient.create_run
assert mlflow.tracking.fluent.start_run is start and start.__wrapped__
assert os.environ["MLFLOW_ENABLE_OTLP_EXPORTER"] == os.environ["EXPECTED"]
mlflow.set_tracking_uri("sqlite:///mlflow.db")
with mlflow.start_run() as run:
    assert otel_ml.current_run().labels == {conventions.MLFLOW_RUN_ID: run.info.run_id}
assert otel_ml.current_run() is None
assert mlflow.MlflowClient().list_artifacts(run.info.run_id) == []
try:
    mlflow.start_run(experiment_id=1.5)
except Exception as error:
    assert "experiment id" in str(error), error
else:
    raise AssertionError
try:
    mlflow.MlflowClient().create_run()
except TypeError as error:
    assert "experiment_id" in str(error)
else:
    raise AssertionError
try:
    otel_ml.mlflow.instrument(log_file="yes")
except otel_ml.ConfigurationError as error:
    assert "log_file" in str(error)
else:
    raise AssertionError

mlflow.start_run()
otel_ml.mlflow.uninstrument()
assert otel_ml.current_run() is None
mlflow.end_run()
assert mlflow.start_run is start.__wrapped__ and mlflow.end_run is end.__wrapped__
assert mlflow.MlflowClient.create_run is create.__wrapped__
assert os.environ.get("MLFLOW_ENABLE_OTLP_EXPORTER") == os.environ.get("GIVEN")
with mlflow.start_run() as run:
    assert otel_ml.current_run() is None
assert conventions.RUN_ID not in mlflow.get_run(run.info.run_id).data.tags
"""


@pytest.mark.parametrize("given", [None, "true"])
def test_what_is_switched_off_stays_off_and_what_the_user_has_set_holds(tmp_path: Path, given: str | None) -> None:
    """The log file, the whole instrumentation, and where MLflow sends traces of its own."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_ML_LOG_DIR": "state"}
    environment["EXPECTED"] = given or "false"
    if given is not None:
        environment |= {"MLFLOW_ENABLE_OTLP_EXPORTER": given, "GIVEN": given}
    done = run_python(START + OPTIONS, cwd=tmp_path, env={**ENVIRONMENT, **environment}, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]


def test_a_store_that_is_away_costs_nothing_but_warnings(tmp_path: Path) -> None:
    """The exception is MLflow's own, the label is gone, and the program goes on."""
    pytest.importorskip("optuna")
    body = """
telemetry = begin()
import mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
run = mlflow.start_run()
mlflow.set_tracking_uri("http://127.0.0.1:9")
import optuna
otel_ml.optuna.instrument(progress=False)
optuna.create_study(study_name="away").optimize(lambda trial: 1.0, n_trials=3)
try:
    mlflow.end_run()
except mlflow.exceptions.MlflowException:
    log.info("after")
else:
    raise AssertionError
"""
    done = run_python(START + body, cwd=tmp_path, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    _, lines = recorded(tmp_path)
    assert working(lines) == {"after": None}
    warnings = [line["message"] for line in lines if line["logger"] == "otel_ml" and line["level"] == "WARNING"]
    assert len(warnings) == 2
    assert "did not take optuna_value of a study" in warnings[0] and "did not become an artifact" in warnings[1]


def test_without_mlflow_it_is_said_how_to_install_it() -> None:
    """And the instrumentor of a program that does not use MLflow keeps silent."""
    done = run_python(
        """
        import importlib.abc, sys
        class Hidden(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name == "mlflow":
                    raise ModuleNotFoundError(name=name)
        import importlib.util
        find_spec = importlib.util.find_spec
        importlib.util.find_spec = lambda name, package=None: None if name == "mlflow" else find_spec(name, package)
        import otel_ml
        try:
            otel_ml.mlflow.instrument()
        except ImportError as error:
            print(error)
        otel_ml.mlflow.MlflowInstrumentor().instrument()
        assert "mlflow" not in sys.modules
        """
    )
    assert done.returncode == 0, done.stderr
    assert "pip install 'otel-ml[mlflow]'" in done.stdout
