"""Calls as their threads hand them over, the writer that takes them, and what it left on the disk."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from otel_ml.audit import setup
from otel_ml.audit.record import Captured, Model, Service
from otel_ml.audit.setup import AuditPipeline
from otel_ml.audit.writer import AuditWriter
from otel_ml.options import Audit

MODEL = Model("fraud", "1.2", "7")
SERVICE = Service("shop", "3.1", "here", "test")
TESTS = str(Path(__file__).parents[1])


def call(number: int = 0, **given: Any) -> Captured:
    """Return one call; `number` is its id, fields are given by name."""
    fields = {
        "record_id": str(number), "time_unix_nano": time.time_ns(), "duration_s": 0.0015, "trace_id": 0, "span_id": 0,
        "trace_flags": 0, "run_id": None, "model": MODEL, "status": "ok", "error_type": None, "exception": None,
        "features": b'{"amount":12.5}', "prediction": b"0.25", "subject": None, "size": 512,
    }  # fmt: skip
    assert given.keys() <= fields.keys()
    return tuple((fields | given).values())  # type: ignore[return-value]


def failure(number: int = 0, **given: Any) -> Captured:
    """Return one call that failed."""
    return call(number, status="error", error_type="ValueError", exception=("no", "Traceback ..."), **given)


@contextmanager
def writing(directory: Path, **options: Any) -> Iterator[AuditWriter]:
    """Give a writer, which is closed at the end."""
    pipeline = started(directory, **options)
    try:
        yield pipeline.writer
    finally:
        pipeline.close(10.0)


def started(directory: Path, **options: Any) -> AuditPipeline:
    return setup.start(Audit(**options), directory=directory, service=SERVICE)


def segments(directory: Path) -> list[Path]:
    """Return all segments, sealed or not, in order."""
    return sorted(path for path in directory.iterdir() if ".jsonl" in path.name and path.name != "manifest.jsonl")


def lines(directory: Path) -> list[dict[str, Any]]:
    """Return every whole line of every segment, in order."""
    while True:
        try:
            found = [line for path in segments(directory) for line in path.read_bytes().splitlines(keepends=True)]
            break
        except FileNotFoundError:  # a segment was sealed between the two
            continue
    return [json.loads(line) for line in found if line.endswith(b"\n")]


def records(directory: Path) -> list[dict[str, Any]]:
    """Return the predictions."""
    return [line for line in lines(directory) if line["event.name"] == "otel_ml.prediction"]


def ids(directory: Path) -> list[str]:
    return [record["record_id"] for record in records(directory)]


def lost(directory: Path) -> dict[str, int]:
    """Return what the gaps on record stand for."""
    total: dict[str, int] = {}
    for line in lines(directory):
        if line["event.name"] == "otel_ml.audit.gap":
            for reason, number in line["lost"].items():
                total[reason] = total.get(reason, 0) + number
    return total


def entries(directory: Path) -> list[dict[str, Any]]:
    """Return the lines of the manifest."""
    return [json.loads(line) for line in (directory / "manifest.jsonl").read_bytes().splitlines()]


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    """Wait until a condition holds; fail when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


def program_environment() -> dict[str, str]:
    """Return what lets a child process import the helpers of the tests."""
    inherited = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": TESTS if not inherited else f"{inherited}{os.pathsep}{TESTS}"}
