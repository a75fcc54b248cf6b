"""Workers of joblib: which trace, run and parent their spans and lines have, and that none is lost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("joblib")

import joblib
from joblib.parallel import BACKENDS

from otel_ml.integrations.joblib import propagate
from support import run_python

PROGRAM = """
import logging, os, signal, sys, threading
import joblib
import otel_ml
from otel_ml.integrations.joblib import propagate

log = logging.getLogger("work")

@otel_ml.step("task")
def task(number):
    log.warning("working on %d", number)
    if number == int(os.environ.get("FAILS_AT", "-1")):
        raise ZeroDivisionError(f"number {number}")
    if number == int(os.environ.get("DIES_AT", "-1")):
        os.kill(os.getpid(), signal.SIGKILL)
    return number * 2

def outer(number):
    with otel_ml.step("outer"):
        return sum(joblib.Parallel(n_jobs=2)(joblib.delayed(task)(10 * number + k) for k in range(3)))

DOUBLE = [2 * number for number in range(20)]

def twenty():
    return (joblib.delayed(task)(number) for number in range(20))

def main(use):
    telemetry = otel_ml.configure(service_name="jobs", directory="state", audit=False, logs=otel_ml.Logs(format="none"))
    propagate()
    with otel_ml.run("batch"), otel_ml.step("caller"):
        use()
    telemetry.shutdown()
"""


def ran(folder: Path, use: str, **environment: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Run a program, and return the spans and log lines of the one run that it was, workers included."""
    program = f"{PROGRAM}\ndef use():\n    {use}\n\nif __name__ == '__main__':\n    main(use)\n"
    (folder / "program.py").write_text(program)
    done = run_python("import runpy; runpy.run_path('program.py', run_name='__main__')", cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    (state,) = (folder / "state").iterdir()
    spans = [
        span
        for path in state.glob("traces-*.jsonl")
        for line in path.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    lines = [json.loads(line) for path in state.glob("*.log") for line in path.read_text().splitlines()]
    return spans, lines


def check(spans: list[dict[str, Any]], lines: list[dict[str, Any]], tasks: int, parent: str = "caller") -> None:
    """Every task is a span below the caller's, with its line, in one trace and run; none is missing."""
    by_id = {span["spanId"]: span for span in spans}
    found = [span for span in spans if span["name"] == "task"]
    assert len(found) == tasks
    assert {by_id[span["parentSpanId"]]["name"] for span in found} == {parent}
    assert len({span["traceId"] for span in spans}) == 1
    (run,) = {line["run_id"] for line in lines if line["logger"] == "work"}
    for span in found:
        attributes = {item["key"]: item["value"] for item in span["attributes"]}
        assert attributes["otel_ml.run.id"] == {"stringValue": run}
    working = [line for line in lines if line["logger"] == "work"]
    assert Counter(line["span_id"] for line in working) == Counter(span["spanId"] for span in found)


CALLS = {
    "default": "assert joblib.Parallel(n_jobs=2)(twenty()) == DOUBLE",
    "threads": "joblib.Parallel(n_jobs=2, prefer='threads')(twenty())",
    "multiprocessing": "joblib.Parallel(n_jobs=2, backend='multiprocessing')(twenty())",
    "configured": "\n".join(
        (
            "with joblib.parallel_config(backend='loky'):",
            "        joblib.Parallel(n_jobs=2)(twenty())",
        )
    ),
    "generator": "list(joblib.Parallel(n_jobs=2, return_as='generator')(twenty()))",
    "sequential": "joblib.Parallel(n_jobs=1)(twenty())",
    "reused": "\n".join(
        (
            "with joblib.Parallel(n_jobs=2) as parallel:",
            "        parallel(joblib.delayed(task)(n) for n in range(10))",
            "        parallel(joblib.delayed(task)(n) for n in range(10))",
        )
    ),
}


@pytest.mark.parametrize("use", CALLS.values(), ids=CALLS)
def test_tasks_belong_to_the_caller_however_the_back_end_is_chosen(tmp_path: Path, use: str) -> None:
    """Tasks belong to the caller however the back end is chosen."""
    check(*ran(tmp_path, use), tasks=20)


def test_many_small_tasks_are_all_there(tmp_path: Path) -> None:
    """Many small tasks are all there."""
    check(*ran(tmp_path, "joblib.Parallel(n_jobs=2)(joblib.delayed(task)(n) for n in range(300))"), tasks=300)


def test_what_is_nested_belongs_to_its_task(tmp_path: Path) -> None:
    """What is nested belongs to its task."""
    use = "joblib.Parallel(n_jobs=2)(joblib.delayed(outer)(n) for n in range(4))"
    check(*ran(tmp_path, use), tasks=12, parent="outer")


def test_an_exception_reaches_the_caller_and_the_span_of_its_task_is_there(tmp_path: Path) -> None:
    """An exception reaches the caller and the span of its task is there."""
    use = "\n".join(
        (
            "try:",
            "        joblib.Parallel(n_jobs=2, batch_size=1)(joblib.delayed(task)(n) for n in range(2))",
            "    except ZeroDivisionError as error:",
            "        assert str(error) == 'number 1'",
            "    else:",
            "        raise SystemExit('no exception')",
        )
    )
    spans, lines = ran(tmp_path, use, FAILS_AT="1")
    (failed,) = (span for span in spans if span["name"] == "task" and span.get("status", {}).get("code"))
    assert any(line["level"] == "ERROR" and line["span_id"] == failed["spanId"] for line in lines)


def test_a_worker_that_is_killed_holds_nobody_up(tmp_path: Path) -> None:
    """A worker that is killed holds nobody up."""
    use = "\n".join(
        (
            "try:",
            "        joblib.Parallel(n_jobs=2, batch_size=1)(joblib.delayed(task)(n) for n in range(4))",
            "    except Exception as error:",
            "        assert 'TerminatedWorkerError' in type(error).__name__",
            "    else:",
            "        raise SystemExit('no exception')",
        )
    )
    spans, _ = ran(tmp_path, use, DIES_AT="3")
    assert {span["name"] for span in spans} >= {"caller", "run batch"}


class Rider:
    """Sends a word, and takes note of what comes back."""

    def __init__(self) -> None:
        self.arrivals: list[Any] = []

    def __reduce__(self) -> str:
        return "RIDER"

    def board(self) -> object:
        return "word"

    def ride(self, payload: object) -> Any:
        raise RuntimeError("in a worker")

    def arrived(self, payload: object, results: list[Any]) -> None:
        self.arrivals.append((payload, results))


RIDER = Rider()


def test_riders_hear_of_what_comes_back_and_the_back_ends_are_restored_exactly() -> None:
    """Riders hear of what comes back and the back ends are restored exactly."""
    before = dict(BACKENDS)
    undo = propagate(RIDER)
    try:
        assert before != BACKENDS
        done = joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(abs)(n) for n in range(4))
        assert done == [0, 1, 2, 3]
        assert sorted(result for payload, results in RIDER.arrivals for result in results if payload == "word") == done
    finally:
        undo()
    assert before == BACKENDS
    assert all(BACKENDS[name] is kind for name, kind in before.items())


def test_a_back_end_of_another_library_stays() -> None:
    """A back end of another library stays."""

    class Foreign(BACKENDS["threading"]):  # type: ignore[name-defined, misc]
        __module__ = "elsewhere"

    original = BACKENDS["threading"]
    joblib.register_parallel_backend("threading", Foreign)
    try:
        undo = propagate()
        assert BACKENDS["threading"] is Foreign
        undo()
        assert BACKENDS["threading"] is Foreign
    finally:
        joblib.register_parallel_backend("threading", original)
