"""Flush and shutdown over all signals, within one deadline."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from otel_ml import health, settings
from otel_ml.telemetry import Telemetry


class Recording:
    def __init__(self, result: bool = True, error: Exception | None = None, delay: float = 0.0) -> None:
        self.calls: list[str] = []
        self._result, self._error, self._delay = result, error, delay

    def wake(self) -> None:
        self.calls.append("wake")

    def flush(self, timeout: float) -> bool:
        self.calls.append("flush")
        time.sleep(min(self._delay, timeout))
        if self._error is not None:
            raise self._error
        return self._result

    def close(self, timeout: float) -> bool:
        self.calls.append("close")
        return self.flush(timeout)


def telemetry_of(*pipelines: Recording, on_close: list[object] | None = None) -> Telemetry:
    return Telemetry(settings.resolve({}), Path("x"), list(pipelines), [], on_close or [])  # type: ignore[arg-type]


def test_flush_wakes_all_then_waits_for_each() -> None:
    """The threads work at once; the answer is true when every signal got through."""
    first, second = Recording(), Recording()
    telemetry = telemetry_of(first, second)
    assert telemetry.flush(1.0)
    assert first.calls == second.calls == ["wake", "flush"]
    assert not telemetry_of(Recording(False), Recording()).flush(1.0)
    telemetry.shutdown()


def test_a_pipeline_that_raises_does_not_keep_the_others_from_ending() -> None:
    """Its error is counted, and the result says that something was lost."""
    broken, good = Recording(error=OSError("x")), Recording()
    assert not telemetry_of(broken, good).shutdown()
    assert "close" in good.calls
    assert health.dropped() == {("internal", "flush"): 1}


def test_shutdown_happens_once_and_runs_what_was_left_for_the_end() -> None:
    """Also when one of those actions fails."""
    done: list[int] = []

    def fail() -> None:
        raise RuntimeError("x")

    pipeline = Recording()
    telemetry = telemetry_of(pipeline, on_close=[fail, lambda: done.append(1)])
    assert telemetry.shutdown() and telemetry.shutdown()
    assert pipeline.calls.count("close") == 1 and done == [1] and telemetry.closed
    assert health.dropped() == {("internal", "shutdown"): 1}


def test_one_deadline_holds_for_all_signals_together() -> None:
    """A slow first signal leaves the others a moment, not the whole time again."""
    pipelines = [Recording(delay=60) for _ in range(4)]
    started = time.monotonic()
    telemetry_of(*pipelines).shutdown(timeout=0.5)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(("lost", "text"), [(0, "some was still being sent after 0.5 s"), (7, "7 items are lost")])
def test_what_did_not_get_through_at_the_end_is_said(lost: int, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """In numbers when they are known; what was lost long before is none of it."""

    class Losing(Recording):
        def close(self, timeout: float) -> bool:
            if lost:
                health.count_dropped("traces", "export_failed", lost)
            return False

    health.count_dropped("traces", "queue_full", 1000)
    assert not telemetry_of(Losing()).shutdown(timeout=0.5)
    assert [record.getMessage() for record in caplog.records] == [
        f"telemetry was not delivered in full: {text}. `otel-ml doctor` says why."
    ]


def test_the_context_manager_shuts_down_and_lets_exceptions_through() -> None:
    """What is raised inside is raised outside."""
    pipeline = Recording()
    try:
        with telemetry_of(pipeline):
            raise ValueError("mine")
    except ValueError as error:
        assert str(error) == "mine"
    assert "close" in pipeline.calls
