"""Whichever name of an execution somebody has leads to all others."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from otel_ml import conventions
from otel_ml.cli.app import app
from otel_ml.cli.find import KINDS, TRACE
from support import run_python

PROGRAM = """
import logging, sys
import otel_ml
from otel_ml import conventions
from otel_ml.labels import labelled

with otel_ml.configure(directory="state", audit=False, logs=otel_ml.Logs(format="none")):
    for number in range(2):
        with (
            labelled({conventions.HYDRA_JOB: f"train#{number}", conventions.DVC_STAGE: f"stage-{number}"}),
            labelled({conventions.PREFECT_FLOW_RUN_ID: f"flow-{number}"}),
            labelled({conventions.PREFECT_TASK_RUN_ID: f"task-{number}"}),
            otel_ml.run("nightly") if number == 0 else otel_ml.step("unrelated"),
            labelled({conventions.OPTUNA_TRIAL: f"churn#{number}"}),
            otel_ml.step("trial"),
        ):
            with labelled({conventions.MLFLOW_RUN_ID: f"mlflow-{number}"}):
                logging.getLogger("work").warning("logged")
        with labelled({conventions.OPTUNA_TRIAL: f"other#{number}"}):
            logging.getLogger("work").warning("elsewhere")
"""
FIRST = {
    conventions.HYDRA_JOB: "train#0",
    conventions.DVC_STAGE: "stage-0",
    conventions.MLFLOW_RUN_ID: "mlflow-0",
    conventions.OPTUNA_TRIAL: "churn#0",
    conventions.PREFECT_FLOW_RUN_ID: "flow-0",
    conventions.PREFECT_TASK_RUN_ID: "task-0",
}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a program with two executions recorded."""
    folder = tmp_path_factory.mktemp("find")
    done = run_python(PROGRAM, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "state"


def asked(state: Path, name: str) -> dict[str, list[str]]:
    """What the command says of a name."""
    done = CliRunner().invoke(app, ["find", name, "--dir", str(state), "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_the_names_are_those_of_every_integration() -> None:
    """A new label has to be found, too."""
    assert set(FIRST) | {conventions.RUN_ID, TRACE} == set(KINDS)


@pytest.mark.parametrize(("given", "wanted"), [*itertools.permutations(FIRST, 2)])
def test_each_name_leads_to_each_other(state: Path, given: str, wanted: str) -> None:
    """And not to those of another execution in the same process."""
    assert asked(state, FIRST[given])[wanted] == [FIRST[wanted]]


def test_run_and_trace_lead_to_all_and_back(state: Path) -> None:
    """Both are found by any name, and are names themselves."""
    found = asked(state, "mlflow-0")
    (run_id,), (trace_id,) = found[conventions.RUN_ID], found[TRACE]
    assert asked(state, trace_id) == {**{kind: [name] for kind, name in FIRST.items()}, **{
        conventions.RUN_ID: [run_id], TRACE: [trace_id],
    }}  # fmt: skip
    assert set(FIRST.values()) <= {name for names in asked(state, run_id).values() for name in names}


def test_a_person_reads_a_table(state: Path) -> None:
    """Each kind with its names, and how much of it there is."""
    done = CliRunner().invoke(app, ["find", "churn#0", "--dir", str(state)])
    rows: list[Any] = [line.split() for line in done.stdout.splitlines()]
    assert ["MLflow", "run", "mlflow-0", "1"] in rows
    assert ["DVC", "stage", "stage-0", "2"] in rows


def test_an_unknown_name_is_said(state: Path) -> None:
    """With where was looked."""
    done = CliRunner().invoke(app, ["find", "nobody", "--dir", str(state)])
    assert done.exit_code != 0
    assert "'nobody'" in str(done.exception) and str(state) in str(done.exception)


def test_lines_that_cannot_be_read_are_said(state: Path, tmp_path: Path) -> None:
    """What is asked for may have been on them."""
    copied = tmp_path / "state"
    shutil.copytree(state, copied)
    for path in copied.glob("*/traces-*.jsonl"):
        path.write_bytes(path.read_bytes()[:-100])
    done = CliRunner().invoke(app, ["find", "churn#0", "--dir", str(copied)])
    assert "could not be read" in done.stderr
