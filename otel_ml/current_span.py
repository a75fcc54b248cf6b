"""The span that is current, without the calls in between: the one module that knows the API's private names for it.

They are looked at once, at import: a release that has them not, and a runtime context of the application's
(`OTEL_PYTHON_CONTEXT`), are used by the public functions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Final, NamedTuple

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_ml.primitives import derived, reset_variable, set_variable, variable_value

_logger = logging.getLogger("opentelemetry.context")

SPAN_KEY: Final = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))
"""Where a context keeps its span."""


class Functions(NamedTuple):
    """How to read, set and put back the current context.

    Args:
        get: Returns it.
        set: Makes another one current, and returns a token.
        reset: Makes current what was so before; what it raises is up to it.
    """

    get: Callable[[], Context]
    set: Callable[[Context], Token[Context]]
    reset: Callable[[Token[Context]], None]


_PUBLIC: Final = Functions(context_api.get_current, context_api.attach, context_api.detach)


def functions_of(runtime: Any) -> Functions:
    """Return the shortest functions that do what the public ones do with a runtime context.

    Args:
        runtime: The API's runtime context, or None where it cannot be had.
    """
    variable = getattr(runtime, "_current_context", None)
    # By name: a sub-class may do more than its variable does.
    is_plain = (type(runtime).__module__, type(runtime).__qualname__) == (
        "opentelemetry.context.contextvars_context",
        "ContextVarsRuntimeContext",
    )
    if not is_plain or not isinstance(variable, ContextVar) or not _is_current(variable):
        return _PUBLIC
    return Functions(variable.get, variable.set, variable.reset)


def _is_current(variable: ContextVar[Context]) -> bool:
    """Whether what is set in the variable is what the API takes for current."""
    probe = Context()
    token = variable.set(probe)
    try:
        return context_api.get_current() is probe
    finally:
        variable.reset(token)


_get_context, set_context, reset_context = functions_of(getattr(context_api, "_RUNTIME_CONTEXT", None))

_owner: Any = getattr(set_context, "__self__", None)
_variable: ContextVar[Context] | None = _owner if isinstance(_owner, ContextVar) else None


def get_context() -> Context:
    """Return the current context, which where this is compiled costs no call."""
    if _variable is None:
        return _get_context()
    context: Context = variable_value(_variable)
    return context


def make_current(context: Context) -> Token[Context]:
    """Make a context current: `set_context`, which where this is compiled costs no call."""
    return set_context(context) if _variable is None else set_variable(_variable, context)


def attach(span: Span) -> Token[Context]:
    """Make a span current."""
    return make_current(derived(get_context(), SPAN_KEY, span))


def detach(token: Token[Context]) -> None:
    """Make current what was so before `attach`; where that is not possible it is logged, as the API does."""
    try:
        if _variable is None:
            reset_context(token)
        else:
            reset_variable(_variable, token)
    except Exception:
        _logger.exception("Failed to detach context")
