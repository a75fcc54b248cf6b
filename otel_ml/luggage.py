"""What goes with work to another process: trace, run, baggage, and how telemetry is set up there."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import util
from typing import Any, Protocol

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context

from otel_ml import execution, health, propagation
from otel_ml.execution import RUN_KEY, Run, current_run
from otel_ml.identity import RUN_ID_VARIABLE
from otel_ml.telemetry import Telemetry, active

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


@dataclass(frozen=True, slots=True)
class Luggage:
    """What is pickled along with each batch.

    Args:
        carrier: Environment variables of the caller's trace, baggage and run.
        run: Id, name and labels of the caller's run, or None.
        setup: Id of the run whose folder the caller writes to (None: the process is an execution of its own), and the
            caller's call of `configure`; None: it has none.
        riders: Each with what it sends.
    """

    carrier: dict[str, str]
    run: tuple[str, str, dict[str, str]] | None
    setup: tuple[str | None, partial[Telemetry]] | None
    riders: tuple[tuple[Any, object], ...]


@dataclass(frozen=True, slots=True)
class Departure:
    """What was taken where work is given out.

    Args:
        context: The caller's.
        luggage: What goes to processes.
    """

    context: Context
    luggage: Luggage

    def arrived(self, results: list[Any]) -> None:
        """Tell riders of results that came back."""
        for rider, payload in self.luggage.riders:
            rider.arrived(payload, results)


def depart(riders: Sequence[Rider] = ()) -> Departure:
    """Take what goes along from the current context.

    Args:
        riders: What goes along besides.
    """
    context = context_api.get_current()
    carrier: dict[str, str] = {}
    propagation.inject_environment(carrier, context)
    run = current_run(context)
    boarded = ((rider, rider.board()) for rider in (*travellers, *riders))
    luggage = Luggage(
        carrier,
        None if run is None else (run.id, run.name, run.labels),
        _setup(),
        tuple((rider, payload) for rider, payload in boarded if payload is not None),
    )
    return Departure(context, luggage)


class Shipment:
    """A function with what goes along, to be called in another process, once or more often.

    Args:
        luggage: What goes along.
        function: Called there.
        delivers: Whether each call waits until what it recorded is delivered: for workers that are killed.
    """

    def __init__(self, luggage: Luggage, function: Callable[..., Any], *, delivers: bool = False) -> None:
        self._luggage = luggage
        self._function = function
        self._delivers = delivers
        self._context: Context | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (self._luggage, self._function, self._delivers)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function in the context of the process that sent it."""
        with ExitStack() as stack:
            try:
                self._enter(stack)
            except Exception as error:  # the task runs all the same
                health.internal_error("context of a worker", error)
            return self._function(*args, **kwargs)

    def _enter(self, stack: ExitStack) -> None:
        if self._context is None:
            self._context = _arrive(self._luggage)
        if self._delivers:
            stack.callback(_deliver)
        stack.callback(context_api.detach, context_api.attach(self._context))
        for rider, payload in self._luggage.riders:
            stack.enter_context(rider.ride(payload))


def _unpacked(luggage: Luggage, function: Callable[..., Any], delivers: bool) -> Shipment:
    return Shipment(luggage, function, delivers=delivers)


def _arrive(luggage: Luggage) -> Context:
    if luggage.setup is not None:
        _configure(*luggage.setup)
    context = propagation.extract_environment(luggage.carrier)
    if luggage.run is None:
        return context
    run_id, name, labels = luggage.run
    return context_api.set_value(RUN_KEY, Run(run_id, name, labels=labels), context)


def _setup() -> tuple[str | None, partial[Telemetry]] | None:
    """Return what sets up another process like this one; None: nothing is set up here."""
    telemetry = active()
    if telemetry is None or telemetry.recipe is None:
        return None
    if telemetry.sendable is None:
        arguments = _sendable(telemetry.recipe.keywords)
        directory = telemetry.directory.parent.absolute()
        telemetry.sendable = partial(telemetry.recipe.func, **{**arguments, "directory": directory})
    return execution.process_run_id(), telemetry.sendable


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
        util.Finalize(telemetry, telemetry.shutdown, exitpriority=100)  # a worker's end is `os._exit`, without atexit


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
