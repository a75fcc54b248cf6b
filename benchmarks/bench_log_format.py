"""Why otel_ml has a JSON formatter of its own: its lines against those of python-json-logger, in one run.

Run with `python benchmarks/bench_log_format.py`; needs `python-json-logger`. Each row is a record with two extras made
inside a span. Rounds of all variants are interleaved, and the ratio is the median over the rounds, so that a machine
whose speed changes does not decide. The work of our whole pipeline but for masking is in `otel_ml`: building the entry
on the caller's thread, and encoding it on the listener's. `caller` is the part of it that the caller waits for.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable

from opentelemetry.sdk.trace import TracerProvider
from pythonjsonlogger.json import JsonFormatter
from pythonjsonlogger.orjson import OrjsonFormatter

from otel_ml.logs import entries
from otel_ml.logs.json_lines import LineEncoder

FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s %(module)s %(funcName)s %(lineno)d"


def make_record(*, failed: bool) -> logging.LogRecord:
    try:
        raise ValueError("no such account")
    except ValueError:
        exc_info = sys.exc_info() if failed else None
    record = logging.LogRecord(
        "shop.cart", logging.INFO, __file__, 7, "added %d of %s", (3, "apples"), exc_info, "main"
    )
    record.__dict__.update(user=7, basket={"items": 3, "total": 4.5}, otelServiceName="shop", otelRunID="")
    with TracerProvider(shutdown_on_exit=False).get_tracer("bench").start_as_current_span("s") as span:
        context = span.get_span_context()
    record.otelTraceID, record.otelSpanID = format(context.trace_id, "032x"), format(context.span_id, "016x")
    record.otelTraceSampled = True
    return record


def variants(record: logging.LogRecord) -> dict[str, Callable[[], object]]:
    encoder = LineEncoder("shop")
    stdlib, fast = JsonFormatter(FIELDS), OrjsonFormatter(FIELDS)

    def of_formatter(formatter: logging.Formatter) -> Callable[[], object]:
        def run() -> object:
            record.exc_text = None  # logging keeps the rendered exception: each round has to render it
            return formatter.format(record)

        return run

    def ours() -> object:
        record.exc_text = None
        return encoder.encode(entries.from_record(record, nested=False)[0])

    def caller() -> object:
        record.exc_text = None
        return entries.from_record(record, nested=False)

    return {
        "otel_ml": ours,
        "otel_ml, caller": caller,
        "python-json-logger": of_formatter(stdlib),
        "python-json-logger, orjson": of_formatter(fast),
    }


def measure(record: logging.LogRecord, rounds: int, calls: int) -> dict[str, list[float]]:
    """Return microseconds per call of each variant, one figure a round."""
    taken: dict[str, list[float]] = {name: [] for name in variants(record)}
    for _ in range(rounds):
        for name, run in variants(record).items():
            start = time.perf_counter()
            for _ in range(calls):
                run()
            taken[name].append((time.perf_counter() - start) / calls * 1e6)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a Markdown table")
    options = parser.parse_args()
    rows = []
    for case, failed in (("two extras", False), ("two extras and an exception", True)):
        taken = measure(make_record(failed=failed), options.rounds, options.calls)
        base = taken["otel_ml"]
        for name, times in taken.items():
            ratio = statistics.median(time_ / own for time_, own in zip(times, base, strict=True))
            rows.append(
                {"record": case, "variant": name, "us": round(statistics.median(times), 2), "ratio": round(ratio, 2)}
            )
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print("| record | variant | us per line | ratio to otel_ml |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['record']} | {row['variant']} | {row['us']} | {row['ratio']} |")


if __name__ == "__main__":
    main()
