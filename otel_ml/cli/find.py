"""`otel-ml find NAME`: whatever one tool calls an execution, what all others call it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from otel_ml import conventions
from otel_ml.cli import otlp_files, render
from otel_ml.cli.recordings import Recording, RunNotFoundError, recordings
from otel_ml.settings import state_directories

TRACE = "trace_id"
KINDS = {
    conventions.RUN_ID: "run",
    TRACE: "trace",
    conventions.HYDRA_JOB: "Hydra job",
    conventions.DVC_STAGE: "DVC stage",
    conventions.MLFLOW_RUN_ID: "MLflow run",
    conventions.OPTUNA_TRIAL: "Optuna trial",
    conventions.PREFECT_FLOW_RUN_ID: "Prefect flow run",
    conventions.PREFECT_TASK_RUN_ID: "Prefect task run",
}
"""What may be asked for and is told, by attribute."""

_SHOWN = 10

Names = frozenset[tuple[str, str]]
"""Kinds and names that one span or log record has."""


def find(name: str, *, directory: Path | None, as_json: bool) -> None:
    """Print what else an execution is called.

    Args:
        name: Any of the names: of a run, a trace, or what a tool calls it.
        directory: State directory, or None for the default ones.
        as_json: Whether to print one JSON object, lists of names by attribute.

    Raises:
        RunNotFoundError: Nothing that was recorded is called that.
    """
    places = [directory.expanduser().absolute()] if directory is not None else list(state_directories(None))
    problems: list[str] = []
    found_in = [recording for place in places for recording in recordings(place)]
    seen = Counter(names for recording in found_in for names in _names_in(recording, problems))
    if problems:
        print(f"otel-ml find: {len(problems)} lines could not be read, such as {problems[0]}", file=sys.stderr)
    found = related(name, seen)
    if not found:
        looked = ", ".join(str(place) for place in places)
        raise RunNotFoundError(f"Nothing that was recorded in {looked} is called {name!r}.")
    if as_json:
        print(json.dumps({kind: list(names) for kind, names in found.items()}))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("what", "name", "spans and lines"):
        table.add_column(title, justify="right" if title.startswith("spans") else "left", overflow="fold")
    for kind, names in found.items():
        for number, (other, count) in enumerate(names.most_common(_SHOWN + 1)):
            more = number == _SHOWN
            shown = f"and {len(names) - _SHOWN} more" if more else render.printable(other, 200)
            table.add_row(KINDS[kind] if number == 0 else "", shown, "" if more else str(count))
    render.make_console().print(table)


def related(name: str, seen: Mapping[Names, int]) -> dict[str, Counter[str]]:
    """Return what else is on everything that is called something, by kind, with how often.

    Of a kind that is on none of it, what is in the same run: an MLflow run that began after the trial ended.

    Args:
        name: One of the names.
        seen: How often each set of names was on a span or record.
    """
    of_it = {names: count for names, count in seen.items() if any(name == other for _, other in names)}
    runs = {other for names in of_it for kind, other in names if kind == conventions.RUN_ID}
    of_its_runs = {
        names: count
        for names, count in seen.items()
        if any(kind == conventions.RUN_ID and other in runs for kind, other in names)
    }
    found = {}
    for kind in KINDS:
        names = _counted(kind, of_it) or _counted(kind, of_its_runs)
        if names:
            found[kind] = names
    return found


def _counted(kind: str, seen: Mapping[Names, int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for names, count in seen.items():
        for found, other in names:
            if found == kind:
                counts[other] += count
    return counts


def _names_in(recording: Recording, problems: list[str]) -> Iterator[Names]:
    for path in recording.files("traces"):
        for request in otlp_files.read_lines(path, problems):
            for span in otlp_files.spans(request):
                yield _names(span.attributes, span.trace_id)
    for path in recording.files("logs"):
        for request in otlp_files.read_lines(path, problems):
            for line in otlp_files.log_lines(request):
                yield _names(line.attributes, line.trace_id)


def _names(attributes: Mapping[str, Any], trace_id: str) -> Names:
    named = {(kind, str(attributes[kind])) for kind in KINDS if attributes.get(kind)}
    return frozenset(named | {(TRACE, trace_id)} if trace_id else named)
