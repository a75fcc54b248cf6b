"""Every log line carries the ids of the span that was open where it was written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

PROGRAM = Path(__file__).with_name("correlation_program.py")


def test_each_line_has_the_ids_of_the_span_that_was_open(tmp_path: Path) -> None:
    """Over random nestings of sync, async, generator, task and threaded calls, through real files.

    Each line's message is the name of the span that the program's structure puts around it; names are unique.
    """
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAM), str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    (traces,) = tmp_path.glob("*/traces-*.jsonl")
    (log,) = tmp_path.glob("*/*.log")
    spans = {
        span["name"]: (span["traceId"], span["spanId"])
        for line in traces.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    }
    lines = [record for text in log.read_text().splitlines() if (record := json.loads(text))["logger"] == "application"]
    assert [(line["trace_id"], line["span_id"]) for line in lines] == [spans[line["message"]] for line in lines]
    kinds = Counter(line["message"].rpartition("-")[0] for line in lines)
    assert len(kinds) == 8 and min(kinds.values()) > 5, kinds
