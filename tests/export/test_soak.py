"""The soak, for seconds: an endpoint that is down, then up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"


def soak(*arguments):
    """Run the program without `python -m`, which would put the sources in the way of the installed package."""
    return subprocess.run(
        [sys.executable, "-P", str(SOAK), *arguments],
        env={**os.environ, "OTEL_EXPORTER_OTLP_TIMEOUT": "3"},  # else seconds pass between two tries
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_down_then_up_loses_nothing_uncounted():
    """At full speed memory stays flat, each span is received or counted as dropped, and export resumes."""
    done = soak("--minutes", "0.2", "--every", "0.2", "--queue-size", "5000")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"made ([\d,]+) = received ([\d,]+) \+ dropped ([\d,]+);", done.stdout)
    made, received, dropped = (int(number.replace(",", "")) for number in found.groups())
    assert made == received + dropped
    assert received and dropped


def test_what_does_not_hold_is_said():
    """A queue that never fills drops nothing, so the run shows nothing, and says so."""
    done = soak("--minutes", "0.02", "--every", "0.1", "--queue-size", "100000000")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED: nothing was dropped" in done.stdout
