"""What other tools call an execution is on everything inside of it."""

from __future__ import annotations

from pathlib import Path

import otel_ml
from otel_ml import conventions
from otel_ml.execution import current_run
from otel_ml.labels import labelled
from otel_ml.testing import CapturedTelemetry
from support import run_python
from worker_runs import recorded

STAGE = {conventions.DVC_STAGE: "train"}
TRIAL = {conventions.OPTUNA_TRIAL: "churn#7"}


def test_spans_inside_carry_the_labels_and_those_outside_do_not(
    captured_telemetry: CapturedTelemetry,
) -> None:
    """Of all that are open; the innermost goes before, and what ends takes nothing else with it."""
    with otel_ml.run("nightly"):
        with labelled(STAGE), otel_ml.step("outer"):
            inner = labelled(TRIAL | {conventions.DVC_STAGE: "other"})
            with inner, otel_ml.step("inner"), otel_ml.run("joined"):
                joined = current_run()
        with otel_ml.step("after"):
            after = current_run()
    assert joined is not None and after is not None and (joined.id, after.labels) == (after.id, {})
    spans = {name: captured_telemetry.span(name).attributes for name in ("outer", "inner", "after", "run joined")}
    names = (conventions.DVC_STAGE, conventions.OPTUNA_TRIAL)
    found = {name: tuple(attributes.get(key) for key in names) for name, attributes in spans.items()}
    assert found == {
        "outer": ("train", None),
        "inner": ("other", "churn#7"),
        "run joined": ("other", "churn#7"),
        "after": (None, None),
    }


def test_without_a_run_the_process_run_carries_them(captured_telemetry: CapturedTelemetry) -> None:
    """A label without a run would lead nowhere."""
    with labelled(STAGE), otel_ml.step("alone"):
        run = current_run()
    assert run is not None
    attributes = captured_telemetry.span("alone").attributes
    assert (attributes[conventions.RUN_ID], attributes[conventions.DVC_STAGE]) == (run.id, "train")
    assert current_run() is None


def test_a_run_inside_of_labels_alone_is_the_first_one(tmp_path: Path) -> None:
    """It is described in full, it ends with a record, and its sub-processes find it and the labels."""
    done = run_python(
        """
        import os, otel_ml
        from otel_ml import conventions
        from otel_ml.labels import labelled
        with otel_ml.configure(directory="state", audit=False):
            with labelled({conventions.DVC_STAGE: "train"}), otel_ml.run("first") as run:
                assert os.environ["OTEL_ML_RUN_ID"] == run.id
                assert "train" in os.environ["BAGGAGE"]
                with labelled({conventions.OPTUNA_TRIAL: "s#1"}), otel_ml.run("inner"):
                    pass
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    _, lines = recorded(tmp_path)
    events = {line.get(conventions.EVENT_NAME): line for line in lines}
    assert {conventions.RUN_STARTED, conventions.RUN_ENDED} <= events.keys()
    assert conventions.RUN_PACKAGES in events[conventions.RUN_STARTED]
    assert [line[conventions.DVC_STAGE] for line in events.values() if conventions.DVC_STAGE in line] == ["train"] * 2
    assert len([line for line in lines if "ended" in line["message"]]) == 1


def test_processes_of_every_kind_take_them_over(tmp_path: Path) -> None:
    """A sub-process by its environment, a worker by what goes with its work."""
    (tmp_path / "child.py").write_text(
        "import logging, otel_ml, sys\n"
        "def work(name):\n"
        "    with otel_ml.step(name): logging.getLogger('work').warning(name)\n"
        "if __name__ == '__main__':\n"
        "    with otel_ml.configure(directory='state', audit=False): work('sub-process')\n"
    )
    done = run_python(
        """
        import multiprocessing, subprocess, sys
        sys.path.insert(0, ".")
        import child, otel_ml
        from otel_ml import conventions
        from otel_ml.labels import labelled
        if __name__ == "__main__":
            with otel_ml.configure(directory="state", audit=False), otel_ml.run("nightly"):
                with labelled({conventions.DVC_STAGE: "a b&c=d", conventions.OPTUNA_TRIAL: "s#1"}), otel_ml.run("x"):
                    child.work("here")
                with labelled({conventions.DVC_STAGE: "a b&c=d"}):
                    with multiprocessing.get_context("spawn").Pool(1) as pool:
                        pool.map(child.work, ["worker"])
                    import os
                    from otel_ml.propagation import inject_environment
                    environ = dict(os.environ)
                    inject_environment(environ)
                    subprocess.run([sys.executable, "child.py"], env=environ, check=True)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    spans, lines = recorded(tmp_path)
    found = {}
    for span in spans:
        values = {item["key"]: item["value"].get("stringValue") for item in span["attributes"]}
        found[span["name"]] = values.get(conventions.DVC_STAGE)
    name = "a b&c=d"
    assert found == {"run nightly": None, "run x": name, "here": name, "worker": name, "sub-process": name}
    working = {line["message"]: line for line in lines if line["logger"] == "work"}
    assert [line.get(conventions.DVC_STAGE) for line in working.values()] == [name] * 3
    assert {message for message, line in working.items() if conventions.OPTUNA_TRIAL in line} == {"here"}


def test_an_odd_label_is_cleaned_masked_and_bounded() -> None:
    """It stands in the environment of every process."""
    odd = {conventions.DVC_STAGE: "a\udce9b", conventions.OPTUNA_TRIAL: "x" * 9000, conventions.HYDRA_JOB: ""}
    with labelled(odd | {conventions.MLFLOW_RUN_ID: "mail ann@example.com"}):
        run = current_run()
    assert run is not None
    assert run.labels[conventions.DVC_STAGE] == "a?b"
    assert len(run.labels[conventions.OPTUNA_TRIAL]) == 256
    assert run.labels[conventions.HYDRA_JOB] == ""
    assert "ann@" not in run.labels[conventions.MLFLOW_RUN_ID]
