from __future__ import annotations

import io
import json
import logging
import os
import pty
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from logs.running import Running, entry

from otel_ml import health
from otel_ml.logs.listener import Listener
from support import run_python

Run = Callable[..., Running]

PIPELINE = """
import logging, os, sys, warnings
from pathlib import Path
from opentelemetry.sdk.resources import Resource
from otel_ml.logs import start
from otel_ml.options import Logs
def begin(*, set_level=False, **options):
    return start(Logs(**options), service="shop", resource=Resource({}), directory=Path(os.environ["LOGS"]),
                 exporter=None, set_level=set_level)
log = logging.getLogger("app")
"""


def _run(body: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in which `begin(**options)` starts a pipeline with files in `directory`."""
    done = run_python(PIPELINE + textwrap.dedent(body), env={"LOGS": str(directory), "NO_COLOR": ""})
    assert done.returncode == 0, done.stderr
    return done


def _messages(text: str) -> list[str]:
    return [json.loads(line)["message"] for line in text.splitlines()]


def _in_file(directory: Path) -> list[str]:
    (path,) = directory.glob("*.log")
    return _messages(path.read_text())


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_auto_writes_json_where_there_is_no_terminal(tmp_path: Path, stream: str) -> None:
    """Into a pipe `auto` writes the same JSON lines as into the file, to the stream that was asked for."""
    done = _run(f"p = begin(stream={stream!r}); log.info('one'); log.debug('no'); p.close(30)", tmp_path)
    assert getattr(done, stream) == next(tmp_path.glob("*.log")).read_text()
    assert _messages(getattr(done, stream)) == ["one"]
    assert done.stdout + done.stderr == getattr(done, stream)


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_auto_writes_text_for_people_to_a_terminal(tmp_path: Path, no_color: str, coloured: bool) -> None:
    """On a terminal `auto` writes coloured text, and plain text when NO_COLOR is set; the file stays JSON."""
    primary, secondary = pty.openpty()
    environment = {**os.environ, "LOGS": str(tmp_path), "NO_COLOR": no_color, "TERM": "xterm"}
    code = PIPELINE + "p = begin(); log.info('one', extra={'rows': 3}); p.close(30)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=secondary, env=environment) as process:
        os.close(secondary)
        shown = os.read(primary, 10_000).decode()
        assert process.wait(60) == 0
    os.close(primary)
    assert ("\x1b[" in shown) is coloured
    assert "INFO" in shown
    assert "one" in shown
    assert not shown.startswith("{")
    assert _in_file(tmp_path) == ["one"]


@pytest.mark.parametrize(("format_", "shown"), [("none", 0), ("json", 1), ("console", 1)])
def test_format_by_name(tmp_path: Path, format_: str, shown: int) -> None:
    """A format that was asked for is used whatever the stream is, and `none` shows nothing."""
    done = _run(f"p = begin(format={format_!r}); log.info('one'); p.close(30)", tmp_path)
    assert len(done.stdout.splitlines()) == shown
    assert done.stdout.startswith("{") is (format_ == "json")
    assert "\x1b" not in done.stdout


def test_configured_application_keeps_handlers_level_and_format(tmp_path: Path) -> None:
    """Where the application configured logging before, its output stays as it was and no second console appears."""
    done = _run(
        """
        logging.basicConfig(format="mine: %(message)s", level=logging.DEBUG, stream=sys.stdout)
        before = logging.getLogger().handlers[:]
        pipeline = begin()
        log.debug("details")
        assert logging.getLogger().level == logging.DEBUG
        assert logging.getLogger().handlers[:1] == before
        pipeline.close(30)
        assert logging.getLogger().handlers == before
        """,
        tmp_path,
    )
    assert done.stdout == "mine: details\n"
    assert _in_file(tmp_path) == ["details"]


@pytest.mark.parametrize(("set_level", "expected"), [(True, ["error"]), (False, ["warning", "error"])])
def test_level_of_a_configured_application_changes_only_on_demand(
    run_pipeline: Run, clean_logging: None, set_level: bool, expected: list[str]
) -> None:
    """A root logger with handlers keeps its level unless one was asked for; afterwards it has its own again."""
    logging.getLogger().addHandler(logging.StreamHandler(io.StringIO()))
    running = run_pipeline(level="ERROR", set_level=set_level)
    for name in ("info", "warning", "error"):
        getattr(logging.getLogger("app"), name)(name)
    assert running.messages() == expected
    running.pipeline.close(30.0)
    assert logging.getLogger().level == logging.WARNING


def test_level_that_the_application_set_alone_is_kept(run_pipeline: Run, clean_logging: None) -> None:
    """A root level other than Python's own is the application's choice, with or without handlers."""
    logging.getLogger().setLevel(logging.ERROR)
    run_pipeline(level="DEBUG")
    assert logging.getLogger().level == logging.ERROR


def test_level_changed_meanwhile_survives_closing(run_pipeline: Run, clean_logging: None) -> None:
    """A level that the application set after the start is not undone by close."""
    running = run_pipeline()
    logging.getLogger().setLevel(logging.CRITICAL)
    running.pipeline.close(30.0)
    assert logging.getLogger().level == logging.CRITICAL


def test_warnings_are_records_until_close(run_pipeline: Run, clean_logging: None) -> None:
    """Python's warnings are logged, and shown as before once the pipeline is closed."""
    show = warnings.showwarning
    running = run_pipeline()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
        (line,) = running.lines()
    assert (line["logger"], line["level"]) == ("py.warnings", "WARNING")
    assert "old thing" in line["message"]
    running.pipeline.close(30.0)
    assert warnings.showwarning is show


def test_warnings_captured_by_the_application_stay_captured(run_pipeline: Run, clean_logging: None) -> None:
    """An application that captured warnings itself still does after close."""
    logging.captureWarnings(True)
    run_pipeline().pipeline.close(30.0)
    assert warnings.showwarning.__module__ == "logging"
    logging.captureWarnings(False)


def test_records_after_close_are_dropped_and_counted(run_pipeline: Run) -> None:
    """A handler that someone kept raises nothing after close; what it is given is counted."""
    running = run_pipeline()
    (handler,) = logging.getLogger().handlers
    running.pipeline.close(30.0)
    handler.handle(logging.makeLogRecord({"msg": "late", "name": "app"}))
    handler.flush()
    assert health.dropped()["logs", "shutdown"] == 1


def test_failing_sink_does_not_cost_the_others() -> None:
    """A sink or an encoder that raises is counted, and the other sinks get every record."""
    got: list[bytes] = []
    exported: list[object] = []

    def encode(item: object) -> bytes:
        return b"line\n"

    def broken(lines: object) -> None:
        raise RuntimeError("sink is broken")

    def cannot_encode(item: object) -> bytes:
        raise TypeError("encoder is broken")

    Listener([(cannot_encode, [got.extend]), (encode, [broken, got.extend])], exported.append).consume(
        [entry(), entry()]
    )
    assert got == [b"line\n"] * 2
    assert len(exported) == 2
    assert health.dropped()["logs", "write_failed"] == 2
    assert health.dropped()["logs", "encode_failed"] == 2


def test_sixteen_threads_switching_levels_lose_and_tear_nothing(run_pipeline: Run) -> None:
    """Threads that log while others switch levels have every enabled record written once, whole, in order."""
    running = run_pipeline(queue_size=100_000)
    barrier = threading.Barrier(16)

    def work(number: int) -> None:
        log = logging.getLogger(f"worker.{number}")
        barrier.wait(30.0)
        for step in range(250):
            log.setLevel(logging.DEBUG if step % 2 else logging.ERROR)
            log.info("step %d", step, extra={"text": "é\n" * 20})
            log.error("kept %d", step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    lines = running.lines()
    expected = [text for step in range(250) for text in ([f"step {step}"] if step % 2 else []) + [f"kept {step}"]]
    for number in range(16):
        assert [line["message"] for line in lines if line["logger"] == f"worker.{number}"] == expected
    assert health.dropped() == {}


def test_forked_child_logs_to_its_own_file(tmp_path: Path) -> None:
    """A child of a fork, which inherits the pipeline, writes to a file of its own, and the parent loses nothing."""
    _run(
        """
        pipeline = begin(format="none")
        for number in range(100):
            log.info("parent")
        child = os.fork()
        if not child:
            log.info("child")
            os._exit(0 if pipeline.close(30) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert pipeline.close(30)
        """,
        tmp_path,
    )
    found = sorted(_messages(path.read_text()) for path in tmp_path.glob("*.log"))
    assert found == [["child"], ["parent"] * 100]


def test_real_uvicorn_server_logs_through_us(tmp_path: Path) -> None:
    """Start, access and error records of a real uvicorn server are in the file once, beside its own output."""
    done = _run(
        """
        import socket, threading, urllib.request, urllib.error
        import uvicorn
        async def app(scope, receive, send):
            assert scope["type"] == "http"
            if scope["path"] == "/fail":
                raise RuntimeError("broken endpoint")
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})
        pipeline = begin(format="none")
        listening = socket.socket(); listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while not server.started:
            assert thread.is_alive()
        with opener.open(base + "/hello") as answer:
            assert answer.read() == b"ok"
        try:
            opener.open(base + "/fail")
        except urllib.error.HTTPError as error:
            error.close()
        server.should_exit = True
        thread.join(30)
        assert pipeline.close(30)
        """,
        tmp_path,
    )
    messages = _in_file(tmp_path)
    for part in (
        "Started server process",
        '"GET /hello HTTP/1.1" 200',
        "Exception in ASGI application",
        "Finished server",
    ):
        assert len([message for message in messages if part in message]) == 1, messages
    assert "Started server process" in done.stderr  # uvicorn's own output stays
