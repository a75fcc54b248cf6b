"""`configure` in programs of its own: OpenTelemetry's providers can be set once a process."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from support import run_python

PROGRAM = """
import logging, otel_ml
telemetry = otel_ml.configure(logs=otel_ml.Logs(format="none"))

@otel_ml.step
def clean(x):
    logging.getLogger("app").info("cleaning %d", x)
    return x

@otel_ml.inference(model="fraud", version="1")
def predict(features):
    return features["amount"] / features["count"]

with otel_ml.run("nightly"):
    clean(3)
    predict({"amount": 1.0, "count": 2})
    try:
        predict({"amount": 1.0, "count": 0, "email": "ada@example.org"})
    except ZeroDivisionError:
        print("failed as it should")
print(telemetry.directory)
"""


def lines(directory: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(directory.glob(pattern)) for line in path.read_text().splitlines()]


def spans(directory: Path) -> dict[str, dict[str, Any]]:
    return {
        span["name"]: span
        for request in lines(directory, "traces-*.jsonl")
        for resource in request["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    }


def test_without_an_endpoint_everything_lands_in_one_private_folder(tmp_path: Path) -> None:
    """Spans, OTLP logs, metrics, JSON log lines and the manifest, readable by the user only, ids agreeing."""
    done = run_python(PROGRAM, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    directory = Path(done.stdout.splitlines()[-1])
    assert directory.parent == tmp_path / ".otel_ml"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    kinds = {path.name.split("-")[0] for path in directory.iterdir()}
    assert {"traces", "logs", "metrics", "run.json"} <= kinds
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    found = spans(directory)
    assert set(found) == {"run nightly", "clean", "predict fraud"}
    assert found["clean"]["parentSpanId"] == found["run nightly"]["spanId"]
    records = lines(directory, "*.log")
    cleaning = next(record for record in records if record["message"] == "cleaning 3")
    assert (cleaning["trace_id"], cleaning["span_id"]) == (found["clean"]["traceId"], found["clean"]["spanId"])
    manifest = json.loads((directory / "run.json").read_text())
    assert (manifest["name"], manifest["status"]) == ("nightly", "ok") and manifest["ended"]
    assert cleaning["run_id"] == manifest["id"] and directory.name.endswith(manifest["id"])
    everything = "".join(path.read_text() for path in directory.iterdir())
    assert "ada@example.org" not in everything
    assert "otel_ml.inference.duration" in everything


def test_a_failing_prediction_is_one_error_line_with_its_stack_trace_and_features(tmp_path: Path) -> None:
    """In the JSON log, inside the span of the call."""
    done = run_python(PROGRAM, cwd=tmp_path)
    directory = Path(done.stdout.splitlines()[-1])
    (error,) = [record for record in lines(directory, "*.log") if record["level"] == "ERROR"]
    assert error["exception"]["type"] == "ZeroDivisionError"
    assert "in predict" in error["exception"]["stacktrace"]
    assert error["otel_ml.features"]["count"] == 0
    assert error["otel_ml.model.version"] == "1"


def test_the_disabled_sdk_writes_nothing_and_leaves_logging_alone(tmp_path: Path) -> None:
    """`OTEL_SDK_DISABLED=true` turns the whole of it off."""
    done = run_python(PROGRAM, cwd=tmp_path, env={"OTEL_SDK_DISABLED": "true"})
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    assert done.stderr == ""


def test_a_disabled_program_can_import_the_sdk_with_unreadable_limits(tmp_path: Path) -> None:
    """As an enabled one can: whoever switches telemetry off gets no new error."""
    done = run_python(
        "import otel_ml; otel_ml.configure(); import opentelemetry.sdk.trace",
        cwd=tmp_path,
        env={"OTEL_SDK_DISABLED": "true", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"},
    )
    assert done.returncode == 0, done.stderr
    assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in done.stderr


@pytest.mark.parametrize("module", [
    "otel_ml.metrics.setup", "otel_ml.logs.setup", "otel_ml.spans.setup", "otel_ml.audit.recording",
    "opentelemetry.sdk.metrics", "opentelemetry.sdk._logs",
])  # fmt: skip
def test_a_signal_that_cannot_be_loaded_costs_that_signal_only(tmp_path: Path, module: str) -> None:
    """As with a release of the SDK that has moved what we need."""
    done = run_python(
        f"""
        import sys
        class Broken:
            def find_spec(self, name, path=None, target=None):
                if name == "{module}":
                    raise ImportError("moved")
        sys.meta_path.insert(0, Broken())
        import otel_ml
        with otel_ml.configure() as telemetry:
            print(len(telemetry._pipelines))
        """,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "3"), done.stderr
    assert "moved" in done.stderr


def test_configure_is_idempotent_and_says_when_values_differ(tmp_path: Path) -> None:
    """The first configuration stays; the second call returns it, with one warning if it asked for something else."""
    done = run_python(
        """
        import otel_ml
        first = otel_ml.configure(service_name="a", logs=otel_ml.Logs(format="json", stream="stderr"))
        assert otel_ml.configure(service_name="a", logs=otel_ml.Logs(format="json", stream="stderr")) is first
        assert otel_ml.configure(service_name="b", logs=otel_ml.Logs(format="json", stream="stderr")) is first
        assert first.shutdown() and first.shutdown()
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "called again with other values" in line]
    assert len(warnings) == 1 and "(service_name)" in warnings[0]


def test_after_shutdown_one_can_configure_anew_and_old_tracers_follow(tmp_path: Path) -> None:
    """As in a notebook cell that is run twice: nothing is lost, and the new values are in force."""
    done = run_python(
        """
        import otel_ml
        from opentelemetry import trace
        from opentelemetry.metrics import get_meter
        options = otel_ml.Logs(format="none")
        with otel_ml.configure(service_name="one", directory="first", logs=options):
            tracer = trace.get_tracer("library")
            counter = get_meter("library").create_counter("things")
            tracer.start_span("in one").end()
        tracer.start_span("in none").end()
        with otel_ml.configure(service_name="two", directory="second", logs=options) as telemetry:
            tracer.start_span("in two").end()
            counter.add(1)
            otel_ml.step("step in two")(lambda: 0)()
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (first,), (second,) = (tmp_path / "first").iterdir(), (tmp_path / "second").iterdir()
    assert set(spans(first)) == {"in one"}
    assert set(spans(second)) == {"in two", "step in two"}
    text = next(second.glob("traces-*")).read_text()
    assert '"two"' in text and '"one"' not in text
    metrics = next(second.glob("metrics-*")).read_text()
    assert '"things"' in metrics and '"otel_ml.step.duration"' in metrics


def test_samplers_limits_and_resource_attributes_of_the_environment_are_honoured(tmp_path: Path) -> None:
    """The standard variables work as with any SDK."""
    code = """
    import otel_ml
    with otel_ml.configure(logs=otel_ml.Logs(format="none")) as telemetry:
        with otel_ml.step("a", attributes={"k": "x" * 50}):
            print(telemetry.directory)
    """
    sampled_out = run_python(code, cwd=tmp_path, env={"OTEL_TRACES_SAMPLER": "always_off"})
    assert list(Path(sampled_out.stdout.strip()).glob("traces-*")) == []
    kept = run_python(
        code,
        cwd=tmp_path,
        env={"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "10", "OTEL_RESOURCE_ATTRIBUTES": "team=risk,service.name=api"},
    )
    directory = Path(kept.stdout.strip())
    span = spans(directory)["a"]
    assert {"key": "k", "value": {"stringValue": "x" * 10}} in span["attributes"]
    (request,) = lines(directory, "traces-*.jsonl")
    resource = {a["key"]: a["value"]["stringValue"] for a in request["resourceSpans"][0]["resource"]["attributes"]}
    assert (resource["team"], resource["service.name"]) == ("risk", "api")


def test_an_applications_own_tracer_provider_stays_and_keeps_its_exporter(tmp_path: Path) -> None:
    """Ours is added beside it, with run ids; one line says so."""
    done = run_python(
        """
        import otel_ml
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        own, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
        own.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(own)
        telemetry = otel_ml.configure(logs=otel_ml.Logs(format="json", stream="stderr"))
        assert trace.get_tracer_provider() is own
        with otel_ml.run("r") as run:
            otel_ml.step("s")(lambda: 0)()
        names = {span.name: dict(span.attributes) for span in exporter.get_finished_spans()}
        assert names["s"]["otel_ml.run.id"] == run.id, names
        telemetry.shutdown()
        print(telemetry.directory)
        otel_ml.step("after")(lambda: 0)()
        assert exporter.get_finished_spans()[-1].name == "after"
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "your TracerProvider stays" in done.stderr
    assert set(spans(Path(done.stdout.strip()))) == {"run r", "s"}


def test_an_own_tracer_provider_is_not_exported_twice_to_a_standard_endpoint(tmp_path: Path) -> None:
    """With the endpoint in the environment the application's exporter sends already; only run ids are added."""
    done = run_python(
        """
        import otel_ml
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
        telemetry = otel_ml.configure(logs=otel_ml.Logs(format="json", stream="stderr"), metrics=False)
        telemetry.shutdown(0.1)
        """,
        cwd=tmp_path,
        env={"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"},
    )
    assert done.returncode == 0, done.stderr
    assert "run ids were added, its exporters are yours" in done.stderr


def test_a_provider_of_another_kind_stays_untouched(tmp_path: Path) -> None:
    """An API-only provider takes no processors; it is left, and said."""
    done = run_python(
        """
        import otel_ml
        from opentelemetry import trace
        trace.set_tracer_provider(trace.NoOpTracerProvider())
        telemetry = otel_ml.configure(logs=otel_ml.Logs(format="json", stream="stderr"))
        assert otel_ml.step("s")(lambda: 5)() == 5
        telemetry.shutdown()
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "NoOpTracerProvider stays" in done.stderr


def test_an_applications_own_meter_provider_stays_and_gets_our_readers(tmp_path: Path) -> None:
    """Its own reader still collects the durations, and so does ours."""
    done = run_python(
        """
        import otel_ml
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        reader = InMemoryMetricReader()
        own = MeterProvider([reader], shutdown_on_exit=False)
        metrics.set_meter_provider(own)
        with otel_ml.configure(logs=otel_ml.Logs(format="json", stream="stderr")) as telemetry:
            assert metrics.get_meter_provider() is own
            otel_ml.step("s")(lambda: 0)()
            assert "otel_ml.step.duration" in reader.get_metrics_data().to_json()
            print(telemetry.directory)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "your MeterProvider stays" in done.stderr
    assert "otel_ml.step.duration" in next(Path(done.stdout.strip()).glob("metrics-*")).read_text()


def test_an_applications_own_logging_stays(tmp_path: Path) -> None:
    """Its handler, format and level are kept, no second console is added, and our file gets the records too."""
    done = run_python(
        """
        import logging, sys, otel_ml
        logging.basicConfig(stream=sys.stdout, format="MINE %(levelname)s %(message)s", level=logging.WARNING)
        handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
        with otel_ml.configure() as telemetry:
            logging.info("quiet")
            logging.warning("loud")
            assert logging.getLogger().handlers[: len(handlers)] == handlers
            assert logging.getLogger().level == level
        assert logging.getLogger().handlers == handlers
        print(telemetry.directory)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    *output, directory = done.stdout.splitlines()
    assert [line for line in output if "loud" in line] == ["MINE WARNING loud"]
    messages = [record["message"] for record in lines(Path(directory), "*.log")]
    assert "loud" in messages and "quiet" not in messages


def test_an_unwritable_directory_is_said_and_another_one_used(tmp_path: Path) -> None:
    """The program goes on, with its files where the user may write."""
    (tmp_path / "blocked").write_text("a file where a directory is asked for")
    done = run_python(
        """
        import otel_ml
        with otel_ml.configure(directory="blocked", logs=otel_ml.Logs(format="json", stream="stderr")) as telemetry:
            otel_ml.step("s")(lambda: 0)()
        print(telemetry.directory)
        """,
        cwd=tmp_path,
        env={"XDG_STATE_HOME": str(tmp_path / "state")},
    )
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stderr
    directory = Path(done.stdout.strip())
    assert directory.parent == tmp_path / "state" / "otel_ml"
    assert set(spans(directory)) == {"s"}


def test_a_dead_endpoint_costs_a_bounded_shutdown_and_a_count(tmp_path: Path) -> None:
    """The calls go on; the loss is counted and said once; the exit does not wait for the exporter's own patience."""
    done = run_python(
        """
        import time, otel_ml
        from otel_ml import health
        telemetry = otel_ml.configure(
            endpoint="http://127.0.0.1:9", logs=otel_ml.Logs(format="json", stream="stderr"),
            traces=otel_ml.Traces(queue_size=100),
        )
        work = otel_ml.step("s")(lambda x: x)
        assert [work(i) for i in range(1000)] == list(range(1000))
        started = time.monotonic()
        assert not telemetry.shutdown(timeout=1.0)
        assert time.monotonic() - started < 8
        lost = sum(n for (signal, _), n in health.dropped().items() if signal == "traces")
        print(lost)
        """,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 900


def test_a_fork_after_configure_gives_the_child_files_of_its_own(tmp_path: Path) -> None:
    """Neither loses nor repeats the other's spans and lines; the child knows the run."""
    done = run_python(
        """
        import logging, multiprocessing, os, warnings, otel_ml
        warnings.simplefilter("ignore", DeprecationWarning)

        @otel_ml.step
        def work(where):
            logging.getLogger("app").info(where)

        if __name__ == "__main__":
            telemetry = otel_ml.configure(logs=otel_ml.Logs(format="none"))
            with otel_ml.run("forking") as run:
                work("before")
                process = multiprocessing.get_context("fork").Process(target=work, args=("child",))
                process.start()
                process.join()
                assert process.exitcode == 0
                work("after")
            telemetry.shutdown()
            print(telemetry.directory)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    directory = Path(done.stdout.strip())
    messages = sorted(record["message"] for record in lines(directory, "*.log") if record["logger"] == "app")
    assert messages == ["after", "before", "child"]
    names = [
        span["name"]
        for request in lines(directory, "traces-*.jsonl")
        for resource in request["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    assert sorted(names) == ["run forking", "work", "work", "work"]
    assert len(list(directory.glob("traces-*.jsonl"))) == 2
    assert len({record["run_id"] for record in lines(directory, "*.log") if record["logger"] == "app"}) == 1


def test_threads_take_the_context_along(tmp_path: Path) -> None:
    """A thread that the program starts inside a step logs inside that step."""
    done = run_python(
        """
        import logging, threading, otel_ml
        with otel_ml.configure(logs=otel_ml.Logs(format="none")) as telemetry:
            with otel_ml.step("outer"):
                thread = threading.Thread(target=lambda: logging.getLogger("app").info("in a thread"))
                thread.start()
                thread.join()
        print(telemetry.directory)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    directory = Path(done.stdout.strip())
    (record,) = [record for record in lines(directory, "*.log") if record["logger"] == "app"]
    assert record["span_id"] == spans(directory)["outer"]["spanId"]


def test_options_of_the_audit_trail_are_checked() -> None:
    """What are no options of it is an error that says what would be."""
    done = run_python("import otel_ml; otel_ml.configure(audit=object())")
    assert "expected otel_ml.Audit(...) or False" in done.stderr
    assert done.returncode != 0


def test_without_an_audit_trail_nothing_is_put_on_record(tmp_path: Path) -> None:
    """`audit=False` leaves no folder; with the default, a prediction is a line there."""
    code = """
        import otel_ml
        from pathlib import Path
        @otel_ml.inference(model="m")
        def predict(x): return x
        telemetry = otel_ml.configure(logs=False, audit=False)
        predict({"a": 1})
        telemetry.shutdown()
        assert not list(Path(".otel_ml").glob("audit/*.jsonl"))
        telemetry = otel_ml.configure(logs=False)
        predict({"a": 1})
        telemetry.shutdown()
        [segment] = Path(".otel_ml").glob("audit/*-000001.jsonl")
        assert segment.read_text().count('"event.name":"otel_ml.prediction"') == 1
        assert otel_ml.audit.verify()
    """
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_exception_in_the_program_reaches_python_untouched_and_is_flushed(tmp_path: Path) -> None:
    """Telemetry is delivered at exit, also of a program that dies."""
    done = run_python(
        """
        import otel_ml
        otel_ml.configure(logs=otel_ml.Logs(format="none"))
        with otel_ml.run("dying"):
            raise ValueError("the end")
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ValueError: the end")
    (directory,) = (tmp_path / ".otel_ml").iterdir()
    assert spans(directory)["run dying"]["status"]["code"] == 2
    assert json.loads((directory / "run.json").read_text())["status"] == "error"
