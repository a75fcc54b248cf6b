from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation import auto_instrumentation

import otel_ml
from otel_ml import program
from otel_ml.cli import launch as launch_module
from otel_ml.errors import ConfigurationError
from support import is_ambient

LAUNCHER = """
import sys
from pathlib import Path
from otel_ml.cli.launch import launch
sys.exit(launch(sys.argv[2:], directory=Path(sys.argv[1])))
"""

# A program that knows nothing of otel_ml.
SCRIPT = """
import logging, os, sys
print("printed", sys.argv[1:])
logging.getLogger("mine").warning("logged %s", os.environ["OTEL_ML_RUN_ID"])
"""


def launcher(state: Path, *command: str) -> list[str]:
    return [sys.executable, "-P", "-c", LAUNCHER, str(state), *command]


def clean_environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not is_ambient(name)} | more


def launch(state: Path, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command by `launch` in a process of its own."""
    environ = clean_environment(**options.pop("env", {}))
    return subprocess.run(
        launcher(state, *command), env=environ, capture_output=True, text=True, timeout=120, check=False, **options
    )


@pytest.fixture
def started() -> Iterator[Any]:
    """Start a launcher whose child says on standard output when it is ready; kill what is left of it at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(state: Path, *command: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            launcher(state, *command), env=clean_environment(), stdout=subprocess.PIPE, text=True, **options
        )
        processes.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its child too, which holds the pipe open
        process.communicate()


def spans(state: Path) -> dict[str, dict[str, Any]]:
    """Return the spans of all processes by name."""
    return {
        span["name"]: span
        for path in state.glob("*/traces-*.jsonl")
        for line in path.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    }


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}


def test_a_script_that_knows_nothing_gets_run_trace_and_json_logs(tmp_path: Path) -> None:
    """Its output stays; its log lines are JSON with the run's id and the ids of the run's span, in the run's folder."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = launch(tmp_path / "state", sys.executable, str(script), "--epochs", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "printed ['--epochs', '3']\n"
    (folder,) = (tmp_path / "state").iterdir()
    span = spans(tmp_path / "state")["run train.py"]
    run_id = attributes(span)["otel_ml.run.id"]
    assert folder.name.endswith(run_id) and not span.get("parentSpanId")
    lines = [json.loads(text) for text in done.stderr.splitlines() if text.startswith("{")]
    (line,) = [line for line in lines if line["logger"] == "mine"]
    assert line["message"] == f"logged {run_id}" and line["run_id"] == run_id
    assert (line["trace_id"], line["span_id"]) == (span["traceId"], span["spanId"])
    written = [json.loads(text) for path in folder.glob("*.log") for text in path.read_text().splitlines()]
    assert [record["message"] for record in written if record["logger"] == "mine"] == [line["message"]]


def test_spans_of_the_command_are_in_the_trace(tmp_path: Path) -> None:
    """What the command watches is below the run's span, also in a run of its own and in another directory."""
    code = "import os; os.chdir('/'); import otel_ml\nwith otel_ml.run('inner'), otel_ml.step('work'): pass"
    done = launch(Path("state"), sys.executable, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = spans(tmp_path / "state")
    outer, inner, work = (found[name] for name in (f"run {Path(sys.executable).name}", "run inner", "work"))
    assert (inner["parentSpanId"], work["parentSpanId"]) == (outer["spanId"], inner["spanId"])
    assert len({span["traceId"] for span in found.values()}) == 1
    assert len({attributes(span)["otel_ml.run.id"] for span in found.values()}) == 1
    assert len(list((tmp_path / "state").iterdir())) == 1


def test_any_command_finds_the_run_in_its_environment(tmp_path: Path) -> None:
    """A shell gets the same variables; what the user set about logs stays."""
    done = launch(
        tmp_path, "sh", "-c", "echo $TRACEPARENT $OTEL_ML_RUN_ID $OTEL_ML_DIR $OTEL_ML_LOG_STREAM",
        env={"OTEL_ML_LOG_STREAM": "stdout"},
    )  # fmt: skip
    traceparent, run_id, directory, stream = done.stdout.split()
    span = spans(tmp_path)["run sh"]
    assert traceparent.split("-")[1:3] == [span["traceId"], span["spanId"]]
    assert (run_id, directory, stream) == (attributes(span)["otel_ml.run.id"], str(tmp_path), "stdout")


def test_a_command_that_fails_is_a_failed_run(tmp_path: Path) -> None:
    """The exit code comes through, and is on the span with an error status."""
    assert launch(tmp_path, "sh", "-c", "exit 3").returncode == 3
    span = spans(tmp_path)["run sh"]
    assert attributes(span)["otel_ml.run.exit_code"] == "3" and attributes(span)["error.type"] == "exit_code_3"
    assert span["status"] == {"code": 2, "message": "exit code 3"}
    (manifest,) = tmp_path.glob("*/run.json")
    assert json.loads(manifest.read_text())["status"] == "error"


def test_a_command_that_succeeds_is_not(tmp_path: Path) -> None:
    """Exit code 0 is an attribute, and no status."""
    assert launch(tmp_path, "true").returncode == 0
    span = spans(tmp_path)["run true"]
    assert attributes(span)["otel_ml.run.exit_code"] == "0" and span.get("status", {}).get("code", 0) == 0


def test_a_command_that_a_signal_ends_has_a_shells_exit_code(tmp_path: Path) -> None:
    """128 and the signal's number; the span names the signal."""
    assert launch(tmp_path, "sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL
    assert attributes(spans(tmp_path)["run sh"])["error.type"] == "SIGKILL"


def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """Exit code 127 as in a shell, and a message for the human; the run is recorded as failed."""
    done = launch(tmp_path, "no-such-program", "--flag")
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == "otel-ml run: no-such-program: command not found\n"
    assert spans(tmp_path)["run no-such-program"]["status"]["code"] == 2


def test_a_file_that_is_no_program_is_named(tmp_path: Path) -> None:
    """Exit code 126 as in a shell, and the reason."""
    (tmp_path / "data.csv").write_text("1,2")
    done = launch(tmp_path / "state", str(tmp_path / "data.csv"))
    assert done.returncode == 126
    assert done.stderr == f"otel-ml run: {tmp_path / 'data.csv'}: Permission denied\n"


def test_no_command_is_a_configuration_error() -> None:
    """The message shows an example."""
    with pytest.raises(ConfigurationError, match=r"otel-ml run -- python train\.py"):
        launch_module.launch([])


def test_standard_streams_are_the_commands_own(tmp_path: Path) -> None:
    """Bytes pass untouched in both directions, and nothing is added to either."""
    data = bytes(range(256)) * 500
    done = subprocess.run(
        launcher(tmp_path, "cat"), env=clean_environment(), input=data, capture_output=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b"")


WAITING = """
import signal, sys, time
def end(number, frame):
    print("got", signal.Signals(number).name, flush=True)
    sys.exit(7)
for name in ("SIGTERM", "SIGINT", "SIGHUP"):
    if signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
        signal.signal(getattr(signal, name), end)
print("ready", flush=True)
while True:
    time.sleep(0.1)  # signal.pause() would wait for ever where the signal comes just before it
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signals_are_forwarded(tmp_path: Path, started: Any, name: str) -> None:
    """The command decides what a signal means; its exit code comes through, and the run is recorded."""
    process = started(
        tmp_path, sys.executable, "-S", "-c", WAITING,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # whoever runs the tests may ignore it
        start_new_session=True,
    )  # fmt: skip
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=60)
    assert (output, process.returncode) == (f"got {name}\n", 7)
    assert attributes(spans(tmp_path)[f"run {Path(sys.executable).name}"])["otel_ml.run.exit_code"] == "7"


def test_a_signal_that_comes_too_early_is_forwarded_later() -> None:
    """One that arrives before the command has started ends it all the same; afterwards all is as before."""
    before = signal.getsignal(signal.SIGTERM)
    with launch_module._forwarding() as wait_for_end:
        signal.raise_signal(signal.SIGTERM)
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
        try:
            assert wait_for_end(child) == -signal.SIGTERM
        finally:
            child.kill()
            child.wait()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_does_not_interrupt_the_wait_is_forwarded() -> None:
    """As when it comes just before the wait begins: here another thread takes it."""
    before = signal.getsignal(signal.SIGCHLD), signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before[1])
    timer = threading.Timer(1.0, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM))
    timer.start()
    command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    assert launch_module.wait_for(command, os.environ) == 128 + signal.SIGTERM
    timer.join()
    assert (signal.getsignal(signal.SIGCHLD), signal.set_wakeup_fd(before[1])) == before


def test_the_end_of_a_command_is_seen_where_its_signal_is_blocked() -> None:
    """The mask of whoever started us is the command's as well, and is left as it was."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        code = "import signal, sys; sys.exit(signal.SIGCHLD in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
        assert launch_module.wait_for([sys.executable, "-S", "-c", code], os.environ) == 1
        assert signal.SIGCHLD in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def test_an_ignored_signal_stays_ignored(tmp_path: Path, started: Any) -> None:
    """Under `nohup` neither this process nor the command ends at a hang-up."""
    process = started(
        tmp_path, sys.executable, "-S", "-c", WAITING,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        start_new_session=True,
    )  # fmt: skip
    os.killpg(process.pid, signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert output == "got SIGTERM\n"


COUNTING = """
import signal
count = 0
def interrupted(number, frame):
    global count
    count += 1
signal.signal(signal.SIGINT, interrupted)
print("ready", flush=True)
input()
print("interrupted", count, "times", flush=True)
"""


def test_ctrl_c_reaches_the_command_once(tmp_path: Path) -> None:
    """The terminal interrupts the command by itself: a second one from here would make it give up its clean-up."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, launcher(tmp_path, sys.executable, "-S", "-c", COUNTING), clean_environment())
    output = b""
    try:
        while b"ready" not in output:
            output += os.read(terminal, 1024)
        os.write(terminal, b"\x03")
        while b"^C" not in output:
            output += os.read(terminal, 1024)
        os.write(terminal, b"\n")
        with contextlib.suppress(OSError):  # how a terminal says that the last process left it
            while True:
                output += os.read(terminal, 1024)
    finally:
        os.close(terminal)
        _, status = os.waitpid(child, 0)
    assert b"interrupted 1 times" in output
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "train.py", "x.py"], "train.py"),
        (["/usr/bin/python3.12", "-u", "folder/train.py"], "train.py"),
        (["python3", "-m", "package.train", "x.py"], "package.train"),
        (["python", "-c", "print()"], "python"),
        (["python"], "python"),
        (["python", "-m"], "python"),
        (["/usr/bin/dvc", "repro"], "dvc"),
        (["pythonic", "train.py"], "pythonic"),
    ],
)
def test_a_run_is_named_after_what_runs(command: list[str], name: str) -> None:
    """The script or module where Python is the program, else the program."""
    assert launch_module.default_name(command) == name


@pytest.mark.parametrize("before", ["", "/own", "/own{sep}{ours}{sep}/other", "{theirs}{sep}/own"])
def test_automatic_set_up_comes_first_on_the_path(before: str) -> None:
    """What was on `PYTHONPATH` stays behind it, in its order; ours is there once, and in OpenTelemetry's place."""
    theirs = str(Path(auto_instrumentation.__file__).parent)
    ours = str(Path(otel_ml.__file__).parent / "startup")
    environ = {"PYTHONPATH": before.format(sep=os.pathsep, ours=ours, theirs=theirs)}
    launch_module.prepare_environment(environ, Path("state"))
    first, *others = environ["PYTHONPATH"].split(os.pathsep)
    assert first == ours and others == [path for path in ("/own", "/other") if path in before]
    assert environ["OTEL_PYTHON_DISTRO"] == environ["OTEL_PYTHON_CONFIGURATOR"] == "otel_ml"
    assert environ["OTEL_ML_DIR"] == str(Path.cwd() / "state")
    assert environ["OTEL_ML_LOG_STREAM"] == "stderr"


def test_a_python_without_otel_ml_runs_the_program_all_the_same(tmp_path: Path) -> None:
    """One line says that nothing of it is recorded."""
    code = "import sys; sys.path[:] = [path for path in sys.path if 'site-packages' not in path]; import runpy\n"
    startup = str(Path(otel_ml.__file__).parent / "startup")
    environ = clean_environment(PYTHONPATH=startup)
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"{code}sys.path.insert(0, {startup!r}); import sitecustomize; print('ran')"],
        env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout == "ran\n"
    assert done.stderr == (
        f"otel-ml run: not all of {sys.executable} is recorded: ModuleNotFoundError: No module named 'otel_ml'\n"
    )


def test_the_sitecustomize_of_the_environment_is_run_too(tmp_path: Path) -> None:
    """After ours and in its place, also where a distribution is broken."""
    (tmp_path / "sitecustomize.py").write_text("import sys; print('otel_ml.program' in sys.modules); SETTING = 42")
    broken = tmp_path / "broken-1.0.dist-info" / "entry_points.txt"
    broken.mkdir(parents=True)
    script = 'PYTHONPATH="$PYTHONPATH:$2" exec "$1" -c "import sitecustomize; print(sitecustomize.SETTING)"'
    done = launch(tmp_path / "state", "sh", "-c", script, "sh", sys.executable, str(tmp_path))
    assert done.stdout == "True\n42\n", done.stderr


def test_the_garbage_collector_does_not_look_at_what_set_the_program_up(tmp_path: Path) -> None:
    """It looks at the program's own objects, as if there were no others."""
    code = "import gc; print(gc.isenabled(), gc.get_freeze_count() > 10_000, len(gc.get_objects()) < 10_000)"
    done = launch(tmp_path, sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (0, "True True True\n"), done.stderr


def test_a_process_that_an_instrumentation_starts_is_not_set_up(tmp_path: Path) -> None:
    """It would start another one; those that the program starts are set up, and do not set up theirs meanwhile."""
    about = tmp_path / "starts-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.4\nName: starts\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[opentelemetry_instrumentor]\nstarts = starts:Starts\n")
    show = "import sys; print('otel_ml.program' in sys.modules, flush=True)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {show!r}], check=True)"
    (tmp_path / "starts.py").write_text(f"class Starts:\n    def instrument(self, **_):\n        {start}\n")
    done = launch(tmp_path / "state", sys.executable, "-c", start, env={"PYTHONPATH": str(tmp_path)})
    assert done.stdout == "False\nFalse\nTrue\n", done.stderr


@pytest.mark.parametrize("name", program._NOT_OF_PROGRAM)
def test_a_process_of_a_tools_own_does_not_load_otel_ml(tmp_path: Path, name: str) -> None:
    """Such as Prefect's temporary server, for whose start the program waits."""
    code = "import sys; print('otel_ml' in sys.modules)"
    done = launch(tmp_path, sys.executable, "-c", code, env={name: "1"})
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
