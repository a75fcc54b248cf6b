"""Overview: what the SRE who was paged opens first."""

from __future__ import annotations

from typing import Final

import links
import names
import panels
import queries
import variables
from grafana_foundation_sdk.builders import dashboard
from layout import Line, Section, evenly, fill, new

SERVED: Final = f"{queries.SERVICES}, {names.SERVED}"
CALLS: Final = f"{names.INFERENCE}_count"
FAILED: Final = f'{queries.SERVICES}, {names.ERROR_TYPE}!=""'
LOGS: Final = f"{{{queries.SERVICES}}}"


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    page = new(
        links.OVERVIEW,
        "ML overview",
        "Is anything wrong, in which service or model, since when, and where do I look next?",
        since="now-1h",
        refresh="30s",
    )
    page.with_variable(variables.environment(names.SPANS)).with_variable(variables.service(names.SPANS))
    sections = [
        Section("", [_summary()]),
        Section("Services", [_services()]),
        Section("Models", [_models(), _worst_models()]),
        Section("Where to look next", [_next()]),
    ]
    return fill(page, sections)


def _failed_share(by: str, window: str = "$__rate_interval") -> str:
    return queries.share(
        queries.rate(CALLS, FAILED, by, window),
        queries.rate(CALLS, queries.SERVICES, by, window),
    )


def _summary() -> Line:
    alerts = panels.alerts("Alerts", "What fires now, or is about to?")
    calls = panels.number(
        "Predictions",
        "How many predictions a second are made, by all chosen services together?",
        panels.CALLS,
        queries.series(f"sum(rate({CALLS}{{{queries.SERVICES}}}[$__rate_interval]))"),
    )
    failed = panels.number(
        "Failed predictions",
        "Which share of the predictions fails?",
        panels.RATIO,
        queries.series(_failed_share("")),
        doubtful=queries.ERRORS_ALLOWED / 2,
        bad=queries.ERRORS_ALLOWED,
    )
    slow = panels.number(
        "Prediction p99",
        "How long does a prediction take, at the most, in 99 of 100 cases?",
        panels.SECONDS,
        queries.series(queries.quantile(0.99, names.INFERENCE, queries.SERVICES)),
        doubtful=queries.SLOW_SECONDS / 2,
        bad=queries.SLOW_SECONDS,
    )
    budget = panels.number(
        "Error budget left",
        "How much of what may fail, by the objective and for the time range, has not been used up?",
        panels.RATIO,
        queries.now(_budget("")),
        doubtful=0.25,
        bad=0,
        low_is_bad=True,
    )
    return Line(6, [(alerts, 8), (calls, 4), (failed, 4), (slow, 4), (budget, 4)])


def _budget(by: str) -> str:
    return f"1 - ({_failed_share(by, '$__range')}) / scalar({queries.OBJECTIVE_ERRORS})"


def _services() -> Line:
    rate = panels.graph(
        "Requests by service",
        "How many requests a second does each service get?",
        panels.CALLS,
        queries.series(queries.rate(names.SPANS, SERVED, names.SERVICE), _legend(names.SERVICE)),
    )
    failed = queries.rate(names.SPANS, f"{SERVED}, {names.FAILED_SPAN}", names.SERVICE)
    share = queries.share(failed, queries.rate(names.SPANS, SERVED, names.SERVICE))
    errors = panels.graph(
        "Failed requests by service",
        "Which share of the requests of each service fails?",
        panels.RATIO,
        queries.series(share, _legend(names.SERVICE)),
    )
    p95 = queries.quantile(0.95, names.SPAN_DURATION, SERVED, names.SERVICE)
    duration = panels.graph(
        "Request p95 by service",
        "How long do requests take, and which trace shows why? A dot is an exemplar, and opens its trace.",
        panels.SECONDS,
        queries.series(p95, _legend(names.SERVICE), exemplar=True),
    )
    label = f"${{__field.labels.{names.SERVICE}}}"
    failures = f'{{ resource.service.name = "{label}" && status = error }}'
    errors.data_links(
        [
            links.to_logs("Errors in the logs", f'{{{names.SERVICE}="{label}"}} | severity_number >= 17'),
            links.to_traces("Failed traces", failures),
        ]
    )
    return evenly(8, rate, panels.limited(errors, queries.ERRORS_ALLOWED / 2, queries.ERRORS_ALLOWED), duration)


def _models() -> Line:
    rate = panels.graph(
        "Predictions by model",
        "How many predictions a second does each model make?",
        panels.CALLS,
        queries.series(queries.rate(CALLS, queries.SERVICES, names.MODEL), _legend(names.MODEL)),
    )
    errors = panels.graph(
        "Failed predictions by model",
        "Which share of the predictions of each model fails?",
        panels.RATIO,
        queries.series(_failed_share(names.MODEL), _legend(names.MODEL)),
    )
    p99 = queries.quantile(0.99, names.INFERENCE, queries.SERVICES, names.MODEL)
    duration = panels.graph(
        "Prediction p99 by model",
        "How long do predictions take, and which trace shows why? A dot is an exemplar, and opens its trace.",
        panels.SECONDS,
        queries.series(p99, _legend(names.MODEL), exemplar=True),
    )
    for panel in (rate, errors, duration):
        panel.data_links([links.to_model(names.MODEL)])
    return evenly(8, rate, panels.limited(errors, queries.ERRORS_ALLOWED / 2, queries.ERRORS_ALLOWED), duration)


def _worst_models() -> Line:
    budget = panels.bars(
        "Error budget left by model",
        "Which model has used up its error budget of the time range? At 0 % all that may fail has failed.",
        panels.RATIO,
        queries.now(f"bottomk(10, {_budget(names.MODEL)})", _legend(names.MODEL)),
        doubtful=0.25,
        bad=0,
        low_is_bad=True,
    ).max(1)
    by = f"{names.MODEL}, {names.VERSION}"
    p95 = queries.quantile(0.95, names.INFERENCE, queries.SERVICES, by, "$__range")
    slowest = panels.bars(
        "Slowest models",
        "Which version of which model was slowest in the time range, at the 95th percentile?",
        panels.SECONDS,
        queries.now(f"topk(10, {p95})", f"{_legend(names.MODEL)} {_legend(names.VERSION)}"),
    )
    for panel in (budget, slowest):
        panel.data_links([links.to_model(names.MODEL)])
    return evenly(7, budget, slowest)


def _next() -> Line:
    errors = panels.lines(
        "Recent errors",
        "What do the services say went wrong last? A line opens to its fields and to its trace.",
        queries.log_lines(f"{LOGS} | {queries.NOT_AUDIT} | severity_number >= 17", limit=100),
    )
    graph = panels.graph_of_services(
        "Service map", "Who calls whom, how often, how long does it take, and which calls fail?"
    )
    return Line(12, [(errors, 14), (graph, 10)])


def _legend(label: str) -> str:
    return f"{{{{{label}}}}}"
