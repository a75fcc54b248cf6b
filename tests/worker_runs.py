"""What the processes of one run recorded, and whether every task is there, below its caller."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

Lines = list[dict[str, Any]]


def recorded(folder: Path) -> tuple[Lines, Lines]:
    """Return the spans and log lines of the one run that a program was, workers included."""
    (state,) = (folder / "state").iterdir()
    spans = [
        span
        for path in state.glob("traces-*.jsonl")
        for line in path.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    lines = [json.loads(line) for path in state.glob("*.log") for line in path.read_text().splitlines()]
    return spans, lines


def check(spans: Lines, lines: Lines, tasks: int, parent: str = "caller") -> None:
    """Every task is a span below the caller's, with its line, in one trace and run; none is missing."""
    by_id = {span["spanId"]: span for span in spans}
    found = [span for span in spans if span["name"] == "task"]
    assert len(found) == tasks
    assert {by_id[span["parentSpanId"]]["name"] for span in found} == {parent}
    assert len({span["traceId"] for span in spans}) == 1
    (run,) = {line["run_id"] for line in lines if line["logger"] == "work"}
    for span in found:
        attributes = {item["key"]: item["value"] for item in span["attributes"]}
        assert attributes["otel_ml.run.id"] == {"stringValue": run}
    working = [line for line in lines if line["logger"] == "work"]
    assert Counter(line["span_id"] for line in working) == Counter(span["spanId"] for span in found)
