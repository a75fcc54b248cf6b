"""joblib's back ends with the caller's context: the one module that relies on how a back end is called.

`start_call` is called where `Parallel` is; `submit` later, on threads that know nothing of the caller. So what goes
along is taken in the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from joblib import register_parallel_backend
from joblib.parallel import BACKENDS, LokyBackend, MultiprocessingBackend, ThreadingBackend
from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_ml import health
from otel_ml.integrations import worker_process
from otel_ml.integrations.worker_process import Departure, Shipment

if TYPE_CHECKING:
    from otel_ml.integrations.joblib import Rider

_riders: tuple[Rider, ...] = ()
Callback = Callable[[Any], object]


class _Carrying:
    """What the back ends have in common; before joblib's class in the order of bases."""

    _departure: Departure | None = None
    nesting_level: int | None

    def start_call(self) -> None:
        """Take what goes along from the caller."""
        try:
            self._departure = worker_process.depart(_riders)
        except Exception as error:  # a rider may do anything
            health.internal_error("context of a worker", error)
        super().start_call()  # type: ignore[misc]

    def get_nested_backend(self) -> tuple[Any, Any]:
        """Return a back end for what is nested: one of ours where joblib would take its own."""
        found, jobs = super().get_nested_backend()  # type: ignore[misc]
        if type(found) is ThreadingBackend:
            found = CarryingThreading(nesting_level=found.nesting_level)
        return found, jobs

    def submit(self, func: Callable[[], Any], callback: Callback | None = None) -> Any:
        """Send a batch with what goes along."""
        departure = self._departure
        if departure is not None:
            func = self._wrapped(departure, func)
            if callback is not None:
                callback = _Arrival(departure, callback)
        return super().submit(func, callback)  # type: ignore[misc]

    def _wrapped(self, departure: Departure, func: Callable[[], Any]) -> Callable[[], Any]:
        return Shipment(departure.luggage, func)


class CarryingLoky(_Carrying, LokyBackend):  # type: ignore[misc]
    """Processes that are started anew."""


class CarryingMultiprocessing(_Carrying, MultiprocessingBackend):  # type: ignore[misc]
    """Processes that are forked, or started anew."""


class CarryingThreading(_Carrying, ThreadingBackend):  # type: ignore[misc]
    """Threads, which take the context as it is."""

    def _wrapped(self, departure: Departure, func: Callable[[], Any]) -> Callable[[], Any]:
        return _InContext(departure.context, func)


for _kind, _name in (
    (CarryingLoky, "LokyBackend"),
    (CarryingMultiprocessing, "MultiprocessingBackend"),
    (CarryingThreading, "ThreadingBackend"),
):
    _kind.__name__ = _name  # joblib prints it; pickles go by `__qualname__`, which stays
_OURS = {"loky": CarryingLoky, "multiprocessing": CarryingMultiprocessing, "threading": CarryingThreading}


class _InContext:
    def __init__(self, context: Context, function: Callable[[], Any]) -> None:
        self._context = context
        self._function = function

    def __call__(self) -> Any:
        token = context_api.attach(self._context)
        try:
            return self._function()
        finally:
            context_api.detach(token)


class _Arrival:
    """Tells riders of a batch that is done, and then joblib."""

    def __init__(self, departure: Departure, callback: Callback) -> None:
        self._departure = departure
        self._callback = callback

    def __call__(self, done: Any, *rest: Any) -> object:
        try:
            results = done.result() if hasattr(done, "result") else done
            if isinstance(results, list):
                self._departure.arrived(results)
        except Exception as error:  # the batch's own exception, which joblib raises, is no business of ours
            if not hasattr(done, "exception") or done.exception() is not error:
                health.internal_error("return of a worker's tasks", error)
        except BaseException:  # a future that was cancelled
            return self._callback(done, *rest)
        return self._callback(done, *rest)


def register(riders: Sequence[Rider]) -> Callable[[], None]:
    """Register the back ends above; return a function that undoes it."""
    global _riders  # noqa: PLW0603  back ends are made by joblib, without arguments of ours
    _riders = (*_riders, *riders)
    before = {name: BACKENDS[name] for name in _OURS if name in BACKENDS and BACKENDS[name] is not _OURS[name]}
    for name in before:
        if BACKENDS[name].__module__.partition(".")[0] == "joblib":  # another library's own back end stays
            register_parallel_backend(name, _OURS[name])

    def undo() -> None:
        global _riders  # noqa: PLW0603  see above
        _riders = tuple(rider for rider in _riders if rider not in riders)
        for name, original in before.items():
            if BACKENDS.get(name) is _OURS[name]:
                register_parallel_backend(name, original)

    return undo
