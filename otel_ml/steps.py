"""The object behind `step(...)` and `inference(...)`: a decorator and a context manager, sync and async."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_ml.current_span import get_context
from otel_ml.errors import ConfigurationError
from otel_ml.instruments import instruments
from otel_ml.operations import Operation
from otel_ml.wrappers import Startable, wrap

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class _Entry:
    def __init__(self, thread: int, context: Context, operation: Operation) -> None:
        self.thread = thread
        self.context = context
        self.operation = operation


class Step:
    """Watches what it decorates or encloses.

    One object may be used any number of times, nested, recursively and at once from threads and tasks.

    Args:
        spec_for: Returns the spec for a function that is decorated, or for a block (None).
    """

    def __init__(self, spec_for: Callable[[Callable[..., Any] | None], Startable]) -> None:
        self._spec_for = spec_for
        self._block: Startable | None = None
        self._open: list[_Entry] = []

    @overload
    def __call__(self, function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
    @overload
    def __call__(self, function: staticmethod[P, R], /) -> staticmethod[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    def __call__(self, function: Any, /) -> Any:
        """Return the function with a span, a duration and a failure record around each call."""
        check_decorable("step(...)(function)", function)
        if isinstance(function, (classmethod, staticmethod)):
            return type(function)(self(function.__func__))
        return wrap(function, self._spec_for(inspect.unwrap(function)))

    def __enter__(self) -> Span:
        if not instruments.enabled:
            return trace.INVALID_SPAN
        if self._block is None:
            self._block = self._spec_for(None)
        operation = self._block.start((), {})
        self._open.append(_Entry(threading.get_ident(), get_context(), operation))
        return operation.span

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        operation = self._current()
        if operation is None:  # left more often than entered
            return
        if error is None:
            operation.stop(None)
        else:
            operation.fail(error)

    async def __aenter__(self) -> Span:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, error, traceback)

    def _current(self) -> Operation | None:
        """Take the operation that was entered here: threads and tasks may share this object.

        It is the one whose context is current, else the one whose span is: something may have been attached inside.
        Where both are others, because it was left attached, the newest of this thread is taken.
        """
        here = threading.get_ident()
        entered = [entry for entry in reversed(self._open.copy()) if entry.thread == here]
        if not entered:
            return None
        context = get_context()
        found = next((entry for entry in entered if entry.context is context), None)
        if found is None:
            span = trace.get_current_span()
            found = next((entry for entry in entered if entry.operation.span is span), entered[0])
        self._open.remove(found)  # nobody else looks for it; the others may come and go meanwhile
        return found.operation


def check_decorable(option: str, target: object) -> None:
    """Raise a `ConfigurationError` unless `target` can be decorated."""
    if inspect.isclass(target):
        raise ConfigurationError(option, target, "a function", "Decorate the methods of the class, or its __call__.")
    if not callable(target) and not isinstance(target, (classmethod, staticmethod)):
        raise ConfigurationError(option, target, "a function")
