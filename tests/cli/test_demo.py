"""`otel-ml demo` in a process of its own: what a newcomer sees first."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from support import run_python

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, command) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One demo, and its state directory."""
    state = tmp_path_factory.mktemp("demo")
    return command("demo", "--dir", state), state


def test_the_demo_shows_a_trace_with_times(demo) -> None:
    """Training and serving are one trace, each step with its time."""
    result, _ = demo
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert re.search(r"^run demo [0-9a-f]{8} +[\d.]+ s ━{16}$", result.stdout, re.MULTILINE)
    for step in ("load", "split", "train", "evaluate", "serve"):
        assert re.search(rf"── {step} [0-9a-f]{{8}} +[\d.]+ (s|ms|µs) ", result.stdout), step
    assert re.search(r"\.\.\. \d+ more predict breast-cancer: median", result.stdout)
    assert "record_id" not in result.stdout, "the lines of the tree are full as they are"


def test_the_demo_shows_correlated_log_lines(demo) -> None:
    """Each line names the span that it was written in."""
    result, _ = demo
    tree_id = re.search(r"── load ([0-9a-f]{8})", result.stdout)
    assert tree_id
    assert re.search(rf"INFO +{tree_id[1]} +load +loaded 569 rows of 30 features", result.stdout)
    assert "answered 300 requests" in result.stdout


def test_the_demo_fails_once_and_shows_the_masked_features(demo) -> None:
    """One request has text where a number belongs: one failure, with what the model was given, masked."""
    result, state = demo
    assert "Failures: 1\n  ValueError: could not convert string to float: '13,4 cm'\n" in result.stdout
    assert "mean radius='13,4 cm'" in result.stdout
    everything = result.stdout + "".join(path.read_text() for path in state.rglob("*") if path.is_file())
    assert "@example.org" not in everything


def test_the_demo_shows_latencies_of_both_models(demo) -> None:
    """Two versions serve side by side: together 300 calls, each with its own histogram and slow spans."""
    result, _ = demo
    title = re.compile(r"^Latency of predict breast-cancer (\S+)  (\d+) calls(, 1 failed)?$", re.MULTILINE)
    calls = title.findall(result.stdout)
    assert sorted(version for version, _, _ in calls) == ["1.0.0", "2.0.0"]
    assert sum(int(number) for _, number, _ in calls) == 300
    assert [failed for _, _, failed in calls if failed] == [", 1 failed"]
    assert re.search(r"slow: [\d.]+ ms in trace [0-9a-f]{32} span [0-9a-f]{16}", result.stdout)


def test_the_demo_asks_the_audit_trail_why_a_prediction_failed(demo, command) -> None:
    """With time, model, error, features and the trace that is shown; whoever types the command gets the same."""
    pytest.importorskip("duckdb")
    result, state = demo
    typed = re.search(r"^  otel-ml (audit query \"select .+)$", result.stdout, re.MULTILINE)
    assert typed
    arguments = shlex.split(typed[1])
    assert arguments[-2:] == ["--dir", str(state / "audit")]
    answer = command(*arguments)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout in result.stdout
    [found] = map(json.loads, command(*arguments, "--format", "json").stdout.splitlines())
    assert found["time"].endswith("Z")
    assert (found["model_name"], found["model_version"], found["error_type"]) == (
        "breast-cancer",
        "1.0.0",
        "ValueError",
    )
    assert found["exception_message"] == "could not convert string to float: '13,4 cm'"
    assert (found["features"]["mean radius"], found["features"]["email"]) == ("13,4 cm", "[redacted]")
    assert f"Trace  {found['trace_id']}\n" in result.stdout
    assert "13,4 cm" in answer.stdout and found["trace_id"] in answer.stdout


def test_the_demo_names_the_next_commands_and_they_work(demo, command) -> None:
    """What is printed can be copied: the run's id finds the run again."""
    result, state = demo
    [run_id] = set(re.findall(r"otel-ml (?:push|show) (\S+)", result.stdout))
    assert json.loads(next(state.glob(f"*-{run_id}/run.json")).read_text())["id"] == run_id
    assert "otel-ml run -- python your_script.py" in result.stdout
    shown = command("show", run_id, "--dir", state)
    assert shown.returncode == 0
    assert "run demo  ok" in shown.stdout


def test_the_demo_is_the_same_every_time(demo) -> None:
    """Data, models and requests come from one seed: accuracies and counts do not vary."""
    result, _ = demo
    assert "accuracy of LogisticRegression: 0.982" in result.stdout
    assert "608 spans" in result.stdout
    assert "request 217 was answered with 422" in re.sub(r"\s+", " ", result.stdout)


def test_without_scikit_learn_the_demo_says_how_to_get_it() -> None:
    """The core installs without scikit-learn; then the message has the line to type, and nothing is recorded."""
    result = run_python(
        """
        import importlib.util
        import sys
        real = importlib.util.find_spec
        importlib.util.find_spec = lambda name, package=None: None if name == "sklearn" else real(name, package)
        from otel_ml.cli import app
        sys.argv = ["otel-ml", "demo"]
        app.main()
        """
    )
    assert result.returncode == 2
    assert "pip install 'otel-ml[demo]'" in result.stderr


def test_without_duckdb_the_rest_of_the_demo_is_shown(tmp_path: Path) -> None:
    """The audit trail is written all the same, and how it can be asked is said."""
    result = run_python(
        """
        import sys
        sys.modules["duckdb"] = None
        from otel_ml.cli import app
        sys.argv = ["otel-ml", "demo"]
        app.main()
        """,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert "pip install 'otel-ml[audit]'" in result.stdout
    assert "otel-ml run -- python your_script.py" in result.stdout
    assert list((tmp_path / ".otel_ml/audit").glob("*.jsonl"))


def test_a_disabled_sdk_is_said(tmp_path: Path, command) -> None:
    """With OTEL_SDK_DISABLED there is nothing to show, and the message says why."""
    result = command("demo", "--dir", tmp_path, OTEL_SDK_DISABLED="true")
    assert result.returncode == 2
    assert "OTEL_SDK_DISABLED" in result.stderr


@pytest.mark.parametrize(
    ("variable", "value", "where"),
    [("OTEL_TRACES_EXPORTER", "none", "nowhere"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9", "otlp")],
)
def test_a_demo_whose_traces_go_elsewhere_says_where(
    tmp_path: Path, command, variable: str, value: str, where: str
) -> None:
    """Without local files there is nothing to show; that is said before anything is trained."""
    result = command("demo", "--dir", tmp_path, **{variable: value})
    assert result.returncode == 2
    assert f"traces go to: {where}. Unset OTEL_EXPORTER_OTLP_ENDPOINT" in result.stderr
    assert result.stdout == ""
