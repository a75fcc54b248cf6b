"""Workers of joblib: which trace, run and parent their spans and lines have, and that none is lost."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("joblib")

import joblib
from joblib.parallel import BACKENDS

from otel_ml.integrations.joblib import propagate
from support import run_python
from worker_runs import Lines, check, recorded

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


def ran(folder: Path, use: str, **environment: str) -> tuple[Lines, Lines]:
    """Run a program, and return the spans and log lines of the one run that it was, workers included."""
    program = f"{PROGRAM}\ndef use():\n    {use}\n\nif __name__ == '__main__':\n    main(use)\n"
    (folder / "program.py").write_text(program)
    done = run_python("import runpy; runpy.run_path('program.py', run_name='__main__')", cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return recorded(folder)


CALLS = {
    "loky": "assert joblib.Parallel(n_jobs=2, backend='loky')(twenty()) == DOUBLE",
    "default": "assert joblib.Parallel(n_jobs=2)(twenty()) == DOUBLE",
    "threads": "joblib.Parallel(n_jobs=2, prefer='threads')(twenty())",
    "multiprocessing": "joblib.Parallel(n_jobs=2, backend='multiprocessing')(twenty())",
    "configured": "\n".join(
        (
            "with joblib.parallel_config(backend='loky'):",
            "        joblib.Parallel(n_jobs=2)(twenty())",
        )
    ),
    "configured threading": "\n".join(
        (
            "with joblib.parallel_config(backend='threading', n_jobs=2):",
            "        joblib.Parallel()(twenty())",
        )
    ),
    "shared memory": "joblib.Parallel(n_jobs=2, require='sharedmem')(twenty())",
    "unordered": "assert sorted(joblib.Parallel(n_jobs=2, return_as='generator_unordered')(twenty())) == DOUBLE",
    "generator of threads": "list(joblib.Parallel(n_jobs=2, backend='threading', return_as='generator')(twenty()))",
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


def resources(folder: Path) -> list[dict[str, str]]:
    """Return the text attributes of what wrote spans in a run's folder, one for each process."""
    found = {}
    for path in (folder / "state").glob("*/traces-*.jsonl"):
        resource = json.loads(path.read_text().splitlines()[0])["resourceSpans"][0]["resource"]
        found[path] = {item["key"]: item["value"].get("stringValue", "") for item in resource["attributes"]}
    return list(found.values())


def step_count(folder: Path, name: str) -> int:
    """Return how often a step was measured, over all processes."""
    total = 0
    for path in (folder / "state").glob("*/metrics-*.jsonl"):
        last = 0
        for line in path.read_text().splitlines():
            counts = [
                int(point["count"])
                for resource in json.loads(line)["resourceMetrics"]
                for scope in resource["scopeMetrics"]
                for metric in scope["metrics"]
                if metric["name"] == "otel_ml.step.duration"
                for point in metric["histogram"]["dataPoints"]
                if {"key": "otel_ml.step.name", "value": {"stringValue": name}} in point["attributes"]
            ]
            last = sum(counts) if counts else last  # cumulative
        total += last
    return total


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_each_worker_process_is_an_instance_and_no_measurement_is_lost(tmp_path: Path, backend: str) -> None:
    """Processes of one service tell themselves apart, and what they measured adds up."""
    use = f"joblib.Parallel(n_jobs=2, backend='{backend}', batch_size=1)(joblib.delayed(task)(n) for n in range(50))"
    check(*ran(tmp_path, use), tasks=50)
    found = resources(tmp_path)
    assert {resource["service.name"] for resource in found} == {"jobs"}
    if backend == "loky":  # what is forked goes on with the resource of its parent
        assert len({resource["service.instance.id"] for resource in found}) == len(found) >= 2
    assert step_count(tmp_path, "task") == 50


def test_a_call_that_takes_too_long_is_ended_as_joblib_does(tmp_path: Path) -> None:
    """Its workers are killed then: what they had done before is there."""
    use = "\n".join(
        (
            "import multiprocessing, time",
            "    try:",
            "        joblib.Parallel(n_jobs=2, batch_size=1, timeout=8)(",
            "            joblib.delayed(task if n < 2 else time.sleep)(n if n < 2 else 100) for n in range(4))",
            "    except multiprocessing.TimeoutError:",
            "        pass",
            "    else:",
            "        raise SystemExit('no exception')",
        )
    )
    check(*ran(tmp_path, use), tasks=2)


def test_metrics_of_workers_are_in_the_one_scrape_of_their_parent(tmp_path: Path) -> None:
    """Nobody else serves them, and nobody complains of the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    use = "\n".join(
        (
            "import urllib.request",
            "    joblib.Parallel(n_jobs=2)(twenty())",
            f"    with urllib.request.urlopen('http://127.0.0.1:{port}/metrics') as answer:",
            "        text = answer.read().decode()",
            "    (line,) = [x for x in text.splitlines() if 'step_duration_seconds_count' in x and '\"task\"' in x]",
            "    assert line.split()[1] == '20.0', line",
        )
    )
    environment = {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": str(port)}
    spans, lines = ran(tmp_path, use, **environment)
    check(spans, lines, tasks=20)
    assert not [line for line in lines if line["logger"] == "otel_ml" and line["level"] != "INFO"]


def test_the_searches_of_scikit_learn_take_the_context_along(tmp_path: Path) -> None:
    """`n_jobs` of other libraries is joblib as well."""
    pytest.importorskip("sklearn")
    (tmp_path / "estimators.py").write_text(
        "import otel_ml\n"
        "from sklearn.dummy import DummyRegressor\n"
        "class Steps(DummyRegressor):\n"
        "    @otel_ml.step('task')\n"
        "    def fit(self, X, y):\n"
        "        import logging\n"
        "        logging.getLogger('work').warning('fitting')\n"
        "        return super().fit(X, y)\n"
    )
    use = "\n".join(
        (
            "from estimators import Steps",
            "    from sklearn.model_selection import cross_val_score",
            "    cross_val_score(Steps(), [[n] for n in range(12)], list(range(12)), cv=4, n_jobs=2)",
        )
    )
    check(*ran(tmp_path, use, PYTHONPATH=importable(tmp_path)), tasks=4)


def importable(folder: Path) -> str:
    """Return a PYTHONPATH with a folder whose modules workers can import, and what is there now."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


RIDERS = """
import os
from contextlib import contextmanager
arrivals, inside = [], []
class Word:
    def __reduce__(self):
        return "WORD"
    def board(self):
        return "word"
    @contextmanager
    def ride(self, payload):
        inside.append(payload)
        yield
        inside.remove(payload)
    def arrived(self, payload, results):
        arrivals.extend((payload, result) for result in results)
WORD = Word()
def look(number):
    return number, list(inside), os.getpid()
"""


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_riders_board_ride_and_hear_of_arrivals(tmp_path: Path, backend: str) -> None:
    """Around the tasks in worker processes, and in the parent with their results."""
    (tmp_path / "riders.py").write_text(RIDERS)
    done = run_python(
        f"""
        import os, joblib, riders
        from otel_ml.integrations.joblib import propagate
        undo = propagate(riders.WORD)
        done = joblib.Parallel(n_jobs=2, backend="{backend}")(joblib.delayed(riders.look)(n) for n in range(6))
        assert [(n, inside) for n, inside, _ in done] == [(n, ["word"]) for n in range(6)], done
        assert os.getpid() not in {{pid for _, _, pid in done}}
        assert sorted(riders.arrivals) == [("word", result) for result in done], riders.arrivals
        assert riders.inside == []
        undo()
        """,
        env={"PYTHONPATH": importable(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")


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
