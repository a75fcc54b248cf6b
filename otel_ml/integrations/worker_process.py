"""What goes with work to another process: trace, run, baggage, and how telemetry is set up there."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context

from otel_ml import execution, health, propagation
from otel_ml.execution import RUN_KEY, Run, current_run
from otel_ml.identity import RUN_ID_VARIABLE

if TYPE_CHECKING:
    from otel_ml.integrations.joblib import Rider

FLUSH_SECONDS = 5.0
"""Seconds that a batch of tasks waits at most for what it recorded to be delivered."""


@dataclass(frozen=True, slots=True)
class Luggage:
    """What is pickled along with each batch.

    Args:
        carrier: Environment variables of the caller's trace, baggage and run.
        run: Id and name of the caller's run, or None.
        setup: Id of the run whose folder the caller writes to, and the arguments of its `configure`; None: it has
            none.
        riders: Each with what it sends.
    """

    carrier: dict[str, str]
    run: tuple[str, str] | None
    setup: tuple[str, dict[str, Any]] | None
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


def depart(riders: Sequence[Rider]) -> Departure:
    """Take what goes along from the current context.

    Args:
        riders: What goes along besides.
    """
    context = context_api.get_current()
    carrier: dict[str, str] = {}
    propagation.inject_environment(carrier, context)
    run = current_run(context)
    boarded = ((rider, rider.board()) for rider in riders)
    luggage = Luggage(
        carrier,
        None if run is None else (run.id, run.name),
        _setup(),
        tuple((rider, payload) for rider, payload in boarded if payload is not None),
    )
    return Departure(context, luggage)


class Shipment:
    """A function with what goes along, to be called in another process.

    Args:
        luggage: What goes along.
        function: Called there.
    """

    def __init__(self, luggage: Luggage, function: Callable[[], Any]) -> None:
        self._luggage = luggage
        self._function = function

    def __call__(self) -> Any:
        """Call the function in the context of the process that sent it, and deliver what was recorded."""
        with ExitStack() as stack:
            try:
                _enter(self._luggage, stack)
            except Exception as error:  # the task runs all the same
                health.internal_error("context of a worker", error)
            return self._function()


def _enter(luggage: Luggage, stack: ExitStack) -> None:
    if luggage.setup is not None:
        _configure(*luggage.setup)
    stack.callback(_deliver)
    context = propagation.extract_environment(luggage.carrier)
    if luggage.run is not None:
        context = context_api.set_value(RUN_KEY, Run(*luggage.run), context)
    stack.callback(context_api.detach, context_api.attach(context))
    for rider, payload in luggage.riders:
        stack.enter_context(rider.ride(payload))


def _setup() -> tuple[str, dict[str, Any]] | None:
    """Return what sets up another process like this one; None: nothing is set up here."""
    from otel_ml import configuration  # noqa: PLC0415  the SDK loads when it is configured

    telemetry = configuration.active()
    if telemetry is None:
        return None
    arguments = {"directory": telemetry.directory.parent.absolute(), **dict(_sendable(telemetry.arguments.items()))}
    return execution.process_run_id(), arguments


def _sendable(arguments: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    for name, value in arguments:
        if name == "directory":
            continue
        try:
            pickle.dumps(value)
        except Exception as error:
            health.warn_once(f"worker:{name}", "workers do not get configure(%s=): %s", name, error)
            continue
        yield name, value


def _configure(run_id: str, arguments: dict[str, Any]) -> None:
    """Set up a process that has no telemetry yet."""
    if type(trace.get_tracer_provider()).__name__ != "ProxyTracerProvider":
        return
    from otel_ml import configuration  # noqa: PLC0415  as above

    if configuration.active() is None:
        os.environ.setdefault(RUN_ID_VARIABLE, run_id)
        execution.inherited.cache_clear()
        configuration.configure(**arguments)


def _deliver() -> None:
    """Have what was recorded here leave the process, which may be killed at any time."""
    try:
        from otel_ml import configuration  # noqa: PLC0415  as above

        telemetry = configuration.active()
        if telemetry is not None:
            telemetry.flush(FLUSH_SECONDS)
            return
        flush = getattr(trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            flush(int(FLUSH_SECONDS * 1000))
    except Exception as error:  # a provider of the application may do anything
        health.internal_error("delivery from a worker", error)
