"""Stages of a real DVC: which spans there are, where records of their processes belong, and what is said of files."""

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

pytest.importorskip("dvc")

from dvc.stage import Stage, run

from otel_ml import conventions
from otel_ml.integrations import dvc as integration
from support import is_ambient
from worker_runs import Lines, recorded

OTEL_ML = (sys.executable, "-P", "-m", "otel_ml.cli.app")
DVC = (sys.executable, "-P", "-m", "dvc")

# A program that knows nothing of otel_ml, one that does and starts another, and a step of a shell.
PROGRAMS = {
    "load.py": """
        import logging
        logging.getLogger("mine").warning("loading")
        open("raw.csv", "w").write("x\\n1\\n2\\n")
        """,
    "train.py": """
        import logging, subprocess, sys
        import otel_ml
        with otel_ml.configure(audit=False, logs=otel_ml.Logs(format="none")), otel_ml.run("training"):
            with otel_ml.step("fit", inputs=["raw.csv"], outputs=["model.txt"]):
                logging.getLogger("mine").warning("training")
                open("model.txt", "w").write("model")
            subprocess.run([sys.executable, "-P", "child.py"], check=True)
        """,
    "child.py": "import logging; logging.getLogger('mine').warning('child')",
}


def stages(**more: str) -> str:
    """Return a `dvc.yaml`: load, then train, and further stages without outputs by their commands."""
    python = f"{sys.executable} -P"
    known = {
        "load": {"cmd": f"{python} load.py", "deps": ["load.py"], "outs": ["raw.csv"]},
        "train": {"cmd": f"{python} train.py", "deps": ["raw.csv", "train.py"], "outs": ["model.txt"]},
    }
    return json.dumps({"stages": known | {name: {"cmd": command} for name, command in more.items()}})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of DVC with two stages, load and train."""
    subprocess.run([*DVC, "init", "--no-scm", "-q"], cwd=tmp_path, env=environment(), check=True)
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text("\n".join(line.removeprefix(" " * 8) for line in text.splitlines()))
    (tmp_path / "dvc.yaml").write_text(stages())
    return tmp_path


def environment(state: str = "state") -> dict[str, str]:
    ours = {"OTEL_ML_DIR": state, "DVC_NO_ANALYTICS": "1", "SHELL": "/bin/sh", "OTEL_ML_LOG_FORMAT": "none"}
    hidden = ("DVC_STAGE", "DVC_ROOT")
    return {name: value for name, value in os.environ.items() if not is_ambient(name) and name not in hidden} | ours


def repro(repository: Path, *arguments: str, code: int = 0, watched: bool = True) -> tuple[Lines, Lines, str]:
    """Run `dvc repro` in a state directory that was emptied; return spans, log lines and standard output."""
    state = repository / "state"
    if state.exists():
        state.rename(repository / f"state-{time.time_ns()}")
    environ = environment(str(state))
    command = [*(OTEL_ML if watched else ()), *(("run", "--dvc", "--") if watched else ()), *DVC, "repro", *arguments]
    done = subprocess.run(
        command, cwd=repository, env=environ, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return (*recorded(repository), done.stdout)


def named(spans: Lines, name: str) -> dict[str, Any]:
    """Return the one span of a name, with its attributes as a mapping."""
    (span,) = (span for span in spans if span["name"] == name)
    return span | {"attributes": {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}}


def outcomes(spans: Lines) -> dict[str, Any]:
    found = {span["name"]: named(spans, span["name"])["attributes"] for span in spans}
    return {name: of[conventions.DVC_OUTCOME] for name, of in found.items() if conventions.DVC_OUTCOME in of}


def test_stages_that_ran_are_one_trace_with_their_processes_below(repository: Path) -> None:
    """Spans of a stage's processes are below its span, and its name is on all that they record."""
    spans, lines, output = repro(repository)
    assert outcomes(spans) == {"stage load": "ran", "stage train": "ran"}
    assert len({span["traceId"] for span in spans}) == 1
    parents = {"stage load": "run dvc", "stage train": "run dvc", "run training": "stage train", "fit": "run training"}
    for name, parent in parents.items():
        assert named(spans, name)["parentSpanId"] == named(spans, parent)["spanId"], name
    assert "Running stage 'load':" in output
    mine = {line["message"]: line for line in lines if line["logger"] == "mine"}
    assert {message: line[conventions.DVC_STAGE] for message, line in mine.items()} == {
        "loading": "load", "training": "train", "child": "train",
    }  # fmt: skip
    assert mine["loading"]["span_id"] == named(spans, "stage load")["spanId"]
    assert mine["child"]["span_id"] == named(spans, "run training")["spanId"]
    assert {line["run_id"] for line in lines} == {named(spans, "run dvc")["attributes"][conventions.RUN_ID]}
    assert named(spans, "fit")["attributes"][conventions.DVC_STAGE] == "train"
    assert conventions.DVC_STAGE not in named(spans, "run dvc")["attributes"]
    files = {path.name.partition("-")[0] for path in repository.glob("state/*/*.log")}
    assert {"load", "train", "child"} <= files  # each process has a file of its own


def test_hashes_and_sizes_are_those_of_the_lock_file(repository: Path) -> None:
    """On the span and in a record; and metadata of a file in a stage is the same after each run."""
    spans, lines, _ = repro(repository)
    locked = (repository / "dvc.lock").read_text()
    train = named(spans, "stage train")["attributes"]
    (dep, program), (out,) = json.loads(train[conventions.DVC_DEPS]), json.loads(train[conventions.DVC_OUTS])
    assert (dep["path"], dep["size"], program["path"]) == ("raw.csv", 6, "train.py")
    assert out["path"] == "model.txt" and f"md5: {out['md5']}" in locked and f"md5: {dep['md5']}" in locked
    (line,) = (
        line
        for line in lines
        if line.get(conventions.EVENT_NAME) == conventions.DVC_STAGE_ENDED and line[conventions.DVC_STAGE] == "train"
    )
    assert line["message"] == "stage train: ran" and line[conventions.DVC_OUTS] == [out]
    metadata = (repository / "model.txt.meta.json").read_text()
    assert "run_id" not in metadata
    repro(repository, "--force")
    assert (repository / "model.txt.meta.json").read_text() == metadata


def test_stages_that_are_skipped_restored_and_forced_say_so(repository: Path) -> None:
    """Of those that did not run nothing but a span is there."""
    repro(repository)
    spans, lines, output = repro(repository)
    assert outcomes(spans) == {"stage load": "skipped", "stage train": "skipped"}
    assert "didn't change, skipping" in output
    assert json.loads(named(spans, "stage load")["attributes"][conventions.DVC_OUTS])[0]["path"] == "raw.csv"
    (repository / "dvc.lock").unlink()
    spans, lines, output = repro(repository)
    assert outcomes(spans) == {"stage load": "restored", "stage train": "restored"}
    assert "is cached - skipping run" in output
    assert [line for line in lines if line["logger"] == "mine"] == []
    spans, lines, _ = repro(repository, "--force", "-q")  # quiet: DVC's own lines are not needed
    assert outcomes(spans) == {"stage load": "ran", "stage train": "ran"}
    assert len([line for line in lines if line["logger"] == "mine"]) == 3
    spans, _, _ = repro(repository, "--force", "--dry")
    assert {span["name"] for span in spans} == {"run dvc"}


def test_a_stage_that_fails_has_an_error(repository: Path) -> None:
    """On its span, in one line of the stage, and as the exit code of DVC; others go on where DVC does."""
    (repository / "dvc.yaml").write_text(stages(bad="exit 3", killed="kill -KILL $$"))
    spans, lines, _ = repro(repository, "--keep-going", code=255)
    assert outcomes(spans) == dict.fromkeys(("stage load", "stage train", "stage bad", "stage killed"), "ran")
    for name in ("bad", "killed"):
        span = named(spans, f"stage {name}")
        assert span["status"]["code"] == 2
        assert span["attributes"][conventions.ERROR_TYPE] == "dvc.stage.exceptions.StageCmdFailedError"
        errors = [
            line for line in lines if line["logger"] == "otel_ml.dvc" and line.get(conventions.DVC_STAGE) == name
        ]  # fmt: skip
        assert [line["level"] for line in errors] == ["ERROR"] and errors[0]["span_id"] == span["spanId"]
    assert named(spans, "stage train").get("status", {}).get("code", 0) == 0
    assert named(spans, "run dvc")["attributes"][conventions.RUN_EXIT_CODE] == "255"


def test_a_plain_repro_with_steps_is_one_run_and_trace(repository: Path) -> None:
    """Though nobody hands one down to its stages; the next one is another."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("ancestors are found in /proc")
    step = f"{sys.executable} -P -m otel_ml.cli.app step"
    python = f"{sys.executable} -P"
    (repository / "dvc.yaml").write_text(
        stages(one=f"{step} first --in raw.csv -- {python} load.py", two=f"true && ({step} second -- echo hello)")
    )
    spans, lines, output = repro(repository, watched=False)
    assert "hello" in output
    expected = {"first": "one", "second": "two", "run training": "train", "fit": "train"}
    found = {name: named(spans, name) for name in expected}
    assert {name: span["attributes"][conventions.DVC_STAGE] for name, span in found.items()} == expected
    assert len({span["traceId"] for span in spans}) == 1
    assert {line["run_id"] for line in lines} == {found["first"]["attributes"][conventions.RUN_ID]}
    again, _, _ = repro(repository, "--force", watched=False)
    assert named(again, "fit")["traceId"] != found["fit"]["traceId"]


def test_an_experiment_has_its_name_on_everything(repository: Path) -> None:
    """As DVC tells its stages."""
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    for command in (
        ("git", "init", "-q"), ("git", "config", "user.name", "t"), ("git", "config", "user.email", "t@example.org"),
        (*DVC, "config", "core.no_scm", "false"), ("git", "add", "."), (*git, "commit", "-qm", "start"),
    ):  # fmt: skip
        subprocess.run(command, cwd=repository, env=environment(), check=True)
    done = subprocess.run(
        [*OTEL_ML, "run", "--", *DVC, "exp", "run", "--name", "tried"], cwd=repository,
        env=environment(str(repository / "state")), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    spans, lines = recorded(repository)
    for name in ("stage load", "stage train", "fit"):
        assert named(spans, name)["attributes"][conventions.DVC_EXPERIMENT] == "tried"
    assert {line.get(conventions.DVC_EXPERIMENT) for line in lines if line["logger"] == "mine"} == {"tried"}


def test_a_repro_that_is_told_to_end_leaves_what_was_recorded(repository: Path) -> None:
    """SIGTERM reaches DVC; the run is recorded as ended by it, with the stages before."""
    (repository / "dvc.yaml").write_text(stages(long="touch ready; exec sleep 60"))
    process = subprocess.Popen(
        [*OTEL_ML, "run", "--", *DVC, "repro"], cwd=repository, env=environment(str(repository / "state")),
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while not (repository / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    spans, lines = recorded(repository)
    assert named(spans, "run dvc")["attributes"][conventions.ERROR_TYPE] == "SIGTERM"
    assert outcomes(spans)["stage load"] == "ran"
    assert named(spans, "stage long")["attributes"][conventions.STATUS] == conventions.CANCELLED
    assert any(line.get(conventions.DVC_STAGE) == "long" for line in lines)


def test_what_is_wrapped_in_dvc_is_there_and_is_put_back() -> None:
    """This tells when a version of DVC has other names."""
    before = (vars(Stage)["reproduce"], run.cmd_run)
    instrumentor = integration.DvcInstrumentor()
    instrumentor.instrument()
    try:
        assert vars(Stage)["reproduce"] is not before[0] and run.cmd_run is not before[1]
    finally:
        instrumentor.uninstrument()
    assert (vars(Stage)["reproduce"], run.cmd_run) == before
    for name in ("addressing", "cmd"):
        assert name in vars(Stage) or name in Stage.__init__.__code__.co_varnames


def test_an_error_of_ours_does_not_reach_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage of a kind that we do not know is run as it is."""

    class Unknown:
        cmd = "true"
        addressing = "odd"

    assert integration._watched(lambda stage: "ran")(Unknown()) == "ran"
    monkeypatch.setattr(integration, "labelled", None)
    assert integration._watched(lambda stage: "ran")(Unknown()) == "ran"
    with pytest.raises(ZeroDivisionError):
        integration._watched(lambda stage: 1 / 0)(Unknown())


def test_without_dvc_it_says_how_to_install_it(repository: Path) -> None:
    """Before the command is started."""
    hidden = "import sys; sys.modules['dvc'] = None; from otel_ml.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", hidden, "run", "--dvc", "--", "true"], cwd=repository, env=environment(),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "pip install 'otel-ml[dvc]'" in done.stderr
