"""The current context into threads: those that a program starts, and the work that it gives to thread pools.

Our own code instead of `opentelemetry-instrumentation-threading`: that package pins every other OpenTelemetry package
to its own release, which lags behind, and it misses threads whose class overrides `run`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import thread as pool_module
from typing import Any

from opentelemetry import context
from opentelemetry.context import Context

from otel_ml import conventions, health
from otel_ml.patches import all_of, replace

_POOL_WORKER = getattr(pool_module, "_worker", None)


def propagate() -> Callable[[], None]:
    """Have threads and thread pools take the caller's context along; return a function that undoes it."""
    return all_of([
        replace((threading.Thread,), "start", _starting), replace((ThreadPoolExecutor,), "submit", _submitting)
    ])  # fmt: skip


def _starting(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def start_with_context(self: threading.Thread) -> None:
        try:
            _carry(self)
        except Exception as error:  # a thread class of the program may do anything
            health.internal_error("context of a thread", error)
        start(self)

    return start_with_context


def _submitting(submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    def submit_with_context(
        self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        current = context.get_current()
        if current:
            fn = functools.partial(in_context, current, fn)
        return submit(self, fn, *args, **kwargs)

    return submit_with_context


def _carry(thread: threading.Thread) -> None:
    """Wrap `run` of one thread; not of ours nor of a pool's, which outlive what happens to be current now."""
    current = context.get_current()
    ours = thread.name.startswith(conventions.SCOPE)
    if not current or ours or getattr(thread, "_target", None) is _POOL_WORKER:
        return
    run = thread.run

    def run_with_context() -> None:
        del thread.run  # it refers to the thread, and the thread to it
        in_context(current, run)

    thread.run = run_with_context  # type: ignore[method-assign]


def in_context(current: Context, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function with a context; the arguments after the first two are the function's."""
    token = context.attach(current)
    try:
        return function(*args, **kwargs)
    finally:
        context.detach(token)
