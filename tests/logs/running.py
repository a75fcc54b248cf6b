"""A pipeline that a test started, and what came out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.resources import Resource

from otel_ml.logs import LogPipeline, start
from otel_ml.logs.entries import Entry
from otel_ml.options import Logs


class Running:
    """A started pipeline that writes to a directory and exports to memory."""

    def __init__(self, directory: Path, options: Logs, *, set_level: bool) -> None:
        self.directory = directory
        self.exporter = InMemoryLogRecordExporter()
        resource = Resource({"service.name": "shop"})
        self.pipeline: LogPipeline = start(
            options, service="shop", resource=resource, directory=directory, exporter=self.exporter, set_level=set_level
        )

    def lines(self) -> list[dict[str, Any]]:
        """Flush, and return the lines of all log files."""
        assert self.pipeline.flush(30.0)
        return read_lines(self.directory)

    def messages(self) -> list[str]:
        """Flush, and return the messages in the log files."""
        return [line["message"] for line in self.lines()]

    def exported(self) -> list[Any]:
        """Flush, and return the exported log records."""
        assert self.pipeline.flush(30.0)
        return [exported.log_record for exported in self.exporter.get_finished_logs()]


def read_lines(directory: Path) -> list[dict[str, Any]]:
    """Return the lines of all log files in a directory, parsed."""
    return [json.loads(line) for path in sorted(directory.glob("*.log")) for line in path.read_bytes().splitlines()]


def entry(**fields: Any) -> Entry:
    """Return an entry with these fields and usual ones for the others."""
    defaults: dict[str, Any] = {
        "time_ns": 1_795_365_588_123_456_789, "level": 20, "level_name": "INFO", "logger": "app", "message": "hello",
        "trace_id": "", "span_id": "", "trace_flags": 0, "run_id": None, "extra": {}, "exception": None,
        "code": ("/a/train.py", "fit", 7),
    }  # fmt: skip
    return Entry(**{**defaults, **fields})
