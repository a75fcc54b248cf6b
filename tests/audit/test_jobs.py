"""Slow work on files, beside the writer."""

from __future__ import annotations

import threading

from audit.calls import wait_for

from otel_ml import health
from otel_ml.audit.jobs import Jobs
from support import run_python


def test_jobs_run_in_order_on_a_thread_that_starts_with_the_first() -> None:
    """One after the other, not on the caller's thread."""
    before = threading.active_count()
    jobs = Jobs()
    assert threading.active_count() == before
    done: list[tuple[int, bool]] = []
    for number in range(50):
        jobs.submit(lambda number=number: done.append((number, threading.current_thread().daemon)))  # type: ignore[misc]
    assert jobs.close(10.0)
    assert done == [(number, True) for number in range(50)]


def test_a_job_that_raises_is_survived_and_said() -> None:
    """The next one runs."""
    jobs = Jobs()
    done: list[int] = []
    jobs.submit(lambda: 1 / 0)
    jobs.submit(lambda: done.append(1))
    wait_for(jobs.is_idle)
    assert done == [1]
    assert ("internal", "work on an audit file") in health.dropped()
    assert jobs.close(1.0)


def test_closing_does_not_wait_for_ever() -> None:
    """A job that hangs costs the time that was given."""
    jobs = Jobs()
    go = threading.Event()
    jobs.submit(go.wait)
    assert not jobs.close(0.05)
    go.set()
    wait_for(jobs.is_idle)


def test_jobs_are_done_at_once_when_no_thread_can_start() -> None:
    """As at the very end of a program; here there is no room for a thread's stack."""
    done = run_python(
        """
        import threading
        from otel_ml.audit.jobs import Jobs
        threading.stack_size(1 << 46)
        jobs = Jobs()
        jobs.submit(lambda: print("done", threading.current_thread() is threading.main_thread()))
        jobs.submit(lambda: print("too"))
        assert jobs.is_idle() and jobs.close(1.0)
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done True\ntoo\n"
