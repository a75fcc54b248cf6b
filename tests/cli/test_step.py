"""`otel-ml step`: any command, or a function, as a step of the run around it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from otel_ml import conventions
from otel_ml.cli import step
from otel_ml.errors import MissingExtraError
from support import is_ambient
from worker_runs import Lines, recorded

OTEL_ML = (sys.executable, "-P", "-m", "otel_ml.cli.app")

FUNCTIONS = """
import logging
import subprocess
import sys

import otel_ml


def train(rate, name="none", options=None):
    logging.getLogger("mine").warning("training %s %r %r", rate, name, options)
    with open("model.txt", "w") as file:
        file.write(name)


def fail(**_):
    raise ZeroDivisionError("not my day")


def leave(code):
    sys.exit(code)


def start():
    subprocess.run([sys.executable, "-c", "import otel_ml\\nwith otel_ml.step('child'): pass"], check=True)


class Model:
    @staticmethod
    def fit(model):
        assert model.depth == 3, model
        from sklearn.dummy import DummyClassifier
        DummyClassifier().fit([[1]], [1])
"""


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not is_ambient(name)} | {"OTEL_ML_DIR": "state"} | more


def run(folder: Path, *arguments: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `otel-ml` in a folder, and check its exit code."""
    done = subprocess.run(
        [*OTEL_ML, *arguments], cwd=folder, env=environment(**environ), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def named(spans: Lines, name: str) -> dict[str, Any]:
    """Return the one span of a name, with its attributes as a mapping."""
    (span,) = (span for span in spans if span["name"] == name)
    return span | {"attributes": {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}}


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    """A folder with a module of functions."""
    (tmp_path / "work.py").write_text(FUNCTIONS)
    return tmp_path


def test_a_command_is_a_step_of_a_new_run(tmp_path: Path) -> None:
    """Its span has its files before and after; what it prints is its own."""
    (tmp_path / "raw.csv").write_text("x\n1\n2\n")
    done = run(
        tmp_path, "step", "head", "--in", "raw.csv", "--out", "out.csv", "--",
        "sh", "-c", "head -n 2 raw.csv | tee out.csv; echo $TRACEPARENT",
    )  # fmt: skip
    spans, lines = recorded(tmp_path)
    whole, head = named(spans, "run head"), named(spans, "head")
    assert done.stdout == f"x\n1\n00-{head['traceId']}-{head['spanId']}-03\n" and done.stderr == ""
    assert head["parentSpanId"] == whole["spanId"] and not whole.get("parentSpanId")
    assert head["attributes"][conventions.RUN_EXIT_CODE] == "0"
    read = json.loads(head["attributes"][conventions.STEP_INPUTS_DESCRIBED])
    wrote = json.loads(head["attributes"][conventions.STEP_OUTPUTS_DESCRIBED])
    assert (read[0]["rows"], wrote[0]["rows"]) == (2, 1)
    saved = json.loads((tmp_path / "out.csv.meta.json").read_text())
    assert saved == {**wrote[0], "step": "head", "run_id": head["attributes"][conventions.RUN_ID]}
    events = [line.get(conventions.EVENT_NAME) for line in lines]
    assert conventions.ARTIFACT_READ in events and conventions.ARTIFACT_WRITTEN in events


def test_a_python_command_is_set_up_and_inside_of_the_step(tmp_path: Path) -> None:
    """Also one that knows nothing of otel_ml; steps of one run have one run id and trace."""
    (tmp_path / "plain.py").write_text("import logging; logging.getLogger('mine').warning('hello')")
    (tmp_path / "knows.py").write_text("import otel_ml\nwith otel_ml.step('inner'): pass")
    script = " && ".join(
        f"{sys.executable} -P -m otel_ml.cli.app step {name} -- {sys.executable} {name}.py"
        for name in ("plain", "knows")
    )
    run(tmp_path, "run", "--name", "both", "--", "sh", "-c", script)
    spans, lines = recorded(tmp_path)
    assert {span["name"] for span in spans} == {"run both", "plain", "knows", "inner"}
    whole = named(spans, "run both")
    for name, parent in (("plain", "run both"), ("knows", "run both"), ("inner", "knows")):
        assert named(spans, name)["parentSpanId"] == named(spans, parent)["spanId"]
        assert named(spans, name)["traceId"] == whole["traceId"]
    (line,) = (line for line in lines if line["logger"] == "mine")
    assert line["span_id"] == named(spans, "plain")["spanId"]
    assert {line["run_id"] for line in lines} == {whole["attributes"][conventions.RUN_ID]}


def test_a_command_that_fails_is_a_failed_step(tmp_path: Path) -> None:
    """Its exit code comes through; one ERROR line, an error on its span and on that of its run, no metadata."""
    done = run(tmp_path, "step", "bad", "--out", "half", "--", "sh", "-c", "echo > half; exit 3", code=3)
    assert done.stderr == ""
    spans, lines = recorded(tmp_path)
    for name in ("bad", "run bad"):
        assert named(spans, name)["attributes"][conventions.ERROR_TYPE] == "exit_code_3"
        assert named(spans, name)["status"]["code"] == 2
    (line,) = (line for line in lines if line["level"] == "ERROR")
    assert line["message"] == "bad failed: exit_code_3: exit code 3"
    assert line["span_id"] == named(spans, "bad")["spanId"]
    assert not (tmp_path / "half.meta.json").exists()
    (manifest,) = tmp_path.glob("state/*/run.json")
    assert json.loads(manifest.read_text())["status"] == "error"


def test_a_command_that_is_killed_or_not_there_is_said(tmp_path: Path) -> None:
    """As a shell would."""
    run(tmp_path, "step", "killed", "--", "sh", "-c", "kill -KILL $$", code=137)
    spans, _ = recorded(tmp_path)
    assert named(spans, "killed")["attributes"][conventions.ERROR_TYPE] == "SIGKILL"
    done = run(tmp_path, "step", "x", "--", "no-such-program", code=127, OTEL_ML_DIR="other")
    assert done.stderr == "otel-ml step: no-such-program: command not found\n"


def test_a_step_that_is_told_to_end_tells_its_command(tmp_path: Path) -> None:
    """SIGTERM goes on to the command, and the step is recorded."""
    process = subprocess.Popen(
        [*OTEL_ML, "step", "long", "--", "sh", "-c", "touch ready; exec sleep 60"], cwd=tmp_path, env=environment()
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    spans, _ = recorded(tmp_path)
    assert named(spans, "long")["attributes"][conventions.ERROR_TYPE] == "SIGTERM"


def test_a_function_is_called_with_arguments_of_the_command_line(functions: Path) -> None:
    """Values are JSON, or else text; secrets are masked; the process is set up as any."""
    run(
        functions, "step", "train", "--out", "model.txt", "--call", "work:train",
        "rate=0.5", "name=s3cr3t", 'options={"password": "hunter2"}',
    )  # fmt: skip
    spans, lines = recorded(functions)
    train = named(spans, "train")
    assert json.loads(train["attributes"][conventions.STEP_ARGUMENTS]) == {
        "rate": 0.5, "name": "s3cr3t", "options": {"password": "[redacted]"},
    }  # fmt: skip
    (line,) = (line for line in lines if line["logger"] == "mine")
    assert line["message"].startswith("training 0.5 's3cr3t'") and line["service"] == "train"
    assert line["span_id"] == train["spanId"] and train["parentSpanId"] == named(spans, "run train")["spanId"]
    assert (functions / "model.txt.meta.json").exists()
    assert [line["message"] for line in lines if line["level"] not in ("INFO", "WARNING")] == []


def test_a_function_is_called_with_a_hydra_config(functions: Path) -> None:
    """What is on the command line overrides it; nested parts are configs, and instrumentations are on."""
    pytest.importorskip("hydra")
    (functions / "conf").mkdir()
    (functions / "conf" / "fit.yaml").write_text("model:\n  depth: 1\n")
    run(
        functions, "step", "fit", "--call", "work:Model.fit", "--config-path", "conf", "--config-name", "fit",
        "model.depth=3",
    )  # fmt: skip
    spans, _ = recorded(functions)
    assert json.loads(named(spans, "fit")["attributes"][conventions.STEP_ARGUMENTS]) == {"model": {"depth": 3}}
    assert named(spans, "DummyClassifier.fit")["parentSpanId"] == named(spans, "fit")["spanId"]


def test_an_exception_of_a_function_is_shown_and_recorded_once(functions: Path) -> None:
    """With its traceback on the terminal, and the exit code that Python gives."""
    done = run(functions, "step", "fail", "--call", "work:fail", "a=1", code=1, OTEL_ML_LOG_FORMAT="none")
    assert done.stderr.rstrip().endswith("ZeroDivisionError: not my day")
    spans, lines = recorded(functions)
    assert named(spans, "fail")["attributes"][conventions.ERROR_TYPE] == "ZeroDivisionError"
    assert len([line for line in lines if line["level"] == "ERROR"]) == 1
    run(functions, "step", "leave", "--call", "work:leave", "code=5", code=5, OTEL_ML_DIR="other")


def test_processes_of_a_function_are_inside_of_its_step(functions: Path) -> None:
    """They find it in their environment, and are set up by it."""
    run(functions, "run", "--name", "outer", "--", *OTEL_ML, "step", "start", "--call", "work:start")
    spans, lines = recorded(functions)
    assert {span["traceId"] for span in spans} == {named(spans, "run outer")["traceId"]}
    assert named(spans, "start")["parentSpanId"] == named(spans, "run outer")["spanId"]
    assert named(spans, "child")["parentSpanId"] == named(spans, "start")["spanId"]
    assert [line for line in lines if line["level"] == "WARNING"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["step", "x"], "step NAME -- COMMAND: expected a command, received []"),
        (["step", "x", "--call", "work"], "step --call: expected package.module:function, received 'work'"),
        (["step", "x", "--call", "work:train", "rate"], "step --call: expected key=value, received 'rate'"),
        (["step", "x", "--call", "work:none"], "step --call: expected a function of work, received 'work:none'"),
        (
            ["step", "x", "--call", "work:train", "--config-name", "none"],
            "step --config-name: expected a config that can be composed, received 'none'",
        ),
    ],
)
def test_what_cannot_work_is_said(functions: Path, arguments: list[str], message: str) -> None:
    """In one line, with exit code 2."""
    done = run(functions, *arguments, code=2, OTEL_ML_LOG_FORMAT="none")
    assert done.stderr.startswith(f"otel-ml: {message}")


def test_without_hydra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything is set up."""
    monkeypatch.setitem(sys.modules, "hydra", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'otel-ml\[hydra\]'"):
        step.call("x", "work:train", [], inputs=[], outputs=[], config_path=tmp_path)
