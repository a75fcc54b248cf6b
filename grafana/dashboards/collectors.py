"""The part of telemetry health that is about collectors: queues, flow and tail sampling."""

from __future__ import annotations

from typing import Any, Final

import panels
import queries
from layout import Line, evenly

SIGNALS: Final = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}
COLLECTOR: Final = "otelcol"
QUEUE: Final = f"{COLLECTOR}_exporter_queue_size"
SAMPLING: Final = f"{COLLECTOR}_processor_tail_sampling"


def all_signals(metric: str, where: str = "", window: str = "$__range") -> str:
    """Return the growth of a collector's counters of all signals together, 0 where none exists."""
    counters = (f"{COLLECTOR}_{metric}_{items}_total{{{where}}}" for items in SIGNALS.values())
    return " + ".join(f"(sum(increase({counter}[{window}])) or vector(0))" for counter in counters)


def _each_signal(metric: str, by: str, zero: str = "") -> list[Any]:
    """Return a target for each signal; `zero` is what exists while the counter does not, by the same label."""
    targets = []
    for signal, items in SIGNALS.items():
        expression = queries.rate(f"{COLLECTOR}_{metric}_{items}_total", "", by)
        if zero:
            expression += f' or 0 * sum by ({by}) ({zero}{{data_type="{signal}"}})'
        targets.append(queries.series(expression, f"{{{{{by}}}}} {signal}"))
    return targets


def queues() -> Line:
    """Return whether queues fill."""
    legend = "{{job}} {{exporter}} {{data_type}}"
    by = "job, exporter, data_type"
    full = panels.graph(
        "How full the queues are",
        "Will a queue be full soon? A full queue makes senders wait.",
        panels.RATIO,
        queries.series(f"max by ({by}) ({QUEUE} / {COLLECTOR}_exporter_queue_capacity)", legend),
    )
    waiting = panels.graph(
        "Items that wait",
        "How many items wait to be sent, and to which store?",
        panels.COUNT,
        queries.series(f"sum by ({by}) ({QUEUE})", legend),
    )
    sent = panels.graph(
        "Items sent",
        "How many items a second leave for each store?",
        panels.PER_SECOND,
        *_each_signal("exporter_sent", "exporter", QUEUE),
    )
    return evenly(8, panels.limited(full, 0.5, 0.8), waiting, sent)


def flow() -> Line:
    """Return what comes in, is refused, and is lost."""
    received = panels.graph(
        "Items received",
        "How many items a second come in, and by which way?",
        panels.PER_SECOND,
        *_each_signal("receiver_accepted", "receiver"),
    )
    refused = panels.graph(
        "Items refused",
        "Is a collector short of memory, or a queue full, so that senders have to try again?",
        panels.PER_SECOND,
        *_each_signal("receiver_refused", "receiver"),
    )
    lost = panels.graph(
        "Items lost",
        "Which items does a store refuse for good?",
        panels.PER_SECOND,
        *_each_signal("exporter_send_failed", "exporter", QUEUE),
    )
    return evenly(8, received, refused, lost)


def sampling() -> Line:
    """Return what tail sampling does."""
    decided = queries.rate(f"{SAMPLING}_global_count_traces_sampled_total", "", "decision")
    decisions = panels.stacked(
        "Traces kept and not kept",
        "How many traces a second does tail sampling keep, and how many not? None, where all traces are kept.",
        panels.PER_SECOND,
        queries.series(f'{decided} or label_replace(vector(0), "decision", "sampled", "", "")', "{{decision}}"),
    )
    colours = {"sampled": panels.GOOD, "not_sampled": panels.NEUTRAL}
    memory = panels.graph(
        "Traces that wait for a decision",
        "How many traces does tail sampling hold in memory?",
        panels.COUNT,
        queries.series(f"sum by (job) ({SAMPLING}_sampling_traces_on_memory)", "{{job}}"),
    )
    late = f"sum(rate({SAMPLING}_sampling_late_span_age_seconds_count[$__rate_interval])) or vector(0)"
    early = f"sum(rate({SAMPLING}_sampling_trace_dropped_too_early_total[$__rate_interval])) or vector(0)"
    torn = panels.graph(
        "Torn traces",
        "Do traces lose spans, because they came too late, or because too many traces waited?",
        panels.PER_SECOND,
        queries.series(late, "late spans"),
        queries.series(early, "traces dropped undecided"),
    )
    return evenly(7, panels.coloured(decisions, colours), memory, torn)
