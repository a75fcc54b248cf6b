"""Prefect: which trace, run, parent and labels flows and tasks have, and what becomes of their log lines.

One real server is started for all; each program tells several things, for a flow takes seconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("prefect")

from support import is_ambient, run_python
from worker_runs import Lines, recorded

FLOW, TASK = "otel_ml.prefect.flow_run_id", "otel_ml.prefect.task_run_id"

PROGRAM = """
import asyncio, logging, os, subprocess, sys, time
import otel_ml
from prefect import flow, get_run_logger, task
from prefect.task_runners import ProcessPoolTaskRunner

log = logging.getLogger("work")
attempts = {"task": 0, "flow": 0}

@otel_ml.step
def clean(x):
    log.info("cleaning %s", x)
    if x == 9:
        raise ZeroDivisionError("nine")
    return x

@task(task_run_name="plain-{x}")
def plain(x):
    get_run_logger().info("run logger %s", x)
    return clean(x)

@task(task_run_name="later-{x}")
async def later(x):
    return clean(x)

@task(task_run_name="flaky", retries=1)
def flaky():
    attempts["task"] += 1
    if attempts["task"] == 1:
        raise ValueError("first attempt")
    return clean("again")

@task(task_run_name="bad")
def bad():
    raise KeyError("bad task")

@task(task_run_name="slow", timeout_seconds=0.1)
def slow():
    time.sleep(5)
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return what programs run with: Prefect's files in a folder of the test, and nothing of the one who tests."""
    kept = {
        name: value for name, value in os.environ.items() if not is_ambient(name) and not name.startswith("PREFECT")
    }
    return {
        **kept,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
        "DO_NOT_TRACK": "1",
        **more,
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[str]:
    """The address of a server like the one that a flow without an address starts; it ends with this module."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-P", "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--log-level", "error"],
        env=environment(home, PREFECT__SERVER_EPHEMERAL="1", PREFECT_UI_ENABLED="0"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/health", process)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert process.poll() is None
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    raise TimeoutError(address)


def ran(folder: Path, program: str, *command: str, **variables: str) -> SimpleNamespace:
    """Run a program, and return what it printed and recorded, by folder of its state where there are several."""
    (folder / "program.py").write_text(program)
    done = subprocess.run(
        [*command, sys.executable, "-P", "program.py"],
        cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}


def tree(spans: Lines) -> dict[str, str]:
    """Return the name of each span's parent, by its own; of several with one name, those parents that differ."""
    names = {span["spanId"]: span["name"] for span in spans}
    found: dict[str, set[str]] = {}
    for span in spans:
        found.setdefault(span["name"], set()).add(names.get(span.get("parentSpanId", ""), ""))
    return {name: " ".join(sorted(parents)) for name, parents in found.items()}


def named(spans: Lines, name: str) -> dict[str, Any]:
    (span,) = [span for span in spans if span["name"] == name]
    return span


def own_warnings(lines: Lines) -> Lines:
    return [line for line in lines if line["logger"] == "otel_ml" and line["level"] != "INFO"]


STORY = f"""{PROGRAM}
@flow(flow_run_name="inner")
def inner():
    return plain(6)

@flow(flow_run_name="outer", retries=1)
def outer(x, password):
    attempts["flow"] += 1
    if attempts["flow"] == 1:
        raise RuntimeError("first attempt of the flow")
    log.info("in the flow")
    flaky()
    with otel_ml.step("block"):
        plain(2)
        inner()
    for future in [plain.submit(3), *plain.map([4, 5])]:
        future.result()
    try:
        slow()
    except TimeoutError:
        pass
    names = ("OTEL_ML_RUN_ID", "BAGGAGE")
    child = "import os; print('CHILD', *[os.environ.get(name) for name in %r])" % (names,)
    print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout)
    return [bad(return_state=True)]

@flow(flow_run_name="second")
async def second():
    await later(7)

@flow
def quiet():
    clean(8)

@flow(flow_run_name="failing")
def failing():
    plain(9)

if __name__ == "__main__":
    from prefect.settings import PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY, temporary_settings
    otel_ml.configure(service_name="jobs", directory="state", audit=False, logs=otel_ml.Logs(format="json"))
    otel_ml.prefect.instrument()
    otel_ml.prefect.instrument()
    outer(1, "hunter2", return_state=True)
    asyncio.run(second())
    with temporary_settings({{PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY: False}}):
        quiet()
    from prefect.client.orchestration import get_client
    from prefect.logging.handlers import APILogHandler
    APILogHandler().flush()
    with get_client(sync_client=True) as client:
        print("API", sorted({{entry.message for entry in client.read_logs() if "run logger" in entry.message}}))
    failing()
"""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, home: Path, server: str) -> SimpleNamespace:
    """What a program without a run recorded, whose lines were asked for on a stream."""
    folder = tmp_path_factory.mktemp("story")
    told = ran(folder, STORY, **environment(home, PREFECT_API_URL=server))
    told.spans, told.lines = recorded(folder)
    (told.manifest,) = [json.loads(path.read_text()) for path in (folder / "state").glob("*/run.json")]
    return told


def test_steps_are_below_tasks_and_tasks_below_what_is_open_where_they_start(story: SimpleNamespace) -> None:
    """Also tasks in threads, subflows in a step, and those of an async flow."""
    parents = tree(story.spans)
    assert {name: parents[name] for name in ("outer", "second", "failing")} == dict.fromkeys(
        ("outer", "second", "failing"), ""
    )
    assert {name: parents[name] for name in ("flaky", "block", "plain-3", "plain-4", "plain-5", "slow", "bad")} == (
        dict.fromkeys(("flaky", "block", "plain-3", "plain-4", "plain-5", "slow", "bad"), "outer")
    )
    assert (parents["plain-2"], parents["inner"], parents["plain-6"]) == ("block", "block", "inner")
    assert (parents["later-7"], parents["plain-9"]) == ("second", "failing")
    assert set(parents["clean"].split()) == {
        *("flaky", "later-7", *(f"plain-{n}" for n in (2, 3, 4, 5, 6, 9))),
        *("run", "quiet"),
    }
    assert len({span["traceId"] for span in story.spans}) == 4
    assert own_warnings(story.lines) == []


def test_a_retry_is_one_span_with_the_final_state(story: SimpleNamespace) -> None:
    """Of a task and of a flow; one that times out, or returns a failed state, is an error."""
    flaky, outer, slow = (named(story.spans, name) for name in ("flaky", "outer", "slow"))
    assert flaky["status"] == {"code": 1}
    assert [event["name"] for event in flaky["events"]] == ["Running", "exception", "Retrying", "Completed"]
    assert outer["status"] == {"code": 2, "message": "1/1 states failed."}
    events = [event["name"] for event in outer["events"]]
    assert (events[0], events[-1], events.count("exception")) == ("Running", "Failed", 1)
    assert slow["status"]["code"] == 2
    assert "exception" in [event["name"] for event in slow["events"]]
    last = max(int(span["endTimeUnixNano"]) for span in story.spans if span["traceId"] == outer["traceId"])
    assert int(outer["endTimeUnixNano"]) == last


def test_every_record_and_span_inside_carries_the_ids_of_flow_run_and_task_run(story: SimpleNamespace) -> None:
    """Plain loggers, run loggers, and what Prefect says of a run that it has left."""
    by_span = {span["spanId"]: span for span in story.spans}
    for name in ("outer", "inner", "second", "failing"):
        span = attributes(named(story.spans, name))
        assert span[FLOW] == span["prefect.run.id"]
        assert TASK not in span
    for span in story.spans:
        if span["name"] == "clean" and by_span[span["parentSpanId"]]["name"] != "run quiet":
            parent = attributes(by_span[span["parentSpanId"]])
            assert attributes(span)[TASK] == parent[TASK] == parent["prefect.run.id"]
            assert attributes(span)[FLOW] == parent[FLOW]
    for line in story.lines:
        if line["logger"] in ("work", "prefect.flow_runs", "prefect.task_runs"):
            assert line[FLOW]
            assert line["run_id"]
        if line["logger"] == "prefect.task_runs":
            assert (line[FLOW], line[TASK]) == (line["flow_run_id"], line["task_run_id"])
        if line["message"].startswith("cleaning") and line["message"] != "cleaning 8":
            assert line[TASK] == attributes(by_span[line["span_id"]])[TASK]


def test_each_flow_run_outside_of_a_run_is_one(story: SimpleNamespace) -> None:
    """Prefect's span is the run's, if it makes one; parameters are its configuration, masked; sub-processes join it."""
    runs = list(story.manifest["runs"].values())
    assert (story.manifest["name"], runs) == ("outer", ["outer", "second", "quiet", "failing"])
    assert [span["name"] for span in story.spans if span["name"].startswith("run ")] == ["run quiet"]
    for name in runs:
        span = attributes(named(story.spans, "run quiet" if name == "quiet" else name))
        assert story.manifest["runs"][span["otel_ml.run.id"]] == span["otel_ml.run.name"] == name
        inside = [
            line["event.name"]
            for line in story.lines
            if line.get("run_id") == span["otel_ml.run.id"]
            if "event.name" in line
        ]
        assert sorted(inside) == ["otel_ml.run.end", "otel_ml.run.start"]
    (start,) = [line for line in story.lines if line["message"] == "run outer started"]
    assert start["otel_ml.run.config"] == {"x": 1, "password": "[redacted]"}
    statuses = {
        line["otel_ml.run.name"]: line["otel_ml.run.status"] for line in story.lines if "otel_ml.run.status" in line
    }
    assert statuses == {"outer": "error", "second": "ok", "quiet": "ok", "failing": "error"}
    (child,) = [line for line in story.out.splitlines() if line.startswith("CHILD")]
    outer = attributes(named(story.spans, "outer"))
    assert f"CHILD {outer['otel_ml.run.id']} " in child
    assert outer[FLOW] in child


def test_an_exception_is_logged_once_with_its_stack_trace(story: SimpleNamespace) -> None:
    """By the step that it leaves, else by Prefect inside the task's span; what follows has none."""
    with_trace = [(line["logger"], line["exception"]["message"]) for line in story.lines if "exception" in line]
    assert with_trace == [
        ("prefect.flow_runs", "first attempt of the flow"),
        ("prefect.task_runs", "Scope timed out after 0.1 second(s)."),
        ("prefect.task_runs", "'bad task'"),
        ("otel_ml.step", "nine"),
    ]
    (line,) = [line for line in story.lines if line.get("exception", {}).get("message") == "'bad task'"]
    assert line["level"] == "ERROR"
    assert line["span_id"] == named(story.spans, "bad")["spanId"]
    after = [line for line in story.lines if "ZeroDivisionError('nine')" in line["message"]]
    assert [(line["logger"], line["level"]) for line in after] == [
        ("prefect.task_runs", "ERROR"),
        ("prefect.flow_runs", "ERROR"),
    ]
    for name in ("plain-9", "failing", "bad"):
        span = named(story.spans, name)
        assert span["status"]["code"] == 2
        assert "exception" in [event["name"] for event in span["events"]]
    assert story.code == 1
    assert story.err.rstrip().endswith("ZeroDivisionError: nine")


def test_each_line_is_shown_once_and_reaches_the_api_too(story: SimpleNamespace) -> None:
    """Our stream was asked for, so Prefect's console is silent; its handler for the server works on."""
    shown = [json.loads(line)["message"] for line in story.out.splitlines() if line.startswith("{")]
    assert sorted(shown) == sorted(line["message"] for line in story.lines)
    assert "in the flow" in shown
    assert not [line for line in story.lines if line["logger"].startswith("http")]
    assert " | " not in story.err
    assert f"API {[f'run logger {x}' for x in (2, 3, 4, 5, 6)]}" in story.out


POOL = f"""
from prefect import flow  # before configure
{PROGRAM}
@flow(flow_run_name="pool", task_runner=ProcessPoolTaskRunner(max_workers=1))
def pool():
    log.info("in the flow")
    with otel_ml.step("block"):
        futures = [plain.submit(1), plain.submit(9), later.submit(2)]
        for future in futures:
            future.wait()

@flow(flow_run_name="unwatched")
def unwatched():
    log.info("unwatched")

if __name__ == "__main__":
    from prefect.context import FlowRunContext, TaskRunContext
    from prefect.telemetry import run_telemetry
    kinds = (FlowRunContext, TaskRunContext)
    def methods():
        return [(kind.__enter__, kind.__exit__) for kind in kinds], dict(vars(run_telemetry.RunTelemetry))
    before = methods()
    levels = logging.root.level, logging.getLogger("httpx").level, logging.root.handlers[:]
    otel_ml.prefect.instrument()
    telemetry = otel_ml.configure(service_name="jobs", directory="state", audit=False)
    with otel_ml.run("nightly"):
        pool(return_state=True)
    otel_ml.prefect.uninstrument()
    otel_ml.prefect.uninstrument()
    assert (logging.root.level, logging.getLogger("httpx").level) == levels[:2]
    with otel_ml.run("other"):
        unwatched()
    assert before == methods()
    telemetry.shutdown()
    assert logging.root.handlers == levels[2]
"""


def test_a_process_pool_joins_the_run_and_uninstrument_restores_all(tmp_path: Path, home: Path, server: str) -> None:
    """Workers need no line of code, Prefect may be imported first, and its console shows each line once."""
    done = ran(tmp_path, POOL, **environment(home, PREFECT_API_URL=server))
    assert done.code == 0, done.err
    spans, lines = recorded(tmp_path)
    parents = tree(spans)
    assert {name: parents[name] for name in ("run nightly", "pool", "block", "plain-1", "plain-9", "later-2")} == {
        "run nightly": "", "pool": "run nightly", "block": "pool",
        "plain-1": "block", "plain-9": "block", "later-2": "block",
    }  # fmt: skip
    assert parents["clean"] == "later-2 plain-1 plain-9"
    assert (parents["unwatched"], FLOW in attributes(named(spans, "unwatched"))) == ("run other", False)
    (run_id,) = {attributes(span)["otel_ml.run.id"] for span in spans if "other" not in attributes(span).values()}
    pool = attributes(named(spans, "pool"))
    for name in ("plain-1", "plain-9", "later-2"):
        task = attributes(named(spans, name))
        assert (task[FLOW], task[TASK]) == (pool[FLOW], task["prefect.run.id"])
    cleaning = [line for line in lines if line["message"].startswith("cleaning")]
    assert len(cleaning) == 3
    assert {(line["run_id"], line[FLOW]) for line in cleaning} == {(run_id, pool[FLOW])}
    assert len({line[TASK] for line in cleaning}) == 3
    assert [line["logger"] for line in lines if "exception" in line] == ["otel_ml.step"]
    assert own_warnings(lines) == []
    assert done.err.count("work - in the flow") == 1
    assert done.err.count("cleaning 1") == 1
    assert not done.out


ALONE = f"""{PROGRAM}
@flow(flow_run_name="alone")
def alone():
    plain(9)

if __name__ == "__main__":
    alone()
"""


def test_a_program_that_knows_nothing_of_it_is_watched(tmp_path: Path, home: Path) -> None:
    """Under `otel-ml run`, set up before Prefect, whose own server for it is not watched."""
    otel_ml = str(Path(sys.executable).with_name("otel-ml"))
    done = ran(tmp_path, ALONE, otel_ml, "run", "--", **environment(home, OTEL_ML_DIR=str(tmp_path / "state")))
    assert done.code == 1, done.err
    spans, lines = recorded(tmp_path)
    assert tree(spans) == {
        "run program.py": "", "alone": "run program.py", "plain-9": "alone", "clean": "plain-9",
    }  # fmt: skip
    assert len({attributes(span)["otel_ml.run.id"] for span in spans}) == 1
    assert [line["logger"] for line in lines if "exception" in line] == ["otel_ml.step"]
    (line,) = [line for line in lines if line["message"] == "cleaning 9"]
    assert (line["level"], line[FLOW]) == ("INFO", attributes(named(spans, "alone"))[FLOW])
    assert done.err.count("cleaning 9") == 1
    assert own_warnings(lines) == []


SERVED = f"""{PROGRAM}
@flow(flow_run_name="served")
def served(x=1):
    plain(x)

def trigger():
    from prefect.client.orchestration import get_client
    from prefect.deployments import run_deployment
    for _ in range(100):
        time.sleep(0.2)
        try:
            state = run_deployment("served/dep", timeout=60, poll_interval=0.5).state
            break
        except Exception:
            pass
    print("STATE", state.name, flush=True)
    from otel_ml.cli.launch import prepare_environment
    environ = dict(os.environ, PREFECT__FLOW_ENTRYPOINT="program.py:served", OTEL_SERVICE_NAME="engine")
    prepare_environment(environ, Path("state"))
    with get_client(sync_client=True) as client:
        flow_run = client.create_flow_run(served, parameters={{"x": 9}})
    done = subprocess.run([sys.executable, "-m", "prefect.engine", str(flow_run.id)], env=environ)
    print("CODE", done.returncode, flush=True)
    os.kill(os.getpid(), signal.SIGINT)

if __name__ == "__main__":
    import signal, threading
    from pathlib import Path
    otel_ml.configure(service_name="server", directory="state", audit=False)
    otel_ml.prefect.instrument()
    threading.Thread(target=trigger, daemon=True).start()
    served.serve(name="dep", pause_on_shutdown=False)
"""


def test_a_deployed_flow_run_is_a_run_of_its_own(tmp_path: Path, home: Path, server: str) -> None:
    """In a process that `serve` starts, and in one of `prefect.engine`, as workers start it; both like their parent."""
    variables = environment(home, PREFECT_API_URL=server, PREFECT_RUNNER_POLL_FREQUENCY="1")
    done = ran(tmp_path, SERVED, **variables)
    assert "STATE Completed" in done.out, done.err
    assert "CODE 0" in done.out, done.err  # Prefect's own, for a flow run whose failure its server knows
    manifests = [json.loads(path.read_text()) for path in (tmp_path / "state").glob("*/run.json")]
    by_service = {manifest["service"]: manifest for manifest in manifests if manifest["runs"]}
    assert {name: list(by_service[name]["runs"].values()) for name in by_service} == {
        "server": ["served"],
        "engine": ["served"],
    }
    assert len(manifests) == 3
    for folder in (tmp_path / "state").glob("*/"):
        (tmp_path / folder.name / "state").mkdir(parents=True)
        folder.rename(tmp_path / folder.name / "state" / folder.name)
        spans, lines = recorded(tmp_path / folder.name)
        assert own_warnings(lines) == []
        if not spans:
            continue
        x = 9 if any(span["name"] == "plain-9" for span in spans) else 1
        assert tree(spans) == {"served": "", f"plain-{x}": "served", "clean": f"plain-{x}"}
        assert {line["run_id"] for line in lines if FLOW in line} == {attributes(spans[0])["otel_ml.run.id"]}
        assert [line["logger"] for line in lines if "exception" in line] == (["otel_ml.step"] if x == 9 else [])


def test_without_prefect_it_says_how_to_install_it() -> None:
    """Loading the integration loads no Prefect either."""
    done = run_python(
        """
        import sys
        import otel_ml
        otel_ml.prefect
        assert "prefect" not in sys.modules
        sys.modules["prefect"] = None
        otel_ml.prefect.uninstrument()
        otel_ml.prefect.instrument()
        """
    )
    assert done.returncode == 1
    assert "pip install 'otel-ml[prefect]'" in done.stderr
