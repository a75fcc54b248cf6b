"""How fast a batch is copied by the caller, and taken apart into masked rows by the writer.

    python -m benchmarks.bench_audit_rows [--rows 10000]

Rows are a model's features: ten numbers, or ten numbers with texts, dates, flags and an e-mail address to be masked.
The last two columns include what the writer makes of a row as JSON.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pandas as pd
import polars as pl
import scipy.sparse

from otel_ml.audit.rows import Batch

TURNS = 5


def cases(rows: int) -> dict[str, Any]:
    """Return batches of features by name."""
    random = np.random.default_rng(1)
    numbers = random.random((rows, 10))
    frame = pd.DataFrame(numbers, columns=[f"feature_{place}" for place in range(10)])
    mixed = frame.assign(
        purpose=random.choice(["car", "house", "boat"], rows),
        name=[f"customer {place}" for place in range(rows)],
        number=range(rows),
        at=pd.date_range("2026-01-01", periods=rows, freq="min"),
        ok=True,
        missing=np.where(random.random(rows) < 0.3, np.nan, 1.0),
        email="ada@example.org",
    )
    dicts = mixed.drop(columns="at").to_dict("records")
    return {
        "pandas, 10 numbers": frame,
        "pandas, 10 numbers and 7 others": mixed,
        "polars, 10 numbers": pl.DataFrame(frame.to_dict("list")),
        "array of 10": numbers,
        "array of 100": random.random((rows, 100)),
        "dicts, 10 numbers": frame.to_dict("records"),
        "dicts, 10 numbers and 6 others": dicts,
        "dicts of different keys": [row if place % 7 else {**row, "more": 1} for place, row in enumerate(dicts)],
        "dicts with a list inside": [{"a": 1.0, "tags": ["x", "y"]} for _ in range(rows)],
        "lists of 10": numbers.tolist(),
        "sparse, 50 of 5,000": scipy.sparse.random(rows, 5000, 0.01, "csr", rng=random),
    }


def best(work: Callable[[], object]) -> float:
    """Return the shortest of some turns, seconds."""
    taken = []
    for _ in range(TURNS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=10_000, help="rows of a batch")
    rows: int = parser.parse_args().rows
    print(f"{rows} rows, best of {TURNS}\n")
    print("| features | caller, ms | writer, rows/s | with JSON, rows/s | one row, bytes |")
    print("|---|---|---|---|---|")
    prediction = np.random.default_rng(2).random(rows)
    for name, features in cases(rows).items():
        batch = Batch.of(features, prediction, rows)
        if batch is None:
            raise SystemExit(f"{name}: expected a batch")
        copying = best(lambda features=features: Batch.of(features, prediction, rows))
        reading = best(lambda batch=batch: [None for _ in batch.rows()])
        encoding = best(lambda batch=batch: [orjson.dumps(row) for row in batch.rows()])
        size = len(orjson.dumps(next(batch.rows())))
        print(f"| {name} | {copying * 1e3:.2f} | {rows / reading:,.0f} | {rows / encoding:,.0f} | {size} |")


if __name__ == "__main__":
    main()
