"""The context and the setup go with processes and with the work of process pools, and nothing they record is lost."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from otel_ml import conventions, processes
from support import run_python
from worker_runs import check, recorded

PROGRAM = """
import functools, logging, multiprocessing, os, signal, sys, warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.pool import ThreadPool
import otel_ml

# From Python 3.15 on, for a stack trace through the main module of a process that is spawned.
warnings.filterwarnings("ignore", "Module globals", DeprecationWarning)

log = logging.getLogger("work")
METHOD = os.environ["METHOD"]
CONTEXT = multiprocessing.get_context(METHOD)

@otel_ml.step("task")
def task(number, *more):
    log.warning("working on %d", number)
    if number < 0:
        raise ZeroDivisionError(f"number {number}")
    return number * 2

class Own(CONTEXT.Process):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def run(self):
        task(self.number)

DOUBLE = [2 * number for number in range(20)]

def main(use):
    telemetry = otel_ml.configure(service_name="jobs", directory="state", audit=False, logs=otel_ml.Logs(format="none"))
    with otel_ml.run("batch"), otel_ml.step("caller"):
        use()
    telemetry.shutdown()
"""
METHODS = [name for name in ("fork", "spawn", "forkserver") if name in multiprocessing.get_all_start_methods()]
USES = {
    "executor": """
        with ProcessPoolExecutor(2, mp_context=CONTEXT) as pool:
            assert [found.result() for found in [pool.submit(task, number) for number in range(10)]] == DOUBLE[:10]
            assert list(pool.map(task, range(10, 20), chunksize=3)) == DOUBLE[10:]""",
    "pool": """
        with CONTEXT.Pool(2) as pool:  # its end is SIGTERM to the workers
            assert pool.map(task, range(5)) == DOUBLE[:5]
            assert pool.starmap(task, [(5, None), (6, None)]) == DOUBLE[5:7]
            assert pool.map_async(task, [7, 8]).get() + pool.starmap_async(task, [(9,)]).get() == DOUBLE[7:10]
            assert pool.apply(task, (10,)) == 20 and pool.apply_async(func=task, args=(11,)).get() == 22
            assert list(pool.imap(task, range(12, 16), chunksize=2)) == DOUBLE[12:16]
            assert sorted(pool.imap_unordered(task, range(16, 20))) == DOUBLE[16:]""",
    "workers that end after three tasks": """
        with CONTEXT.Pool(2, maxtasksperchild=3) as pool:
            assert pool.map(task, range(20), chunksize=1) == DOUBLE
            pool.close()
            pool.join()""",
    "processes": """
        started = [CONTEXT.Process(target=task, args=(number,)) for number in range(2)] + [Own(2), Own(3)]
        for process in started:
            process.start()
        for process in started:
            process.join()
        assert [process.exitcode for process in started] == [0] * 4
        assert all("run" not in vars(process) for process in started)""",
    "partial": """
        with CONTEXT.Pool(1) as pool:
            assert pool.map(functools.partial(task), range(20)) == DOUBLE""",
}  # fmt: skip


def ran(folder: Path, use: str, method: str) -> None:
    """Run a program whose workers are started by a method."""
    program = f"{PROGRAM}\ndef use():{use}\n\nif __name__ == '__main__':\n    main(use)\n"
    (folder / "program.py").write_text(program)
    code = "import runpy; runpy.run_path('program.py', run_name='__main__')"
    done = run_python(code, cwd=folder, env={"METHOD": method, "PYTHONWARNINGS": "ignore::DeprecationWarning"})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("use", USES)
def test_work_in_other_processes_belongs_to_the_caller(tmp_path: Path, use: str, method: str) -> None:
    """Every task has its span and its line in the caller's trace and run, however the process was started."""
    ran(tmp_path, USES[use], method)
    check(*recorded(tmp_path), tasks=4 if use == "processes" else 20)


def test_a_task_belongs_to_whoever_gave_it_out_and_not_to_whoever_started_the_worker(tmp_path: Path) -> None:
    """Also when nothing is current any more."""
    use = """
        with CONTEXT.Pool(1) as pool, ProcessPoolExecutor(1, mp_context=CONTEXT) as executor:
            with otel_ml.step("first"):
                assert pool.apply(task, (1,)) == executor.submit(task, 1).result()
            with otel_ml.step("second"):
                assert pool.apply(task, (2,)) == executor.submit(task, 2).result()"""
    ran(tmp_path, use, "spawn")
    spans, _ = recorded(tmp_path)
    names = {span["spanId"]: span["name"] for span in spans}
    parents = sorted(names[span["parentSpanId"]] for span in spans if span["name"] == "task")
    assert parents == ["first", "first", "second", "second"]


def test_an_exception_reaches_the_caller_and_its_span_is_there(tmp_path: Path) -> None:
    """From an executor and from a pool."""
    use = """
        for give_out in (
            lambda: ProcessPoolExecutor(1, mp_context=CONTEXT).submit(task, -1).result(),
            lambda: CONTEXT.Pool(1).apply(task, (-1,)),
        ):
            try:
                give_out()
            except ZeroDivisionError as error:
                assert str(error) == "number -1"
            else:
                raise SystemExit("no exception")"""
    ran(tmp_path, use, "spawn")
    spans, _ = recorded(tmp_path)
    assert [span["status"]["code"] for span in spans if span["name"] == "task"] == [2, 2]


def test_a_pool_of_threads_takes_the_context_as_it_is(tmp_path: Path) -> None:
    """`multiprocessing.pool.ThreadPool` has the methods of a pool of processes, and pickles nothing."""
    use = """
        with ThreadPool(2) as pool:
            assert pool.map(lambda number: task(number), range(20)) == DOUBLE"""
    ran(tmp_path, use, "spawn")
    check(*recorded(tmp_path), tasks=20)


def methods() -> list[object]:
    """What the standard library has now."""
    pool = vars(multiprocessing.pool.Pool)
    names = processes._POOLS["multiprocessing.pool"][1]
    return [vars(BaseProcess)["start"], vars(ProcessPoolExecutor)["submit"], *(pool[name] for name in names)]


def test_everything_is_put_back() -> None:
    """The standard library is what it was."""
    originals = methods()
    undo = processes.propagate()
    replaced = methods()
    assert not set(map(id, replaced)) & set(map(id, originals))
    assert [method.__name__ for method in replaced] == [method.__name__ for method in originals]  # type: ignore[attr-defined]
    undo()
    assert methods() == originals


def test_what_cannot_be_pickled_is_the_programs_own_error() -> None:
    """It reads as without us."""
    done = run_python(
        """
        import multiprocessing, otel_ml
        if __name__ == "__main__":
            with otel_ml.configure(directory="/nonexistent/x"), multiprocessing.get_context("fork").Pool(1) as pool:
                try:
                    pool.apply(lambda: 1)
                except Exception as error:
                    assert "lambda" in str(error), error
                else:
                    raise SystemExit("no exception")
        """,
        env={"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
             "PYTHONWARNINGS": "ignore::DeprecationWarning"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


FOREIGN = """
import copy, functools, logging, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import otel_ml
from otel_ml import conventions
from otel_ml.labels import labelled

CONTEXT = multiprocessing.get_context("spawn")

def double(number):
    return 2 * number

def put(queue, value=None):
    queue.put(double(21))

def configure_anew(queue):
    telemetry = otel_ml.configure(service_name="own", directory="own")
    queue.put(telemetry.settings.service_name)

def run_inside(queue):
    with otel_ml.run("inner"):
        queue.put(otel_ml.current_run().name)

class Copying(CONTEXT.Process):
    def __init__(self, queue):
        super().__init__()
        self.queue = queue

    def __getstate__(self):
        return {key: value if key == "queue" else copy.deepcopy(value) for key, value in vars(self).items()}

    def run(self):
        put(self.queue)

def started(process):
    process.start()
    process.join()
    assert process.exitcode == 0, process.exitcode

if __name__ == "__main__":
    def mask(key, value):  # workers import this module without this block
        return value

    masking = otel_ml.Redaction(callback=mask) if "mask" in sys.argv else otel_ml.Redaction()
    telemetry = otel_ml.configure(service_name="caller", directory="state", audit=False, redaction=masking)
    queue = CONTEXT.Queue()
"""


def foreign(folder: Path, code: str, *arguments: str) -> None:
    """Run a program that knows nothing of what goes along with its work."""
    lines = "".join(f"    {line}\n" for line in code.strip().splitlines())
    (folder / "program.py").write_text(f"{FOREIGN}{lines}    telemetry.shutdown()\n")
    code = f"""
        import runpy, sys
        sys.argv = ["program.py", *{arguments!r}]
        runpy.run_path("program.py", run_name="__main__")
    """
    done = run_python(code, cwd=folder, env={"PYTHONWARNINGS": "ignore::DeprecationWarning"})
    assert done.returncode == 0, done.stderr


def test_a_setup_that_a_worker_cannot_unpickle_costs_telemetry_only(tmp_path: Path) -> None:
    """A callback of the main block is nowhere else: work goes on in processes, pools and executors."""
    foreign(
        tmp_path,
        """
started(CONTEXT.Process(target=put, args=(queue,)))
assert queue.get(timeout=20) == 42
with CONTEXT.Pool(1) as pool:
    assert pool.map_async(double, [1, 2]).get(20) == [2, 4]
with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
    assert list(pool.map(double, [1, 2], timeout=20)) == [2, 4]
""",
        "mask",
    )


def test_what_a_worker_configures_itself_goes_before_what_came_along(tmp_path: Path) -> None:
    """As after `opentelemetry-instrument`."""
    foreign(tmp_path, "started(CONTEXT.Process(target=configure_anew, args=(queue,)))\nassert queue.get() == 'own'")
    assert list((tmp_path / "own").iterdir())


def test_a_run_in_a_worker_that_only_has_a_label_is_the_first_one(tmp_path: Path) -> None:
    """With its description, as without the label."""
    foreign(
        tmp_path,
        """
with labelled({conventions.OPTUNA_TRIAL: "s#1"}):
    started(CONTEXT.Process(target=run_inside, args=(queue,)))
assert queue.get() == "inner"
""",
    )
    _, lines = recorded(tmp_path)
    told = [line for line in lines if line["message"] == "run inner started"]
    assert [line[conventions.OPTUNA_TRIAL] for line in told] == ["s#1"]


def test_a_process_object_is_what_it_was_after_its_start(tmp_path: Path) -> None:
    """Also one with a `run` of its own, and one that copies its state."""
    foreign(
        tmp_path,
        """
process = CONTEXT.Process()
process.run = run = functools.partial(put, queue)
started(process)
assert process.run is run and queue.get() == 42
process = Copying(queue)
started(process)
assert queue.get() == 42 and "run" not in vars(process)
process = CONTEXT.Process(target=put, args=(queue,))
started(process)
assert queue.get() == 42 and not {"run", "_target"} & vars(process).keys()  # which `start` deletes
""",
    )
