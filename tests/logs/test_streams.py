from __future__ import annotations

import io
import os
import subprocess
import textwrap
from pathlib import Path
from typing import IO

import pytest

from otel_ml import health
from otel_ml.logs import streams
from otel_ml.logs.streams import StreamSink
from support import run_python

PIPELINE = """
import logging, os, sys
from pathlib import Path
from opentelemetry.sdk.resources import Resource
from otel_ml import health
from otel_ml.logs import start
from otel_ml.options import Logs
pipeline = start(Logs(format="json"), service="shop", resource=Resource({}), directory=Path(os.environ["LOGS"]),
                 exporter=None, set_level=False)
log = logging.getLogger("app")
"""


def _run(body: str, directory: Path, first: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program that logs to stdout and to files in `directory`."""
    done = run_python(first + PIPELINE + textwrap.dedent(body), env={"LOGS": str(directory)})
    assert done.returncode == 0, done.stderr
    return done


def _pipe() -> tuple[int, IO[str]]:
    reader, writer = os.pipe()
    return reader, os.fdopen(writer, "w")


def test_lines_go_out_whole_and_in_order() -> None:
    """Lines written to a pipe arrive as they are, those longer than its buffer too."""
    reader, stream = _pipe()
    sink = StreamSink(stream)
    sink.write([b"one\n", b"two \xc3\xa9\n"])
    assert os.read(reader, 100) == "one\ntwo é\n".encode()
    stream.close()
    os.close(reader)


def test_stream_without_descriptor_is_written_to_as_text() -> None:
    """A stream that stands in for stdout, as in a notebook, gets text."""
    stream = io.StringIO()
    StreamSink(stream).write([b"one \xc3\xa9\n"])
    assert stream.getvalue() == "one é\n"


def test_regular_file_gets_everything(tmp_path: Path) -> None:
    """A stdout that was redirected to a file is written in one go."""
    with (tmp_path / "out").open("w") as stream:
        StreamSink(stream).write([b"x" * 100_000 + b"\n"])
    assert (tmp_path / "out").stat().st_size == 100_001


def test_stalled_reader_costs_lines_and_tears_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that stops reading costs lines, counted; when it reads again the begun line is finished first."""
    monkeypatch.setattr(streams, "_STALL", 0.01)
    reader, stream = _pipe()
    sink = StreamSink(stream)
    lines = [b"%d %s\n" % (number, b"x" * 9000) for number in range(20)]
    sink.write(lines)
    sink.write([b"while stalled\n"])
    lost = health.dropped()["logs", "write_failed"]
    received = b""
    os.set_blocking(reader, False)
    for _ in range(3):
        while True:
            try:
                received += os.read(reader, 65_536)
            except BlockingIOError:
                break
        sink.write([b"again\n"])
    received += os.read(reader, 65_536)
    stream.close()
    os.close(reader)
    whole = received.splitlines(keepends=True)
    assert [line for line in whole if line not in lines] == [b"again\n"] * 3
    assert len(whole) + lost == 20 + 1 + 3


def test_non_blocking_pipe_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stdout that asyncio made non-blocking raises nothing when it is full."""
    monkeypatch.setattr(streams, "_STALL", 0.01)
    reader, stream = _pipe()
    os.set_blocking(stream.fileno(), False)
    StreamSink(stream).write([b"x" * 1000 + b"\n" for _ in range(200)])
    assert health.dropped()["logs", "write_failed"] > 0
    assert len(os.read(reader, 10**6)) > 1000
    stream.close()
    os.close(reader)


def test_closed_stream_is_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A closed stream raises nothing: its lines are counted, with one warning."""
    reader, stream = _pipe()
    sink = StreamSink(stream)
    stream.close()
    sink.write([b"1\n", b"2\n"])
    sink.write([b"3\n"])
    assert health.dropped()["logs", "write_failed"] == 3
    assert len([record for record in caplog.records if "cannot be written" in record.getMessage()]) == 1
    os.close(reader)


def test_broken_pipe_costs_the_stream_only(tmp_path: Path) -> None:
    """When the reader of stdout goes away the program goes on, the file has all lines, and one warning says why."""
    _run(
        """
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        log.info("one")
        pipeline.flush(30.0)
        os.close(reader); os.close(writer)
        for number in range(3):
            log.info("more %d", number)
            pipeline.flush(30.0)
        assert health.dropped()["logs", "write_failed"] == 4, health.dropped()  # the warning is a line too
        assert pipeline.close(30.0)
        os._exit(0)  # Python itself would complain about stdout
        """,
        tmp_path,
    )
    (path,) = tmp_path.glob("*.log")
    text = path.read_text()
    assert all(f"more {number}" in text for number in range(3))
    assert text.count("Broken pipe") == 1


def test_missing_stdout_is_no_stream(tmp_path: Path) -> None:
    """A process started without stdout, where `sys.stdout` is None, logs to its file."""
    _run(
        """
        log.info("hello")
        assert pipeline.close(30.0)
        """,
        tmp_path,
        first="import sys\nsys.stdout = None\n",
    )
    (path,) = tmp_path.glob("*.log")
    assert "hello" in path.read_text()


def test_fork_while_writing_leaves_the_child_able_to_print(tmp_path: Path) -> None:
    """Children forked while our thread writes to stdout print and log: no lock of the stream is left behind."""
    done = _run(
        """
        for round_number in range(20):
            for number in range(50):
                log.info("parent %d", number)
            child = os.fork()
            if not child:
                log.info("child %d", round_number)
                print("printed", flush=True)
                os._exit(0 if pipeline.close(30.0) else 1)
            assert os.waitpid(child, 0)[1] == 0
        assert pipeline.close(30.0)
        """,
        tmp_path,
    )
    assert done.stdout.count("printed") == 20
    assert done.stdout.count('"message":"parent ') == 1000
    assert done.stdout.count('"message":"child ') == 20
    assert len(list(tmp_path.glob("*.log"))) == 21
    assert done.stderr == ""
