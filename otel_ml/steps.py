"""The object behind `step(...)` and `inference(...)`: a decorator and a context manager, sync and async."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from opentelemetry import trace
from opentelemetry.trace import Span

from otel_ml.operations import Operation
from otel_ml.wrappers import Startable, wrap

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Step:
    """Watches what it decorates or encloses.

    One object may be used any number of times, nested, recursively and at once from threads and tasks.

    Args:
        spec_for: Returns the spec for a function that is decorated, or for a block (None).
    """

    def __init__(self, spec_for: Callable[[Callable[..., Any] | None], Startable]) -> None:
        self._spec_for = spec_for
        self._block: Startable | None = None
        self._open: list[Operation] = []

    @overload
    def __call__(self, function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
    @overload
    def __call__(self, function: staticmethod[P, R], /) -> staticmethod[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    def __call__(self, function: Any, /) -> Any:
        """Return the function with a span, a duration and a failure record around each call."""
        if isinstance(function, (classmethod, staticmethod)):
            return type(function)(self(function.__func__))
        return wrap(function, self._spec_for(inspect.unwrap(function)))

    def __enter__(self) -> Span:
        if self._block is None:
            self._block = self._spec_for(None)
        operation = self._block.start((), {})
        self._open.append(operation)
        return operation.span

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        operation = self._current()
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

    def _current(self) -> Operation:
        """Take the operation whose span is current here: threads and tasks may share this object."""
        span = trace.get_current_span()
        for index in range(len(self._open) - 1, -1, -1):
            if self._open[index].span is span:
                return self._open.pop(index)
        return self._open.pop()
