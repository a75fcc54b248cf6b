"""Why otel_ml has a JSON formatter of its own: its lines against those of python-json-logger, in one run.

Run with `python benchmarks/bench_log_format.py`; needs `python-json-logger`. Each record has two extras, one of them a
container, and was made inside a span. Rounds of all variants are interleaved, and a ratio is the median over the
rounds, so that a machine whose speed changes does not decide.

`format` is what a listener thread does to make one line. `record to line` is all the work of a record that goes through
a queue: ours builds its entry on the caller's thread, masking left out; the other is the standard library's
`QueueHandler.prepare`, which leaves containers as they are, to be changed by the caller while they wait.
"""

from __future__ import annotations

import argparse
import json
import logging
import logging.handlers
import queue
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


def variants(record: logging.LogRecord) -> dict[str, dict[str, Callable[[], object]]]:
    """Return what is compared, by comparison and name; the first is the one that the others are compared with."""
    encoder = LineEncoder("shop")
    entry = entries.from_record(record, nested=False)[0]
    formatters = {"python-json-logger": JsonFormatter(FIELDS), "python-json-logger, orjson": OrjsonFormatter(FIELDS)}
    handler = logging.handlers.QueueHandler(queue.SimpleQueue())

    def formatted(formatter: logging.Formatter) -> Callable[[], object]:
        prepared = handler.prepare(record)  # its exception is rendered, as in our entry
        return lambda: formatter.format(prepared).encode()

    def queued(formatter: logging.Formatter) -> Callable[[], object]:
        def run() -> object:
            record.exc_text = None
            return formatter.format(handler.prepare(record)).encode()

        return run

    def ours() -> object:
        record.exc_text = None
        return encoder.encode(entries.from_record(record, nested=False)[0])

    return {
        "format": {"otel_ml": lambda: encoder.encode(entry), **{n: formatted(f) for n, f in formatters.items()}},
        "record to line": {"otel_ml": ours, **{f"QueueHandler + {n}": queued(f) for n, f in formatters.items()}},
    }


def measure(compared: dict[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, list[float]]:
    """Return microseconds per call of each variant, one figure a round."""
    taken: dict[str, list[float]] = {name: [] for name in compared}
    for _ in range(rounds):
        for name, run in compared.items():
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
    for case, failed in (("two extras", False), ("and an exception", True)):
        for work, compared in variants(make_record(failed=failed)).items():
            taken = measure(compared, options.rounds, options.calls)
            for name, times in taken.items():
                ratio = statistics.median(time_ / own for time_, own in zip(times, taken["otel_ml"], strict=True))
                rows.append(
                    {
                        "record": case,
                        "work": work,
                        "variant": name,
                        "us": round(statistics.median(times), 2),
                        "ratio": round(ratio, 2),
                    }
                )
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print("| record | work | variant | us per line | ratio to otel_ml |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['record']} | {row['work']} | {row['variant']} | {row['us']} | {row['ratio']} |")


if __name__ == "__main__":
    main()
