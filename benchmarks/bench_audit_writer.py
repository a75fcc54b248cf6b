"""How many records a second the audit writer takes: encoded, chained, on the disk.

Run with `python benchmarks/bench_audit_writer.py`. A record has ten features, a prediction, a trace and a run: about
700 bytes. The figures are medians over rounds:

- `waiting`: the records are in the queue already, as after a burst; the clock runs until all of them are synced.
- `core`: the same for each second of CPU that the process took for it, all threads: what a whole core would give.
- `at once`: one caller puts them as fast as it can while the writer works, in the same interpreter.
- `put`: what the caller pays for that, in microseconds a record.

`memory` is what the process grew by while a queue of the default size was full.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from otel_ml.audit import setup
from otel_ml.audit.reading.verify import verify
from otel_ml.audit.record import Captured, Model, Service
from otel_ml.audit.setup import AuditPipeline
from otel_ml.options import Audit

MODEL = Model("fraud", "1.2.0", "7")
SERVICE = Service("shop", "3.1.0", "b6a2f7de-6a0f-4f0e-9d3c-0c8f8a6c2a51", "production")
FEATURES = json.dumps({f"feature_{number}": number * 1.25 for number in range(10)}, separators=(",", ":")).encode()
RUN = "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b"


def call(number: int) -> Captured:
    return (
        f"019a0b1c-2d3e-7f40-8a5b-{number:012x}", 1_795_365_588_000_000_000 + number, 0.0015, (1 << 120) + number,
        number + 1, 1, RUN, MODEL, "ok", None, None, FEATURES, b"0.25", None, 512 + len(FEATURES),
    )  # fmt: skip


def pipeline(directory: Path, records: int) -> AuditPipeline:
    return setup.start(Audit(queue_size=records, queue_bytes=records * 2048), directory=directory, service=SERVICE)


def waiting(calls: list[Captured]) -> tuple[float, float]:
    """Return records a second, and a second of CPU, of a writer that finds all of them in its queue."""
    with tempfile.TemporaryDirectory() as directory:
        trail = pipeline(Path(directory), len(calls))
        with trail.writer._working:
            for item in calls:
                trail.writer.put(item)
        begin, cpu = time.perf_counter(), time.process_time()
        trail.flush(120.0)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        finish(trail, len(calls))
    return len(calls) / seconds, len(calls) / cpu


def at_once(calls: list[Captured]) -> tuple[float, float]:
    """Return records a second, and microseconds of the caller for each, of a caller and a writer side by side."""
    with tempfile.TemporaryDirectory() as directory:
        trail = pipeline(Path(directory), len(calls))
        put = trail.writer.put
        begin = time.perf_counter()
        for item in calls:
            put(item)
        spent = time.perf_counter() - begin
        trail.flush(120.0)
        seconds = time.perf_counter() - begin
        finish(trail, len(calls))
    return len(calls) / seconds, spent / len(calls) * 1e6


def finish(trail: AuditPipeline, records: int) -> None:
    if not trail.close(60.0) or not (report := verify(trail.directory)):
        raise SystemExit("the trail is not whole")
    if report.lines < records:
        raise SystemExit(f"{records - report.lines} records are missing")


def growth(records: int) -> int:
    """Return by how many bytes the process grows while so many records wait."""
    with tempfile.TemporaryDirectory() as directory:
        trail = pipeline(Path(directory), records)
        before = resident()
        with trail.writer._working:
            for number in range(records):
                trail.writer.put(call(number))
            grown = resident() - before
        trail.close(60.0)
    return grown


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--records", type=int, default=200_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    grown = growth(Audit().queue_size)
    calls = [call(number) for number in range(given.records)]
    burst = [waiting(calls) for _ in range(given.rounds)]
    pairs = [at_once(calls) for _ in range(given.rounds)]
    figures = {
        "waiting_records_per_second": round(statistics.median(rate for rate, _ in burst)),
        "records_per_second_of_a_core": round(statistics.median(rate for _, rate in burst)),
        "at_once_records_per_second": round(statistics.median(rate for rate, _ in pairs)),
        "put_microseconds": round(statistics.median(cost for _, cost in pairs), 2),
        "memory_of_a_full_queue_bytes": grown,
    }
    if given.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):32} {value:>14,}")


if __name__ == "__main__":
    main()
