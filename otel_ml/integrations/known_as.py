"""What another tool is told of this execution, so that it leads back here: our run's id, the trace, all labels."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import trace

from otel_ml import conventions
from otel_ml.execution import current_run, process_run_id

_LONGEST = 5000  # what MLflow takes as a value


def known_as() -> dict[str, str]:
    """Return what this execution is known as, here and now, by name."""
    run = current_run()
    names = {} if run is None else dict(run.labels)
    names[conventions.RUN_ID] = process_run_id() if run is None else run.id
    span_context = trace.get_current_span().get_span_context()
    if span_context.is_valid:
        names[conventions.TRACE_ID] = trace.format_trace_id(span_context.trace_id)
    return names


def added(there: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Return what has to change where something belongs to this execution, and maybe to others before.

    Args:
        there: The values that it has.
        names: Those of this execution. One that differs comes after the others, with a comma; where that is too
            long, the oldest ones go.
    """
    changes = {}
    for name, value in names.items():
        values = str(there[name]).split(",") if name in there else []
        if value in values:
            continue
        values.append(value)
        while len(values) > 1 and len(",".join(values)) > _LONGEST:
            del values[0]
        changes[name] = ",".join(values)
    return changes
