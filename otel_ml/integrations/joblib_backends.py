"""joblib's back ends with the caller's context: the one module that relies on how a back end is called.

`start_call` is called where `Parallel` is; `submit` later, on threads that know nothing of the caller. So what goes
along is taken in the first.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import joblib.parallel
from joblib import register_parallel_backend
from joblib.parallel import BACKENDS, LokyBackend, MultiprocessingBackend, ThreadingBackend

from otel_ml import health, luggage
from otel_ml.luggage import Departure, Rider, Shipment
from otel_ml.threads import in_context

_riders: tuple[Rider, ...] = ()
Callback = Callable[[Any], object]


class _Carrying:
    """What the back ends have in common; before joblib's class in the order of bases."""

    _departure: Departure | None = None
    nesting_level: int | None

    def start_call(self) -> None:
        """Take what goes along from the caller."""
        try:
            self._departure = luggage.depart(_riders)
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
        return Shipment(departure.parcel, func, delivers=True)


class CarryingLoky(_Carrying, LokyBackend):  # type: ignore[misc]
    """Processes that are started anew."""


class CarryingMultiprocessing(_Carrying, MultiprocessingBackend):  # type: ignore[misc]
    """Processes that are forked, or started anew."""


class CarryingThreading(_Carrying, ThreadingBackend):  # type: ignore[misc]
    """Threads, which take the context as it is."""

    def _wrapped(self, departure: Departure, func: Callable[[], Any]) -> Callable[[], Any]:
        return functools.partial(in_context, departure.context, func)


for _kind, _name in (
    (CarryingLoky, "LokyBackend"),
    (CarryingMultiprocessing, "MultiprocessingBackend"),
    (CarryingThreading, "ThreadingBackend"),
):
    _kind.__name__ = _name  # joblib prints it; pickles go by `__qualname__`, which stays
_OURS = (CarryingLoky, CarryingMultiprocessing, CarryingThreading)


class _CarryingDask(_Carrying):
    """Tasks of Dask's scheduler, which takes a batch apart."""

    def _wrapped(self, departure: Departure, func: Callable[[], Any]) -> Callable[[], Any]:
        func.items = [  # type: ignore[attr-defined]
            (Shipment(departure.parcel, function, delivers=True), args, kwargs)
            for function, args, kwargs in func.items  # type: ignore[attr-defined]
        ]
        return func


_OF_OTHERS = {"DaskDistributedBackend": _CarryingDask, "RayBackend": _Carrying}
"""What carries, by the names of back ends that only exist when another library is installed."""


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
    replaced = {name: backend for name in [*BACKENDS] if (backend := _carrying(BACKENDS[name])) is not BACKENDS[name]}
    before = {name: BACKENDS[name] for name in replaced}
    for name, backend in replaced.items():
        register_parallel_backend(name, backend)
    stop = _watch_registrations()

    def undo() -> None:
        global _riders  # noqa: PLW0603  see above
        _riders = tuple(rider for rider in _riders if rider not in riders)
        for name, original in before.items():
            if BACKENDS.get(name) is replaced[name]:
                register_parallel_backend(name, original)
        stop()

    return undo


def _carrying(backend: Any) -> Any:
    """Return a back end that carries: one of ours for joblib's, Dask's or Ray's; another is returned as it is."""
    for ours in _OURS:
        if backend is ours.__bases__[1]:
            return ours
    carries = _OF_OTHERS.get(getattr(backend, "__name__", ""))
    if carries is None or issubclass(backend, _Carrying):
        return backend
    return type(backend.__name__, (carries, backend), {"__module__": backend.__module__})


def _watch_registrations() -> Callable[[], None]:
    """Have back ends carry that are registered from now on: Dask's and Ray's are, when somebody first asks for them."""
    register = joblib.parallel.register_parallel_backend

    @functools.wraps(register)
    def register_carrying(name: str, factory: Any, *args: Any, **kwargs: Any) -> Any:
        return register(name, _carrying(factory), *args, **kwargs)

    def replace(old: Any, new: Any) -> None:
        for module in map(sys.modules.get, ("joblib.parallel", "ray.util.joblib")):
            if getattr(module, "register_parallel_backend", None) is old:
                module.register_parallel_backend = new  # type: ignore[union-attr]

    replace(register, register_carrying)
    return functools.partial(replace, register_carrying, register)
