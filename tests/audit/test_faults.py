"""Programs that have bad luck, end to end: the caller gets what the model gave, and the trail says what happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from audit.calls import ids, lines, program_environment, records, segments, wait_for

from otel_ml.audit.reading.verify import verify
from otel_ml.audit.record import MOST_BYTES
from receivers import unused_port
from support import is_ambient, run_python

PROGRAM = """
    import json, os, sys, threading, time, otel_ml
    from pathlib import Path

    telemetry = otel_ml.configure(
        traces=False, metrics=False, logs=otel_ml.Logs(format="none"), audit=otel_ml.Audit(directory=Path("audit"))
    )

    @otel_ml.inference(model="m", version="1")
    def predict(features):
        return features
"""


def run_program(code: str, tmp_path: Path, **env: str) -> Any:
    """Run a program that has `predict`, and return what it prints last, as JSON."""
    program = textwrap.dedent(PROGRAM) + textwrap.dedent(code)
    done = run_python(program, cwd=tmp_path, env={**program_environment(), **env}, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def widths(directory: Path) -> list[int]:
    return [len(line) for path in segments(directory) for line in path.read_bytes().splitlines()]


# What a model may be given


@pytest.mark.parametrize(
    "vector", ["numpy.random.default_rng(1).random(1_310_720)", "[float(n) for n in range(1_310_720)]"]
)
def test_ten_megabytes_cost_a_call_less_than_20_ms(tmp_path: Path, vector: str) -> None:
    """A vector is on record as a summary of less than 64 KiB, and is what the caller gets back, as it was."""
    milliseconds = run_program(
        f"""
        import numpy
        vector = {vector}
        predict([1.0])
        best = 1e9
        for _ in range(5):
            begin = time.thread_time()
            assert predict(vector) is vector
            best = min(best, time.thread_time() - begin)
        print(best * 1000)
        """,
        tmp_path,
    )
    # Features and prediction are this vector, so that both are summarised in that time.
    assert milliseconds < 20
    print(f"{milliseconds:.2f} ms")
    directory = tmp_path / "audit"
    shown = [record for record in records(directory) if record["features"] != [1.0]]
    assert len(shown) >= 5
    assert max(widths(directory)) <= MOST_BYTES
    assert verify(directory)


ODD = """
    import decimal, math, numpy
    class Raises:
        def __repr__(self): raise RuntimeError("no text")
        __str__ = __getattr__ = __iter__ = __len__ = __repr__
    class Blocks:
        def __repr__(self): time.sleep(3600)
        __str__ = __iter__ = __len__ = __repr__
    cycle = {"a": 1}
    cycle["self"] = cycle
    deep = "x"
    for _ in range(10_000):
        deep = [deep]
    odd = {
        "nan": {"x": math.nan}, "inf": {"x": math.inf}, "-inf": {"x": -math.inf}, "cycle": cycle, "deep": {"x": deep},
        "keys": {(1, 2): "tuple", b"k": "bytes", "k": "text", 1: "number", "1": "digit"},
        "numbers": {"f": numpy.float32(0.5), "i": numpy.int64(7), "d": decimal.Decimal("0.10"), "big": 2**70},
        "raises": {"x": Raises()}, "blocks": {"x": Blocks()}, "surrogate": {"x": chr(0xD800)},
        "breaks": {"x": "a\\nb\\x1b[31m\\"}\\u2028\\u0085"},
    }
"""


def test_odd_values_among_512_calls_reach_the_caller_and_cost_no_other_record(tmp_path: Path) -> None:
    """NaN, cycles, depth, keys that collide, code that raises or blocks, escapes: a line each, and all others whole."""
    names = run_program(
        textwrap.dedent(ODD)
        + textwrap.dedent(
            """
        begin = time.monotonic()
        given = {40 * (number + 1): value for number, value in enumerate(odd.values())}
        for number in range(512):
            value = given.get(number, {"number": number})
            assert predict(value) is value
        assert time.monotonic() - begin < 30
        print(json.dumps(list(odd)))
        """
        ),
        tmp_path,
    )
    directory = tmp_path / "audit"
    found = [record["features"] for record in records(directory)]
    assert [record["prediction"] for record in records(directory)] == found
    assert len(found) == 512
    shown = {name: found[40 * (number + 1)] for number, name in enumerate(names)}
    ordinary = [number for number in range(512) if not (number % 40 == 0 and 0 < number <= 40 * len(names))]
    assert [found[number] for number in ordinary] == [{"number": number} for number in ordinary]
    assert [shown[name]["x"] for name in ("nan", "inf", "-inf")] == ["NaN", "Infinity", "-Infinity"]
    assert shown["cycle"] == {"a": 1, "self": "<cycle>"}
    assert "<depth>" in json.dumps(shown["deep"])
    assert sorted(shown["keys"].values()) == ["bytes", "digit", "number", "text", "tuple"]
    assert (shown["numbers"]["f"], shown["numbers"]["i"]) == (0.5, 7)
    assert "0.10" in str(shown["numbers"]["d"]) and str(2**70) in str(shown["numbers"]["big"])
    assert "Raises" in shown["raises"]["x"] and "Blocks" in shown["blocks"]["x"]
    assert shown["breaks"]["x"] == 'a\nb\x1b[31m"}\u2028\u0085'
    assert not any(ord(c) < 32 or c in "\x85\u2028" for path in segments(directory) for c in whole(path))
    assert verify(directory)


def whole(path: Path) -> str:
    """Return the text of a segment without the ends of its lines."""
    return path.read_bytes().decode().replace("\n", "")


def test_an_exception_of_50_megabytes_after_a_thousand_others_keeps_head_and_tail(tmp_path: Path) -> None:
    """The caller gets that very object; its record has the beginning and the end, in less than 64 KiB."""
    assert run_program(
        """
        error = ValueError("the first cause")
        for number in range(1000):
            above = ValueError(f"cause {number}")
            above.__cause__, error = error, above
        wrong = KeyError("begin" + "x" * 50_000_000 + "end")
        wrong.__cause__ = error

        @otel_ml.inference(model="m")
        def fail(features):
            raise wrong

        try:
            fail({"a": 1})
        except KeyError as caught:
            print(json.dumps(caught is wrong and caught.__cause__ is error))
        """,
        tmp_path,
    )
    directory = tmp_path / "audit"
    [record] = records(directory)
    assert record["exception.message"].startswith("'begin") and record["exception.message"].endswith("end'")
    assert (record["error.type"], record["features"]) == ("KeyError", {"a": 1})
    assert "the first cause" in record["exception.stacktrace"]
    assert max(widths(directory)) <= MOST_BYTES


# How a call may end


def test_calls_that_were_cancelled_or_left_alone_have_the_time_they_took(tmp_path: Path) -> None:
    """A task cancelled, by itself or by a timeout; a generator that nobody reads on, closed or only forgotten."""
    run_program(
        """
        import asyncio

        @otel_ml.inference(model="slow")
        async def wait(x):
            await asyncio.sleep(60)

        @otel_ml.inference(model="stream")
        def stream(x):
            yield x
            yield x

        @otel_ml.inference(model="astream")
        async def astream(x):
            yield x
            yield x

        async def main():
            task = asyncio.create_task(wait(1))
            await asyncio.sleep(0.06)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            try:
                await asyncio.wait_for(wait(2), 0.06)
            except TimeoutError:
                pass
            reader = astream(3)
            await anext(reader)
            await asyncio.sleep(0.06)
            await reader.aclose()

        asyncio.run(main())
        reader = stream(4)
        next(reader)
        time.sleep(0.06)
        reader.close()
        reader = stream(5)
        next(reader)
        time.sleep(0.06)
        del reader
        print(0)
        """,
        tmp_path,
    )
    found = records(tmp_path / "audit")
    assert [(record["features"], record["otel_ml.status"]) for record in found] == [
        (1, "cancelled"), (2, "cancelled"), (3, "abandoned"), (4, "abandoned"), (5, "abandoned"),
    ]  # fmt: skip
    assert all(55 <= record["duration_ms"] < 30_000 for record in found)
    assert all(record["severity_number"] == 9 and "error.type" not in record for record in found)


def test_sigterm_ends_a_busy_program_within_two_seconds(tmp_path: Path) -> None:
    """With an endpoint that does not answer and threads that predict: what they were told of is on record."""
    code = """
        import socket
        silent = socket.create_server(("127.0.0.1", 0))
        telemetry.shutdown()
        telemetry = otel_ml.configure(
            endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}", logs=otel_ml.Logs(format="none"),
            audit=otel_ml.Audit(directory=Path("audit")),
        )
        def work():
            while True:
                predict({"n": time.monotonic_ns()})
                time.sleep(0.001)
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(1)
        last = predict({"last": 1})
        print("ready", flush=True)
        time.sleep(60)
    """
    program = [sys.executable, "-P", "-c", textwrap.dedent(PROGRAM) + textwrap.dedent(code)]
    with subprocess.Popen(program, cwd=tmp_path, env=clean(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        begin = time.monotonic()
        process.terminate()
        assert process.wait(30) == -signal.SIGTERM
        seconds = time.monotonic() - begin
    assert seconds < 3.0  # two for the delivery, the rest for the interpreter and a loaded machine
    directory = tmp_path / "audit"
    assert {"last": 1} in [record["features"] for record in records(directory)]
    assert all(path.suffix == ".jsonl" for path in segments(directory))
    assert verify(directory)
    print(f"{seconds:.2f} s")


def clean(**env: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not is_ambient(name)}
    return {**inherited, **program_environment(), **env}


# Where a program may run


def test_a_trail_that_cannot_be_written_is_said_once_also_where_our_handler_has_the_root(tmp_path: Path) -> None:
    """What we say of it goes through our own handler to an endpoint that is dead: no echo, no recursion."""
    (tmp_path / "audit").write_text("a file where the directory should be")
    said = run_program(
        f"""
        import logging
        telemetry.shutdown()
        telemetry = otel_ml.configure(
            endpoint="http://127.0.0.1:{unused_port()}", level="DEBUG", audit=otel_ml.Audit(directory=Path("audit")),
            logs=otel_ml.Logs(format="json", stream="stderr", directory=Path("logs")),
        )
        for number in range(2000):
            assert predict(number) == number
        until = time.monotonic() + 3
        while time.monotonic() < until:
            predict(0)
            time.sleep(0.01)
        telemetry.shutdown(timeout=1.0)
        print(json.dumps([type(handler).__module__ for handler in logging.getLogger().handlers]))
        """,
        tmp_path,
    )
    assert isinstance(said, list)
    (log,) = (tmp_path / "logs").rglob("*.log")
    messages = [json.loads(line)["message"] for line in log.read_text().splitlines()]
    assert len([message for message in messages if "cannot be written" in message]) == 1
    assert len(messages) < 50


SERVER = """
    import os, otel_ml
    from pathlib import Path
    telemetry = otel_ml.configure(
        service_name="prefork", traces=False, metrics=False, logs=False, audit=otel_ml.Audit(directory=Path("audit"))
    )

    @otel_ml.inference(model="m", version="1")
    def predict(number):
        return number

    def application(environ, start_response):
        number = predict(int(environ["PATH_INFO"].removeprefix("/")))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{os.getpid()} {number}".encode()]
"""


@contextmanager
def gunicorn(folder: Path, *options: str) -> Iterator[int]:
    """Serve the program above; give the port."""
    (folder / "server_app.py").write_text(textwrap.dedent(SERVER))
    port = unused_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--no-control-socket", *options]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "server_app:application"], cwd=folder, env=clean(), stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield port
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def answer(port: int, number: int) -> int:
    """Ask for a prediction; return who gave it."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}", timeout=10) as response:
                pid, given = response.read().split()
            assert int(given) == number
            return int(pid)
        except OSError:  # the server starts, or replaces a worker
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_workers_that_are_recycled_write_a_file_each_and_every_answer_once(
    tmp_path: Path, preload: tuple[str, ...]
) -> None:
    """A server of two workers, each of which ends after some forty requests, until several have come and gone."""
    pytest.importorskip("gunicorn")
    with gunicorn(tmp_path, "--workers", "2", "--max-requests", "40", *preload) as port:
        workers = Counter(answer(port, number) for number in range(300))
    directory = tmp_path / "audit"
    assert len(workers) >= 4, "nobody was recycled"
    wait_for(lambda: all(path.suffix == ".jsonl" for path in segments(directory)))
    of_file = {path: [json.loads(line) for line in path.read_bytes().splitlines()] for path in segments(directory)}
    answered = [line["features"] for found in of_file.values() for line in found if "features" in line]
    # A connection that was cut off between prediction and answer was asked for again; nothing else is there twice.
    assert set(answered) == set(range(300))
    assert len(ids(directory)) == len(set(ids(directory)))
    assert len(of_file) >= len(workers)
    assert {path.name.split("-20")[0].rpartition("-")[2] for path in of_file} >= {str(pid) for pid in workers}
    assert verify(directory)


def test_the_hour_that_comes_twice_changes_neither_order_nor_names(tmp_path: Path) -> None:
    """In a place with daylight saving time, on the night when it ends: times and names of files are UTC."""
    done = run_python(
        """
        import time
        from pathlib import Path
        from audit.calls import call, started
        begin, real = time.time_ns(), time.time_ns
        change = 1_792_890_000_000_000_000  # 2026-10-25 01:00 UTC, when Berlin goes from 03:00 back to 02:00
        shift = 0
        time.time_ns = lambda: change - 1_800_000_000_000 + shift + real() - begin
        pipeline = started(Path("audit"), segment_bytes=2000)
        for number in range(30):
            shift = number * 120_000_000_000
            pipeline.writer.put(call(number, time_unix_nano=time.time_ns()))
            pipeline.writer.flush(5.0)
        assert pipeline.close(5.0)
        """,
        cwd=tmp_path,
        env={**program_environment(), "TZ": "Europe/Berlin"},
    )
    assert done.returncode == 0, done.stderr
    directory = tmp_path / "audit"
    assert ids(directory) == [str(number) for number in range(30)]
    times = [record["time_unix_nano"] for record in records(directory)]
    assert times == sorted(times) and times[-1] - times[0] >= 29 * 120_000_000_000
    assert [line["seq"] for line in lines(directory)] == list(range(len(lines(directory))))
    assert verify(directory)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="asks Linux who listens where")
def test_the_metrics_page_is_for_this_machine_only_and_shows_no_feature(tmp_path: Path) -> None:
    """By default it listens on loopback; what models are given and give is in the trail, and in no label."""
    port = unused_port()
    page, listening = run_program(
        f"""
        import urllib.request
        telemetry.shutdown()
        telemetry = otel_ml.configure(
            traces=False, logs=False, metrics=otel_ml.Metrics(port={port}), audit=otel_ml.Audit(directory=Path("audit"))
        )
        for number in range(3):
            predict({{"salary": 48213.25 + number, "town": "Zwiesel"}})
        page = urllib.request.urlopen("http://127.0.0.1:{port}/metrics").read().decode()
        sockets = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/net/{{name}}").readlines()[1:]]
        listening = [fields[1] for fields in sockets if fields[3] == "0A" and fields[1].endswith(":{port:04X}")]
        telemetry.shutdown()
        print(json.dumps([page, listening]))
        """,
        tmp_path,
    )
    assert listening == [f"0100007F:{port:04X}"]
    assert 'model_name="m"' in page
    assert not any(word in page for word in ("salary", "4821", "town", "Zwiesel"))
    assert [record["features"]["town"] for record in records(tmp_path / "audit")] == ["Zwiesel"] * 3
