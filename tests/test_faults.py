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
    assert len([message for message in said if message.startswith("traces")]) <= 1


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
        assert [path.name for path in (tmp_path / ".otel_ml").iterdir()] == ["audit"]  # which is not sent anywhere
        spans = sorted((span.name, len(span.events), span.status.code) for span in receiver.wait("traces", 4))
        logs = sorted((r.severity_text, r.body.string_value.split(" after ")[0]) for r in receiver.wait("logs", 4))
        metrics = sorted({metric.name for metric in receiver.wait("metrics", 4)})
    written = run_python(code, cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    (directory,) = [path for path in (tmp_path / ".otel_ml").iterdir() if path.name != "audit"]
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
    assert logs == sorted((r["severityText"], r["body"]["stringValue"].split(" after ")[0]) for r in found["logs"])  # type: ignore[index]
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
        otel_ml.step("later")(lambda: 0)()
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


def names_of_spans(directory: Path) -> list[str]:
    requests = [json.loads(line) for path in directory.glob("traces-*") for line in path.read_text().splitlines()]
    return [s["name"] for q in requests for r in q["resourceSpans"] for c in r["scopeSpans"] for s in c["spans"]]


def test_sigterm_delivers_what_is_queued_and_still_ends_the_program(tmp_path: Path) -> None:
    """The exit code is the signal's; a handler of the program's own is left alone."""
    code = """
        import os, signal, sys, otel_ml
        {handler}
        telemetry = otel_ml.configure(logs=otel_ml.Logs(format="none"), traces=otel_ml.Traces(interval=600))
        otel_ml.step("recorded")(lambda: 0)()
        print(telemetry.directory, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        """
    done = run_python(code.format(handler=""), cwd=tmp_path)
    assert done.returncode == -15, done.stderr
    directory = Path(done.stdout.strip())
    assert names_of_spans(directory) == ["recorded"]
    assert json.loads((directory / "run.json").read_text())["status"] == "ok"
    own = run_python(code.format(handler="signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"), cwd=tmp_path)
    assert own.returncode == 7, own.stderr
    assert names_of_spans(Path(own.stdout.strip())) == ["recorded"]


def test_the_workers_of_a_pool_that_is_terminated_deliver(tmp_path: Path) -> None:
    """`with Pool()` ends its workers by SIGTERM."""
    done = run_python(
        """
        import multiprocessing, otel_ml

        @otel_ml.step
        def work(x):
            return x

        if __name__ == "__main__":
            telemetry = otel_ml.configure(logs=otel_ml.Logs(format="none"))
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.map(work, range(6)) == list(range(6))
            telemetry.shutdown()
            print(telemetry.directory)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert names_of_spans(Path(done.stdout.strip())) == ["work"] * 6


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://127.0.0.1:4317"])
def test_a_short_program_with_a_dead_endpoint_ends_and_says_what_it_lost(endpoint: str) -> None:
    """Within the two seconds that are published, with one line for whoever reads it."""
    done = run_python(
        f"""
        import time, otel_ml
        otel_ml.configure(endpoint={endpoint!r}, logs=otel_ml.Logs(format="none"))
        otel_ml.step("s")(lambda: 0)()
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("telemetry was not delivered in full") == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_PROPAGATORS", "nonsense"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "abc"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
    ],
)
def test_a_wrong_standard_variable_is_a_warning_and_the_default(tmp_path: Path, variable: str, value: str) -> None:
    """Where the stock libraries would fail to import, or send to nowhere."""
    done = run_python(
        """
        import otel_ml
        with otel_ml.configure(logs=otel_ml.Logs(format="none")) as telemetry:
            otel_ml.step("s")(lambda: 0)()
        print(telemetry.directory)
        """,
        cwd=tmp_path,
        env={variable: value},
    )
    assert done.returncode == 0, done.stderr
    assert names_of_spans(Path(done.stdout.strip())) == ["s"]
    assert variable in done.stderr


def test_dict_config_after_configure_does_not_silence_failures(tmp_path: Path) -> None:
    """`disable_existing_loggers` is its default, and would switch our loggers off too."""
    done = run_python(
        """
        import logging.config, otel_ml
        telemetry = otel_ml.configure(logs=otel_ml.Logs(format="none"))
        logging.config.dictConfig({
            "version": 1,
            "handlers": {"h": {"class": "logging.NullHandler"}},
            "root": {"handlers": ["h"], "level": "INFO"},
        })

        @otel_ml.inference(model="m")
        def predict(x):
            raise ValueError("boom")

        try:
            with otel_ml.run("r"):
                predict([1])
        except ValueError:
            pass
        telemetry.shutdown()
        print(next(telemetry.directory.glob("*.log")).read_text())
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "predict m failed: ValueError: boom" in done.stdout and "run r started" in done.stdout


def test_a_programs_own_configure_goes_before_the_one_around_it(tmp_path: Path) -> None:
    """Under `otel-ml run` its masking, level and service name are in force, and the run stays the same."""
    (tmp_path / "own.py").write_text(
        textwrap.dedent(
            """
            import logging, otel_ml
            otel_ml.configure(
                service_name="fraud-api", level="DEBUG", redaction=otel_ml.Redaction(keys=("customer_ref",))
            )
            logging.getLogger("a").debug("said", extra={"customer_ref": "CANARY"})
            """
        )
    )
    program = Path(sys.executable).with_name("otel-ml")
    done = subprocess.run(
        [str(program), "run", "--", sys.executable, "own.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (directory,) = (tmp_path / ".otel_ml").iterdir()
    everything = done.stderr + "".join(path.read_text() for path in directory.iterdir())
    assert "CANARY" not in everything
    (record,) = [json.loads(t) for p in directory.glob("*.log") for t in p.read_text().splitlines() if '"said"' in t]
    assert (record["service"], record["level"], directory.name.endswith(record["run_id"])) == (
        "fraud-api",
        "DEBUG",
        True,
    )
