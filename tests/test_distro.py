"""`opentelemetry-instrument` with our distro: a program that knows nothing of otel_ml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

SCRIPT = """
import logging
logging.getLogger("app").warning("hello from a plain script")
from opentelemetry import trace
with trace.get_tracer("app").start_as_current_span("work"):
    logging.getLogger("app").error("inside")
raise ValueError("the end")
"""


def test_entry_points_name_our_distro_and_configurator() -> None:
    """As installed."""
    for group, expected in (("opentelemetry_distro", "Distro"), ("opentelemetry_configurator", "Configurator")):
        (entry,) = entry_points(group=group, name="otel_ml")
        assert entry.load().__name__ == expected


def test_a_plain_script_gets_logs_with_ids_spans_and_its_last_words(tmp_path: Path) -> None:
    """Configured from the environment alone; each record is written once, an uncaught exception too."""
    script = tmp_path / "plain.py"
    script.write_text(SCRIPT)
    program = Path(sys.executable).with_name("opentelemetry-instrument")
    done = subprocess.run(
        [str(program), sys.executable, str(script)],
        cwd=tmp_path,
        env={
            **os.environ,
            "OTEL_PYTHON_DISTRO": "otel_ml",
            "OTEL_PYTHON_CONFIGURATOR": "otel_ml",
            "OTEL_ML_LOG_FORMAT": "none",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1 and done.stderr.rstrip().endswith("ValueError: the end")
    (directory,) = (tmp_path / ".otel_ml").iterdir()
    records = [json.loads(line) for path in directory.glob("*.log") for line in path.read_text().splitlines()]
    messages = [record["message"] for record in records if record["logger"].startswith(("app", "otel_ml"))]
    assert messages == ["hello from a plain script", "inside", "uncaught ValueError"]
    inside = records[-2]
    assert len(inside["trace_id"]) == 32 and records[-1]["exception"]["message"] == "the end"
    assert '"work"' in next(directory.glob("traces-*")).read_text()
