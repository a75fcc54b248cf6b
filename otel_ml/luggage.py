"""What goes with work to another process: trace, run, baggage, and how telemetry is set up there."""

from __future__ import annotations

import functools
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from multiprocessing import util
from typing import Any, NamedTuple, Protocol

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context

from otel_ml import execution, health, propagation
from otel_ml.execution import RUN_KEY, Run, current_run
from otel_ml.identity import RUN_ID_VARIABLE
from otel_ml.telemetry import AT_EXIT, Telemetry, active
from otel_ml.threads import in_context

FLUSH_SECONDS = 5.0
"""Seconds that a batch of tasks waits at most for what it recorded to be delivered."""


class Rider(Protocol):
    """What an integration sends along with work, besides the context; an object of a module."""

    def board(self) -> object:
        """Return what goes along, which can be pickled; None: nothing does. Called where work is given out."""
        ...

    def ride(self, payload: object) -> AbstractContextManager[object]:
        """Return what is entered around each batch of tasks in a worker process.

        Args:
            payload: What `board` returned.
        """
        ...

    def arrived(self, payload: object, results: list[Any]) -> None:
        """Take note of a batch that is done, in the process that gave it out.

        Args:
            payload: What `board` returned.
            results: Of its tasks.
        """
        ...


travellers: list[Rider] = []
"""What goes along with all work; integrations that workers need put theirs here."""


class Luggage(NamedTuple):
    """What goes along with work. What other processes may fail to unpickle is pickled by itself.

    Args:
        carrier: Environment variables of the caller's trace, baggage and run.
        run: Id, name and labels of the caller's run, and whether it was entered; or None.
        setup: Pickled: id of the run whose folder the caller writes to (None: the process is an execution of its own),
            and the caller's call of `configure`. None: it has none.
        riders: Pickled: each with what it sends.
    """

    carrier: dict[str, str]
    run: tuple[str, str, dict[str, str], bool] | None
    setup: bytes | None
    riders: bytes


class Departure:
    """What was taken where work is given out.

    Args:
        context: The caller's.
        luggage: What goes to processes.
        riders: Each with what it sends.
        telemetry: Of the process.
    """

    def __init__(
        self,
        context: Context,
        luggage: Luggage,
        riders: tuple[tuple[Rider, object], ...],
        telemetry: Telemetry | None,
    ) -> None:
        self.context = context
        self.luggage = luggage
        self.riders = riders
        self.telemetry = telemetry

    @functools.cached_property
    def parcel(self) -> bytes:
        """The luggage as it travels, packed once for all work that is given out in one context."""
        return pickle.dumps(self.luggage)

    def arrived(self, results: list[Any]) -> None:
        """Tell riders of results that came back."""
        for rider, payload in self.riders:
            rider.arrived(payload, results)


_last: Departure | None = None


def depart(riders: Sequence[Rider] = (), *, is_execution: bool = False) -> Departure:
    """Take what goes along from the current context.

    Args:
        riders: What goes along besides.
        is_execution: Whether the process is an execution of its own where no run goes along.
    """
    global _last  # noqa: PLW0603  small tasks are given out one after the other in the same context
    context, telemetry, last = context_api.get_current(), active(), _last
    is_plain = not (riders or travellers or is_execution)
    if is_plain and last is not None and last.context is context and last.telemetry is telemetry:
        return last
    carrier: dict[str, str] = {}
    propagation.inject_environment(carrier, context)
    run = current_run(context)
    boarded = tuple((rider, rider.board()) for rider in (*travellers, *riders))
    boarded = tuple((rider, payload) for rider, payload in boarded if payload is not None)
    luggage = Luggage(
        carrier,
        None if run is None else (run.id, run.name, run.labels, execution.is_inside()),
        _setup(telemetry, has_run=run is not None or not is_execution),
        pickle.dumps(boarded),
    )
    departure = Departure(context, luggage, boarded, telemetry)
    if is_plain:
        _last = departure
    return departure


class Shipment:
    """A function with what goes along, to be called in another process, once or more often.

    Args:
        parcel: What goes along.
        function: Called there.
        delivers: Whether each call waits until what it recorded is delivered: for workers that are killed.
    """

    def __init__(self, parcel: bytes, function: Callable[..., Any], delivers: bool = False) -> None:
        self._parcel = parcel
        self._function = function
        self._delivers = delivers

    def __reduce__(self) -> tuple[Any, ...]:
        return Shipment, (self._parcel, self._function, self._delivers)

    def __deepcopy__(self, memo: object) -> Shipment:  # else a process that copies its state would copy itself
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function in the context of the process that sent it."""
        try:
            context, riders = _opened(self._parcel)
        except Exception as error:  # the task runs all the same
            health.internal_error("context of a worker", error)
            return self._function(*args, **kwargs)
        if not riders and not self._delivers:
            return in_context(context, self._function, *args, **kwargs)
        with ExitStack() as stack:
            if self._delivers:
                stack.callback(_deliver)
            stack.callback(context_api.detach, context_api.attach(context))
            for rider, payload in riders:
                try:
                    stack.enter_context(rider.ride(payload))
                except Exception as error:
                    health.internal_error("context of a worker", error)
            return self._function(*args, **kwargs)


@functools.lru_cache(maxsize=8)
def _opened(parcel: bytes) -> tuple[Context, tuple[tuple[Rider, object], ...]]:
    """Return the context that work arrives with, and its riders, after setting up the process where it is not."""
    luggage: Luggage = pickle.loads(parcel)
    riders: tuple[tuple[Rider, object], ...] = ()
    try:
        if luggage.setup is not None:
            _configure(*pickle.loads(luggage.setup))
        riders = pickle.loads(luggage.riders)
    except Exception as error:  # a function of the caller's that this process does not have
        health.warn_once(
            "worker", "a worker process is not set up as its parent is: %s: %s", type(error).__name__, error
        )
    context = propagation.extract_environment(luggage.carrier)
    if luggage.run is None:
        return context, riders
    run_id, name, labels, entered = luggage.run
    return context_api.set_value(RUN_KEY, Run(run_id, name, labels=labels, entered=entered), context), riders


def _setup(telemetry: Telemetry | None, *, has_run: bool) -> bytes | None:
    """Return what sets up another process like this one; None: nothing is set up here."""
    if telemetry is None or telemetry.recipe is None:
        return None
    if telemetry.sendable is None:
        arguments = _sendable(telemetry.recipe.keywords)
        directory = telemetry.directory.parent.absolute()
        telemetry.sendable = partial(telemetry.recipe.func, **{**arguments, "directory": directory})
    return pickle.dumps((execution.process_run_id() if has_run else None, telemetry.sendable))


def _sendable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in arguments.items():
        try:
            pickle.dumps(value)
        except Exception as error:
            health.warn_once(f"worker:{name}", "workers do not get configure(%s=): %s", name, error)
            continue
        found[name] = value
    return found


def _configure(run_id: str | None, recipe: partial[Telemetry]) -> None:
    """Set up a process that has no telemetry yet."""
    if type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider" and active() is None:
        if run_id is not None:
            os.environ.setdefault(RUN_ID_VARIABLE, run_id)
            execution.inherited.cache_clear()
        telemetry = recipe()
        telemetry.provisional = True  # what the worker says itself goes before this
        util.Finalize(telemetry, telemetry.shutdown, args=(AT_EXIT,), exitpriority=100)  # `os._exit` skips atexit


def _deliver() -> None:
    """Have what was recorded here leave the process, which may be killed at any time."""
    try:
        telemetry = active()
        if telemetry is not None:
            telemetry.flush(FLUSH_SECONDS)
            return
        flush = getattr(trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            flush(int(FLUSH_SECONDS * 1000))
    except Exception as error:  # a provider of the application may do anything
        health.internal_error("delivery from a worker", error)
