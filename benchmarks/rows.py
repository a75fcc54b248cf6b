"""The rows of the table: what is measured, against what, and the goal that it is held to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["calls", "latency", "backlog"]
Unit = Literal["ratio", "us over", "ms over"]


@dataclass(frozen=True)
class Goal:
    """An upper bound.

    Args:
        limit: Largest value that holds.
        unit: What is compared: the ratio to the row's reference, or the microseconds or milliseconds over it.
    """

    limit: float
    unit: Unit = "ratio"

    def __str__(self) -> str:
        return f"<= {self.limit:g}" + ("" if self.unit == "ratio" else f" {self.unit}")


@dataclass(frozen=True)
class Row:
    """One line of the table, and one worker process.

    Args:
        key: Short name, for `--only` and the JSON.
        label: What the table calls it.
        target: `module:function` that makes the subject; None: it is measured in the process of the row that
            refers to it, where the instrumentation is off.
        group: `ours`, `stock`, or `peer`.
        kind: How it is measured.
        measure: The figure that is compared with the reference.
        reference: Key of the row that the ratio is to.
        goal: What it is held to; None: it is there for comparison.
        note: What a reader has to know to read the figure.
    """

    key: str
    label: str
    target: str | None
    group: Literal["ours", "stock", "peer"] = "ours"
    kind: Kind = "calls"
    measure: str = "wall"
    reference: str = "stock"
    goal: Goal | None = None
    note: str = ""


OURS = (
    Row("bare", "bare function", "stock:bare"),
    Row("disabled", "decorated, telemetry disabled", "ladder:disabled", reference="bare", goal=Goal(0.25, "us over"),
        note="`OTEL_SDK_DISABLED=true`; goal and ratio are against the bare function"),
    Row("no_sdk", "decorated, no SDK set up", "ladder:no_sdk"),
    Row("not_sampled", "not sampled", "ladder:not_sampled", goal=Goal(0.07)),
    Row("span", "span (`@step`, metrics and logs off)", "ladder:span", goal=Goal(0.10)),
    Row("step", "span + histogram with exemplar (`@step`)", "ladder:step_with_histogram", goal=Goal(0.15)),
    Row("inference", "span + histogram with exemplar (`@inference`)", "ladder:inference_with_histogram",
        goal=Goal(0.15), note="also counts rows, and puts rows, columns and versions on the span"),
    Row("audit", "span + histogram + audit record of 10 features, masked", "ladder:inference_on_record",
        goal=Goal(0.25), note="the record is in a hash chain on the disk 10 ms later, so the writer runs meanwhile"),
    Row("log", "the same + one INFO log line, JSON to file", "ladder:inference_with_log", goal=Goal(0.60)),
    Row("raising", "a raising call (`@step`, everything on)", "ladder:raising", reference="stock_raising",
        goal=Goal(0.30), note="ratio to a raising stock span, which writes no log line; ours writes an ERROR line "
        "with stack trace"),
    Row("otlp", "CPU of all threads, OTLP encoding, 3 attributes", "ladder:span_otlp", measure="cpu",
        reference="stock_otlp", goal=Goal(0.13), note="each with its own encoder, sending nothing"),
    Row("sklearn_bare", "scikit-learn `Pipeline.predict` of one row, not instrumented", None),
    Row("sklearn", "the same, instrumented: 3 spans", "ladder:pipeline", reference="sklearn_bare", goal=Goal(1.08),
        note="both take turns of 100 calls in one process, because two processes differ by more than the goal; times "
        "are medians of turns"),
)  # fmt: skip
STOCK = (
    Row("stock", "stock SDK span (BatchSpanProcessor, discarding exporter)", "stock:span", "stock"),
    Row("stock_not_sampled", "stock SDK span, not sampled", "stock:span_not_sampled", "stock"),
    Row("stock_histogram", "stock span + SDK histogram", "stock:span_and_histogram", "stock"),
    Row("prometheus", "prometheus_client by hand: observe with exemplar, no span", "stock:prometheus", "stock"),
    Row("by_hand", "stock span + JSON log line + prometheus_client exemplar by hand", "stock:span_log_and_prometheus",
        "stock"),
    Row("stock_raising", "stock span, raising", "stock:span_raising", "stock"),
    Row("by_hand_raising", "stock span, raising + SDK histogram + JSON ERROR line by hand",
        "stock:span_raising_logged", "stock", reference="stock_raising"),
    Row("stock_otlp", "stock span, 3 attributes, OTLP encoding", "stock:span_otlp", "stock", measure="cpu",
        reference="stock_otlp"),
)  # fmt: skip
PEERS = (
    Row("logfire", "logfire `@instrument`", "peers:logfire", "peer"),
    Row("mlflow", "mlflow `@trace`", "peers:mlflow", "peer"),
    Row("openinference", "openinference `@tracer.chain`", "peers:openinference", "peer"),
    Row("langfuse", "langfuse `@observe`", "peers:langfuse", "peer"),
)
LATENCY = (
    Row("latency", "otel_ml: a call while exporting", "ladder:span_otlp_often", kind="latency", measure="p999",
        reference="stock_latency", goal=Goal(0.02)),
    Row("stock_latency", "stock SDK: a call while exporting", "stock:span_otlp", "stock", kind="latency",
        measure="p999", reference="stock_latency"),
)  # fmt: skip
BACKLOG = (
    Row("backlog", "otel_ml", "ladder:span_with_backlog", kind="backlog", measure="collection_waiting",
        reference="stock_backlog", goal=Goal(1.0, "ms over")),
    Row("stock_backlog", "stock SDK", "stock:span_with_backlog", "stock", kind="backlog",
        measure="collection_waiting", reference="stock_backlog"),
)  # fmt: skip
ROWS = (*OURS, *STOCK, *PEERS, *LATENCY, *BACKLOG)


def chosen(keys: list[str]) -> tuple[Row, ...]:
    """Return the rows of the given keys and what they are compared with; all rows for no key.

    Raises:
        ValueError: There is no such row.
    """
    known = {row.key: row for row in ROWS}
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise ValueError(f"no row is called {', '.join(unknown)}; there are {', '.join(known)}")
    if not keys:
        return ROWS
    wanted = {*keys, *(known[key].reference for key in keys), "stock"}
    wanted |= {row.key for row in ROWS if row.reference in wanted and known[row.reference].target is None}
    return tuple(row for row in ROWS if row.key in wanted)
