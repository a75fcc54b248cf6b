"""The audit trail of a program from its start to its end, however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from audit.calls import SERVICE, call, entries, ids, program_environment, records, segments, started, wait_for, writing

from otel_ml import health
from otel_ml.audit import place, setup
from otel_ml.audit.reading.verify import verify
from otel_ml.options import Audit
from support import run_python

PROGRAM = """
    import os, sys, threading, time, otel_ml
    from pathlib import Path

    @otel_ml.inference(model="m", version="1")
    def predict(x):
        if x < 0:
            raise ValueError("negative")
        return x * 2

    telemetry = otel_ml.configure(
        traces=False, metrics=False, logs=otel_ml.Logs(format="none"), audit=otel_ml.Audit(directory=Path("audit"))
    )
"""


def run_program(code: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return run_python(textwrap.dedent(PROGRAM) + textwrap.dedent(code), cwd=tmp_path, env=program_environment())


def features(directory: Path) -> list[int]:
    return [record["features"] for record in records(directory)]


def all_sealed(directory: Path) -> bool:
    return all(path.suffix == ".jsonl" for path in segments(directory))


# The end of a program


def test_a_program_that_ends_has_everything_on_record(tmp_path: Path) -> None:
    """Without a word at its end: the segment is sealed, and the chain holds."""
    done = run_program("for x in range(1000): predict(x)\n", tmp_path)
    assert done.returncode == 0, done.stderr
    assert features(tmp_path / "audit") == list(range(1000))
    assert all_sealed(tmp_path / "audit") and verify(tmp_path / "audit")


def test_sigterm_leaves_everything_on_record(tmp_path: Path) -> None:
    """The signal still ends the program."""
    done = run_program("for x in range(1000): predict(x)\nos.kill(os.getpid(), 15)\ntime.sleep(30)\n", tmp_path)
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert features(tmp_path / "audit") == list(range(1000))
    assert all_sealed(tmp_path / "audit") and verify(tmp_path / "audit")


def test_os_exit_costs_what_a_kill_does(tmp_path: Path) -> None:
    """What was older than the window is there, and the next start seals it."""
    done = run_program(
        "for x in range(1000): predict(x)\ntelemetry.flush()\nfor x in range(1000, 2000): predict(x)\nos._exit(3)\n",
        tmp_path,
    )
    assert done.returncode == 3
    found = features(tmp_path / "audit")
    assert found == list(range(len(found))) and len(found) >= 1000
    with writing(tmp_path / "audit") as writer:
        writer.put(call(1))
        wait_for(lambda: sum(path.suffix == ".jsonl" for path in segments(tmp_path / "audit")) >= 1)
    assert verify(tmp_path / "audit")


def test_calls_at_interpreter_shutdown_are_survived(tmp_path: Path) -> None:
    """In an atexit handler, a `__del__`, a thread that still runs: the program ends cleanly, and the trail is whole."""
    script = tmp_path / "late.py"
    script.write_text(
        "import atexit\natexit.register(lambda: predict(1000))\n"
        + textwrap.dedent(PROGRAM)
        + textwrap.dedent(
            """
            atexit.register(predict, 1)

            class Holder:
                def __del__(self):
                    predict(2000)

            holder = Holder()
            threading.Thread(target=lambda: [predict(3000) for _ in range(100_000)], daemon=True).start()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-P", str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    assert 1 in features(tmp_path / "audit")
    assert all_sealed(tmp_path / "audit") and verify(tmp_path / "audit")


# Processes


def test_a_pool_of_forked_workers_writes_a_trail_each(tmp_path: Path) -> None:
    """Multiprocessing ends its workers in ways of its own; each record is there once."""
    done = run_program(
        """
        import multiprocessing
        predict(-0)
        with multiprocessing.get_context("fork").Pool(3) as pool:
            pool.map(predict, range(1, 300), chunksize=1)
            pool.close()
            pool.join()
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(features(tmp_path / "audit")) == list(range(300))
    assert all_sealed(tmp_path / "audit") and verify(tmp_path / "audit")


def test_workers_that_are_forked_before_the_first_call_share_nothing(tmp_path: Path) -> None:
    """As a server does that loads the application first: the master has neither thread nor file."""
    done = run_program(
        """
        children = []
        for child in range(4):
            pid = os.fork()
            if pid == 0:
                for x in range(200):
                    predict(child * 1000 + x)
                telemetry.shutdown()
                os._exit(0)
            children.append(pid)
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
        print(os.getpid())
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    directory = tmp_path / "audit"
    assert sorted(features(directory)) == [child * 1000 + x for child in range(4) for x in range(200)]
    assert len(segments(directory)) == 4
    assert not any(f"-{done.stdout.strip()}-" in path.name for path in segments(directory))
    assert verify(directory)


def test_a_fork_in_the_middle_of_everything_blocks_nobody(tmp_path: Path) -> None:
    """Threads put records, segments are sealed and synced, and children are made all the time."""
    done = run_python(
        """
        import os, threading, time
        from pathlib import Path
        from audit.calls import SERVICE, call, started
        pipeline = started(Path("audit"), segment_bytes=200_000, sync_interval=0.01, queue_size=10**6)
        stop = False
        def put():
            number = 0
            while not stop:
                pipeline.writer.put(call(number))
                number += 1
                time.sleep(0.0005)
        threads = [threading.Thread(target=put, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for child in range(20):
            pid = os.fork()
            if pid == 0:
                for number in range(50):
                    pipeline.writer.put(call(f"{child}-{number}"))
                os._exit(0 if pipeline.close(30.0) else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        stop = True
        for thread in threads:
            thread.join()
        assert pipeline.close(10.0)
        """,
        cwd=tmp_path,
        env=program_environment(),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    of_children = [identity for identity in ids(tmp_path / "audit") if "-" in identity]
    assert sorted(of_children) == sorted(f"{child}-{number}" for child in range(20) for number in range(50))
    assert all_sealed(tmp_path / "audit") and verify(tmp_path / "audit")


def test_two_processes_with_the_same_directory_write_files_of_their_own(tmp_path: Path) -> None:
    """At the same time, with the same service: no line of one is in a file of the other."""
    code = textwrap.dedent(PROGRAM) + "for x in range(500): predict(int(sys.argv[1]) + x)\n"
    processes = [subprocess.Popen([sys.executable, "-P", "-c", code, n], cwd=tmp_path) for n in ("0", "1000")]
    assert [process.wait(60) for process in processes] == [0, 0]
    directory = tmp_path / "audit"
    assert sorted(features(directory)) == [*range(500), *range(1000, 1500)]
    for path in segments(directory):
        of_file = [json.loads(line).get("features") for line in path.read_bytes().splitlines()]
        assert len({number >= 1000 for number in of_file if number is not None}) == 1
    assert len(segments(directory)) == 2 and verify(directory)


# Odds


def test_a_clock_that_goes_back_breaks_neither_names_nor_order(tmp_path: Path) -> None:
    """Order is that of `seq`; segments are sealed by a clock that does not jump, and nothing is deleted early."""
    done = run_python(
        """
        import time
        from pathlib import Path
        from audit.calls import SERVICE, call, started
        real, shift = time.time_ns, 0
        time.time_ns = lambda: real() + shift
        pipeline = started(Path("audit"), segment_bytes=2000, retention_age=600.0)
        for number in range(30):
            shift = -3_600_000_000_000 if number >= 10 else 0
            pipeline.writer.put(call(number))
            pipeline.writer.flush(5.0)
        assert pipeline.close(5.0)
        """,
        cwd=tmp_path,
        env=program_environment(),
    )
    assert done.returncode == 0, done.stderr
    assert ids(tmp_path / "audit") == [str(number) for number in range(30)]
    times = [record["time_unix_nano"] for record in records(tmp_path / "audit")]
    assert times != sorted(times)
    assert verify(tmp_path / "audit")


def test_the_directory_of_the_options_goes_before_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And readers in this process look there."""
    monkeypatch.setattr(place, "_in_use", None)
    options = Audit(directory=tmp_path / "chosen")
    pipeline = setup.start(options, directory=tmp_path / "default", service=SERVICE)
    pipeline.writer.put(call(1))
    assert pipeline.close(5.0)
    assert pipeline.directory == tmp_path / "chosen" == place.find()
    assert ids(tmp_path / "chosen") == ["1"] and not (tmp_path / "default").exists()


def test_segments_are_compacted_in_the_background_when_that_is_asked_for(tmp_path: Path) -> None:
    """The thread starts with the first record, and ends with the pipeline."""
    pytest.importorskip("duckdb")
    import threading

    pipeline = started(tmp_path, compact=True)
    assert not [thread for thread in threading.enumerate() if "compaction" in thread.name]
    pipeline.writer.put(call(1))
    wait_for(lambda: any("compaction" in thread.name for thread in threading.enumerate()))
    assert pipeline.close(5.0)
    wait_for(lambda: not any("compaction" in thread.name for thread in threading.enumerate()))


def test_upkeep_that_fails_is_said_and_records_go_on(tmp_path: Path) -> None:
    """A manifest that nobody may touch stops neither writing nor the end."""
    (tmp_path / "manifest.jsonl").mkdir()
    with writing(tmp_path, segment_bytes=1000, retention_bytes=1) as writer:
        for number in range(10):
            writer.put(call(number))
            writer.flush(5.0)
    assert ids(tmp_path) == [str(number) for number in range(10)]
    assert ("internal", "retention of the audit trail") in health.dropped()


def test_a_slow_start_loses_nothing(tmp_path: Path) -> None:
    """Records are written while what others left is still being looked after."""
    for index in range(3):
        pipeline = started(tmp_path)
        for number in range(200):
            pipeline.writer.put(call(f"{index}-{number}"))
        assert pipeline.close(5.0)
        time.sleep(0.001)
    assert len(ids(tmp_path)) == len(set(ids(tmp_path))) == 600
    assert len(entries(tmp_path)) == 3
    assert verify(tmp_path)
