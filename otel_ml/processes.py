"""The current context into processes: those that a program starts, and the work that it gives to process pools.

A process that is not forked knows nothing of its parent's telemetry, and is set up as the parent was. No worker waits
until what it recorded is delivered: those of the standard library end in order, or by SIGTERM, and deliver then.
"""

from __future__ import annotations

import functools
import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from opentelemetry import context as context_api

from otel_ml import health
from otel_ml.luggage import Shipment, depart
from otel_ml.patches import Undo, all_of, replace, when_imported
from otel_ml.threads import in_context

_POOLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "concurrent.futures.process": ("ProcessPoolExecutor", ("submit",)),
    "multiprocessing.pool": (
        "Pool",
        ("apply", "apply_async", "map", "map_async", "starmap", "starmap_async", "imap", "imap_unordered"),
    ),
}
"""Modules with the class that gives work out, and its methods whose first argument is a function."""

_WORKERS_OF_POOLS = frozenset({"concurrent", "joblib", "loky", "multiprocessing"})
"""Packages whose processes outlive what happens to be current when they start."""

executions: set[str] = set()
"""Packages whose processes are executions, such as flow runs: a run each, unless one goes along."""


def propagate() -> Callable[[], None]:
    """Have processes and process pools take the caller's context and setup along; return a function that undoes it."""
    # Not imported here: that takes longer than all of ours.
    pools = [when_imported(name, functools.partial(_patch_pool, name)) for name in _POOLS]
    return all_of([replace((BaseProcess,), "start", _starting), *pools])


def _patch_pool(name: str) -> list[Undo]:
    kind, methods = _POOLS[name]
    return [replace((getattr(sys.modules[name], kind),), method, _giving_out) for method in methods]


def _starting(start: Callable[[BaseProcess], None]) -> Callable[[BaseProcess], None]:
    def start_with_context(self: BaseProcess) -> None:
        before = self.__dict__.copy()
        name = None
        try:
            name = _pack(self)
        except Exception as error:  # a process class of the program may do anything
            health.internal_error("context of a process", error)
        try:
            start(self)
        finally:
            if name is not None and self.__dict__.pop(name, None) is not None and name in before:
                self.__dict__[name] = before[name]  # here it is no other process than it was

    return start_with_context


def _pack(process: BaseProcess) -> str | None:
    """Have one process take along what is current, as a fork does anyway; return which attribute was replaced."""
    method = getattr(process, "_start_method", None) or multiprocessing.get_start_method()
    target = getattr(process, "_target", None)
    package = _package(target)
    if method == "fork" or package in _WORKERS_OF_POOLS:
        return None
    parcel = depart(is_execution=package in executions).parcel
    if "run" in process.__dict__ or type(process).run is not BaseProcess.run:
        process.__dict__["run"] = Shipment(parcel, process.run)
        return "run"
    if target is None:
        return None
    process.__dict__["_target"] = Shipment(parcel, target)
    return "_target"


def _package(function: object) -> str:
    return str(getattr(function, "__module__", None)).partition(".")[0]


def _giving_out(method: Callable[..., Any]) -> Callable[..., Any]:
    def give_out(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        try:
            if args:
                args = (_packed(self, args[0]), *args[1:])
            elif "func" in kwargs:
                kwargs["func"] = _packed(self, kwargs["func"])
        except Exception as error:
            health.internal_error("context of a process pool", error)
        return method(self, *args, **kwargs)

    return give_out


def _packed(pool: Any, function: Any) -> Any:
    """Return a function with what goes along; as it is, when something does already: pools call themselves."""
    inner = getattr(function, "func", None)  # also of joblib's wrapper
    if isinstance(function, Shipment) or isinstance(inner, Shipment) or inner is in_context or not callable(function):
        return function
    if isinstance(pool, getattr(sys.modules.get("multiprocessing.pool"), "ThreadPool", ())):
        return functools.partial(in_context, context_api.get_current(), function)
    return Shipment(depart().parcel, function)
