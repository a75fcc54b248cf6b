"""How long questions to an audit trail of a million records take, before and after compaction.

Run with `python benchmarks/bench_audit_query.py`. Each time is the median of several calls of `otel_ml.audit.query`,
with everything that a call does: look for segments, start DuckDB, answer, make Python objects. The last row is that of
a process of its own, from its start to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from otel_ml.audit.chain import Chain, start_of
from otel_ml.audit.reading.compaction import compact
from otel_ml.audit.reading.query import query
from otel_ml.audit.record import Captured, Encoder, Model, Service
from otel_ml.identity import uuid7

START = 1_795_365_588_000_000_000
IN_A_SEGMENT = 65_536
EXCEPTION = ("could not convert string to float", "Traceback (most recent call last):\n" + "  File ...\n" * 10)
QUESTIONS = {
    "count": "SELECT count(*) FROM predictions",
    "by version": "SELECT model_version, count(*), avg(duration_ms) FROM predictions GROUP BY 1",
    "95th percentile": "SELECT model_version, quantile_cont(duration_ms, 0.95) FROM predictions GROUP BY 1",
    "errors by type": "SELECT error_type, count(*) FROM predictions WHERE status = 'error' GROUP BY 1",
    "last 100 failures, all columns": "SELECT * FROM predictions WHERE status = 'error' ORDER BY time DESC LIMIT 100",
    "one record by id, all columns": "SELECT * FROM predictions WHERE record_id = '{record_id}'",
    "ten slowest, all columns": "SELECT * FROM predictions ORDER BY duration_ms DESC LIMIT 10",
    "mean of a feature by another": "SELECT features->>'country', avg((features->>'amount')::DOUBLE) "
    "FROM predictions GROUP BY 1",
    "a minute of a feature": "SELECT avg((features->>'amount')::DOUBLE) FROM predictions WHERE time < "
    "TIMESTAMP '2026-11-22 16:40:48'",
    "by hour": "SELECT date_trunc('hour', time), count(*) FROM predictions GROUP BY 1",
}


def records(first: int, number: int) -> list[Captured]:
    """Return calls of a model of ten features in four versions, one in a hundred failed."""
    chance = random.Random(first)
    models = [Model("fraud", f"1.{version}", "7") for version in range(4)]
    run = uuid7()
    found: list[Captured] = []
    for index in range(first, first + number):
        failed = chance.random() < 0.01
        features = {f"f{column}": chance.random() for column in range(7)}
        features |= {
            "amount": chance.random() * 100,
            "country": chance.choice(["DE", "FR", "IT"]),
            "email": "[redacted]",
        }
        time_ns, duration = START + index * 1_000_000, chance.random() / 100
        trace_id, span_id, model = chance.getrandbits(128), chance.getrandbits(64), chance.choice(models)
        status, error, exception = ("error", "ValueError", EXCEPTION) if failed else ("ok", None, None)
        what, answer = json.dumps(features).encode(), None if failed else repr(chance.random()).encode()
        trace = (trace_id, span_id, 1)
        found.append(
            (uuid7(), time_ns, duration, *trace, run, model, status, error, exception, what, answer, None, 1000)
        )
    return found


def write(directory: Path, number: int) -> str:
    """Write sealed segments with so many records, and return the id of one in the middle."""
    directory.mkdir(mode=0o700)
    encoder, chain, middle = Encoder(Service("fraud-api", "1.0", "host-1", "production")), None, ""
    for index, first in enumerate(range(0, number, IN_A_SEGMENT)):
        name = f"fraud-api-host-1-20261122T163948.000000Z-{index + 1:06d}.jsonl"
        chain = chain or Chain(start_of(name))
        items = records(first, min(IN_A_SEGMENT, number - first))
        middle = items[0][0] if index == number // IN_A_SEGMENT // 2 else middle
        (directory / name).write_bytes(b"".join(chain.seal(encoder.body(item)) for item in items))
    return middle


def seconds(sql: str, directory: Path, calls: int) -> float:
    taken = []
    for _ in range(calls):
        started = time.perf_counter()
        query(sql, directory=directory)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def command_seconds(sql: str, directory: Path, calls: int) -> float:
    taken = []
    for _ in range(calls):
        started = time.perf_counter()
        code = f"from otel_ml.audit.reading.query import query; print(query({sql!r}, directory={str(directory)!r}))"
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trail = Path(folder) / "audit"
        record_id = write(trail, options.records)
        questions = {name: sql.format(record_id=record_id) for name, sql in QUESTIONS.items()}
        before = {name: seconds(sql, trail, 1) for name, sql in questions.items()}
        started = time.perf_counter()
        done = compact(trail)
        compacting = time.perf_counter() - started
        after = {name: seconds(sql, trail, options.calls) for name, sql in questions.items()}
        command = command_seconds(questions["by version"], trail, options.calls)
    print(f"{options.records:,} records, CPython {platform.python_version()}, DuckDB {duckdb.__version__}, ", end="")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"bytes a record: {done.bytes_before / options.records:.0f} as lines, ", end="")
    print(f"{done.bytes_after / options.records:.0f} as Parquet; compaction took {compacting:.1f} s\n")
    print("| question | Parquet, s | lines, s |\n|---|---|---|")
    for name in questions:
        print(f"| {name} | {after[name]:.3f} | {before[name]:.2f} |")
    print(f"| by version, a process of its own | {command:.3f} | - |")


if __name__ == "__main__":
    main()
