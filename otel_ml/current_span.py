"""The span that is current, without the calls in between: the one module that knows the API's private names for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Token
from typing import Final

from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace import Span
from opentelemetry.trace.propagation import _SPAN_KEY

_logger = logging.getLogger("opentelemetry.context")

SPAN_KEY: Final[str] = _SPAN_KEY
_runtime = context_api._RUNTIME_CONTEXT
get_context: Callable[[], Context]
set_context: Callable[[Context], Token[Context]]
reset_context: Callable[[Token[Context]], None]
if type(_runtime) is ContextVarsRuntimeContext:
    _variable = _runtime._current_context
    get_context, set_context, reset_context = _variable.get, _variable.set, _variable.reset
else:
    get_context, set_context, reset_context = _runtime.get_current, _runtime.attach, _runtime.detach


def attach(span: Span) -> Token[Context]:
    """Make a span current."""
    return set_context(Context({**get_context(), SPAN_KEY: span}))


def detach(token: Token[Context]) -> None:
    """Make current what was so before `attach`."""
    try:
        reset_context(token)
    except Exception:
        _logger.exception("Failed to detach context")
