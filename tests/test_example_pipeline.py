"""The example with Hydra, DVC, MLflow, Optuna and Prefect: one command runs it, and each name leads to all others."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_ml import conventions
from otel_ml.cli.app import app
from otel_ml.cli.find import KINDS
from support import is_ambient
from worker_runs import Lines, recorded

for _library in ("dvc", "hydra", "mlflow", "optuna", "prefect"):
    pytest.importorskip(_library)

EXAMPLE = Path(__file__).parents[1] / "examples/pipeline"
STAGES = ("ingest", "clean", "features", "tune", "train", "evaluate")
TRIALS = 6


def copy(folder: Path) -> Path:
    """Copy the example as it is in a clean clone, with fewer trials."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "data", "mlruns", "mlflow.db", "dvc.lock", "metrics.json*")
    copied = Path(shutil.copytree(EXAMPLE, folder, ignore=ignored))
    config = copied / "conf/config.yaml"
    config.write_text(re.sub(r"(?m)^trials: \d+$", f"trials: {TRIALS}", config.read_text()))
    return copied


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the example as `make example-pipeline` does."""
    environ = {name: value for name, value in os.environ.items() if not is_ambient(name)}
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ["PATH"]])
    return subprocess.run(
        [folder / "run.sh"], env=environ, cwd=folder, capture_output=True, text=True, timeout=400, check=False
    )


def spans_and_lines(folder: Path) -> tuple[Lines, Lines]:
    """Return what all processes of the example recorded, which has to be one run."""
    (folder / ".otel_ml").rename(folder / "state")
    return recorded(folder)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the example after it has run."""
    folder = copy(tmp_path_factory.mktemp("example") / "pipeline")
    done = run(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "stage evaluate" in done.stdout, done.stdout
    return folder


def asked(folder: Path, name: str) -> dict[str, list[str]]:
    """What `otel-ml find` says of a name."""
    state = folder / ("state" if (folder / "state").exists() else ".otel_ml")
    done = CliRunner().invoke(app, ["find", name, "--dir", str(state), "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_each_name_leads_to_each_other(ran: Path) -> None:
    """Given any one of a trial's names, one query finds all the others: each pair."""
    names = {kind: found[0] for kind, found in asked(ran, "breast-cancer#2").items()}
    assert names.keys() == KINDS.keys()
    answers = {kind: asked(ran, name) for kind, name in names.items()}
    for given, wanted in itertools.permutations(KINDS, 2):
        assert names[wanted] in answers[given][wanted], (given, wanted)


def test_the_whole_pipeline_is_one_trace(ran: Path) -> None:
    """With every stage, trial and task below its own parent, and every file described."""
    spans, lines = spans_and_lines(ran)
    by_id = {span["spanId"]: span for span in spans}
    assert len({span["traceId"] for span in spans}) == 1
    (root,) = [span for span in spans if span.get("parentSpanId", "") not in by_id]
    assert root["name"] == "run pipeline"
    named = {span["name"]: span for span in spans}
    parents = {name: by_id[named[name]["parentSpanId"]]["name"] for name in named if name != "run pipeline"}
    for stage in STAGES:
        assert parents[f"stage {stage}"] == "run repro"
        assert parents[f"run {stage}"] == f"stage {stage}"
        assert parents[stage] == f"run {stage}"
    trials = [span for span in spans if span["name"] == "trial breast-cancer"]
    assert len(trials) == TRIALS
    assert {by_id[span["parentSpanId"]]["name"] for span in trials} == {"optimize breast-cancer"}
    assert parents["optimize breast-cancer"] == "tune"
    described = json.loads((ran / "data/clean.csv.meta.json").read_text())
    assert (described["rows"], described["columns"]) == (569, 31)
    kept = [line for line in lines if line["message"] == "kept 569 of 569 rows"]
    assert [line[conventions.DVC_STAGE] for line in kept] == ["clean"]


def test_what_fails_inside_is_seen_from_everywhere(tmp_path: Path) -> None:
    """A trial that raises: error spans up to the run, one ERROR line of it, a failed run of MLflow, a non-zero exit."""
    folder = copy(tmp_path / "pipeline")
    stage = folder / "stages/tune.py"
    stage.write_text(stage.read_text().replace('"max_depth", 1, 4', '"max_depth", -4, -1'))  # scikit-learn refuses it
    done = run(folder)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    spans, lines = spans_and_lines(folder)
    failed = {span["name"] for span in spans if span["status"].get("code") == 2}
    assert {"run pipeline", "run repro", "stage tune", "run tune", "tune"} <= failed
    assert {"optimize breast-cancer", "trial breast-cancer"} <= failed
    assert {span["name"] for span in spans} & {"stage train", "stage evaluate"} == set()
    (trial,) = [span for span in spans if span["name"] == "trial breast-cancer"]
    told = [line for line in lines if line["level"] == "ERROR" and line.get(conventions.OPTUNA_TRIAL)]
    (of_trial,) = [line for line in told if line["span_id"] == trial["spanId"]]
    assert (
        of_trial["exception"]["type"] == "ValueError" and "InvalidParameterError" in of_trial["exception"]["stacktrace"]
    )
    of_folds = [line for line in told if line is not of_trial]  # each fold's own exception, which scikit-learn survives
    assert len(of_folds) == 5 and len({line["span_id"] for line in of_folds}) == 5
    with sqlite3.connect(folder / "mlflow.db") as database:
        assert database.execute("select name, status from runs").fetchall() == [("tune", "FAILED")]
