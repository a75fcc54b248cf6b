"""Hydra applications: what is configured by overrides and variables, and which run, label and parent each job has."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("hydra")

import otel_ml
from otel_ml import conventions
from support import run_python
from worker_runs import Lines, recorded

APP = """
import logging, os, subprocess, sys, threading
import hydra
import otel_ml

log = logging.getLogger("work")

@otel_ml.step("work")
def work(cfg):
    log.debug("details")
    log.info("rate %s", cfg.rate)
    if cfg.child:
        subprocess.run([sys.executable, "child.py"], check=True)

@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    work(cfg)
    if cfg.end == "raise" and cfg.rate == 1:
        raise ZeroDivisionError("a bad rate")
    if cfg.end == "exit":
        sys.exit(3)
    if cfg.end == "interrupt":
        raise KeyboardInterrupt

if __name__ == "__main__":
    main()
"""
CHILD = """
import otel_ml
with otel_ml.configure(service_name="child", directory="state", audit=False, logs=False):
    with otel_ml.step("in a child"):
        pass
"""
CONFIG = """
defaults:
  - otel_ml: default
  - _self_
rate: 0.5
seed: 7
end: return
child: false
password: hunter2-correct-horse
copy: ${rate}
name: ${hydra:job.name}
"""
SETTINGS = """
otel_ml:
  service_name: trainer
"""
LOCAL = ("otel_ml.directory=state", "otel_ml.audit=false")
JOB = conventions.HYDRA_JOB


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with an application that enables otel_ml in its config."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text(CONFIG + SETTINGS)
    (tmp_path / "train.py").write_text(APP)
    (tmp_path / "child.py").write_text(CHILD)
    return tmp_path


def ran(folder: Path, *overrides: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the application with what the command line would say."""
    code = f"""
        import runpy, sys
        sys.argv = ["train.py", *{list(overrides)!r}]
        sys.path.insert(0, "")
        runpy.run_path("train.py", run_name="__main__")
    """
    return run_python(code, cwd=folder, env=environment, timeout=120)


def forget(folder: Path) -> None:
    """Take otel_ml out of the application's config."""
    (folder / "conf" / "config.yaml").write_text(CONFIG.replace("  - otel_ml: default\n", ""))


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    """Return a span's attributes; lists of strings as lists."""
    found = {}
    for item in span["attributes"]:
        (value,) = item["value"].values()
        found[item["key"]] = [part["stringValue"] for part in value["values"]] if isinstance(value, dict) else value
    return found


def by_name(spans: Lines) -> dict[str, dict[str, Any]]:
    """Return spans by name, of which there is one each."""
    assert len({span["name"] for span in spans}) == len(spans)
    return {span["name"]: span for span in spans}


def parents(spans: Lines) -> dict[str, str | None]:
    """Return the name of each span's parent, by its own name."""
    names = {span["spanId"]: span["name"] for span in spans}
    return {span["name"]: names.get(span.get("parentSpanId", "")) for span in spans}


def failed(span: dict[str, Any]) -> bool:
    """Whether a span's status is an error."""
    return span.get("status", {}).get("code") == 2


def lines_of(folder: Path) -> Lines:
    """Return the lines of the log files in a folder."""
    return [json.loads(line) for path in folder.glob("*.log") for line in path.read_text().splitlines()]


def test_a_job_is_a_run_with_its_resolved_config_overrides_and_label(app: Path) -> None:
    """On its span and log record; the label on everything inside, and in sub-processes."""
    done = ran(app, "rate=0.1", "child=true", *LOCAL)
    assert (done.returncode, done.stderr) == (0, "")
    spans, lines = recorded(app)
    assert parents(spans) == {"run train": None, "work": "run train", "in a child": "run train"}
    assert {attributes(span)[JOB] for span in spans} == {"train"}
    root = attributes(by_name(spans)["run train"])
    assert root[conventions.RUN_OVERRIDES] == ["rate=0.1", "child=true", *LOCAL]
    config = json.loads(root[conventions.RUN_CONFIG])
    assert (config["copy"], config["name"], config["password"]) == (0.1, "train", "[redacted]")
    assert config["otel_ml"] == {"service_name": "trainer", "directory": "state", "audit": False}
    assert "hydra" not in config
    (start,) = (line for line in lines if line.get(conventions.EVENT_NAME) == conventions.RUN_STARTED)
    assert (start[conventions.RUN_CONFIG], start["service"]) == (config, "trainer")
    assert start[conventions.RUN_SEED] == 7 and conventions.RUN_PACKAGES in start
    working = [line for line in lines if line["logger"] == "work"]
    assert [(line["message"], line[JOB]) for line in working] == [("rate 0.1", "train")]


def test_hydra_keeps_its_own_console_and_log_file(app: Path) -> None:
    """Each line is there once, as without otel_ml."""
    done = ran(app, *LOCAL)
    assert done.stdout.count("[work][INFO] - rate 0.5") == done.stdout.count("rate 0.5") == 1
    (file,) = app.glob("outputs/*/*/train.log")
    assert file.read_text().count("rate 0.5") == 1


@pytest.mark.parametrize("logging", [("job",), ("job", "hydra")], ids="-".join)
def test_the_job_logging_of_otel_ml_shows_each_line_once_in_its_format(app: Path, logging: tuple[str, ...]) -> None:
    """Hydra's handlers give way, and Hydra writes no file."""
    done = ran(app, *LOCAL, *(f"hydra/{name}_logging=otel_ml" for name in logging))
    (line,) = (json.loads(text) for text in done.stdout.splitlines() if "rate 0.5" in text)
    assert (line["logger"], line["message"], line[JOB]) == ("work", "rate 0.5", "train")
    assert not list(app.glob("outputs/*/*/train.log"))


BY_OVERRIDE = ("otel_ml.level=DEBUG", "otel_ml.logs.format=json", "otel_ml.logs.directory=elsewhere")
BY_VARIABLE = {"OTEL_ML_LOG_LEVEL": "DEBUG", "OTEL_ML_LOG_FORMAT": "json", "OTEL_ML_LOG_DIR": "elsewhere"}


@pytest.mark.parametrize(
    ("overrides", "variables"), [(BY_OVERRIDE, {}), ((), BY_VARIABLE)], ids=["override", "variable"]
)
@pytest.mark.parametrize("chdir", [False, True])
def test_level_format_and_directory_switch_without_a_code_change(
    app: Path, overrides: tuple[str, ...], variables: dict[str, str], chdir: bool
) -> None:
    """By override and by variable, also where Hydra changes the working directory."""
    done = ran(app, *LOCAL, *overrides, f"hydra.job.chdir={chdir}", **variables)
    assert done.returncode == 0, done.stderr
    written = [line["message"] for line in lines_of(app / "elsewhere") if line["logger"] == "work"]
    assert written == ["details", "rate 0.5"]
    shown = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
    assert [line["message"] for line in shown if line["logger"] == "work"] == written
    assert len(list((app / "state").iterdir())) == 1


def test_without_them_level_and_place_are_the_usual_ones(app: Path) -> None:
    """INFO, in `.otel_ml` where the program was started."""
    assert ran(app, "otel_ml.audit=false", "hydra.job.chdir=true").returncode == 0
    (state,) = (app / ".otel_ml").iterdir()
    assert [line["message"] for line in lines_of(state) if line["logger"] == "work"] == ["rate 0.5"]


def test_an_explicit_override_goes_before_the_environment(app: Path) -> None:
    """Also one that says what is the default."""
    overrides = ("otel_ml.level=INFO", "otel_ml.logs.format=auto", "otel_ml.directory=state", "otel_ml.audit=false")
    variables = {"OTEL_ML_LOG_LEVEL": "DEBUG", "OTEL_ML_LOG_FORMAT": "json", "OTEL_ML_DIR": "other"}
    done = ran(app, *overrides, **variables)
    _, lines = recorded(app)
    assert [line["message"] for line in lines if line["logger"] == "work"] == ["rate 0.5"]
    assert "{" not in done.stdout
    assert not (app / "other").exists()


CALLBACK = "otel_ml.integrations.hydra.OtelMlCallback"


@pytest.mark.parametrize(
    "override", ["+otel_ml=default", "hydra/callbacks=otel_ml", f"+hydra.callbacks.mine._target_={CALLBACK}"]
)
def test_an_application_that_knows_nothing_of_it_is_watched_by_one_override(app: Path, override: str) -> None:
    """Its config and code stay."""
    forget(app)
    done = ran(app, override, OTEL_ML_DIR="state")
    assert (done.returncode, done.stderr) == (0, "")
    assert parents(recorded(app)[0]) == {"run train": None, "work": "run train"}


def test_a_telemetry_that_the_program_has_configured_itself_stays(app: Path) -> None:
    """And nobody complains, as long as the config says nothing else."""
    forget(app)
    configure = "otel_ml.configure(service_name='mine', directory='state', audit=False)"
    (app / "train.py").write_text(APP.replace('"__main__":\n', f'"__main__":\n    {configure}\n'))
    assert ran(app, "hydra/callbacks=otel_ml").returncode == 0
    spans, lines = recorded(app)
    assert parents(spans) == {"run train": None, "work": "run train"}
    assert {line["service"] for line in lines} == {"mine"}
    assert not [line for line in lines if line["level"] == "WARNING"]


def test_a_job_that_fails_ends_as_without_otel_ml_and_is_logged_once(app: Path) -> None:
    """Its span has the exception, one ERROR line the stack trace; exit code and message are Hydra's."""
    done = ran(app, "rate=1", "end=raise", *LOCAL)
    forget(app)
    plain = ran(app, "rate=1", "end=raise")
    assert done.returncode == plain.returncode == 1
    assert done.stderr.split("Traceback")[1] == plain.stderr.split("Traceback")[1]
    spans, lines = recorded(app)
    root = by_name(spans)["run train"]
    assert failed(root) and attributes(root)[conventions.ERROR_TYPE] == "ZeroDivisionError"
    assert [event["name"] for event in root["events"]] == ["exception"]
    (error,) = (line for line in lines if line["level"] == "ERROR")
    assert (error["span_id"], error[JOB]) == (root["spanId"], "train")
    assert "in main" in error["exception"]["stacktrace"] and "a bad rate" in error["exception"]["stacktrace"]
    (end,) = (line for line in lines if line.get(conventions.EVENT_NAME) == conventions.RUN_ENDED)
    assert end[conventions.RUN_STATUS] == conventions.FAILED


@pytest.mark.parametrize(("end", "status"), [("exit", conventions.FAILED), ("interrupt", conventions.CANCELLED)])
@pytest.mark.parametrize("multirun", [False, True])
def test_a_job_that_ends_the_program_is_closed_all_the_same(app: Path, end: str, status: str, multirun: bool) -> None:
    """Hydra calls no hook then; the exit code is what it would be."""
    more = ["--multirun"] if multirun else []
    done = ran(app, *more, f"end={end}", *LOCAL)
    spans, lines = recorded(app)
    runs = [span for span in spans if span["name"].startswith("run ")]
    assert len(runs) == 1 + multirun
    assert {failed(span) for span in runs} == {status == conventions.FAILED}
    (last,) = (line for line in lines if line.get(conventions.EVENT_NAME) == conventions.RUN_ENDED)
    assert last[conventions.RUN_STATUS] == status
    forget(app)
    assert done.returncode == ran(app, *more, f"end={end}").returncode != 0


LAUNCHERS = {"basic": (), "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_multirun_is_one_trace_with_a_run_for_each_job(app: Path, launcher: str) -> None:
    """Its jobs are below it with their number, config and overrides, in whatever process they ran."""
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = ran(app, "--multirun", "rate=0.1,0.2", "child=true", *LOCAL, *LAUNCHERS[launcher])
    assert (done.returncode, done.stderr) == (0, "")
    spans, lines = recorded(app)
    assert len({span["traceId"] for span in spans}) == 1
    assert len({attributes(span)[conventions.RUN_ID] for span in spans}) == 1
    names = {span["spanId"]: (span["name"], attributes(span).get(JOB)) for span in spans}
    found = {names[span["spanId"]]: names.get(span.get("parentSpanId", "")) for span in spans}
    top = ("run train multirun", None)
    expected: dict[tuple[str, str | None], tuple[str, str | None] | None] = {top: None}
    for job in ("train#0", "train#1"):
        expected[f"run {job}", job] = top
        expected["work", job] = (f"run {job}", job)
        expected["in a child", job] = (f"run {job}", job)
    assert found == expected
    described = {span["name"]: attributes(span) for span in spans if span["name"].startswith("run ")}
    assert described[top[0]][conventions.RUN_OVERRIDES] == ["rate=0.1,0.2", "child=true", *LOCAL]
    for number, rate in enumerate((0.1, 0.2)):
        job = described[f"run train#{number}"]
        assert job[conventions.RUN_OVERRIDES][:2] == [f"rate={rate}", "child=True"]  # as Hydra's sweeper writes it
        assert json.loads(job[conventions.RUN_CONFIG])["copy"] == rate
    working = {(line["message"], line[JOB]) for line in lines if line["logger"] == "work"}
    assert working == {("rate 0.1", "train#0"), ("rate 0.2", "train#1")}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_failed_job_of_a_multirun_marks_its_own_span(app: Path, launcher: str) -> None:
    """And the multirun's, which Hydra fails; the other jobs are fine, and the failure is logged once."""
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = ran(app, "--multirun", "rate=1,2", "end=raise", *LOCAL, *LAUNCHERS[launcher])
    assert done.returncode == 1
    spans, lines = recorded(app)
    runs = {span["name"]: failed(span) for span in spans if span["name"].startswith("run ")}
    assert runs == {"run train multirun": True, "run train#0": True, "run train#1": False}
    (error,) = (line for line in lines if line["level"] == "ERROR")
    assert error[JOB] == "train#0" and "a bad rate" in error["exception"]["stacktrace"]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_level_holds_for_every_job_of_a_multirun(app: Path, launcher: str) -> None:
    """Hydra's logging is configured anew before and after each; files are where the program was started."""
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    overrides = ("otel_ml.level=DEBUG", "otel_ml.logs.directory=elsewhere", "hydra.job.chdir=true")
    assert ran(app, "--multirun", "rate=0.1,0.2", *LOCAL, *overrides, *LAUNCHERS[launcher]).returncode == 0
    written = [(line["message"], line[JOB]) for line in lines_of(app / "elsewhere") if line["logger"] == "work"]
    assert sorted(written) == [
        ("details", "train#0"),
        ("details", "train#1"),
        ("rate 0.1", "train#0"),
        ("rate 0.2", "train#1"),
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("otel_ml.level=LOUD", "LOUD"),
        ("otel_ml.logs.max_bytes=many", "Logs.max_bytes"),
        ("+otel_ml.logs.size=3", "max_bytes"),
        ("+otel_ml.headers.key=secret", "headers"),
        ("otel_ml.levl=DEBUG", "otel_ml.levl"),
    ],
)
def test_a_wrong_setting_ends_the_program_before_its_job(app: Path, override: str, message: str) -> None:
    """As any wrong override does, with a message that says what is wrong."""
    done = ran(app, override)
    assert done.returncode == 1
    assert message in done.stderr
    assert "rate" not in done.stdout and not (app / ".otel_ml").exists()


def test_what_goes_wrong_in_a_hook_costs_telemetry_and_nothing_else(app: Path) -> None:
    """The job runs and returns, and what is open around it stays as it was."""
    (app / "train.py").write_text(
        "import otel_ml.integrations.hydra as ours\n"
        "def broken(*args): raise RuntimeError('broken')\n"
        "ours.labelled = broken\n" + APP
    )
    done = ran(app, "--multirun", "rate=0.1,0.2", *LOCAL)
    assert done.returncode == 0, done.stderr
    spans, lines = recorded(app)
    assert {span["name"] for span in spans} == {"run train multirun", "work"}
    assert {parent for name, parent in parents(spans).items() if name == "work"} == {"run train multirun"}
    assert [line["level"] for line in lines if "RuntimeError: broken" in line["message"]] == ["WARNING"]


def test_composing_a_config_starts_nothing(app: Path) -> None:
    """Without an application there is no job; and an application without otel_ml does not load it."""
    done = run_python(
        """
        import sys
        from hydra import compose, initialize
        with initialize(version_base=None, config_path="conf"):
            assert compose("config").otel_ml.level is None
            assert compose("config", ["~otel_ml"]).rate == 0.5
        assert not [name for name in sys.modules if name.partition(".")[0] == "otel_ml"]
        """,
        cwd=app,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not (app / ".otel_ml").exists()


def test_without_hydra_it_says_how_to_install_it() -> None:
    """Where one would look for it."""
    done = run_python("import sys; sys.modules['hydra'] = None\nimport otel_ml.integrations.hydra")
    assert "ImportError: Hydra is not installed: pip install 'otel-ml[hydra]'" in done.stderr


def test_the_config_group_names_every_argument_and_field() -> None:
    """Each is null: what a config does not say comes from the environment."""
    import hydra_plugins.otel_ml_search_path as plugin

    text = (Path(plugin.__file__).parent / "conf" / "otel_ml" / "default.yaml").read_text()
    group = yaml.safe_load(text)["otel_ml"]
    assert list(group) == [name for name in inspect.signature(otel_ml.configure).parameters if name != "headers"]
    for kind in (otel_ml.Traces, otel_ml.Metrics, otel_ml.Logs, otel_ml.Audit, otel_ml.Redaction):
        fields = {field.name for field in dataclasses.fields(kind)}
        elsewhere = {otel_ml.Logs: {"level"}, otel_ml.Redaction: {"callback"}}.get(kind, set())
        assert set(group[kind.__name__.lower()]) == fields - elsewhere
    leaves = [value for value in group.values() if not isinstance(value, dict)]
    leaves += [value for part in group.values() if isinstance(part, dict) for value in part.values()]
    assert set(leaves) == {None}
