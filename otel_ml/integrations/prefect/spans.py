"""Prefect's own spans: below what is open where a run starts, with labels, and with the status that the run ended in.

Prefect takes the parent of a subflow from what its server knows, which is the outer flow and no step in between. It
says OK of a run that returns a failed state, ends the span of a flow at the first of its attempts that fails, and that
of a task that times out never.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.trace import Span, get_current_span

from otel_ml import conventions, health

_RUN_ID, _RUN_TYPE = "prefect.run.id", "prefect.run.type"  # attributes of Prefect's spans
_LAST, _RETRIES = "_otel_ml_state", "_otel_ml_retries"  # attributes of ours of a `RunTelemetry`
_TIMED_OUT = "TimedOut"


def patch(module: Any) -> Callable[[], None]:
    """Wrap what makes and ends spans in `prefect.telemetry.run_telemetry`; return a function that undoes it."""
    kind, get_tracer = module.RunTelemetry, module.get_tracer
    module.get_tracer = _making(get_tracer)
    wrappers: dict[str, Callable[[Any], Any]] = {
        "update_state": _noting,
        "end_span_on_success": _succeeding,
        "end_span_on_failure": _failing,
    }
    methods = {name: getattr(kind, name) for name in wrappers}
    for name, wrap in wrappers.items():
        setattr(kind, name, wrap(methods[name]))

    def undo() -> None:
        module.get_tracer = get_tracer
        for name, method in methods.items():
            setattr(kind, name, method)

    return undo


def is_of(span: Span, run_id: object) -> bool:
    """Whether a span is Prefect's of a flow run or task run that is under way.

    Args:
        span: Any span.
        run_id: Id of the flow run or task run.
    """
    attributes = getattr(span, "attributes", None)
    return span.is_recording() and attributes is not None and attributes.get(_RUN_ID) == str(run_id)


def _making(get_tracer: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(get_tracer)
    def get_our_tracer(*args: Any, **kwargs: Any) -> Any:
        return _Tracer(get_tracer(*args, **kwargs))

    return get_our_tracer


class _Tracer:
    """Starts the spans that Prefect asks for.

    Args:
        tracer: The tracer that Prefect would have.
    """

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracer, name)

    def start_span(
        self, name: str, context: Context | None = None, attributes: dict[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        """Start a span as a tracer does, with its own label: so far it has that of the flow run around it."""
        try:
            context = _nearest(context)
        except Exception as error:
            health.internal_error("parent of a span of Prefect", error)
        span = self._tracer.start_span(name, context=context, attributes=attributes, **kwargs)
        try:
            _label(span, attributes or {})
        except Exception as error:
            health.internal_error("labels of a span of Prefect", error)
        return span


def _nearest(context: Context | None) -> Context | None:
    """Return the context that is current, if it is in the trace that Prefect has found: it is deeper, or the same."""
    here = get_current_span().get_span_context()
    there = get_current_span(context).get_span_context()
    return context_api.get_current() if here.is_valid and here.trace_id == there.trace_id else context


def _label(span: Span, attributes: dict[str, Any]) -> None:
    is_flow = attributes.get(_RUN_TYPE) == "flow"
    name = conventions.PREFECT_FLOW_RUN_ID if is_flow else conventions.PREFECT_TASK_RUN_ID
    span.set_attribute(name, attributes[_RUN_ID])


def _noting(update_state: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    @functools.wraps(update_state)
    def note_state(self: Any, new_state: Any) -> None:
        update_state(self, new_state)
        try:
            last = getattr(self, _LAST, None)
            setattr(self, _RETRIES, last is not None and last.is_scheduled() and new_state.is_running())
            setattr(self, _LAST, new_state)
            if new_state.name == _TIMED_OUT:
                if isinstance(new_state.data, Exception):
                    self.record_exception(new_state.data)
                self.end_span_on_failure(new_state.message)
        except Exception as error:
            health.internal_error("state of a run of Prefect", error)

    return note_state


def _succeeding(end_span: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(end_span)
    def end_as_state_says(self: Any) -> None:
        state = getattr(self, _LAST, None)
        if state is not None and (state.is_failed() or state.is_crashed()):
            self.end_span_on_failure(state.message)
        else:
            end_span(self)

    return end_as_state_says


def _failing(end_span: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(end_span)
    def end_unless_it_goes_on(self: Any, *args: Any, **kwargs: Any) -> None:
        if getattr(self, _RETRIES, False):
            setattr(self, _RETRIES, False)
        else:
            end_span(self, *args, **kwargs)

    return end_unless_it_goes_on
