"""`python -m benchmarks.parts`: where each microsecond of a call goes.

Each part is timed by itself, in one process, in turns with the others; what is given is the shortest of the rounds, in
nanoseconds a call, less the empty loop: what else the machine does only makes a round longer. The floor is what the
same work costs with nothing around it: two random numbers, two looks at each clock, a context variable set and reset.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from opentelemetry.trace import SpanKind

import otel_ml
from benchmarks import exporters, machine
from benchmarks.workload import FEATURES, predict
from otel_ml import capture, current_span
from otel_ml.instruments import instruments
from otel_ml.tracing.provider import TracerProvider
from otel_ml.tracing.switch import SwitchProcessor

ROUNDS, CALLS = 31, 2000
Part = Callable[[], object]


def parts() -> dict[str, Part]:
    """Return the parts by what they are called in the table; telemetry has to be configured."""
    provider = TracerProvider(shutdown_on_exit=False)
    waiting: deque[Any] = deque(maxlen=1000)
    tracer = provider.get_tracer("parts")
    provider.add_span_processor(SwitchProcessor())
    attributes = {"otel_ml.model.name": "churn", "otel_ml.model.version": "1.2.0", "otel_ml.input.rows": 1}
    span = tracer.start_span("predict churn")
    cell = instruments.inference_duration.bind({"otel_ml.model.name": "churn"})  # type: ignore[attr-defined]
    rows = instruments.inference_rows.bind({"otel_ml.model.name": "churn"})  # type: ignore[attr-defined]
    step, inference = otel_ml.step(predict), otel_ml.inference(model="churn", version="1.2.0")(predict)
    variable: ContextVar[Any] = ContextVar("variable", default=None)
    internal = SpanKind.INTERNAL

    def floor() -> None:
        random.getrandbits(128), random.getrandbits(64)
        time.time_ns(), time.time_ns(), time.perf_counter_ns(), time.perf_counter_ns()
        variable.reset(variable.set({"span": object()}))

    def leave_current() -> None:
        current_span.detach(current_span.attach(span))

    return {
        "the floor: ids, clocks, context variable": floor,
        "two ids": lambda: (random.getrandbits(128), random.getrandbits(64)),
        "two looks at each of two clocks": lambda: (
            time.time_ns(), time.time_ns(), time.perf_counter_ns(), time.perf_counter_ns()
        ),
        "span: start and end, nobody listens": lambda: tracer.start_span("predict churn").end(),
        "span with three attributes": lambda: tracer.start_span("predict churn", None, internal, attributes).end(),
        "make the span current, and what was before": leave_current,
        "append to a queue": lambda: waiting.append(span),
        "histogram cell with exemplar": lambda: cell.observe(0.001, span),
        "row counter cell": lambda: rows.add(1),
        "rows and columns of a dict": lambda: capture.rows_and_columns(FEATURES),
        "`@step`, all of it": lambda: step(FEATURES),
        "`@inference`, all of it": lambda: inference(FEATURES),
    }  # fmt: skip


def measure(known: dict[str, Part], rounds: int = ROUNDS, calls: int = CALLS) -> dict[str, float]:
    """Return nanoseconds a call of each part."""
    times: dict[str, list[float]] = {name: [] for name in ("", *known)}
    for _ in range(rounds):
        for name, part in (("", _nothing), *known.items()):
            gc.collect()
            started = time.perf_counter_ns()
            for _ in repeat(None, calls):
                part()
            times[name].append((time.perf_counter_ns() - started) / calls)
    empty = min(times.pop(""))
    return {name: min(taken) - empty for name, taken in times.items()}


def _nothing() -> None:
    """Stand for the empty loop."""


def table(measured: dict[str, float]) -> str:
    """Return the figures as Markdown."""
    lines = [f"| {name} | {nanoseconds:,.0f} |" for name, nanoseconds in measured.items()]
    return "\n".join(["| part | ns |", "| --- | ---: |", *lines])


def main() -> None:
    """Measure and print."""
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        exporters.use_for_traces()
        traces = otel_ml.Traces(queue_size=1_000_000, interval=0.2)
        options: dict[str, Any] = {"logs": False, "audit": False, "traces": traces}
        with otel_ml.configure(service_name="parts", directory=Path(folder), **options):
            measured = measure(parts())
    about = machine.describe()
    print(table(measured))
    print(f"\n{about['python']}, {about['cpu']}, {about['date']}")


if __name__ == "__main__":
    main()
