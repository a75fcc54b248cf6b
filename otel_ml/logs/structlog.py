"""The processor for structlog."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from opentelemetry.trace import TraceFlags, get_current_span

from otel_ml.runs import current_run


def add_trace_context(logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put `trace_id`, `span_id`, `trace_flags` and `run_id` into a structlog event.

    Use it anywhere in the chain before the renderer. With `structlog.stdlib` and a configured pipeline it is not
    needed: the log record carries the ids already. Ids are absent outside a span; values already there stay.

    Args:
        logger: The wrapped logger; not used.
        method_name: Name of the method called; not used.
        event_dict: The event.

    Returns:
        The same event.
    """
    context = get_current_span().get_span_context()
    if context.is_valid:
        event_dict.setdefault("trace_id", format(context.trace_id, "032x"))
        event_dict.setdefault("span_id", format(context.span_id, "016x"))
        event_dict.setdefault("trace_flags", format(context.trace_flags & TraceFlags.SAMPLED, "02x"))
    run = current_run()
    if run is not None:
        event_dict.setdefault("run_id", run.id)
    return event_dict
