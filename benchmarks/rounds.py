"""The parent: a worker process for each row, asked in turn, round after round, so that all see the same machine."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measures import Measurement
from benchmarks.rows import Row

ROOT = Path(__file__).resolve().parent.parent
# The repository comes last on the path, so that an installed otel_ml is what is measured.
PROGRAM = "import sys; sys.path.append({root!r}); from benchmarks.worker import main; main()"
TIMEOUT = 300.0
LATENCY_CALLS = 4
"""Calls whose latency is taken, as a multiple: p99.9 of 5,000 calls would rest on five of them."""


@dataclass(frozen=True)
class Size:
    """How much is measured: rounds, calls a round, and spans of a backlog."""

    rounds: int
    calls: int
    backlog: int


@dataclass
class Outcome:
    """What came of a row: one measurement a round, or the reason why there is none."""

    measurements: list[Measurement]
    unavailable: str = ""


class Worker:
    """A row's process. `ask` returns its answer, or `{"unavailable": reason}`."""

    def __init__(self, row: Row, size: Size, scratch: Path) -> None:
        self.row = row
        self._folder = scratch / row.key
        self._folder.mkdir()
        child_reads, self._requests = os.pipe()
        self._answers, child_writes = os.pipe()
        self._buffer = b""
        with (self._folder / "output.txt").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-c", PROGRAM.format(root=str(ROOT)), str(row.target)),
                    *(str(size.backlog), str(child_reads), str(child_writes)),
                ],
                pass_fds=(child_reads, child_writes), cwd=self._folder, env=_environment(), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output,
            )  # fmt: skip
        os.close(child_reads)
        os.close(child_writes)

    def started(self) -> dict[str, Any]:
        """Wait until the subject is set up and warm."""
        return self._answer()

    def ask(self, number: int) -> dict[str, Any]:
        """Have it make `number` calls."""
        try:
            os.write(self._requests, json.dumps({"kind": self.row.kind, "number": number}).encode() + b"\n")
        except BrokenPipeError:
            return {"unavailable": self._last_words()}
        return self._answer()

    def close(self) -> None:
        """End the process."""
        os.close(self._requests)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)

    def _answer(self) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT
        while b"\n" not in self._buffer:
            if not select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return {"unavailable": f"no answer within {TIMEOUT:g} s"}
            received = os.read(self._answers, 65_536)
            if not received:
                return {"unavailable": self._last_words()}
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        output = (self._folder / "output.txt").read_text("utf-8", "replace").strip().splitlines()
        return f"the process ended: {output[-1][:200] if output else 'no output'}"


def run(rows: tuple[Row, ...], size: Size, say: Callable[[str], None]) -> dict[str, Outcome]:
    """Measure the rows.

    Args:
        rows: What to measure.
        size: How much of it.
        say: Told how far the run is.

    Returns:
        An outcome for each row, by its key.
    """
    outcomes = {row.key: Outcome([]) for row in rows}
    interleaved = [row for row in rows if row.target is not None and row.kind != "backlog"]
    with tempfile.TemporaryDirectory(prefix="otel-ml-benchmarks-") as scratch:
        workers = _start(interleaved, size, Path(scratch), outcomes, say)
        try:
            for number in range(size.rounds):
                say(f"round {number + 1} of {size.rounds}")
                shift = number % len(workers) if workers else 0
                for worker in workers[shift:] + workers[:shift]:  # nobody always comes after the same neighbour
                    calls = size.calls * (LATENCY_CALLS if worker.row.kind == "latency" else 1)
                    _record(outcomes, worker, calls)
        finally:
            for worker in workers:
                worker.close()
        for row in rows:
            if row.kind == "backlog":  # one after the other: each fills half a gigabyte
                say(f"{row.label}: {size.backlog:,} spans waiting")
                for worker in _start([row], size, Path(scratch), outcomes, say):
                    _record(outcomes, worker, size.backlog)
                    worker.close()
        for row in rows:
            reference = outcomes.get(row.reference)
            if reference is not None and not reference.measurements:
                reference.unavailable = reference.unavailable or outcomes[row.key].unavailable
    return outcomes


def _start(
    rows: list[Row], size: Size, scratch: Path, outcomes: dict[str, Outcome], say: Callable[[str], None]
) -> list[Worker]:
    ready: list[Worker] = []
    for row in rows:
        worker = Worker(row, size, scratch)
        answer = worker.started()
        if "unavailable" in answer:
            outcomes[row.key].unavailable = answer["unavailable"]
            say(f"{row.key}: not measured, {answer['unavailable']}")
            worker.close()
        else:
            ready.append(worker)
    return ready


def _record(outcomes: dict[str, Outcome], worker: Worker, number: int) -> None:
    outcome = outcomes[worker.row.key]
    if outcome.unavailable:
        return
    answer = worker.ask(number)
    if "unavailable" in answer:
        outcome.unavailable = answer["unavailable"]
        return
    without = answer.pop("without", None)
    if without is not None:
        outcomes[worker.row.reference].measurements.append(without)
    outcome.measurements.append(answer)


def _environment() -> dict[str, str]:
    """Return this process's environment without what would configure telemetry, and with queues that hold a round."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "LOGFIRE_", "LANGFUSE_", "MLFLOW_")) and name not in ("TRACEPARENT", "BAGGAGE")
    }
    return {**kept, "OTEL_BSP_MAX_QUEUE_SIZE": "65536", "PYTHONUNBUFFERED": "1"}
