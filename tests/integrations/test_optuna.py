"""Studies of Optuna: spans and lines of their trials, in threads, in processes, by ask and tell, and when they fail."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from otel_ml import conventions
from support import is_ambient, run_python
from worker_runs import Lines, recorded

LABEL = conventions.OPTUNA_TRIAL

START = """
import json, logging, os, subprocess, sys, threading, time, warnings
warnings.simplefilter("ignore")
import otel_ml
from otel_ml import conventions
telemetry = otel_ml.configure(
    service_name="t", directory="state", audit=False, logs=otel_ml.Logs(format=os.environ.get("FORMAT", "none"))
)
otel_ml.optuna.instrument(progress=False)
log = logging.getLogger("work")
import optuna
"""


def ran(folder: Path, body: str, **environment: str) -> tuple[Lines, Lines]:
    """Run a program, and return its spans and its log lines."""
    done = run_python(START + body, cwd=folder, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    spans, lines = recorded(folder)
    troubles = [line for line in lines if line["logger"] == "otel_ml" and line["level"] in ("WARNING", "ERROR")]
    assert troubles == []
    return spans, lines


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    """Return a span's attributes; numbers that JSON has as text are text."""
    return {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}


def trials(spans: Lines) -> dict[int, dict[str, Any]]:
    """Return the spans of trials by number; each is there once."""
    found = [span for span in spans if span["name"].startswith("trial ")]
    by_number = {int(attributes(span)[conventions.OPTUNA_NUMBER]): span for span in found}
    assert len(by_number) == len(found)
    return by_number


def told(lines: Lines) -> dict[int, dict[str, Any]]:
    """Return the lines of trials by number; each has one."""
    found = [line for line in lines if line.get("event.name") == conventions.OPTUNA_TRIAL_ENDED]
    by_number = {line[conventions.OPTUNA_NUMBER]: line for line in found}
    assert len(by_number) == len(found) and {line["level"] for line in found} <= {"INFO"}
    return by_number


ENDS = """
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    trial.suggest_categorical("password", ["hunter2"])
    log.info("in %d", trial.number)
    with otel_ml.step("inside"):
        pass
    if trial.number == 1:
        for step in range(4):
            trial.report(step, step)
        raise optuna.TrialPruned()
    if trial.number == 2:
        raise ValueError("caught")
    if trial.number == 3:
        return float("nan")
    if trial.number == 5:
        raise failure
    return 2 - trial.number / 10

failure = ZeroDivisionError("not caught")
seen = []
study = optuna.create_study(study_name="churn")
with otel_ml.run("nightly"), otel_ml.step("tune"):
    try:
        note = lambda study, trial: seen.append(trial.number)
        study.optimize(objective, n_trials=9, catch=ValueError, callbacks=[note])
    except ZeroDivisionError as error:
        assert error is failure
    else:
        raise AssertionError
    log.info("after")
    assert seen == [0, 1, 2, 3, 4]

    class Objective:
        def __call__(self, trial):
            raise KeyboardInterrupt
    try:
        study.optimize(Objective(), 1)
    except KeyboardInterrupt:
        log.info("after")
    else:
        raise AssertionError
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "PRUNED", "FAIL", "FAIL", "COMPLETE", "FAIL", "FAIL"]

    try:
        study.optimize(objective, n_trails=1)
    except TypeError as error:
        assert "n_trails" in str(error)
    else:
        raise AssertionError
    study.optimize(objective, 0)

    def raising(study, trial):
        raise RuntimeError("of a callback")
    try:
        study.optimize(lambda trial: 9.0, 1, callbacks=[raising])
    except RuntimeError:
        pass
"""


def test_a_trial_is_a_span_and_a_line_however_it_ends(tmp_path: Path) -> None:
    """Completed, pruned, failed by an exception that is caught or not, by a value that is none, and interrupted."""
    spans, lines = ran(tmp_path, ENDS)
    by_id = {span["spanId"]: span for span in spans}
    found, said = trials(spans), told(lines)
    assert sorted(found) == sorted(said) == list(range(8))
    assert found.pop(7).get("status", {}).get("code") is None  # the exception was a callback's
    states = {number: attributes(span)[conventions.OPTUNA_STATE] for number, span in found.items()}
    assert states == {0: "complete", 1: "pruned", 2: "fail", 3: "fail", 4: "complete", 5: "fail", 6: "fail"}
    for number, span in found.items():
        parent = by_id[span["parentSpanId"]]
        assert (parent["name"], by_id[parent["parentSpanId"]]["name"]) == ("optimize churn", "tune")
        own = attributes(span)
        assert (own[LABEL], own[conventions.OPTUNA_STUDY]) == (f"churn#{number}", "churn")
        line = said[number]
        assert (line["span_id"], line[LABEL]) == (span["spanId"], f"churn#{number}")
        assert (line[conventions.OPTUNA_STATE], line[conventions.OPTUNA_STUDY]) == (states[number], "churn")
        assert line[conventions.OPTUNA_DURATION] >= 0 and conventions.OPTUNA_DURATION in own
        if number < 6:
            assert line[conventions.OPTUNA_PARAMETERS]["password"] == "[redacted]"
            assert json.loads(own[conventions.OPTUNA_PARAMETERS]) == line[conventions.OPTUNA_PARAMETERS]
    assert (attributes(found[4])[conventions.OPTUNA_VALUE], said[4][conventions.OPTUNA_VALUE]) == (1.6, 1.6)
    assert (attributes(found[1])[conventions.OPTUNA_STEP], said[1][conventions.OPTUNA_STEP]) == ("3", 3)
    assert "was pruned at step 3" in said[1]["message"]
    failed = {number for number, span in found.items() if span.get("status", {}).get("code") == 2}
    assert failed == {2, 3, 5}
    assert attributes(found[6])[conventions.STATUS] == conventions.CANCELLED
    errors = [line for line in lines if line["level"] == "ERROR"]
    assert [(line.get(LABEL), line["exception"]["type"]) for line in errors] == [
        ("churn#2", "ValueError"), ("churn#5", "ZeroDivisionError"), (None, "RuntimeError"),
    ]  # fmt: skip
    assert errors[0]["function"] == "objective" and "otel_ml" not in errors[0]["exception"]["stacktrace"]
    assert "hunter2" not in json.dumps([list(found.values()), list(said.values()), errors])
    inside = [attributes(span)[LABEL] for span in spans if span["name"] == "inside"]
    assert inside == [f"churn#{number}" for number in range(6)]
    working = [(line["message"], line.get(LABEL)) for line in lines if line["logger"] == "work"]
    assert working == [*((f"in {number}", f"churn#{number}") for number in range(6)), ("after", None), ("after", None)]
    theirs = [line for line in lines if line["logger"].startswith("optuna.study")]
    assert len(theirs) >= 7 and all(line[LABEL].startswith("churn#") for line in theirs)


def test_a_study_is_a_span_with_its_best_trial(tmp_path: Path) -> None:
    """And fails as the exception that leaves it says."""
    spans, lines = ran(tmp_path, ENDS)
    first, interrupted, empty, called_back = (span for span in spans if span["name"] == "optimize churn")
    own = attributes(first)
    assert (own[conventions.OPTUNA_TRIALS], own[conventions.OPTUNA_BEST_NUMBER]) == ("9", "4")
    assert (own[conventions.OPTUNA_BEST_VALUE], own[conventions.ERROR_TYPE]) == (1.6, "ZeroDivisionError")
    assert attributes(interrupted)[conventions.STATUS] == conventions.CANCELLED
    assert empty.get("status", {}).get("code") is None
    assert attributes(called_back)[conventions.ERROR_TYPE] == "RuntimeError"
    assert attributes(trials(spans)[7])[conventions.OPTUNA_VALUE] == 9
    ends = [line["message"] for line in lines if line.get("event.name") == conventions.OPTUNA_STUDY_ENDED]
    assert ends == [
        "optimize churn: 6 trials (2 complete, 3 fail, 1 pruned), best #4 with value 1.6",
        "optimize churn: 1 trials (1 fail), best #4 with value 1.6",
        "optimize churn: 0 trials (none), best #4 with value 1.6",
        "optimize churn: 1 trials (1 complete), best #4 with value 1.6",
    ]


THREADS = """
def objective(trial):
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    time.sleep(0.01)
    log.info("in %d", trial.number)
    with otel_ml.step("inside"):
        pass
    return x, y

undo = telemetry._on_close[0]()  # threads of pools get no context of ours now, as without `configure`
study = optuna.create_study(study_name="two", directions=["minimize", "maximize"])
with otel_ml.run("nightly"):
    study.optimize(objective, n_trials=12, n_jobs=3)
    assert study.user_attrs[conventions.RUN_ID] == otel_ml.current_run().id
    assert len(study.user_attrs[conventions.TRACE_ID]) == 32
    log.info("after")

asked = optuna.create_study(study_name="asked")
with otel_ml.step("asking"):
    first, second = asked.ask(), asked.ask()
    second.suggest_float("x", 0, 1)
    asked.tell(second, 0.25)
    asked.tell(first.number, state=optuna.trial.TrialState.PRUNED)
    asked.tell(second, 0.25, skip_if_finished=True)
otel_ml.optuna.uninstrument()
asked.optimize(lambda trial: 1.0, n_trials=1)
assert not hasattr(optuna.Study.optimize, "__wrapped__") or optuna.Study.optimize.__module__ == "optuna.study.study"
"""


def test_threads_of_a_study_and_ask_and_tell_belong_to_their_caller(tmp_path: Path) -> None:
    """The threads have no context: the one where the study was called is theirs; values of several objectives."""
    spans, lines = ran(tmp_path, THREADS)
    by_id = {span["spanId"]: span for span in spans}
    found = trials([span for span in spans if span["name"] == "trial two"])
    assert sorted(found) == list(range(12))
    assert {by_id[span["parentSpanId"]]["name"] for span in found.values()} == {"optimize two"}
    assert all(len(attributes(span)[conventions.OPTUNA_VALUES]["values"]) == 2 for span in found.values())
    parents = {span["spanId"]: by_id[span["parentSpanId"]] for span in spans if span["name"] == "inside"}
    assert sorted(span["spanId"] for span in parents.values()) == sorted(span["spanId"] for span in found.values())
    working = {line["message"]: line.get(LABEL) for line in lines if line["logger"] == "work"}
    assert working == {"after": None, **{f"in {number}": f"two#{number}" for number in range(12)}}

    asked = trials([span for span in spans if span["name"] == "trial asked"])
    assert {number: attributes(span)[conventions.OPTUNA_STATE] for number, span in asked.items()} == {
        0: "pruned",
        1: "complete",
    }
    assert {by_id[span["parentSpanId"]]["name"] for span in asked.values()} == {"asking"}
    assert attributes(asked[1])[conventions.OPTUNA_VALUE] == 0.25
    assert int(asked[0]["startTimeUnixNano"]) < int(asked[1]["endTimeUnixNano"])


@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_each_trial_of_several_processes_is_there_once(tmp_path: Path, storage: str) -> None:
    """Two processes optimize one study in one storage."""
    body = """
from optuna.storages.journal import JournalFileBackend
sqlite = os.environ["STORAGE"] == "sqlite"
storage = "sqlite:///study.db" if sqlite else optuna.storages.JournalStorage(JournalFileBackend("study.log"))
study = optuna.create_study(study_name="shared", storage=storage, load_if_exists=True)

def objective(trial):
    time.sleep(0.02)
    return trial.suggest_float("x", 0, 1)

if os.environ.get("CHILD"):
    study.optimize(objective, n_trials=6)
else:
    with otel_ml.run("nightly"):
        environ = {**os.environ, "CHILD": "1"}
        child = subprocess.Popen([sys.executable, "-W", "ignore", "program.py"], env=environ)
        study.optimize(objective, n_trials=6)
        assert child.wait() == 0
"""
    (tmp_path / "program.py").write_text(START + body)
    done = run_python(
        "import runpy; runpy.run_path('program.py', run_name='__main__')",
        cwd=tmp_path, env={"STORAGE": storage}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    spans, lines = recorded(tmp_path)
    assert sorted(trials(spans)) == sorted(told(lines)) == list(range(12))
    assert len([span for span in spans if span["name"] == "optimize shared"]) == 2
    assert len({span["traceId"] for span in spans}) == 1


def test_a_run_of_mlflow_gets_the_values_and_the_best_parameters(tmp_path: Path) -> None:
    """That of the caller, from threads too; a run inside of a trial has the trial among its tags."""
    pytest.importorskip("mlflow")
    body = """
import mlflow
otel_ml.mlflow.instrument()
mlflow.set_tracking_uri("sqlite:///mlflow.db")

def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    trial.suggest_categorical("password", ["hunter2"])
    if trial.number == 0:
        raise optuna.TrialPruned()
    if trial.number == 3:
        with mlflow.start_run() as inner:
            found.append(inner.info.run_id)
    return trial.number / 2

def callback(study, trial):
    if trial.number == 4:
        with mlflow.start_run() as inner:
            found.append(inner.info.run_id)

found = []
study = optuna.create_study(study_name="churn")
with mlflow.start_run() as run:
    study.optimize(objective, n_trials=5, n_jobs=2, callbacks=[callback])
    trial = study.ask()
    study.tell(trial, 7.0)
client = mlflow.MlflowClient()
history = client.get_metric_history(run.info.run_id, "optuna_value")
assert sorted((point.step, point.value) for point in history) == [(1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0), (5, 7.0)]
data = client.get_run(run.info.run_id).data
assert data.metrics["optuna_best_value"] == 0.5
assert data.params == {"optuna_best_x": str(study.best_params["x"]), "optuna_best_password": "[redacted]"}
tags = {client.get_run(run_id).data.tags[conventions.OPTUNA_TRIAL] for run_id in found}
assert tags == {"churn#3", "churn#4"}, tags
"""
    spans, _ = ran(tmp_path, body, MLFLOW_DISABLE_TELEMETRY="true")
    assert {attributes(span).get(conventions.MLFLOW_RUN_ID) is None for span in trials(spans).values()} == {False}


def test_lines_of_optuna_are_on_the_console_once(tmp_path: Path) -> None:
    """Also after a bar of its own, which switches its handler on; and it is as before when we leave."""
    body = """
study = optuna.create_study(study_name="once")
study.optimize(lambda trial: 1.0, n_trials=2, show_progress_bar=True)
study.optimize(lambda trial: 1.0, n_trials=1)
telemetry.shutdown()
otel_ml.optuna.uninstrument()
assert len(logging.getLogger("optuna").handlers) == 1 and not logging.getLogger("optuna").propagate
"""
    done = run_python(START + body, cwd=tmp_path, env={"FORMAT": "json"})
    assert done.returncode == 0, done.stderr[-4000:]
    console = done.stdout + done.stderr
    assert [console.count(f"Trial {number} finished") for number in range(3)] == [1, 1, 1]
    _, lines = recorded(tmp_path)
    theirs = [line["message"].split(" with")[0] for line in lines if line["logger"] == "optuna.study.study"]
    assert theirs == ["Trial 0 finished", "Trial 1 finished", "Trial 2 finished"]


def screen(output: str) -> list[str]:
    """Return the lines that a terminal shows after such output."""
    rows, row, column = [""], 0, 0
    for code, letter, text in re.findall(r"\x1b\[(\??[\d;]*)([A-Za-z])|([^\x1b])", output):
        if letter == "K":
            rows[row] = ""
        elif letter == "A":
            row -= int(code or 1)
        elif text == "\r":
            column = 0
        elif text == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        elif text:
            rows[row] = rows[row][:column].ljust(column) + text + rows[row][column + 1 :]
            column += 1
    return rows


def test_lines_go_above_the_bar_of_a_study(tmp_path: Path) -> None:
    """On a terminal the bar is there, also for a search within a trial, and leaves nothing behind."""
    (tmp_path / "program.py").write_text(
        START.replace("progress=False", "").replace('"none"', '"console"') + "def objective(trial):\n"
        "    time.sleep(0.15)\n"
        "    log.info('line %d', trial.number)\n"
        "    return 1.0\n"
        "optuna.create_study(study_name='barred').optimize(objective, n_trials=4, show_progress_bar=True)\n"
        "telemetry.shutdown()\n"
    )
    environ = {name: value for name, value in os.environ.items() if not is_ambient(name)}
    master, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, stdout=terminal, stderr=terminal, stdin=terminal,
        env={**environ, "TERM": "xterm", "COLUMNS": "200"},
    )  # fmt: skip
    os.close(terminal)
    output = b""
    while True:
        try:
            output += os.read(master, 65536)
        except OSError:
            break
    os.close(master)
    assert child.wait(60) == 0, output.decode()
    text = output.decode()
    assert "optimize barred" in text and "━" in text and "3/4" in text
    shown = screen(text)
    assert [row for row in shown if "━" in row] == []
    assert [len([row for row in shown if f"line {number} " in row]) for number in range(4)] == [1, 1, 1, 1]
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3} ", row) for row in shown if row), shown


def test_a_program_without_a_line_of_ours_is_watched(tmp_path: Path) -> None:
    """`otel-ml run` finds the instrumentor; a trial's label goes to the workers that it starts."""
    (tmp_path / "tune.py").write_text(
        "import optuna\n"
        "from sklearn.dummy import DummyRegressor\n"
        "from sklearn.model_selection import cross_val_score\n"
        "def objective(trial):\n"
        "    X, y = [[n] for n in range(12)], list(range(12))\n"
        "    trial.suggest_float('x', 0, 1)\n"
        "    return float(cross_val_score(DummyRegressor(), X, y, cv=2, n_jobs=2).mean())\n"
        "if __name__ == '__main__':\n"
        "    optuna.create_study(study_name='plain').optimize(objective, n_trials=2)\n"
    )
    environ = {name: value for name, value in os.environ.items() if not is_ambient(name)}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "otel-ml"), "run", "--", sys.executable, "tune.py"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (tmp_path / "state").mkdir()
    (folder,) = (tmp_path / ".otel_ml").glob("*-*-*")
    folder.rename(tmp_path / "state" / folder.name)
    spans, lines = recorded(tmp_path)
    assert sorted(trials(spans)) == sorted(told(lines)) == [0, 1]
    fits = [attributes(span)[LABEL] for span in spans if span["name"] == "DummyRegressor.fit"]
    assert sorted(fits) == ["plain#0"] * 2 + ["plain#1"] * 2
    assert len({span["traceId"] for span in spans}) == 1


def test_a_wrong_option_and_a_missing_library_are_said(tmp_path: Path) -> None:
    """With what would be right, and how to install it; without a provider nothing is changed."""
    done = run_python(
        """
        import importlib.util
        import otel_ml, optuna
        try:
            otel_ml.optuna.instrument(progress="yes")
        except otel_ml.ConfigurationError as error:
            print(error)
        original = optuna.Study.optimize
        otel_ml.optuna.instrument()
        optuna.logging.disable_default_handler()
        study = optuna.create_study()
        study.optimize(lambda trial: 1.0, n_trials=2)
        assert len(study.trials) == 2
        otel_ml.optuna.uninstrument()
        assert optuna.Study.optimize is original
        importlib.util.find_spec = lambda name, package=None: None
        try:
            otel_ml.optuna.instrument()
        except ImportError as error:
            print(error)
        """
    )
    assert done.returncode == 0, done.stderr
    assert "instrument(progress=): expected True, False or None, received 'yes'" in done.stdout
    assert "pip install 'otel-ml[optuna]'" in done.stdout
