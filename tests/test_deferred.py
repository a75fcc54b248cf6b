"""A pipeline that is made when there is something for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_ml.deferred import DeferredPipeline
from support import run_python


class Recorded:
    """A pipeline that keeps what is done with it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def wake(self) -> None:
        self.calls.append("wake")

    def flush(self, timeout: float) -> bool:
        self.calls.append(f"flush {timeout}")
        return False

    def close(self, timeout: float) -> bool:
        self.calls.append(f"close {timeout}")
        return False


def test_a_pipeline_that_was_begun_does_what_it_is_told() -> None:
    """It is made once, and its answers are given."""
    made: list[Recorded] = []

    def make() -> Recorded:
        made.append(Recorded())
        return made[-1]

    pipeline = DeferredPipeline("audit", make)
    pipeline.begin()
    pipeline.begin()
    pipeline.wake()
    assert not pipeline.flush(1.0) and not pipeline.close(2.0)
    assert [one.calls for one in made] == [["wake", "flush 1.0", "close 2.0"]]


def test_a_pipeline_that_was_never_begun_has_nothing_to_lose() -> None:
    """And once it is closed it is not made any more."""
    made: list[Recorded] = []
    pipeline = DeferredPipeline("audit", lambda: made.append(Recorded()) or made[-1])
    pipeline.wake()
    assert pipeline.flush(1.0) and pipeline.close(1.0)
    pipeline.begin()
    assert made == []


def test_a_pipeline_that_cannot_be_made_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    """Who gave the reason for it sees nothing of the error; a warning does."""

    def make() -> Recorded:
        raise OSError("no disk")

    pipeline = DeferredPipeline("the audit trail of this test", make)
    pipeline.begin()
    assert pipeline.close(1.0)
    assert "the audit trail of this test" in caplog.text


def test_a_program_without_inference_calls_does_not_load_the_audit_trail(tmp_path: Path) -> None:
    """One that decorates a call before `configure` has it, and one that decorates it afterwards too."""
    configured = "import otel_ml, sys\ntelemetry = otel_ml.configure()\n"
    call = "@otel_ml.inference\ndef predict(x): return x\n"
    asked = "print('otel_ml.audit' in sys.modules)\n"
    predicted = "predict([1.0])\ntelemetry.shutdown()\nprint(len(list(otel_ml.audit.tail(follow=False))))"
    for program, printed in (
        (configured + "@otel_ml.step\ndef f(): pass\nf()\n" + asked, ["False"]),
        (configured + call + asked + predicted, ["True", "1"]),
        ("import otel_ml\n" + call + configured + asked + predicted, ["True", "1"]),
    ):
        folder = tmp_path / str(len(program))
        folder.mkdir()
        done = run_python(program, env={"OTEL_ML_LOG_FORMAT": "none"}, cwd=folder)
        assert done.stdout.split() == printed, done.stderr
