from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import json
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, context, trace

import otel_ml
from otel_ml import conventions, health, runs
from otel_ml.errors import ConfigurationError
from otel_ml.instruments import instruments
from otel_ml.testing import CapturedTelemetry
from support import run_python

CARRIERS = ("TRACEPARENT", "TRACESTATE", "BAGGAGE", "OTEL_ML_RUN_ID")

# What a child process of a run does in the tests below: its spans go to standard output, one JSON object each.
CHILD = """
import json, sys
import otel_ml
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, ConsoleSpanExporter
from otel_ml import propagation
from otel_ml.spans.run_attributes import RunAttributes
from otel_ml.tracing.switch import SwitchProcessor

def line(span):
    return json.dumps([span.name, hex(span.context.trace_id), hex(span.parent.span_id) if span.parent else None,
                       span.attributes.get("otel_ml.run.id"), span.attributes.get("otel_ml.run.name")]) + "\\n"

provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SwitchProcessor((RunAttributes(lambda run: None).start,)))
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line)))
trace.set_tracer_provider(provider)
context.attach(propagation.extract_environment())
with otel_ml.step("in the child"):
    pass
"""


def carriers() -> dict[str, str]:
    return {name: os.environ[name] for name in CARRIERS if name in os.environ}


def test_a_run_is_a_root_span_with_an_identity(captured_telemetry: CapturedTelemetry) -> None:
    """The span is named after the run, has no parent, and carries id and name; so does every span inside."""
    with otel_ml.run("nightly", config={"seed": 7}) as run:
        assert otel_ml.current_run() is run
        with otel_ml.step("inner"):
            pass
    assert otel_ml.current_run() is None
    assert uuid.UUID(run.id).version == 7 and run.name == "nightly" and run.config == {"seed": 7}
    expected = {conventions.RUN_ID: run.id, conventions.RUN_NAME: "nightly"}
    span = captured_telemetry.span("run nightly").has(attributes=expected, status="UNSET")
    assert span.parent_id is None
    captured_telemetry.span("inner").has(attributes=expected, parent=span)


def test_a_run_inside_a_run_joins_it(captured_telemetry: CapturedTelemetry) -> None:
    """The inner one has the same id and a child span; the environment stays the outer one's."""
    with otel_ml.run("outer") as outer:
        environment = carriers()
        with otel_ml.run("inner") as inner:
            assert otel_ml.current_run() is inner and carriers() == environment
        assert otel_ml.current_run() is outer
    assert inner.id == outer.id
    captured_telemetry.span("run inner").has(parent=captured_telemetry.span("run outer"))


def test_runs_one_after_the_other_have_ids_of_their_own() -> None:
    """One object used twice is two executions."""
    nightly = otel_ml.run("nightly")
    with nightly as first:
        pass
    with nightly as second:
        pass
    assert first.id != second.id


def test_the_start_is_described_once(captured_telemetry: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """One INFO record inside the run's span, with nested data, and the small part of it on the span."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with otel_ml.run("nightly", config={"seed": 7, "db": {"password": "hunter2"}}), otel_ml.run("inner"):
        pass
    record = captured_telemetry.log("run nightly started")
    assert [log.message for log in captured_telemetry.logs][:1] == ["run nightly started"] and record.level == "INFO"
    config = record.attributes[conventions.RUN_CONFIG]
    assert config["seed"] == 7 and "hunter2" not in str(config)
    assert record.attributes[conventions.RUN_ENVIRONMENT]["OMP_NUM_THREADS"] == "3"
    assert "OTEL_ML_RUN_ID" not in record.attributes[conventions.RUN_ENVIRONMENT], "inherited ones only"
    assert "pytest" in record.attributes[conventions.RUN_PACKAGES]
    assert record.attributes[conventions.EVENT_NAME] == "otel_ml.run.start"
    span = captured_telemetry.span("run nightly").has(attributes={conventions.RUN_SEED: 7})
    assert record.span_id == span.span_id
    assert '"seed": 7' in span.attributes[conventions.RUN_CONFIG] and "hunter2" not in str(span.attributes)
    assert span.attributes[conventions.RUN_COMMAND] == record.attributes[conventions.RUN_COMMAND]
    assert conventions.RUN_PACKAGES not in span.attributes and conventions.RUN_ENVIRONMENT not in span.attributes


def test_a_run_inside_a_run_tells_its_own_configuration(captured_telemetry: CapturedTelemetry) -> None:
    """And nothing of the process, which the outer one has described."""
    with otel_ml.run("outer"), otel_ml.run("inner", config={"depth": 3}):
        pass
    attributes = captured_telemetry.log("run inner started").attributes
    assert attributes[conventions.RUN_CONFIG] == {"depth": 3}
    assert conventions.RUN_PACKAGES not in attributes and conventions.RUN_COMMAND not in attributes


def test_a_large_configuration_is_bounded_on_the_span(captured_telemetry: CapturedTelemetry) -> None:
    """The span takes 8 KiB of it at most."""
    with otel_ml.run("nightly", config={f"key-{number}": "x" * 200 for number in range(100)}):
        pass
    text = captured_telemetry.span("run nightly").attributes[conventions.RUN_CONFIG]
    assert len(text) == 8192 and text.endswith("...")


@pytest.mark.parametrize(
    ("error", "status"), [(None, "ok"), (ValueError("bad"), "error"), (KeyboardInterrupt(), "cancelled")]
)
def test_the_end_is_said_with_status_and_duration(
    captured_telemetry: CapturedTelemetry, error: BaseException | None, status: str
) -> None:
    """One INFO record inside the run's span, also of a run that fails or is cancelled."""
    with contextlib.suppress(type(error) if error else ()), otel_ml.run("nightly"), otel_ml.run("inner"):
        time.sleep(0.02)
        if error is not None:
            raise error
    (record,) = [log for log in captured_telemetry.logs if log.message.startswith(f"run nightly ended: {status} after")]
    assert record.level == "INFO" and record.span_id == captured_telemetry.span("run nightly").span_id
    assert record.attributes[conventions.EVENT_NAME] == "otel_ml.run.end"
    assert record.attributes[conventions.RUN_NAME] == "nightly"
    assert record.attributes[conventions.RUN_STATUS] == status
    assert 0.02 <= record.attributes[conventions.RUN_DURATION] < 60
    assert not [log for log in captured_telemetry.logs if log.message.startswith("run inner ended")]


def test_a_run_marked_as_failed_says_so_at_its_end(captured_telemetry: CapturedTelemetry) -> None:
    """A command's exit code is no exception, and its run has failed all the same."""
    with otel_ml.run("nightly") as current:
        current.mark_failed("exit 3", "the command ended with 3")
    assert [log for log in captured_telemetry.logs if log.message.startswith("run nightly ended: error after")]


def test_a_description_that_takes_too_long_is_not_waited_for(
    captured_telemetry: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends without it after the longest wait; the record comes when it comes."""
    go_on = threading.Event()
    monkeypatch.setattr(otel_ml.run_record, "LONGEST_WAIT", 0.01)
    monkeypatch.setattr(otel_ml.environment, "described", lambda copy: go_on.wait(60) and {conventions.RUN_SEED: 1})
    with otel_ml.run("nightly"):
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "otel_ml-run"]
    assert conventions.RUN_SEED not in captured_telemetry.span("run nightly").attributes
    go_on.set()
    thread.join()
    assert captured_telemetry.log("run nightly started").attributes[conventions.RUN_SEED] == 1
    assert {log.level for log in captured_telemetry.logs} == {"INFO"}, "the SDK complains of a write to an ended span"


def test_a_description_that_fails_is_survived(
    captured_telemetry: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of our own is counted and said once; the run goes on."""
    monkeypatch.setattr(otel_ml.environment, "described", lambda copy: 1 / 0)
    with otel_ml.run("nightly"):
        pass
    assert captured_telemetry.span("run nightly").status == "UNSET"
    assert health.dropped() == {("internal", "description of a run"): 1}


def test_an_exception_is_recorded_once_and_goes_on(captured_telemetry: CapturedTelemetry) -> None:
    """Status, `error.type`, one event and one ERROR record in the span; the caller gets the same exception object."""
    error = ValueError("no data")
    with pytest.raises(ValueError, match="no data") as caught, otel_ml.run("outer"), otel_ml.run("inner"):
        raise error
    assert caught.value is error
    for name in ("run outer", "run inner"):
        captured_telemetry.span(name).has(attributes={conventions.ERROR_TYPE: "ValueError"}, status="ERROR")
    events = [event for span in captured_telemetry.spans for event, _ in span.events]
    assert events == ["exception"]
    (record,) = [log for log in captured_telemetry.logs if log.level == "ERROR"]
    assert record.span_id == captured_telemetry.span("run inner").span_id
    assert "run inner" in record.message and "no data" in record.message


def test_a_step_that_failed_inside_is_not_recorded_again(captured_telemetry: CapturedTelemetry) -> None:
    """The innermost has the record; the run has status and type."""
    with pytest.raises(KeyError), otel_ml.run("outer"), otel_ml.step("inner"):
        raise KeyError("x")
    assert len([log for log in captured_telemetry.logs if log.level == "ERROR"]) == 1
    span = captured_telemetry.span("run outer").has(attributes={conventions.ERROR_TYPE: "KeyError"}, status="ERROR")
    assert span.events == []


@pytest.mark.parametrize("code", [None, 0])
def test_an_exit_without_error_is_none(captured_telemetry: CapturedTelemetry, code: object) -> None:
    """`sys.exit()` and `sys.exit(0)` end a run that went well."""
    with pytest.raises(SystemExit), otel_ml.run("nightly"):
        sys.exit(code)  # type: ignore[arg-type]
    captured_telemetry.span("run nightly").has(status="UNSET")
    assert not [log for log in captured_telemetry.logs if log.level == "ERROR"]


@pytest.mark.parametrize("code", [3, "no data"])
def test_an_exit_with_an_error_is_one(captured_telemetry: CapturedTelemetry, code: object) -> None:
    """`sys.exit(3)` and `sys.exit("message")` end a run that failed."""
    with pytest.raises(SystemExit), otel_ml.run("nightly"):
        sys.exit(code)  # type: ignore[arg-type]
    captured_telemetry.span("run nightly").has(attributes={conventions.ERROR_TYPE: "SystemExit"}, status="ERROR")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, asyncio.CancelledError])
def test_a_cancelled_run_is_no_error(captured_telemetry: CapturedTelemetry, kind: type[BaseException]) -> None:
    """Ctrl-C and cancellation are an attribute, not an ERROR."""
    with pytest.raises(kind), otel_ml.run("nightly"):
        raise kind
    captured_telemetry.span("run nightly").has(attributes={conventions.STATUS: "cancelled"}, status="UNSET")
    assert not [log for log in captured_telemetry.logs if log.level == "ERROR"]


def test_whether_a_run_failed_is_known_at_the_end() -> None:
    """A failed run is remembered, one that went well or was cancelled is not."""
    done = run_python("""
        from contextlib import suppress
        import otel_ml
        from otel_ml import runs
        with otel_ml.run("good"):
            pass
        with suppress(KeyboardInterrupt), otel_ml.run("cancelled"):
            raise KeyboardInterrupt
        assert not runs.any_failed()
        with suppress(ValueError), otel_ml.run("bad"):
            raise ValueError
        assert runs.any_failed()
    """)
    assert done.returncode == 0, done.stderr


def test_a_function_is_a_run_per_call(captured_telemetry: CapturedTelemetry) -> None:
    """Arguments, result, name and signature are the function's own."""

    @otel_ml.run("nightly")
    def train(depth: int, *, seed: int = 1) -> tuple[int, int, str]:
        """Train."""
        return depth, seed, otel_ml.current_run().id  # type: ignore[union-attr]

    first, second = train(3), train(4, seed=2)
    assert first[:2] == (3, 1) and second[:2] == (4, 2) and first[2] != second[2]
    assert train.__name__ == "train" and train.__doc__ == "Train." and not inspect.iscoroutinefunction(train)
    assert list(inspect.signature(train).parameters) == ["depth", "seed"]
    assert [span.name for span in captured_telemetry.spans] == ["run nightly"] * 2


def test_a_coroutine_function_is_a_run_until_it_ends(captured_telemetry: CapturedTelemetry) -> None:
    """The span covers the awaiting, not only the making of the coroutine; calls at once do not mix."""

    @otel_ml.run("nightly")
    async def train(number: int) -> tuple[int, str]:
        await asyncio.sleep(0)
        with otel_ml.step(f"step {number}"):
            await asyncio.sleep(0)
        return number, otel_ml.current_run().id  # type: ignore[union-attr]

    async def main() -> list[tuple[int, str]]:
        return await asyncio.gather(*(train(number) for number in range(5)))

    assert inspect.iscoroutinefunction(train)
    results = asyncio.run(main())
    assert [number for number, _ in results] == list(range(5)) and len(dict(results).values()) == 5
    parents = {span.span_id: span.attributes[conventions.RUN_ID] for span in captured_telemetry.spans}
    for number, run_id in results:
        span = captured_telemetry.span(f"step {number}")
        assert parents[str(span.parent_id)] == run_id == span.attributes[conventions.RUN_ID]


def test_an_asynchronous_block_is_a_run(captured_telemetry: CapturedTelemetry) -> None:
    """`async with` is the same run, and tasks started inside are in it."""

    async def name() -> str:
        return otel_ml.current_run().name  # type: ignore[union-attr]

    async def main() -> None:
        async with otel_ml.run("nightly") as run:
            assert otel_ml.current_run() is run
            assert await asyncio.create_task(name()) == "nightly"
        assert otel_ml.current_run() is None

    asyncio.run(main())
    captured_telemetry.span("run nightly")


def test_one_object_at_once_in_threads(captured_telemetry: CapturedTelemetry) -> None:
    """Each thread has its own execution; afterwards the environment is as before."""
    nightly, barrier = otel_ml.run("nightly"), threading.Barrier(8)
    ids: list[str] = []

    def work() -> None:
        with nightly as run:
            barrier.wait(60)
            current = otel_ml.current_run()
            assert current is run and "OTEL_ML_RUN_ID" in os.environ
            ids.append(run.id)
            barrier.wait(60)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 8 and carriers() == {}
    assert {span.attributes[conventions.RUN_ID] for span in captured_telemetry.spans} == set(ids)
    assert len({span.trace_id for span in captured_telemetry.spans}) == 8, "no thread joined another one's trace"


@given(st.permutations(range(4)))
def test_runs_may_end_in_any_order(order: list[int]) -> None:
    """However blocks are left, in the end no run is current and the environment is as before."""
    entered = [otel_ml.run(f"number {number}") for number in range(4)]
    before = context.get_current()
    for one in entered:
        one.__enter__()
    for position, index in enumerate(order):
        entered[index].__exit__(None, None, None)
        still = max(set(range(4)) - set(order[: position + 1]), default=None)
        if still is not None and index == max({index, still}):
            assert otel_ml.current_run().name == f"number {still}"  # type: ignore[union-attr]
    assert context.get_current() is before and carriers() == {}


def test_a_block_left_in_another_context_ends(
    captured_telemetry: CapturedTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """As asynchronous fixtures do: the span ends, nothing is logged, and that context stays as it is."""
    nightly = otel_ml.run("nightly")
    contextvars.copy_context().run(nightly.__enter__)
    contextvars.copy_context().run(nightly.__exit__, None, None, None)
    captured_telemetry.span("run nightly").has(status="UNSET")
    assert carriers() == {} and otel_ml.current_run() is None
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_a_block_left_in_a_copy_of_its_context_ends(
    captured_telemetry: CapturedTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    """And so does one that was entered in such a copy while the outer one has ended."""
    outer, inner = otel_ml.run("outer"), otel_ml.run("inner")

    def leave_in_copies() -> None:
        outer.__enter__()
        copy = contextvars.copy_context()
        copy.run(inner.__enter__)
        outer.__exit__(None, None, None)
        copy.run(inner.__exit__, None, None, None)
        assert copy.run(otel_ml.current_run).name == "outer"  # type: ignore[union-attr]  nobody left it there
        outer.__enter__()
        contextvars.copy_context().run(outer.__exit__, None, None, None)

    contextvars.copy_context().run(leave_in_copies)
    assert [span.name for span in captured_telemetry.spans] == ["run outer", "run inner", "run outer"]
    assert carriers() == {} and health.dropped() == {}
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_leaving_what_was_not_entered_is_nothing() -> None:
    """A run that is left too often does not raise."""
    otel_ml.run("nightly").__exit__(None, None, None)
    assert health.dropped() == {} and otel_ml.current_run() is None


def test_the_environment_carries_the_run(
    captured_telemetry: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trace, baggage and run id are set inside, and what was set before comes back."""
    monkeypatch.setenv("BAGGAGE", "tenant=acme")
    monkeypatch.setenv("TRACESTATE", "old=1")
    before = carriers()
    with otel_ml.run("night train/é") as run:
        inside = carriers()
    assert carriers() == before
    span = captured_telemetry.span("run night train/é")
    assert inside["TRACEPARENT"].split("-")[1:3] == [span.trace_id, span.span_id]
    assert inside["OTEL_ML_RUN_ID"] == run.id and "TRACESTATE" not in inside
    found = baggage.get_all(otel_ml.propagation.extract_environment(inside))
    assert found == {"tenant": "acme", conventions.RUN_ID: run.id, conventions.RUN_NAME: "night train/é"}


def test_the_environment_is_restored_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was set before comes back, whatever happened inside."""
    monkeypatch.setenv("OTEL_ML_RUN_ID", "from-outside")
    with pytest.raises(ZeroDivisionError), otel_ml.run("nightly") as run:
        assert run.id == "from-outside"
        _ = 1 / 0
    assert carriers() == {"OTEL_ML_RUN_ID": "from-outside"}


@pytest.mark.parametrize("depth", [1, 2])
def test_a_child_process_is_in_the_run(captured_telemetry: CapturedTelemetry, depth: int) -> None:
    """A real child process has the run's id and name, and its spans are children of the run's span."""
    code = (
        CHILD
        if depth == 1
        else f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {CHILD!r}], check=True)"
    )
    with otel_ml.run("nightly") as run, otel_ml.step("around"):
        done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    root = captured_telemetry.span("run nightly")
    name, trace_id, parent, run_id, run_name = json.loads(done.stdout)
    assert (name, run_id, run_name) == ("in the child", run.id, "nightly")
    assert (int(trace_id, 16), int(parent, 16)) == (int(root.trace_id, 16), int(root.span_id, 16))


def test_a_run_in_a_child_process_joins() -> None:
    """It has the inherited id, its span is a child, and it hands itself to grandchildren; no `configure` is needed."""
    done = run_python(
        """
        import os
        import otel_ml
        from opentelemetry import baggage, trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
        inherited = otel_ml.current_run()
        assert (inherited.id, inherited.name, inherited.config) == ("parent-7", "nightly", None)
        assert inherited is otel_ml.current_run()
        with otel_ml.run("stage") as run:
            assert (run.id, run.name, otel_ml.current_run()) == ("parent-7", "stage", run)
            span = trace.get_current_span()
            assert (span.context.trace_id, span.parent.span_id) == (0xabc, 0xdef)
            assert os.environ["TRACEPARENT"] == f"00-{0xabc:032x}-{span.context.span_id:016x}-01"
            assert os.environ["OTEL_ML_RUN_ID"] == "parent-7"
            assert baggage.get_baggage("tenant") == "acme"
        with otel_ml.run("second") as run:
            assert run.id == "parent-7"
        assert otel_ml.runs.process_run_id() == "parent-7"
        assert os.environ["TRACEPARENT"].endswith(f"{0xdef:016x}-01")
        """,
        env={
            "OTEL_ML_RUN_ID": "parent-7",
            "TRACEPARENT": f"00-{0xABC:032x}-{0xDEF:016x}-01",
            "BAGGAGE": "tenant=acme,otel_ml.run.id=parent-7,otel_ml.run.name=nightly",
        },
    )
    assert done.returncode == 0, done.stderr


def test_a_trace_without_a_run_is_joined_by_a_run_of_its_own() -> None:
    """`TRACEPARENT` alone, as a build server sets it, gives the parent; the id is fresh."""
    done = run_python(
        """
        import uuid, otel_ml
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
        assert otel_ml.current_run() is None
        with otel_ml.run("build") as run:
            assert trace.get_current_span().parent.span_id == 0xdef
        assert uuid.UUID(run.id).version == 7
        """,
        env={"TRACEPARENT": f"00-{0xABC:032x}-{0xDEF:016x}-01"},
    )
    assert done.returncode == 0, done.stderr


def test_an_unusable_inherited_id_is_replaced() -> None:
    """One warning that names variable and value, and a fresh id."""
    done = run_python(
        """
        import uuid, otel_ml
        assert otel_ml.current_run() is None
        with otel_ml.run("nightly") as run:
            uuid.UUID(run.id)
        """,
        env={"OTEL_ML_RUN_ID": "../../etc"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("OTEL_ML_RUN_ID") == 1 and "'../../etc'" in done.stderr


def test_a_spawned_worker_process_is_in_the_run() -> None:
    """Process pools get the run by the environment."""
    with otel_ml.run("nightly") as run, multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(runs.current_run)
    assert found is not None and (found.id, found.name) == (run.id, "nightly")


def test_threads_and_tasks_are_in_the_run() -> None:
    """After `configure`, threads of any kind have the run; tasks have it anyway."""
    done = run_python(
        """
        import concurrent.futures, threading
        import otel_ml
        with otel_ml.configure(), otel_ml.run("nightly") as run:
            found = []
            threads = [threading.Thread(target=lambda: found.append(otel_ml.current_run()))]
            threads[0].start()
            threads[0].join()
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                found += pool.map(lambda _: otel_ml.current_run(), range(3))
            assert found == [run] * 4, found
        """,
        env={"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"},
    )
    assert done.returncode == 0, done.stderr


def test_a_change_of_the_configuration_is_written_down(captured_telemetry: CapturedTelemetry) -> None:
    """Old and new values by dotted name, masked, in one INFO record and one event of the run's span."""
    with otel_ml.run("nightly", config={"model": {"depth": 3, "width": 8}, "password": "hunter2"}) as run:
        with otel_ml.step("inner"):
            run.update_config({"model": {"depth": 5}, "password": "hunter3", "added": [1]})
        run.update_config({"model": {"depth": 5}})
    assert run.config == {"model": {"depth": 5, "width": 8}, "password": "hunter3", "added": [1]}
    record = captured_telemetry.log("configuration changed")
    changes = record.attributes[conventions.CONFIG_CHANGES]
    assert changes["model.depth"] == {"old": 3, "new": 5} and changes["added"] == {"new": [1]}
    assert set(changes) == {"model.depth", "password", "added"} and "hunter" not in str(changes)
    ((name, attributes),) = captured_telemetry.span("run nightly").events
    assert name == "otel_ml.run.config.change"
    assert '"model.depth": {"old": 3, "new": 5}' in attributes[conventions.CONFIG_CHANGES]
    assert captured_telemetry.span("inner").events == []


def test_a_change_in_place_is_seen(captured_telemetry: CapturedTelemetry) -> None:
    """The configuration is compared with what it was at the start, not with itself."""
    config: dict[str, Any] = {"model": {"depth": 3}}
    with otel_ml.run("nightly", config=config) as run:
        config["model"]["depth"] = 5
        run.update_config(config)
    changes = captured_telemetry.log("configuration changed").attributes[conventions.CONFIG_CHANGES]
    assert changes == {"model.depth": {"old": 3, "new": 5}}


def test_a_run_without_configuration_may_get_one(captured_telemetry: CapturedTelemetry) -> None:
    """Everything is new then; values of any type are accepted."""
    with otel_ml.run("nightly") as run:
        run.update_config({"model": object(), "depth": 3})
    changes = captured_telemetry.log("configuration changed").attributes[conventions.CONFIG_CHANGES]
    assert changes["depth"] == {"new": 3}


def test_an_inherited_run_writes_changes_to_the_current_span(
    captured_telemetry: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The span of a parent process cannot be written to."""
    run = runs.Run("parent-7", "nightly")
    with otel_ml.step("here"):
        run.update_config({"depth": 3})
        run.mark_failed("SIGKILL", "exit code 137")
    span = captured_telemetry.span("here").has(attributes={conventions.ERROR_TYPE: "SIGKILL"}, status="ERROR")
    assert [name for name, _ in span.events] == ["otel_ml.run.config.change"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: otel_ml.run(""), r"run\(name\): expected a non-empty string, received ''"),
        (lambda: otel_ml.run(len), r"Write @run\(\"train\"\), not @run"),  # type: ignore[arg-type]
        (lambda: otel_ml.run("a", config=["hunter2"]), r"run\(config=\): expected a mapping, received <class 'list'>"),  # type: ignore[arg-type]
        (lambda: runs.Run("a", "b").update_config(3), r"update_config\(changes\): expected a mapping"),  # type: ignore[arg-type]
        (lambda: otel_ml.run("a")(int), "expected a function or a coroutine function"),
        (lambda: otel_ml.run("a")(3), "expected a function or a coroutine function"),  # type: ignore[type-var]
        (lambda: otel_ml.run("a")(lambda: (yield)), "Use `with run"),
    ],
)
def test_a_wrong_argument_is_named(wrong: Callable[[], object], message: str) -> None:
    """The message says option, value and what would be right, and never shows a configuration."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        wrong()
    assert "hunter2" not in str(caught.value)


def test_a_long_name_is_cut(captured_telemetry: CapturedTelemetry) -> None:
    """A name may come from data; it stays within what baggage may carry."""
    with otel_ml.run("n" * 10_000_000):
        assert len(os.environ["BAGGAGE"]) < 512
    assert captured_telemetry.spans[0].name == "run " + "n" * 256


def test_a_configuration_that_cannot_be_read_is_survived(captured_telemetry: CapturedTelemetry) -> None:
    """A mapping whose methods raise costs its description only."""

    class Broken(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("broken")

        __iter__ = keys = values = __len__ = items

    with otel_ml.run("nightly", config=Broken(a=1)) as run:
        run.update_config({"b": 2})
    captured_telemetry.span("run nightly").has(attributes={conventions.RUN_ID: run.id}, status="UNSET")


def test_a_tracer_that_raises_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's SDK may fail: the run keeps its identity, and the block runs."""

    class Tracer(trace.NoOpTracer):
        def start_span(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("sampler failed")

    monkeypatch.setattr(instruments, "tracer", Tracer())
    with otel_ml.run("nightly") as run:
        assert otel_ml.current_run() is run and os.environ["OTEL_ML_RUN_ID"] == run.id
    assert otel_ml.current_run() is None and carriers() == {}
    assert health.dropped() == {("internal", "start of a span"): 1}


def test_without_an_sdk_nothing_is_looked_up() -> None:
    """The identity works, and neither git nor a thread is started for a description that nobody would see."""
    done = run_python("""
        import os, subprocess, threading
        def refuse(*args, **kwargs):
            raise AssertionError("started")
        subprocess.Popen.__init__ = threading.Thread.start = refuse
        import otel_ml
        with otel_ml.run("nightly", config={"seed": 1}) as run:
            assert os.environ["OTEL_ML_RUN_ID"] == run.id and "TRACEPARENT" not in os.environ
        assert "OTEL_ML_RUN_ID" not in os.environ
        from otel_ml import health
        assert health.dropped() == {}, health.dropped()
    """)
    assert (done.returncode, done.stderr) == (0, "")


def test_run_objects_can_be_sent_elsewhere(captured_telemetry: CapturedTelemetry) -> None:
    """A function that refers to a run is pickled into a worker while that run is under way."""
    nightly = otel_ml.run("nightly", config={"seed": 1})
    with nightly as run:
        copy, twin = pickle.loads(pickle.dumps((run, nightly)))
        assert (copy.id, copy.name, copy.config) == (run.id, "nightly", {"seed": 1})
        with twin as inner:
            assert inner.id == run.id
    assert repr(copy) == f"Run(id={run.id!r}, name='nightly')"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_inside_a_run_leaves_it_in_both_processes() -> None:
    """Parent and child are in the run, and each restores its own environment."""
    done = run_python("""
        import os, otel_ml
        with otel_ml.run("nightly") as run:
            child = os.fork()
            assert otel_ml.current_run().id == run.id
        assert "OTEL_ML_RUN_ID" not in os.environ
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    """)
    assert done.returncode == 0, done.stderr
