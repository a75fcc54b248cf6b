"""Telemetry health: whether what the other dashboards show is all there is."""

from __future__ import annotations

from typing import Final

import collectors
import links
import names
import panels
import queries
import servers
import variables
from collectors import COLLECTOR, QUEUE, all_signals
from grafana_foundation_sdk.builders import dashboard
from layout import Line, Section, evenly, fill, new

SHIPPED: Final = f'{COLLECTOR}_exporter_sent_log_records_total{{exporter="otlp_http/audit"}}'


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    page = new(
        links.HEALTH,
        "Telemetry health",
        "Does all telemetry arrive: is anything down, dropped, refused, waiting or late?",
        since="now-1h",
        refresh="30s",
    )
    page.with_variable(variables.environment(names.DROPPED)).with_variable(variables.service(names.DROPPED))
    sections = [
        Section("", [_summary()]),
        Section("Collectors", [collectors.queues(), collectors.flow(), collectors.sampling()]),
        Section("Applications", [_applications()]),
        Section("Audit trail", [_audit(), _gaps()]),
        Section("Servers", [servers.servers()]),
        Section("Stores", [servers.loki(), servers.prometheus_and_tempo()]),
        Section("Hosts", [servers.hosts()]),
    ]
    return fill(page, sections)


def _summary() -> Line:
    down = panels.number(
        "Servers down",
        "How many servers does Prometheus not reach?",
        panels.COUNT,
        queries.now("count(up == 0) or vector(0)"),
        bad=1,
    )
    lost = panels.number(
        "Lost by collectors",
        "How many spans, log records and metric points did a store refuse for good, or a queue not take?",
        panels.COUNT,
        queries.now(f"{all_signals('exporter_send_failed')} + {all_signals('exporter_enqueue_failed')}"),
        bad=1,
    )
    refused = panels.number(
        "Refused by collectors",
        "How many items did a collector refuse, so that the sender has to send them again?",
        panels.COUNT,
        queries.now(all_signals("receiver_refused")),
        doubtful=1,
        bad=100_000,
    )
    dropped = panels.number(
        "Dropped by applications",
        "How many items did applications drop, because a queue was full or an export failed?",
        panels.COUNT,
        queries.now(f"sum(increase({names.DROPPED}{{{queries.SERVICES}}}[$__range])) or vector(0)"),
        bad=1,
    )
    discarded = panels.number(
        "Discarded by Loki",
        "How many log lines did Loki refuse, for their size, their age or their rate?",
        panels.COUNT,
        queries.now("sum(increase(loki_discarded_samples_total[$__range])) or vector(0)"),
        bad=1,
    )
    fullest = panels.number(
        "Fullest queue",
        "How full is the fullest queue of a collector?",
        panels.RATIO,
        queries.series(f"max({QUEUE} / {COLLECTOR}_exporter_queue_capacity)"),
        doubtful=0.5,
        bad=0.8,
    )
    counted = [panel.decimals(0) for panel in (lost, refused, dropped, discarded)]
    return evenly(4, down, *counted, fullest)


def _applications() -> Line:
    by = f"{names.SERVICE}, {names.SIGNAL}, {names.REASON}"
    legend = f"{{{{{names.SERVICE}}}}} {{{{{names.SIGNAL}}}}} {{{{{names.REASON}}}}}"
    dropped = panels.graph(
        "What applications drop",
        "Which application drops which telemetry, and why?",
        panels.COUNT,
        queries.series(queries.increase(names.DROPPED, queries.SERVICES, by), legend),
    )
    return evenly(8, dropped)


def _audit() -> Line:
    records = panels.graph(
        "Audit records",
        "How many audit records a second are written, with which outcome, and how many do agents ship?",
        panels.PER_SECOND,
        queries.series(queries.rate(names.AUDITED, queries.SERVICES, names.STATUS), f"written, {{{{{names.STATUS}}}}}"),
        queries.series(f"sum(rate({SHIPPED}[$__rate_interval])) or vector(0)", "shipped"),
    )
    lag = f"sum(increase({names.AUDITED}[$__range])) - (sum(increase({SHIPPED}[$__range])) or vector(0))"
    behind = panels.number(
        "Audit records not shipped",
        "How many audit records of the time range has no agent shipped yet? Segments are shipped whole, so some "
        "minutes' worth is normal; what only grows is not.",
        panels.COUNT,
        queries.now(f"clamp_min({lag}, 0)"),
    ).decimals(0)
    where = f'{queries.SERVICES}, {names.SIGNAL}="audit"'
    lost = panels.stacked(
        "Audit records lost",
        "How many audit records did which service lose, and why?",
        panels.COUNT,
        queries.series(
            queries.increase(names.DROPPED, where, f"{names.SERVICE}, {names.REASON}"),
            f"{{{{{names.SERVICE}}}}} {{{{{names.REASON}}}}}",
        ),
    ).no_value("Nothing lost")
    return Line(8, [(records, 12), (behind, 4), (lost, 8)])


def _gaps() -> Line:
    gaps = panels.lines(
        "Gaps in the audit trail",
        "Where does the trail itself say that records are missing: from when to when, how many, and why?",
        queries.log_lines(f'{{{queries.SERVICES}}} | {names.EVENT_NAME}="{names.GAP_EVENT}"', limit=100),
    )
    return evenly(6, gaps)
