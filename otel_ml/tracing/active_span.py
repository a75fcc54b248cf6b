"""What `start_as_current_span` returns: a context manager and decorator around one span."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode

from otel_ml import current_span

if TYPE_CHECKING:
    from otel_ml.tracing.tracer import Tracer


class ActiveSpan(AbstractContextManager[Span]):
    """One use of `start_as_current_span`; a tracer makes it without a constructor."""

    __slots__ = ("arguments", "end_on_exit", "span", "token", "tracer")

    tracer: Tracer
    arguments: tuple[Any, ...]
    end_on_exit: bool
    span: Span
    token: Token[Context]

    def __enter__(self) -> Span:
        span = self.span = self.tracer.start_span(*self.arguments)
        self.token = current_span.attach(span)
        return span

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        current_span.detach(self.token)
        span = self.span
        try:
            # Other exceptions are no errors of the program: GeneratorExit, KeyboardInterrupt.
            if error is not None and isinstance(error, Exception) and span.is_recording():
                *_, record_exception, set_status = self.arguments
                if record_exception:
                    span.record_exception(error)
                if set_status:
                    span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        finally:
            if self.end_on_exit:
                span.end()

    def _another(self) -> ActiveSpan:
        again: Callable[..., ActiveSpan] = self.tracer.start_as_current_span
        return again(*self.arguments, self.end_on_exit)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with a span of its own around each call."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def around_coroutine(*args: Any, **kwargs: Any) -> Any:
                with self._another():
                    return await function(*args, **kwargs)

            return around_coroutine

        @functools.wraps(function)
        def around(*args: Any, **kwargs: Any) -> Any:
            with self._another():
                return function(*args, **kwargs)

        return around
