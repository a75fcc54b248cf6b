"""`otel-ml show`: a run's traces, logs, latencies and failures, from its local files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otel_ml import conventions
from otel_ml.cli import render, tree
from otel_ml.cli.gather import ERROR_SEVERITY, WARNING_SEVERITY, Failure, Gathered, gather
from otel_ml.cli.histogram import render_histograms
from otel_ml.cli.otlp_files import LogLine, Span
from otel_ml.cli.recordings import Recording, Selection, find

_STEPS_SHOWN = 8
_FAILURES_SHOWN = 5
_FEATURES_SHOWN = 6
_STATUS_STYLES = {"ok": "green", "error": "red", "running": "cyan"}
_FRAME = re.compile(r'^\s*File "([^"\n]+)", line (\d+), in (.+)$', re.MULTILINE)


def show(
    reference: str | None, *, directory: Path | None, logs: bool, limit: int, more: Callable[[], object] | None = None
) -> None:
    """Print a run.

    Args:
        reference: The run; see `recordings.find`.
        directory: State directory, or None for the default ones.
        logs: Whether log lines are printed.
        limit: Spans and log lines printed at most, of each.
        more: Prints what else there is to say, before the commands that may come next.

    Raises:
        RunNotFoundError: No run, or more than one, is meant.
    """
    selection = find(reference, directory)
    console = render.make_console()
    with _sign_of_life():
        found = gather(selection, lines_kept=limit if logs else 0)
    roots = tree.build(found.spans.items)
    _header(selection, found, console)
    if roots:
        _traces(roots, found, console, limit)
    names = {span.span_id: span.name for span in found.spans.items}
    if logs and found.logs.total:
        _logs(found, names, console)
    if found.failures.total:
        _failures(found, names, console)
    if found.names:
        _slowest(found, console)
    render_histograms(found.histograms.merged(), console)
    for problem in found.problems:
        console.print(Text(f"\nNote: {render.printable(problem)}", style="yellow"))
    if more is not None:
        more()
    _next(selection, found, console)


def _sign_of_life() -> AbstractContextManager[object]:
    """Show that files are being read; a terminal only, and nothing that stays."""
    console = render.make_console(stderr=True)
    return console.status("reading ...") if console.is_terminal else nullcontext()


def _header(selection: Selection, found: Gathered, console: Console) -> None:
    recording = selection.recording
    run_id = selection.run_id or recording.id
    name = recording.runs.get(run_id, recording.name) if selection.run_id else recording.name
    title = Text("run ", style="bold").append(render.printable(name or "(no name)", 80), style="bold cyan")
    title.append(f"  {render.printable(recording.status, 20)}", style=_STATUS_STYLES.get(recording.status, "yellow"))
    title.append(f"\n{render.printable(run_id, 80)}", style="not bold")
    console.print(title)
    facts = [f"{recording.started.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"]
    if recording.ended is not None or recording.status == "running":
        end = recording.ended or datetime.now(UTC)
        facts.append(render.duration(max(0.0, (end - recording.started).total_seconds())))
    facts += [
        render.number(found.processes, "process", "processes"),
        render.number(found.spans.total, "span"),
        render.number(found.logs.total, "log line"),
        *_origin(found.spans.items),
    ]
    console.print(Text(", ".join(facts), style="dim"))
    if recording.command:
        console.print(Text(render.printable(shlex.join(recording.command)), style="dim"))


def _origin(spans: Iterable[Span]) -> Iterator[str]:
    """Yield commit and seed, which the run's own span carries."""
    attributes: dict[str, Any] = next((s.attributes for s in spans if conventions.GIT_COMMIT in s.attributes), {})
    if attributes:
        dirty = " (changed)" if attributes.get(conventions.GIT_DIRTY) is True else ""
        yield f"commit {render.printable(str(attributes[conventions.GIT_COMMIT])[:10])}{dirty}"
    if conventions.RUN_SEED in attributes:
        yield f"seed {render.printable(str(attributes[conventions.RUN_SEED]), 40)}"


def _traces(roots: list[tree.Node], found: Gathered, console: Console, limit: int) -> None:
    traces = list(dict.fromkeys(root.span.trace_id for root in roots))
    note = render.printable(traces[0], 64) if len(traces) == 1 else render.number(len(traces), "trace")
    console.print(render.heading("Traces" if len(traces) > 1 else "Trace", note))
    tree.render_tree(roots, console, limit=limit, complete=not found.spans.left_out)
    if found.spans.left_out:
        text = f"The {len(found.spans.items):,} longest and failed of {found.spans.total:,} spans were looked at."
        console.print(Text(text, style="dim"))


def _logs(found: Gathered, names: dict[str, str], console: Console) -> None:
    lines = sorted(found.logs.items, key=lambda line: line.time_ns)
    left_out = f"{found.logs.left_out:,} further lines are not shown: see --limit" if found.logs.left_out else ""
    console.print(render.heading("Logs", left_out))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True, max_width=24, style="cyan")
    table.add_column(overflow="fold")
    for line in lines:
        name = render.printable(names.get(line.span_id, ""), 60)
        table.add_row(
            render.clock(line.time_ns), _level(line), line.span_id[:8], name, Text(render.printable(line.message))
        )
    console.print(table)


def _level(line: LogLine) -> Text:
    style = "red" if line.severity >= ERROR_SEVERITY else "yellow" if line.severity >= WARNING_SEVERITY else ""
    return Text(render.printable(line.level, 10), style=style)


def _failures(found: Gathered, names: dict[str, str], console: Console) -> None:
    groups: dict[tuple[str, str, str], list[Failure]] = {}
    for failure in found.failures.items:
        groups.setdefault((names.get(failure.span_id, ""), failure.type, failure.message), []).append(failure)
    more = f"{len(groups) - _FAILURES_SHOWN} other kinds are not shown" if len(groups) > _FAILURES_SHOWN else ""
    console.print(render.heading(f"Failures: {found.failures.total:,}", more))
    for (name, kind, message), failures in list(groups.items())[:_FAILURES_SHOWN]:
        first = failures[0]
        text = Text(f"  {render.printable(kind, 80)}", style="red").append(
            f": {render.printable(message)}", style="default"
        )
        if len(failures) > 1:
            text.append(f"  ({len(failures):,} times)", style="dim")
        console.print(text)
        where = f"in {render.printable(name, 60)} " if name else ""
        details = [f"{where}{tree.describe(_versions(first))}".strip(), _frame(first), _features(first)]
        details.append(f"trace {first.trace_id} span {first.span_id}" if first.trace_id else "")
        for detail in filter(None, details):
            console.print(Padding.indent(Text(detail, style="dim"), 4))


def _versions(failure: Failure) -> dict[str, Any]:
    keys = (conventions.MODEL_VERSION, conventions.FEATURE_VERSION, conventions.INPUT_ROWS, conventions.INPUT_COLUMNS)
    return {key: failure.attributes[key] for key in keys if key in failure.attributes}


def _frame(failure: Failure) -> str:
    """Return where the exception was raised: the last frame of its stack trace."""
    frames = _FRAME.findall(failure.stacktrace)
    return render.printable(f"at {frames[-1][0]}:{frames[-1][1]} in {frames[-1][2]}", 200) if frames else ""


def _features(failure: Failure) -> str:
    """Return the masked features, those first that are no numbers: they are the more likely cause."""
    features = failure.attributes.get(conventions.FEATURES)
    if isinstance(features, list) and len(features) == 1:
        features = features[0]  # a batch of one
    if features is None:
        return ""
    if not isinstance(features, dict):
        return f"features (masked): {render.printable(str(features), 200)}"
    items = sorted(features.items(), key=lambda item: isinstance(item[1], (int, float)))
    shown = ", ".join(f"{key}={value!r}" for key, value in items[:_FEATURES_SHOWN])
    rest = f", and {len(items) - _FEATURES_SHOWN} more" if len(items) > _FEATURES_SHOWN else ""
    return f"features (masked): {render.printable(shown, 300)}{rest}"


def _slowest(found: Gathered, console: Console) -> None:
    total = sum(statistics.own for statistics in found.names.values())
    ranked = sorted(found.names.items(), key=lambda item: item[1].own, reverse=True)
    console.print(render.heading("Where the time went", "own time: without the spans inside"))
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="ellipsis", no_wrap=True, max_width=40)
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(style="cyan", no_wrap=True)
    table.add_row(*(Text(title, style="dim") for title in ("  span", "calls", "failed", "longest", "own", "")))
    for name, statistics in ranked[:_STEPS_SHOWN]:
        share = statistics.own / total if total else 0.0
        table.add_row(
            Text(f"  {render.printable(name, 60)}"),
            f"{statistics.calls:,}",
            Text(f"{statistics.failed:,}", style="red") if statistics.failed else "",
            render.duration(statistics.longest),
            render.duration(statistics.own),
            f"{share:>4.0%} {render.bar(share, 20, ascii_only=console.options.ascii_only)}",
        )
    console.print(table)
    if len(ranked) > _STEPS_SHOWN:
        console.print(Text(f"  and {render.number(len(ranked) - _STEPS_SHOWN, 'other name')}", style="dim"))


def _next(selection: Selection, found: Gathered, console: Console) -> None:
    recording = selection.recording
    console.print(render.heading("Next"))
    if not found.spans.total and not found.logs.total:
        console.print(Text(f"  {_emptiness(recording)}"))
    rows = [
        (f"otel-ml push {recording.id} --endpoint http://localhost:4318", "send it to a collector"),
        (f"ls {shlex.quote(str(recording.folder))}", "its files: OTLP-JSON and JSON logs"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318", "set this to send while running"),
    ]
    for command, purpose in rows:
        console.print(Text(f"  {command}").append(f"  # {purpose}", style="dim"), soft_wrap=True)


def _emptiness(recording: Recording) -> str:
    if recording.status == "running":
        return "Nothing has been written yet: spans are written when they end, within a second."
    if recording.status in ("interrupted", "unknown"):
        return "Nothing was written: the process ended before anything was finished."
    return "Nothing was recorded: no span ended and no line was logged."
