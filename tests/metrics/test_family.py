"""Processes that count together: forked, made by multiprocessing, killed, started again."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from support import run_python

PRELUDE = """
import multiprocessing, os, pathlib, signal, sys, threading, time
from opentelemetry import metrics, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from otel_ml import conventions, health
from otel_ml.instruments import instruments
from otel_ml.metrics import active, wsgi_app
from otel_ml.metrics.setup import start
from otel_ml.options import Metrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

FOLDER = pathlib.Path(os.environ["OTEL_ML_TEST_FOLDER"])

def begin(service="s", **options):
    import otel_ml.metrics.folders as folders
    folders.own_folder = lambda: FOLDER
    resource = Resource.create({"service.name": service})
    return start(Metrics(**options), resource=resource, exporter=None, prometheus=True)

def count(number=1, seconds=0.5, **attributes):
    for _ in range(number):
        instruments.inference_duration.record(seconds, attributes)
        instruments.inference_rows.add(2, attributes)

def page():
    from prometheus_client import CollectorRegistry
    from prometheus_client.openmetrics.exposition import generate_latest
    class Active:
        def collect(self):
            return active.collect()
    registry = CollectorRegistry(support_collectors_without_names=True)
    registry.register(Active())
    return [s for f in parse(generate_latest(registry).decode()) for s in f.samples]

def total(at_rest=True):
    found = {s.name: s.value for s in page() if s.name.startswith("otel_ml_inference")}
    rows = found.get("otel_ml_inference_rows_total", 0)
    number = found.get("otel_ml_inference_duration_seconds_count", 0)
    assert rows == 2 * number or not at_rest, found
    assert found.get("otel_ml_inference_duration_seconds_sum", 0) == number / 2 or not at_rest, found
    return number

def fork(work):
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(1)
    return child

def wait_for(child, code=0):
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
"""


def check(code: str, folder: Path, as_file: bool = False, **options) -> str:
    """Run code in a fresh interpreter; as a file, for children that import it anew."""
    folder.mkdir(mode=0o700, exist_ok=True)
    env = {"OTEL_ML_TEST_FOLDER": str(folder), **options.pop("env", {})}
    if as_file:
        program = Path.cwd() / "program.py"
        program.write_text(PRELUDE + textwrap.dedent(code))
        code = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, {str(program)!r}]))"
    else:
        code = PRELUDE + textwrap.dedent(code)
    done = run_python(code, env=env, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_parent_and_children_show_the_same_sum(tmp_path: Path) -> None:
    """Also of what the parent counted before the fork and after it; and the last one leaves nothing behind."""
    check(
        """
        pipeline = begin(port=0)
        count(3)
        go, said = os.pipe(), os.pipe()
        def work():
            count(10)
            os.write(said[1], b"x")
            os.read(go[0], 1)
            assert total() == 3 + 2 * 10 + 100, total()
            pipeline.close(1)
        children = [fork(work) for _ in range(2)]
        count(100)
        for _ in children: os.read(said[0], 1)
        assert total() == 3 + 2 * 10 + 100, total()
        assert len(list(FOLDER.iterdir())) == 1
        os.write(go[1], b"xx")
        for child in children: wait_for(child)
        assert total() == 123
        pipeline.close(1)
        assert list(FOLDER.iterdir()) == []
        """,
        tmp_path / "family",
    )


def test_four_processes_of_four_threads_lose_no_value_while_they_are_scraped(tmp_path: Path) -> None:
    """Counts and sums are exact at the end, and no scrape shows less than the one before."""
    check(
        """
        sys.setswitchinterval(1e-5)
        begin(port=0)
        def work():
            threads = [threading.Thread(target=count, args=(2_000,)) for _ in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        children = [fork(work) for _ in range(4)]
        before = 0
        alive = set(children)
        while alive:
            alive -= {child for child in list(alive) if os.waitpid(child, os.WNOHANG)[0]}
            values = {s.name: s.value for s in page() if s.name.startswith("otel_ml_inference")}
            now = values.get("otel_ml_inference_duration_seconds_count", 0)
            assert now >= before, (now, before)
            before = now
        assert total() == 4 * 4 * 2_000
        """,
        tmp_path / "family",
    )


def test_what_a_killed_process_counted_stays(tmp_path: Path) -> None:
    """To the last value; its file is taken over by the next process, so that restarts leave no more than one."""
    check(
        """
        begin(port=0)
        for number in range(1, 6):
            def work():
                count(number)
                os.kill(os.getpid(), signal.SIGKILL)
            wait_for(fork(work), -signal.SIGKILL)
            assert total() == sum(range(number + 1)), total()
        (family,) = FOLDER.iterdir()
        assert len(list(family.glob("*.cells"))) == 2
        """,
        tmp_path / "family",
    )


def test_the_exemplar_of_a_killed_process_stays(tmp_path: Path) -> None:
    """With both ids, value and time, until a later one takes its bucket."""
    check(
        """
        begin(port=0)
        tracer = TracerProvider(shutdown_on_exit=False).get_tracer("t")
        def exemplars():
            return {s.labels["le"]: s.exemplar for s in page() if s.exemplar}
        started = time.time()
        def work():
            with tracer.start_as_current_span("s") as span:
                pathlib.Path("trace").write_text(format(span.get_span_context().trace_id, "032x"))
                count(1, 0.002); count(1, 0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        wait_for(fork(work), -signal.SIGKILL)
        found = exemplars()
        assert {e.labels["trace_id"] for e in found.values()} == {pathlib.Path("trace").read_text()}
        assert sorted(e.value for e in found.values()) == [0.002, 0.5]
        assert all(started <= float(e.timestamp) <= time.time() for e in found.values())
        with tracer.start_as_current_span("s") as span:
            count(1, 0.5)
        assert exemplars()["0.5"].labels["span_id"] == format(span.get_span_context().span_id, "016x")
        """,
        tmp_path / "family",
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_workers_of_a_pool_count_for_their_parent(method: str, tmp_path: Path) -> None:
    """However they are made; and for the parents of their parents."""
    check(
        f"""
        def work(number):
            count(number)
            return os.getpid(), total(at_rest=False)
        def work_alone(number):
            if "{method}" != "fork": begin()
            count(number)
        def parent_of_another():
            if "{method}" != "fork": begin()
            count(1)
            child = multiprocessing.get_context("{method}").Process(target=work_alone, args=(1_000,))
            child.start()
            child.join()
        if __name__ == "__main__":
            begin(port=0)
            count(1)
            context = multiprocessing.get_context("{method}")
            with context.Pool(3, initializer=begin if "{method}" != "fork" else None) as pool:
                pids = dict(pool.map(work, [10] * 12, chunksize=1))
                assert len(pids) >= 1 and os.getpid() not in pids
                assert total() == 121, total()
                assert max(pids.values()) > 1
            assert total() == 121, total()
            child = context.Process(target=parent_of_another)
            child.start()
            child.join()
            assert child.exitcode == 0
            assert total() == 1122, total()
        """,
        tmp_path / "family",
        as_file=True,
    )


def test_another_service_is_another_family(tmp_path: Path) -> None:
    """Programs that a process starts, and processes that measure something else, are not added."""
    folder = tmp_path / "family"
    check(
        """
        begin(port=0)
        count(1)
        if os.environ.get("TEST_DEPTH"):
            assert total() == 1
            sys.exit()
        import subprocess
        program = pathlib.Path("/proc/self/cmdline").read_bytes().split(b"\\0")[:-1]
        subprocess.run(program, env={**os.environ, "TEST_DEPTH": "1"}, check=True)
        assert total() == 1
        def work():
            active.collect()
            other = begin("other", port=0)
            count(5)
            assert total() == 5, total()
        wait_for(fork(work))
        assert total() == 1, total()
        """,
        folder,
    )


def test_it_can_be_started_again_in_a_process(tmp_path: Path) -> None:
    """From zero when it is alone; where others go on counting, its counts are still there."""
    check(
        """
        pipeline = begin(port=0)
        count(7)
        pipeline.close(1)
        count(100)
        pipeline = begin(port=0)
        count(1)
        assert total() == 1, total()
        ready, tell = os.pipe()
        def work():
            count(10)
            os.write(tell, b"x")
            time.sleep(60)
        child = fork(work)
        os.read(ready, 1)
        try:
            pipeline.close(1)
            count(100)
            pipeline = begin(port=0)
            count(1)
            assert total() == 12, total()
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert total() == 12, total()
        pipeline.close(1)
        assert list(FOLDER.iterdir()) == []
        """,
        tmp_path / "family",
    )


def test_counts_from_before_metrics_were_shown_are_taken_along(tmp_path: Path) -> None:
    """Exactly, while threads go on counting; with exemplars."""
    check(
        """
        import otel_ml.metrics.folders as folders
        folders.own_folder = lambda: FOLDER
        sys.setswitchinterval(1e-6)
        start(Metrics(), resource=Resource.create({"service.name": "s"}), exporter=None, prometheus=False)
        with TracerProvider(shutdown_on_exit=False).get_tracer("t").start_as_current_span("s"):
            count(5)
        threads = [threading.Thread(target=count, args=(5_000,)) for _ in range(4)]
        for thread in threads: thread.start()
        wsgi_app()
        for thread in threads: thread.join()
        assert total() == 20_005, total()
        assert any(s.exemplar for s in page())
        child = fork(lambda: (count(1), os.kill(os.getpid(), signal.SIGKILL)))
        wait_for(child, -signal.SIGKILL)
        assert total() == 20_006
        """,
        tmp_path / "family",
    )


def test_each_process_sends_its_own_counts_under_its_own_identity(tmp_path: Path) -> None:
    """OTLP streams stay apart: the values are those of one process, also in memory taken over from another."""
    check(
        """
        from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
        class Exporter(MetricExporter):
            def export(self, data, timeout_millis=10_000, **kwargs):
                self.last = data
                return MetricExportResult.SUCCESS
            def force_flush(self, timeout_millis=10_000): return True
            def shutdown(self, timeout_millis=30_000, **kwargs): pass
            def look(self):
                assert pipeline.flush(5)
                (one,) = self.last.resource_metrics
                points = {m.name: [getattr(p, "count", None) or p.value for p in m.data.data_points]
                          for s in one.scope_metrics for m in s.metrics}
                return (one.resource.attributes["service.instance.id"], points.get(conventions.INFERENCE_DURATION),
                        points.get(conventions.INFERENCE_ROWS))
        import otel_ml.metrics.folders as folders
        folders.own_folder = lambda: FOLDER
        exporter = Exporter()
        resource = Resource.create({"service.name": "s", "service.instance.id": "mine"})
        pipeline = start(Metrics(port=0), resource=resource, exporter=exporter, prometheus=True)
        count(4)
        seen = [exporter.look()]
        for number in (1, 2, 3):
            def work():
                count(number)
                identity, counts, rows = exporter.look()
                assert (counts, rows) == ([number], [2 * number]), (counts, rows)
                pathlib.Path(identity).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            wait_for(fork(work), -signal.SIGKILL)
        assert exporter.look() == seen[0] and seen[0][1:] == ([4], [8])
        assert len(list(pathlib.Path.cwd().glob("*-*-*-*-*"))) == 3
        """,
        tmp_path / "family",
    )


def test_instruments_of_other_libraries_are_summed_as_far_as_they_can_be(tmp_path: Path) -> None:
    """Counters and histograms of all processes, levels of those that live, gauges of the one that answers."""
    check(
        """
        import otel_ml.metrics.readers as readers
        readers._SHARE_INTERVAL = 0.05
        pipeline = begin(port=0)
        meter = metrics.get_meter("other")
        done, open_ = meter.create_counter("done"), meter.create_up_down_counter("open")
        heat = meter.create_gauge("heat")
        wait = meter.create_histogram("wait", explicit_bucket_boundaries_advisory=[1, 2])
        def measure(number):
            done.add(number); open_.add(number); heat.set(number); wait.record(number)
            health.count_dropped("traces", "queue_full", number)
        def values():
            found = {s.name: s.value for s in page()
                     if s.name in ("done_total", "open", "heat", "wait_count", "wait_sum") or (
                         s.name == "otel_ml_dropped_total" and s.labels["otel_ml_signal"] == "traces"
                         and s.labels["otel_ml_reason"] == "queue_full")}
            return tuple(found[name] for name in
                ("done_total", "open", "heat", "wait_count", "wait_sum", "otel_ml_dropped_total"))
        measure(1)
        assert values() == (1, 1, 1, 1, 1, 1), values()
        ready, tell = os.pipe()
        def work():
            count(1)
            measure(10)
            time.sleep(1)
            os.write(tell, b"x")
            time.sleep(60)
        children = [fork(work), fork(work)]
        for _ in children: os.read(ready, 1)
        assert values() == (21, 21, 1, 3, 21, 21), values()
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)
        assert values() == (21, 11, 1, 3, 21, 21), values()
        third = fork(work)
        os.read(ready, 1)
        assert values() == (31, 21, 1, 4, 31, 31), values()
        for child in (children[1], third):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert values() == (31, 1, 1, 4, 31, 31), values()
        """,
        tmp_path / "family",
    )


def test_without_a_folder_each_process_is_shown_alone(tmp_path: Path) -> None:
    """Which is said once; nothing is raised, and nothing is lost but the sum."""
    output = check(
        """
        import otel_ml.metrics.folders as folders
        folders.own_folder = lambda: pathlib.Path("/proc/nowhere")
        start(Metrics(port=0), resource=Resource.create({"service.name": "s"}), exporter=None, prometheus=True)
        count(3)
        count(1, a="b")
        assert sum(s.value for s in page() if s.name.endswith("inference_rows_total")) == 8
        wait_for(fork(lambda: count(1)))
        assert sum(s.value for s in page() if s.name.endswith("inference_rows_total")) == 8
        """,
        tmp_path / "family",
    )
    assert output.count("cannot hold the numbers") == 1


def test_what_was_killed_to_the_last_is_removed_by_the_next_start(tmp_path: Path) -> None:
    """A service that is restarted by force leaves one folder, not one a restart."""
    for _ in range(3):
        check(
            """
            begin(port=0)
            count(1)
            assert total() == 1
            wait_for(fork(lambda: (count(1), os.kill(os.getpid(), signal.SIGKILL))), -signal.SIGKILL)
            sys.stdout.flush()
            os._exit(0)
            """,
            tmp_path / "family",
        )
        assert len(list((tmp_path / "family").iterdir())) == 1


def test_a_folder_that_was_chosen_keeps_what_else_is_in_it(tmp_path: Path) -> None:
    """Whatever its names look like; only the service's own folder comes and goes."""
    folder = tmp_path / "family"
    (folder / "2026-11-backup").mkdir(parents=True)
    (folder / "1-2-0123456789ab").mkdir()
    (folder / "counter_17.db").touch()
    before = sorted(path.name for path in folder.iterdir())
    check(
        """
        pipeline = begin(port=0)
        count(1)
        wait_for(fork(lambda: count(1)))
        assert total() == 2
        assert len(list(FOLDER.iterdir())) == 4
        pipeline.close(1)
        """,
        folder,
        env={"PROMETHEUS_MULTIPROC_DIR": str(folder)},
    )
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_fork_waits_for_a_collection_of_another_thread(tmp_path: Path) -> None:
    """Else the child would inherit the SDK's lock as held, and its page would hang for ever."""
    check(
        """
        import otel_ml.metrics.readers as readers
        from opentelemetry.metrics import Observation
        pipeline = begin(port=0)
        collecting, hang = threading.Event(), threading.Event()
        def slow(options):
            collecting.set()
            time.sleep(0.2)
            hang.wait(30)
            return [Observation(1)]
        hang.set()
        metrics.get_meter("slow").create_observable_counter("slow", [slow])
        def scrape():
            threading.Thread(target=total, args=(False,), daemon=True).start()
            collecting.wait()
            collecting.clear()
        for _ in range(3):
            scrape()
            child = fork(lambda: (count(1), total(), os._exit(7)))
            wait_for(child, 7)
        total()
        hang.clear()
        scrape()
        started = time.monotonic()
        wait_for(fork(lambda: os._exit(7)), 7)
        assert time.monotonic() - started < 10
        hang.set()
        assert total() == 3, total()
        """,
        tmp_path / "family",
    )
