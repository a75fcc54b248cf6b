"""Threads, tasks and processes at once: what `/metrics` counts, what is exported and what is logged agree exactly.

`OTEL_ML_REPEATS=20` runs it as often; the suite runs it twice.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

PROGRAM = Path(__file__).with_name("concurrency_program.py")
PROCESSES, THREADS, CALLS, TASKS = 4, 16, 25, 1000
EXPECTED = PROCESSES * (THREADS * CALLS + TASKS)


@pytest.mark.parametrize("repeat", range(int(os.environ.get("OTEL_ML_REPEATS", "2"))))
def test_counts_spans_and_log_lines_agree(tmp_path: Path, repeat: int) -> None:
    """Four processes, each with 16 threads and 1,000 tasks: every call is there once, in all three signals."""
    sizes = [str(number) for number in (_free_port(), PROCESSES, THREADS, CALLS, TASKS)]
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAM), str(tmp_path), *sizes],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert _counted(done.stdout, "otel_ml_inference_duration_seconds_count") == EXPECTED
    assert _counted(done.stdout, "otel_ml_inference_rows_total") == EXPECTED
    spans, lines = _spans(tmp_path), _lines(tmp_path)
    assert len(spans) == EXPECTED
    assert sorted(lines) == sorted(spans)
    assert _counted_by_otlp(tmp_path) == EXPECTED


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _counted(page: str, name: str) -> float:
    families = text_string_to_metric_families(page)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


def _spans(folder: Path) -> list[tuple[str, str]]:
    return [
        (span["traceId"], span["spanId"])
        for path in folder.glob("*/traces-*.jsonl")
        for line in path.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def _lines(folder: Path) -> list[tuple[str, str]]:
    records = [json.loads(line) for path in folder.glob("*/*.log") for line in path.read_text().splitlines()]
    return [(record["trace_id"], record["span_id"]) for record in records if record["logger"] == "application"]


def _counted_by_otlp(folder: Path) -> int:
    """Add the last cumulative point of each stream, which is a process's."""
    last: dict[str, int] = {}
    for path in folder.glob("*/metrics-*.jsonl"):
        for line in path.read_text().splitlines():
            for resource in json.loads(line)["resourceMetrics"]:
                metrics = [metric for scope in resource["scopeMetrics"] for metric in scope["metrics"]]
                for metric in metrics:
                    if metric["name"] == "otel_ml.inference.duration":
                        counts = [int(point["count"]) for point in metric["histogram"]["dataPoints"]]
                        last[path.name] = sum(counts)
    return sum(last.values())
