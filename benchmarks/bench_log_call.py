"""What a line of log costs, part by part: `logger.info("predicted %s in %.2f ms", x, y)` inside a span.

Run with `python benchmarks/bench_log_call.py`. Each row adds one part to the row before, where it says `+`. All rows
take turns in one process, and a ratio is the median over the rounds: to standard logging alone, with a handler that
does nothing, and to a span of the stock SDK with a batch processor whose exporter discards. `caller` is the time that
the call takes; `CPU` is that of the whole process, with everything that a thread does later, for one line.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from otel_ml.logs import LogPipeline, start
from otel_ml.options import Logs

SERVICE = Resource({"service.name": "shop"})
logger = logging.getLogger("shop.model")
root = logging.getLogger()
Measure = Callable[[int], tuple[float, float]]


class Discarding(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Nothing(logging.Handler):
    def handle(self, record: logging.LogRecord) -> bool:
        return True


def log(calls: int) -> None:
    for number in range(calls):
        logger.info("predicted %s in %.2f ms", 0.1234 * number, 12.5)


def taken(run: Callable[[int], object], calls: int, settle: Callable[[], object] = lambda: None) -> tuple[float, float]:
    """Return microseconds of the caller and of the process for each of `calls`; `settle` has the rest done."""
    cpu, wall = time.process_time(), time.perf_counter()
    run(calls)
    wall = time.perf_counter() - wall
    settle()
    return wall / calls * 1e6, (time.process_time() - cpu) / calls * 1e6


@contextmanager
def logging_with(factory: Callable[..., logging.LogRecord], handler: logging.Handler) -> Iterator[None]:
    logging.setLogRecordFactory(factory)
    root.handlers = [handler]
    yield


def stock_spans() -> Callable[[int], None]:
    """Return what makes a number of bare spans of the stock SDK."""
    provider = TracerProvider(resource=SERVICE, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Discarding()))
    tracer = provider.get_tracer("bench")

    def spans(calls: int) -> None:
        for _ in range(calls):
            with tracer.start_as_current_span("s"):
                pass

    return spans


def factory_of_contrib() -> Callable[..., logging.LogRecord]:
    """Return the record factory of opentelemetry-instrumentation-logging."""
    instrumentor = LoggingInstrumentor()
    instrumentor.instrument(inject_trace_context=True, enable_log_auto_instrumentation=False)
    factory = logging.getLogRecordFactory()
    instrumentor.uninstrument()
    return factory


def variants(directory: Path) -> tuple[dict[str, Measure], LogPipeline]:
    """Return the rows in order of their parts, and the pipeline to close."""
    spans, contrib = stock_spans(), factory_of_contrib()
    options = Logs(level="INFO", format="none", queue_size=1_000_000)
    pipeline = start(options, service="shop", resource=SERVICE, directory=directory, exporter=None, set_level=True)
    factory, ours = logging.getLogRecordFactory(), pipeline._handler
    nothing, text = Nothing(), logging.FileHandler(directory / "text.txt")
    text.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))

    def by(make: Callable[..., logging.LogRecord], handler: logging.Handler) -> Measure:
        def measure(calls: int) -> tuple[float, float]:
            with logging_with(make, handler):
                return taken(log, calls)

        return measure

    def factory_alone(calls: int) -> tuple[float, float]:
        ours.handle = nothing.handle  # type: ignore[method-assign]  # it has to be where the factory looks for it
        try:
            return by(factory, ours)(calls)
        finally:
            del ours.handle

    def captured(calls: int) -> tuple[list[object], tuple[float, float]]:
        queue: list[object] = []
        put, ours._put = ours._put, queue.append
        try:
            return queue, by(factory, ours)(calls)
        finally:
            ours._put = put

    def listener(calls: int) -> tuple[float, float]:
        queue, _ = captured(calls)

        def consume(_: int) -> None:
            for begin in range(0, calls, 512):
                pipeline._worker._consume(queue[begin : begin + 512])

        return 0.0, taken(consume, calls)[1]

    def whole(calls: int) -> tuple[float, float]:
        with logging_with(factory, ours):
            return taken(log, calls, lambda: pipeline.flush(60.0))

    return {
        "stock span": lambda calls: taken(spans, calls),
        "standard logging, a handler that does nothing": by(logging.LogRecord, nothing),
        "the same with the factory of opentelemetry-instrumentation-logging": by(contrib, nothing),
        "+ our factory: ids, way to our handler": factory_alone,
        "our handler, by the short way": lambda calls: captured(calls)[1],
        "our listener: masking, JSON, file": listener,
        "everything, the listener running": whole,
        "standard logging, text to a file": by(logging.LogRecord, text),
    }, pipeline


def measure(rows: dict[str, Measure], rounds: int, calls: int) -> dict[str, list[tuple[float, float]]]:
    """Return the times of each row, one pair a round."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    with TracerProvider(shutdown_on_exit=False).get_tracer("bench").start_as_current_span("around"):
        for _ in range(rounds + 1):
            for name, run in rows.items():
                found[name].append(run(calls))
    return {name: times[1:] for name, times in found.items()}  # the first round fills what is remembered


def summary(found: dict[str, list[tuple[float, float]]]) -> list[dict[str, object]]:
    """Return a row of medians for each variant."""
    span, alone = list(found.values())[:2]
    rows = []
    for name, times in found.items():
        of = 0 if times[0][0] else 1  # what a thread does has no caller
        rows.append(
            {
                "what": name,
                "caller_us": round(statistics.median(wall for wall, _ in times), 2),
                "cpu_us": round(statistics.median(cpu for _, cpu in times), 2),
                "to_logging": round(statistics.median(t[of] / a[of] for t, a in zip(times, alone, strict=True)), 2),
                "to_span": round(statistics.median(t[of] / s[of] for t, s in zip(times, span, strict=True)), 2),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a Markdown table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        rows, pipeline = variants(Path(directory))
        try:
            lines = summary(measure(rows, options.rounds, options.calls))
        finally:
            pipeline.close(60.0)
    if options.json:
        print(json.dumps(lines, indent=2))
        return
    print("| | caller, us | CPU, us | ratio to standard logging | ratio to a stock span |\n|---|---|---|---|---|")
    for line in lines:
        print("| {what} | {caller_us} | {cpu_us} | {to_logging} | {to_span} |".format_map(line))


if __name__ == "__main__":
    main()
