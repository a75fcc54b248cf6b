"""`run`: the context manager and decorator that gives one execution its identity and root span."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from otel_ml.errors import ConfigurationError
from otel_ml.execution import (
    RUN_KEY,
    Execution,
    Run,
    any_failed,
    check_config,
    current_run,
    inherited,
    innermost,
    process_run_id,
)
from otel_ml.identity import folder_name

__all__ = ["RUN_KEY", "Run", "any_failed", "current_run", "folder_name", "inherited", "process_run_id", "run"]

F = TypeVar("F", bound=Callable[..., Any])

_LONGEST_NAME = 256


class run:
    """Give one execution an identity and a root span: a context manager, sync or async, and a decorator.

        with otel_ml.run("nightly-train", config={"seed": 7}) as current: ...

        @otel_ml.run("nightly-train")
        def main(): ...

    Everything inside carries `otel_ml.run.id`: spans, log lines, threads, tasks, and processes started meanwhile, which
    find `OTEL_ML_RUN_ID`, `TRACEPARENT`, `TRACESTATE` and `BAGGAGE` in their environment. A run inside a run, or in a
    process that inherited an id, joins it. Its start is described once, masked, on the span and in an INFO record:
    configuration, Hydra overrides, environment variables, git commit, package versions, command line, seed.

    One object may be used again, nested, and at once from threads and tasks.

    Args:
        name: Name of the run; the span is `run <name>`. What is beyond 256 characters is cut.
        config: Configuration of the run: a mapping or an OmegaConf config, whose interpolations are resolved.

    Raises:
        ConfigurationError: `name` is not a non-empty string, `config` not a mapping, or what is decorated neither
            a function nor a coroutine function.
    """

    def __init__(self, name: str, *, config: Mapping[str, Any] | None = None) -> None:
        _check_name(name)
        if config is not None:
            check_config("run(config=)", config)
        self._name = name[:_LONGEST_NAME]
        self._config = config
        self._executions: list[Execution] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_executions": []}  # what is under way here is not, where a copy arrives

    def __enter__(self) -> Run:
        execution = Execution(self, self._name, self._config)
        self._executions.append(execution)
        execution.open()
        return execution.run

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        execution = self._current()
        if execution is not None:
            self._executions.remove(execution)
            execution.close(error)

    async def __aenter__(self) -> Run:
        return self.__enter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(exc_type, error, traceback)

    def __call__(self, function: F) -> F:
        """Return the function with a run around each call."""
        target = _code_of(function)

        async def run_coroutine(*args: Any, **kwargs: Any) -> Any:
            with self:
                return await function(*args, **kwargs)

        def run_function(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        wrapper: Any = run_coroutine if inspect.iscoroutinefunction(target) else run_function
        functools.update_wrapper(wrapper, function)
        return wrapper  # type: ignore[no-any-return]

    def _current(self) -> Execution | None:
        """Find the execution to end: the innermost here, else (left in another context than entered) the newest."""
        execution = innermost()
        while execution is not None:
            if execution.owner is self and not execution.closed:
                return execution
            execution = execution.outer
        return self._executions[-1] if self._executions else None


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise ConfigurationError("run(name)", name, "a non-empty string", 'Write @run("train"), not @run.')


def _code_of(function: Any) -> object:
    """Return what tells the kind of a function or callable object, after checking that a run can be put around it."""
    code = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004
    generator = inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code)
    if not callable(function) or inspect.isclass(function) or generator:
        expected = "a function or a coroutine function"
        raise ConfigurationError("run(...)(function)", function, expected, "Use `with run(...)` inside of it.")
    return code
