"""What is inside of a flow run or a task run carries its id, and a flow run that is in no run is a run of its own.

Prefect enters a `FlowRunContext` or `TaskRunContext` around user code, around each attempt of a retry, and again where
work was sent to another process. So that is where labels are put on and taken off.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import Token
from types import ModuleType
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context

from otel_ml import conventions, health, labels
from otel_ml.execution import Execution, current_run
from otel_ml.integrations.prefect import logs, spans

_tokens: dict[int, Token[Context]] = {}
"""Of each context that is entered, by its `id`: a context of Prefect's takes no attribute of ours."""

_executions: dict[str, Execution] = {}
"""Runs that are open, by the id of their flow run; one is open over all attempts."""


def patch(module: ModuleType) -> Callable[[], None]:
    """Wrap what enters and leaves the contexts of `prefect.context`; return a function that undoes it."""
    for kind in (module.FlowRunContext, module.TaskRunContext):
        kind.__enter__ = _entering(kind.__enter__)
        kind.__exit__ = _leaving(kind.__exit__)

    def undo() -> None:
        for kind in (module.FlowRunContext, module.TaskRunContext):
            del kind.__enter__, kind.__exit__  # those of their base class are there again

    return undo


def _entering(enter: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(enter)
    def enter_labelled(self: Any) -> Any:
        entered = enter(self)
        try:
            _open(self)
        except Exception as error:
            health.internal_error("labels of Prefect", error)
        return entered

    return enter_labelled


def _leaving(leave: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(leave)
    def leave_labelled(self: Any, *exc_info: Any) -> Any:
        try:
            _close(self, exc_info[1] if len(exc_info) > 1 else None)
        except Exception as error:
            health.internal_error("labels of Prefect", error)
        return leave(self, *exc_info)

    return leave_labelled


def _open(context: Any) -> None:
    names = _names(context)
    if not names:
        return
    flow_run = getattr(context, "flow_run", None)
    if flow_run is not None:
        logs.adopt()  # `configure` may have come after Prefect
        if not context.detached and current_run() is None:
            _begin(context, flow_run, names)
    _tokens[id(context)] = labels.label(names)


def _names(context: Any) -> dict[str, str]:
    """Return the labels of what is inside a context."""
    task_run = getattr(context, "task_run", None)
    if task_run is not None:
        flow = {} if task_run.flow_run_id is None else {conventions.PREFECT_FLOW_RUN_ID: str(task_run.flow_run_id)}
        return {**flow, conventions.PREFECT_TASK_RUN_ID: str(task_run.id)}
    flow_run = getattr(context, "flow_run", None)
    return {} if flow_run is None else {conventions.PREFECT_FLOW_RUN_ID: str(flow_run.id)}


def _begin(context: Any, flow_run: Any, names: dict[str, str]) -> None:
    """Open a run for a flow run; Prefect's span is the run's, where Prefect makes one."""
    span = trace.get_current_span()
    execution = Execution(
        context,
        "flow" if context.flow is None else context.flow.name,
        context.parameters or None,
        labels=names,
        span=span if spans.is_of(span, flow_run.id) else None,
    )
    execution.open()
    _executions[str(flow_run.id)] = execution
    logs.remember(str(flow_run.id), execution.run.id)


def _close(context: Any, error: BaseException | None) -> None:
    token = _tokens.pop(id(context), None)
    if token is not None:
        context_api.detach(token)
    flow_run = getattr(context, "flow_run", None)
    execution = _executions.get(str(getattr(flow_run, "id", None)))
    if flow_run is None or execution is None or context.detached:
        return
    state = flow_run.state
    is_final = state is not None and state.is_final()
    if error is None and not is_final:
        return  # only the name was to be found, or another attempt follows
    del _executions[str(flow_run.id)]
    if is_final and (state.is_failed() or state.is_crashed()):
        execution.run.mark_failed(state.name, str(state.message))
    execution.close(None if is_final or _is_signal(error) else error)


def _is_signal(error: BaseException | None) -> bool:
    """Whether Prefect pauses or aborts a flow run, which is no failure of it."""
    from prefect.exceptions import Abort, Pause  # noqa: PLC0415  Prefect loads when it is used

    return isinstance(error, (Abort, Pause))
