"""SIGTERM: what is queued is delivered whatever the main thread was doing, and the process ends as by the signal."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import run_python


@pytest.mark.parametrize(
    "busy",
    [
        pytest.param("with threading._active_limbo_lock: time.sleep(2)", id="starting a thread"),
        pytest.param("while True: threading.Event().set()", id="in a loop of locks"),
        pytest.param("import hashlib; hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2**31 - 1)", id="in a long C call"),
    ],
)
def test_a_main_thread_that_is_busy_does_not_hold_the_delivery_up(tmp_path: Path, busy: str) -> None:
    """The handler takes no lock, and the delivery needs no instruction of the main thread."""
    done = run_python(
        f"""
        import os, signal, sys, threading, time, otel_ml
        telemetry = otel_ml.configure(directory="state")
        with otel_ml.step("recorded"):
            print("ready")
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        {busy}
        time.sleep(20)
        """,
        cwd=tmp_path,
        timeout=30,
    )
    assert done.returncode == -15, done.stderr
    (traces,) = (tmp_path / "state").rglob("traces-*.jsonl")
    assert '"recorded"' in traces.read_text()


def test_a_pool_whose_workers_end_in_any_moment_neither_hangs_nor_loses_a_span(tmp_path: Path) -> None:
    """Pools that are terminated at once, again and again, also by a process that was forked itself."""
    done = run_python(
        """
        import multiprocessing, otel_ml
        fork = multiprocessing.get_context("fork")

        @otel_ml.step
        def work(x):
            return x

        def pools():
            for _ in range(8):
                with fork.Pool(2) as pool:
                    assert pool.map(work, range(6)) == list(range(6))

        if __name__ == "__main__":
            telemetry = otel_ml.configure(logs=otel_ml.Logs(format="none"), directory="state")
            pools()
            nested = fork.Process(target=pools)
            nested.start()
            nested.join()
            assert nested.exitcode == 0, nested.exitcode
            telemetry.shutdown()
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    written = "".join(path.read_text() for path in (tmp_path / "state").rglob("traces-*.jsonl"))
    assert written.count('"name":"work"') == 2 * 8 * 6


def test_a_child_of_fork_that_has_not_begun_ends_by_the_signal_alone(tmp_path: Path) -> None:
    """A SIGTERM for the child, at any moment after its birth, is none for the parent."""
    done = run_python(
        """
        import os, signal, otel_ml
        telemetry = otel_ml.configure(directory="state")
        for _ in range(100):
            child = os.fork()
            if not child:
                signal.pause()
            os.kill(child, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
        """,
        cwd=tmp_path,
    )
    assert done.returncode == -15, done.stderr


def test_forks_in_threads_leave_the_delivery_in_place(tmp_path: Path) -> None:
    """Many forks at once, and a SIGTERM in the middle of them, which is delivered once they are over."""
    done = run_python(
        """
        import os, signal, sys, threading, time, otel_ml
        sys.setswitchinterval(1e-6)
        telemetry = otel_ml.configure(directory="state")

        def forks():
            for _ in range(60):
                child = os.fork()
                if not child:
                    os._exit(0)
                os.waitpid(child, 0)

        with otel_ml.step("recorded"):
            threads = [threading.Thread(target=forks) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == -15, done.stderr
    written = "".join(path.read_text() for path in (tmp_path / "state").rglob("traces-*.jsonl"))
    assert '"recorded"' in written


def test_set_up_and_shutdown_leave_no_file_open(tmp_path: Path) -> None:
    """Also where the program has set a handler of its own meanwhile."""
    done = run_python(
        """
        import os, signal, time, otel_ml

        def cycle(number):
            telemetry = otel_ml.configure(directory="state", logs=False, metrics=False)
            if number % 2:
                signal.signal(signal.SIGTERM, lambda *_: None)
            telemetry.shutdown()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(0.05)
            return len(os.listdir("/proc/self/fd"))

        counts = [cycle(number) for number in range(8)]
        assert counts[-1] <= counts[1], counts
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
