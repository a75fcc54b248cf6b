"""The part of telemetry health that is about servers, stores and the machines that they run on."""

from __future__ import annotations

from typing import Final

import panels
import queries
from collectors import COLLECTOR
from layout import Line, evenly

HOST: Final = "instance"


def servers() -> Line:
    """Return which servers are up, and how busy."""
    up = panels.states(
        "Reachable",
        "Which server could Prometheus not scrape, and when?",
        queries.series("min by (job, instance) (up)", "{{job}} {{instance}}"),
    )
    memory = panels.graph(
        "Memory of servers",
        "Does a server's resident memory come near its limit?",
        panels.BYTES,
        queries.series("max by (job, instance) (process_resident_memory_bytes)", "{{job}} {{instance}}"),
        queries.series(f"max by (job, instance) ({COLLECTOR}_process_memory_rss_bytes)", "{{job}} {{instance}}"),
    )
    cpu = panels.graph(
        "CPU of servers",
        "Which server is busy? 100 % is one core.",
        panels.RATIO,
        queries.series(queries.rate("process_cpu_seconds_total", "", "job, instance"), "{{job}} {{instance}}"),
        queries.series(
            queries.rate(f"{COLLECTOR}_process_cpu_seconds_total", "", "job, instance"), "{{job}} {{instance}}"
        ),
    )
    return evenly(8, up, memory, cpu)


def loki() -> Line:
    """Return what Loki takes and refuses."""
    written = panels.graph(
        "Log lines stored",
        "How many log lines a second does Loki take?",
        panels.PER_SECOND,
        queries.series("sum by (job) (rate(loki_distributor_lines_received_total[$__rate_interval]))", "{{job}}"),
    )
    size = panels.graph(
        "Log bytes stored",
        "How much does Loki take, in lines and in their structured metadata?",
        "Bps",
        queries.series("sum(rate(loki_distributor_bytes_received_total[$__rate_interval]))", "all"),
        queries.series(
            "sum(rate(loki_distributor_structured_metadata_bytes_received_total[$__rate_interval]))",
            "of which structured metadata",
        ),
    )
    discarded = panels.graph(
        "Log lines discarded",
        "Why does Loki refuse lines?",
        panels.COUNT,
        queries.series(
            "sum by (reason) (increase(loki_discarded_samples_total[$__rate_interval])) "
            'or label_replace(vector(0), "reason", "none", "", "")',
            "{{reason}}",
        ),
    )
    return evenly(7, written, size, discarded)


def prometheus_and_tempo() -> Line:
    """Return what Prometheus and Tempo take and refuse."""
    samples = panels.graph(
        "Samples stored",
        "How many samples a second does Prometheus take?",
        panels.PER_SECOND,
        queries.series("sum(rate(prometheus_tsdb_head_samples_appended_total[$__rate_interval]))", "samples"),
    )
    held = panels.graph(
        "Series in memory",
        "Does the number of series grow without end? A label with too many values does that.",
        panels.COUNT,
        queries.series("sum(prometheus_tsdb_head_series)", "series"),
    )
    kinds = ("out_of_order", "too_old", "out_of_bound")
    refused = panels.graph(
        "Samples refused",
        "Does Prometheus refuse samples that came too late?",
        panels.PER_SECOND,
        *(
            queries.series(f"sum(rate(prometheus_tsdb_{kind}_samples_total[$__rate_interval]))", kind.replace("_", " "))
            for kind in kinds
        ),
    )
    spans = panels.graph(
        "Spans stored",
        "How many spans a second does Tempo take?",
        panels.PER_SECOND,
        queries.series("sum(rate(tempo_distributor_spans_received_total[$__rate_interval]))", "spans"),
    )
    return evenly(7, samples, held, refused, spans)


def hosts() -> Line:
    """Return how busy and full the machines are."""
    busy = queries.rate("system_cpu_time_seconds_total", 'state!~"idle|wait"', HOST)
    cpu = panels.graph(
        "CPU of hosts",
        "Is a machine busy?",
        panels.RATIO,
        queries.series(f"{busy} / {queries.rate('system_cpu_time_seconds_total', '', HOST)}", f"{{{{{HOST}}}}}"),
    )
    used = f'sum by ({HOST}) (system_memory_usage_bytes{{state="used"}}) / sum by ({HOST}) (system_memory_usage_bytes)'
    memory = panels.graph(
        "Memory of hosts", "Is a machine short of memory?", panels.RATIO, queries.series(used, f"{{{{{HOST}}}}}")
    )
    volume = f"{HOST}, mountpoint"
    taken = f'sum by ({volume}) (system_filesystem_usage_bytes{{state="used"}})'
    disk = panels.graph(
        "Disks of hosts",
        "Is a disk nearly full? Queues and stores need room.",
        panels.RATIO,
        queries.series(
            f"{taken} / sum by ({volume}) (system_filesystem_usage_bytes)", f"{{{{{HOST}}}}} {{{{mountpoint}}}}"
        ),
    )
    return evenly(7, panels.limited(cpu, 0.8, 0.95), panels.limited(memory, 0.8, 0.95), panels.limited(disk, 0.8, 0.95))
