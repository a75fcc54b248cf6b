"""Faults from outside, end to end: none reaches the watched code, and each is said."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from receivers import Fault, OtlpReceiver
from support import run_python

SENDING = """
import sys, time, otel_ml
from otel_ml import health

@otel_ml.step
def work(x):
    return x * 2

telemetry = otel_ml.configure(
    endpoint=sys.argv[1] if len(sys.argv) > 1 else None, logs=otel_ml.Logs(format="json", stream="stderr")
)
assert [work(i) for i in range(50)] == [i * 2 for i in range(50)]
delivered = telemetry.flush(timeout=2.0)
telemetry.shutdown(timeout=2.0)
print(delivered, sum(n for (signal, _), n in health.dropped().items() if signal == "traces"))
"""


def send(url: str, protocol: str) -> subprocess.CompletedProcess[str]:
    code = SENDING.replace("sys.argv[1] if len(sys.argv) > 1 else None", repr(url))
    return run_python(
        code, env={"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_TIMEOUT": "3"}, timeout=120
    )


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=400),
        Fault(status=401),
        Fault(status=429, retry_after=30),
        Fault(status=500),
        Fault(hang=True),
        Fault(close=True),
    ],
    ids=str,
)
def test_an_endpoint_that_misbehaves_costs_counted_spans_and_nothing_else(fault: Fault, protocol: str) -> None:
    """The calls return what they should, the end is bounded, the loss is counted and said once a signal."""
    with OtlpReceiver() as receiver:
        receiver.misbehave(fault)
        done = send(receiver.url(protocol), protocol)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) == 50, done.stderr
    said = [json.loads(line)["message"] for line in done.stderr.splitlines() if "could not be delivered" in line]
    assert len([message for message in said if message.startswith("spans")]) <= 1


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("fault", [Fault(garbage=True), Fault(rejected=3)], ids=str)
def test_an_odd_answer_is_survived(fault: Fault, protocol: str) -> None:
    """An endpoint that answers 200 with garbage, or takes part of it only."""
    with OtlpReceiver() as receiver:
        receiver.misbehave(fault)
        done = send(receiver.url(protocol), protocol)
        assert done.returncode == 0, done.stderr
        assert receiver.requests


def test_an_endpoint_that_comes_back_gets_everything(tmp_path: Path) -> None:
    """A failure that passes is retried."""
    with OtlpReceiver() as receiver:
        receiver.misbehave(Fault(status=503), times=1)
        done = run_python(
            SENDING.replace("sys.argv[1] if len(sys.argv) > 1 else None", repr(receiver.http_url)).replace(
                "2.0", "15.0"
            ),
            timeout=120,
        )
        assert done.stdout.split() == ["True", "0"], done.stderr
        assert len(receiver.wait("traces", 50)) == 50


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_the_same_program_sends_what_it_writes_to_files(tmp_path: Path, protocol: str) -> None:
    """Spans, logs and metrics by name, over HTTP and gRPC and to files: the variable changes where, not what."""
    code = """
        import logging, otel_ml

        @otel_ml.step
        def clean(x):
            logging.getLogger("app").info("cleaning %d", x, extra={"source": "s3"})

        @otel_ml.inference(model="m", version="2")
        def predict(x):
            return x["a"] / x["b"]

        with otel_ml.configure(service_name="same", logs=otel_ml.Logs(format="none")):
            with otel_ml.run("r"):
                clean(1)
                predict({"a": 1, "b": 2})
                try:
                    predict({"a": 1, "b": 0})
                except ZeroDivisionError:
                    pass
    """
    with OtlpReceiver() as receiver:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url(protocol), "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        sent = run_python(code, cwd=tmp_path, env=env)
        assert sent.returncode == 0, sent.stderr
        assert not (tmp_path / ".otel_ml").exists()
        spans = sorted((span.name, len(span.events), span.status.code) for span in receiver.wait("traces", 4))
        logs = sorted((record.severity_text, record.body.string_value) for record in receiver.wait("logs", 3))
        metrics = sorted({metric.name for metric in receiver.wait("metrics", 4)})
    written = run_python(code, cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    (directory,) = (tmp_path / ".otel_ml").iterdir()
    found: dict[str, list[dict[str, object]]] = {}
    for signal, levels in {
        "traces": ("resourceSpans", "scopeSpans", "spans"),
        "logs": ("resourceLogs", "scopeLogs", "logRecords"),
        "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
    }.items():
        requests = [
            json.loads(line) for path in directory.glob(f"{signal}-*") for line in path.read_text().splitlines()
        ]
        found[signal] = [r for q in requests for a in q[levels[0]] for b in a[levels[1]] for r in b[levels[2]]]
    assert spans == sorted(
        (s["name"], len(s.get("events", [])), s.get("status", {}).get("code", 0))  # type: ignore[attr-defined, arg-type]
        for s in found["traces"]
    )
    assert logs == sorted((r["severityText"], r["body"]["stringValue"]) for r in found["logs"])  # type: ignore[index]
    assert metrics == sorted({str(m["name"]) for m in found["metrics"]})
    assert {"otel_ml.step.duration", "otel_ml.inference.duration", "otel_ml.inference.rows"} <= set(metrics)


def test_a_full_disk_is_said_counted_and_outlived(tmp_path: Path) -> None:
    """When files may not grow, calls go on; when they may again, telemetry does."""
    done = run_python(
        """
        import resource, signal, otel_ml
        from otel_ml import health
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        @otel_ml.step
        def work(x):
            return x

        telemetry = otel_ml.configure(logs=otel_ml.Logs(format="json", stream="stderr"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        work(0)
        telemetry.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
        assert [work(i) for i in range(100)] == list(range(100))
        telemetry.flush()
        lost = health.dropped()
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        otel_ml.step("later")(int)()
        telemetry.shutdown()
        print(telemetry.directory)
        print(sum(n for (signal, _), n in lost.items() if signal == "traces"))
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    directory, lost = done.stdout.split()
    assert int(lost) >= 100
    requests = [json.loads(line) for path in Path(directory).glob("traces-*") for line in path.read_text().splitlines()]
    assert '"later"' in json.dumps(requests)
    assert any("File too large" in line for line in done.stderr.splitlines())


def test_odd_arguments_do_not_reach_the_call(tmp_path: Path) -> None:
    """A `__repr__` that raises, recursion, ten megabytes: the model's own exception comes back, and one log line."""
    done = run_python(
        """
        import otel_ml

        class Odd:
            def __repr__(self):
                raise RuntimeError("no text")

        recursive = {}
        recursive["self"] = recursive

        @otel_ml.inference(model="m")
        def predict(features):
            raise KeyError("mine")

        telemetry = otel_ml.configure(logs=otel_ml.Logs(format="none"))
        large = {"a": Odd(), "b": b"y" * 10_000_000}
        for features in (Odd(), recursive, "x" * 10_000_000, large, list(range(1_000_000))):
            try:
                predict(features)
            except KeyError as error:
                assert error.args == ("mine",)
        telemetry.shutdown()
        print(telemetry.directory)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (log,) = Path(done.stdout.strip()).glob("*.log")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["message"] for line in lines] == ["predict m failed: KeyError: 'mine'"] * 5
    assert log.stat().st_size < 5 * 128 * 1024


def test_a_clock_that_jumps_back_breaks_nothing(tmp_path: Path) -> None:
    """Durations come from a clock that does not jump; spans and lines are written as the wall clock says."""
    done = run_python(
        """
        import time, otel_ml, logging
        telemetry = otel_ml.configure(logs=otel_ml.Logs(format="none"))
        real = time.time_ns

        @otel_ml.step
        def work():
            time.time_ns = lambda: real() - 3_600_000_000_000
            time.time = lambda: real() / 1e9 - 3600
            logging.getLogger("app").info("an hour ago")

        work()
        telemetry.shutdown()
        print(telemetry.directory)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    directory = Path(done.stdout.strip())
    (metrics,) = directory.glob("metrics-*")
    point = next(
        metric["histogram"]["dataPoints"][0]
        for line in metrics.read_text().splitlines()
        for scope in json.loads(line)["resourceMetrics"][0]["scopeMetrics"]
        for metric in scope["metrics"]
        if metric["name"] == "otel_ml.step.duration"
    )
    assert 0 <= point["sum"] < 60
    assert "an hour ago" in next(directory.glob("*.log")).read_text()


def test_steps_at_interpreter_shutdown_are_survived(tmp_path: Path) -> None:
    """A step in an atexit handler, in a `__del__` and in a thread that is still running: the program ends cleanly."""
    script = tmp_path / "late.py"
    script.write_text(
        textwrap.dedent(
            """
            import atexit, logging, threading, time, otel_ml

            @otel_ml.step
            def late(where):
                logging.getLogger("app").warning(where)

            class Holder:
                def __del__(self):
                    late("del")

            atexit.register(late, "before")
            otel_ml.configure(logs=otel_ml.Logs(format="none"))
            atexit.register(late, "atexit")
            holder = Holder()
            threading.Thread(target=lambda: [late("thread") for _ in range(200)], daemon=True).start()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-P", str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    (log,) = (tmp_path / ".otel_ml").glob("*/*.log")
    assert '"message":"atexit"' in log.read_text()
