"""Pipeline runs: training and batch jobs, and all that is known of one of them."""

from __future__ import annotations

from typing import Final

import links
import names
import panels
import queries
import tables
import variables
from grafana_foundation_sdk.builders import dashboard
from layout import Line, Section, evenly, fill, new

from otel_ml import conventions

COUNT: Final = f"{names.STEP}_count"
FAILED: Final = f'{queries.SERVICES}, {names.ERROR_TYPE}!=""'
BY_STEP: Final = f"{{{{{names.STEP_NAME}}}}}"
# Loki keeps no OTLP event name; the last record of a run is the one that has a status.
ENDED: Final = f'{{{queries.SERVICES}}} | {names.RUN_STATUS}!=""'
BROKEN: Final = f'{{{queries.SERVICES}}} | {names.RUN_STATUS}="{conventions.FAILED}"'
DURATION: Final = f'{ENDED} | unwrap {names.RUN_DURATION} | __error__=""'
# Empty: all runs. The beginning of an id is enough.
CHOSEN: Final = f'{names.RUN_ID}!="" | {names.RUN_ID}=~"$run.*"'


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    page = new(
        links.RUNS,
        "ML pipeline runs",
        "Did the last runs succeed, how long did they and their steps take, and what happened in one of them?",
        since="now-24h",
        refresh="1m",
    )
    page.with_variable(variables.environment(COUNT)).with_variable(variables.service(COUNT))
    page.with_variable(variables.text("run", "Run id", "The id of a run, or how it begins; empty for all runs"))
    sections = [
        Section("", [_summary()]),
        Section("Runs", [_runs(), _ended()]),
        Section("Steps", [_steps(), _slowest()]),
        Section("One run", [_one_run(), _its_trace()]),
    ]
    return fill(page, sections)


def _summary() -> Line:
    ended = panels.number(
        "Runs ended",
        "How many runs ended in the time range?",
        panels.COUNT,
        queries.log_now(f"sum(count_over_time({ENDED} [$__range])) or vector(0)"),
    )
    failed = panels.number(
        "Runs failed",
        "How many of them failed?",
        panels.COUNT,
        queries.log_now(f"sum(count_over_time({BROKEN} [$__range])) or vector(0)"),
        bad=1,
    )
    typical = panels.number(
        "Typical run",
        "How long does half of the runs take, at the most?",
        panels.SECONDS,
        queries.log_now(f"quantile_over_time(0.5, {DURATION} [$__range]) by ()"),
    )
    longest = panels.number(
        "Longest run",
        "How long did the longest run take?",
        panels.SECONDS,
        queries.log_now(f"max(max_over_time({DURATION} [$__range]))"),
    )
    steps = panels.number(
        "Steps failed",
        "How many steps failed in the time range?",
        panels.COUNT,
        queries.now(f"sum(increase({COUNT}{{{FAILED}}}[$__range])) or vector(0)"),
        bad=1,
    ).decimals(0)
    return Line(4, [(ended, 5), (failed, 5), (typical, 5), (longest, 5), (steps, 4)])


def _runs() -> Line:
    duration = panels.graph(
        "Duration of runs",
        "Does a pipeline take longer than it used to? A dot is a run, or the longest of several.",
        panels.SECONDS,
        queries.log_series(
            f"max by ({names.RUN_NAME}) (max_over_time({DURATION} [$__auto]))", f"{{{{{names.RUN_NAME}}}}}"
        ),
    )
    outcomes = panels.stacked(
        "Runs by outcome",
        "When did runs end well, and when not?",
        panels.COUNT,
        queries.log_series(
            f"sum by ({names.RUN_STATUS}) (count_over_time({ENDED} [$__auto]))", f"{{{{{names.RUN_STATUS}}}}}"
        ),
    )
    colours = {conventions.OK: panels.GOOD, conventions.FAILED: panels.BAD, conventions.CANCELLED: panels.DOUBTFUL}
    return evenly(8, panels.dotted(duration), panels.coloured(outcomes, colours))


def _ended() -> Line:
    kept = [names.RUN_NAME, names.RUN_STATUS, names.RUN_DURATION, names.SERVICE, names.RUN_ID, "trace_id"]
    table = tables.grid(
        "Runs that ended",
        "Which runs ended last, how, and after how long? An id opens the run below, a trace id its trace.",
        queries.log_lines(f"{ENDED} | keep {', '.join(kept)}", limit=200),
        sort="Ended",
    )
    named = {
        "Time": ("Ended", ""),
        names.RUN_NAME: ("Run", ""),
        names.RUN_STATUS: ("Outcome", ""),
        names.RUN_DURATION: ("Duration", panels.SECONDS),
        names.SERVICE: ("Service", ""),
        names.RUN_ID: ("Run id", ""),
        "trace_id": ("Trace", ""),
    }
    tables.log_columns(table, named)
    tables.linked(table, "Run id", links.to_dashboard("This run", links.RUNS, "var-run=${__value.raw}"))
    tables.linked(table, "Trace", links.to_traces("The trace", "${__value.raw}"))
    return evenly(8, tables.with_outcomes(table, "Outcome"))


def _steps() -> Line:
    duration = panels.graph(
        "Duration of steps",
        "Which step takes longer than it used to? Mean of all runs at the time.",
        panels.SECONDS,
        queries.series(queries.mean(names.STEP, queries.SERVICES, names.STEP_NAME), BY_STEP),
    )
    label = f"${{__field.labels.{names.STEP_NAME}}}"
    found = f'{{ resource.service.name =~ "$service" && span.{conventions.STEP_NAME} = "{label}" }}'
    duration.data_links([links.to_traces("Traces of this step", found)])
    failures = panels.stacked(
        "Failures of steps",
        "Which steps fail, and with which exception?",
        panels.COUNT,
        queries.series(
            queries.increase(COUNT, FAILED, f"{names.STEP_NAME}, {names.ERROR_TYPE}"),
            f"{BY_STEP} {{{{{names.ERROR_TYPE}}}}}",
        ),
    ).no_value("No failures")
    return evenly(8, panels.dotted(duration), failures)


def _slowest() -> Line:
    by = names.STEP_NAME
    spent = queries.increase(f"{names.STEP}_sum", queries.SERVICES, by, "$__range")
    calls = queries.increase(COUNT, queries.SERVICES, by, "$__range")
    failed = queries.share(queries.increase(COUNT, FAILED, by, "$__range"), calls)
    p95 = queries.quantile(0.95, names.STEP, queries.SERVICES, by, "$__range")
    table = tables.grid(
        "Slowest steps",
        "Where does the time go, over the whole time range?",
        *(queries.rows(expression) for expression in (spent, calls, f"{spent} / {calls}", p95, failed)),
        sort="Time in all",
    )
    named = {
        names.STEP_NAME: ("Step", ""),
        "Value #A": ("Time in all", panels.SECONDS),
        "Value #B": ("Calls", panels.COUNT),
        "Value #C": ("Mean", panels.SECONDS),
        "Value #D": ("p95", panels.SECONDS),
        "Value #E": ("Failed", panels.RATIO),
    }
    return evenly(8, tables.columns(table, named))


def _one_run() -> Line:
    logs = panels.lines(
        "Logs of the run",
        "What did the run whose id is chosen above say? Without an id: what did all runs say?",
        queries.log_lines(f"{{{queries.SERVICES}}} | {CHOSEN}", limit=500),
    )
    return evenly(14, logs)


def _its_trace() -> Line:
    table = tables.found_traces(
        "Trace of the run",
        "Which steps did the run take, and how long did each? An id opens its trace.",
        f'{{ resource.service.name =~ "$service" && span.{conventions.RUN_ID} =~ "$run.*" }}',
        limit=20,
    )
    return evenly(7, table)
