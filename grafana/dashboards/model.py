"""Model: one model, by version, for the ML engineer who owns it."""

from __future__ import annotations

from typing import Any, Final

import links
import names
import panels
import queries
import tables
import variables
from grafana_foundation_sdk.builders import dashboard, timeseries
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue
from layout import Line, Section, evenly, fill, new

from otel_ml import conventions

CALLS: Final = f"{names.INFERENCE}_count"
ONE: Final = queries.ONE_MODEL
FAILED: Final = f'{ONE}, {names.ERROR_TYPE}!=""'
BY_VERSION: Final = f"{{{{{names.VERSION}}}}}"


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    page = new(
        links.MODEL,
        "ML model",
        "Is this model fast and right enough, does a version differ from the last one, and what failed?",
        since="now-1h",
        refresh="30s",
    )
    for variable in (variables.environment(CALLS), variables.service(CALLS)):
        page.with_variable(variable)
    page.with_variable(variables.model(CALLS)).with_variable(variables.version(CALLS))
    page.with_variable(
        variables.one_of(
            "slower", "Traces slower than", "For the table of slow traces", ["10ms", "50ms", "250ms", "1s"]
        )
    )
    sections = [
        Section("", [_summary()]),
        Section("Duration", [_duration()]),
        Section("Traffic", [_traffic()]),
        Section("Failures", [_failures(), _failure_lines(), _failed_predictions()]),
        Section("Versions", [_comparison()]),
        Section("Traces", [_slow_traces()]),
    ]
    return fill(page, sections)


def _failed_share(by: str, window: str = "$__rate_interval") -> str:
    return queries.share(queries.rate(CALLS, FAILED, by, window), queries.rate(CALLS, ONE, by, window))


def _summary() -> Line:
    def p(q: float, words: str) -> Any:
        target = queries.series(queries.quantile(q, names.INFERENCE, ONE))
        return panels.number(f"p{100 * q:.0f}", f"How long do {words} take?", panels.SECONDS, target)

    calls = panels.number(
        "Predictions",
        "How many predictions a second does the model make?",
        panels.CALLS,
        queries.series(f"sum(rate({CALLS}{{{ONE}}}[$__rate_interval]))"),
    )
    failed = panels.number(
        "Failed",
        "Which share of its predictions fails?",
        panels.RATIO,
        queries.series(_failed_share("")),
        doubtful=queries.ERRORS_ALLOWED / 2,
        bad=queries.ERRORS_ALLOWED,
    )
    rows = panels.number(
        "Rows",
        "How many rows a second is the model given?",
        "rowsps",
        queries.series(f"sum(rate({names.ROWS}{{{ONE}}}[$__rate_interval]))"),
    )
    half, most = p(0.5, "predictions typically"), p(0.95, "all predictions but the slowest 5 %, at the most,")
    return evenly(4, calls, failed, half, most, p(0.99, "all predictions but the slowest 1 %, at the most,"), rows)


def _duration() -> Line:
    heat = panels.heat(
        "Durations",
        "Is the model slow for all calls or for some? A dot is an exemplar, and opens its trace.",
        queries.buckets(names.INFERENCE, ONE),
    )
    by_version = [
        queries.series(
            queries.quantile(q, names.INFERENCE, ONE, names.VERSION), f"{BY_VERSION} p{100 * q:.0f}", exemplar=q == 0.95
        )
        for q in (0.5, 0.95, 0.99)
    ]
    lines = panels.graph(
        "Duration by version",
        "Is one version slower than another, for the typical call (p50) and for the slow ones (p95, p99)?",
        panels.SECONDS,
        *by_version,
    )
    for pattern, dashes in ((".* p50", [2, 4]), (".* p99", [8, 6])):
        style = DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": dashes})
        lines.override_by_regexp(f"/{pattern}/", [style])
    return evenly(9, heat, _with_trace_links(lines))


def _traffic() -> Line:
    rate = queries.rate(CALLS, ONE, names.VERSION)
    calls = panels.graph(
        "Predictions by version",
        "How many predictions a second does each version make?",
        panels.CALLS,
        queries.series(rate, BY_VERSION),
    )
    rows = panels.graph(
        "Rows by version",
        "How many rows a second is each version given?",
        "rowsps",
        queries.series(queries.rate(names.ROWS, ONE, names.VERSION), BY_VERSION),
    )
    shares = panels.stacked(
        "Share of each version",
        "How far is the roll-out: which share of the predictions does each version make?",
        panels.CALLS,
        queries.series(rate, BY_VERSION),
        percent=True,
    )
    return evenly(8, calls, rows, shares)


def _failures() -> Line:
    shares = panels.graph(
        "Failed predictions by version",
        "Which share of the predictions of each version fails?",
        panels.RATIO,
        queries.series(_failed_share(names.VERSION), BY_VERSION),
    )
    types = panels.stacked(
        "Failures by type",
        "Which exceptions are raised, and how often, at each point in time?",
        panels.COUNT,
        queries.series(queries.increase(CALLS, FAILED, names.ERROR_TYPE), f"{{{{{names.ERROR_TYPE}}}}}"),
    ).no_value("No failures")
    return evenly(
        8, _with_trace_links(panels.limited(shares, queries.ERRORS_ALLOWED / 2, queries.ERRORS_ALLOWED)), types
    )


def _failure_lines() -> Line:
    where = f'{names.MODEL}="$model" | {names.VERSION}=~"$version"'
    failures = panels.lines(
        "Latest failures",
        "Which calls failed last, and why? A line opens to its features, its stack trace and its trace.",
        queries.log_lines(f"{{{queries.SERVICES}}} | {queries.NOT_AUDIT} | severity_number >= 17 | {where}", limit=50),
    )
    return evenly(10, failures)


def _failed_predictions() -> Line:
    streams = f'{{{queries.SERVICES}, {names.MODEL}="$model", {names.STATUS}="{conventions.FAILED}"}}'
    shown = f"{{{{.{names.ERROR_TYPE}}}}}: {{{{.{names.EXCEPTION_MESSAGE}}}}}   {{{{.features}}}}"
    records = panels.lines(
        "Failed predictions and their features",
        "Which features did the model fail on? From the audit trail, masked, some minutes late; a line opens to its "
        "record.",
        queries.log_lines(
            f'{streams} | {names.VERSION}=~"$version" | json features="features" | line_format `{shown}`', limit=50
        ),
    )
    return evenly(10, records)


def _comparison() -> Line:
    calls = queries.increase(CALLS, ONE, names.VERSION, "$__range")
    rows = queries.increase(names.ROWS, ONE, names.VERSION, "$__range")
    quantiles = [queries.quantile(q, names.INFERENCE, ONE, names.VERSION, "$__range") for q in (0.5, 0.95, 0.99)]
    expressions = [calls, _failed_share(names.VERSION, "$__range"), *quantiles, f"{rows} / {calls}"]
    table = tables.grid(
        "Versions compared",
        "How do the versions differ over the whole time range?",
        *(queries.rows(expression) for expression in expressions),
        sort="Predictions",
    )
    named = {
        names.VERSION: ("Version", ""),
        "Value #A": ("Predictions", panels.COUNT),
        "Value #B": ("Failed", panels.RATIO),
        "Value #C": ("p50", panels.SECONDS),
        "Value #D": ("p95", panels.SECONDS),
        "Value #E": ("p99", panels.SECONDS),
        "Value #F": ("Rows a call", panels.COUNT),
    }
    return evenly(7, tables.columns(table, named))


def _slow_traces() -> Line:
    attributes = f'span.{conventions.MODEL_NAME} = "$model" && span.{conventions.MODEL_VERSION}'
    table = tables.found_traces(
        "Slow traces",
        "Which predictions took longer than the chosen time, and what did they do meanwhile? An id opens its trace.",
        f'{{ resource.service.name =~ "$service" && {attributes} =~ "$version" && duration > $slower }}',
        limit=50,
    )
    return evenly(9, table)


def _with_trace_links(panel: timeseries.Panel) -> timeseries.Panel:
    label = f"${{__field.labels.{names.VERSION}}}"
    model = f'span.{conventions.MODEL_NAME} = "$model"'
    found = f'{{ {model} && span.{conventions.MODEL_VERSION} = "{label}" && status = error }}'
    return panel.data_links([links.to_traces("Failed traces of this version", found)])
