"""Context to and from environment variables, which is how a run reaches the processes that it starts.

The names are those of the configured propagators (`OTEL_PROPAGATORS`) in upper case: `TRACEPARENT`, `TRACESTATE` and
`BAGGAGE` by default, as OpenTelemetry specifies for environment variables as carriers.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, MutableMapping

from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter, Setter

from otel_ml import conventions, dvc_process, health
from otel_ml.identity import RUN_ID_VARIABLE

try:
    from opentelemetry import propagate
except Exception as error:  # a propagator in OTEL_PROPAGATORS that is not installed fails the import
    _given = os.environ.pop("OTEL_PROPAGATORS", "")
    health.warn_once("environment:OTEL_PROPAGATORS", "OTEL_PROPAGATORS: %s. The default is used.", error)
    from opentelemetry import propagate

    os.environ["OTEL_PROPAGATORS"] = _given

_lock = threading.RLock()
_exported: list[dict[str, str]] = []
_original: dict[str, str | None] = {}


class _EnvironmentGetter(Getter[Mapping[str, str]]):
    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        value = carrier.get(variable_name(key))
        return None if value is None else [value]

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        return list(carrier)


class _EnvironmentSetter(Setter[MutableMapping[str, str]]):
    def set(self, carrier: MutableMapping[str, str], key: str, value: str) -> None:
        carrier[variable_name(key)] = value


_getter = _EnvironmentGetter()
_setter = _EnvironmentSetter()


def variable_name(field: str) -> str:
    """Return the environment variable that carries a propagator's field: `x-b3-traceid` is `X_B3_TRACEID`."""
    return re.sub(r"[^A-Z0-9_]", "_", field.upper())


def extract_environment(environ: Mapping[str, str] | None = None, context: Context | None = None) -> Context:
    """Return a context with the trace and baggage that an environment carries.

    Args:
        environ: Where to look; default: `os.environ`.
        context: What to add it to; default: an empty context.
    """
    carrier = os.environ if environ is None else environ
    return propagate.extract(carrier, Context() if context is None else context, getter=_getter)


def inject_environment(environ: MutableMapping[str, str], context: Context | None = None) -> None:
    """Put trace, baggage and run id of a context into the environment of a process to be started.

    What another context left there is removed, so that a new trace never goes with an old `TRACESTATE`.

    Args:
        environ: Changed in place, for example a copy of `os.environ`.
        context: Default: the current context.
    """
    for name in _carrier_names():
        environ.pop(name, None)
    environ.update(_carried(context))


def export_environment(context: Context) -> dict[str, str]:
    """Put a context into `os.environ` until `withdraw_environment` is called with the result.

    The variables belong to the process, so of several exports the newest that is not withdrawn is what children
    see, in whatever order and thread they end; with the last one, the values from before the first come back.
    """
    carried = _carried(context)
    with _lock:
        for name in _carrier_names() | carried.keys():
            _original.setdefault(name, os.environ.get(name))
        _exported.append(carried)
        _apply()
    return carried


def withdraw_environment(carried: dict[str, str]) -> None:
    """End one export; see `export_environment`."""
    with _lock:
        _exported[:] = [other for other in _exported if other is not carried]
        _apply()
        if not _exported:
            _original.clear()


def inherited_environment() -> dict[str, str]:
    """Return the environment as it is without our own exports: what the parent process handed down.

    In a stage of a plain `dvc repro`, where nobody does, it is what all stages of it have in common.
    """
    with _lock:
        environ = dict(os.environ)
        for name, value in _original.items():
            _set(environ, name, value)
    shared = None if environ.get(RUN_ID_VARIABLE) else dvc_process.common(environ)
    if shared is not None:
        environ[RUN_ID_VARIABLE] = shared[0]
        environ.setdefault("TRACEPARENT", shared[1])
    return environ


def _carried(context: Context | None) -> dict[str, str]:
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context, setter=_setter)
    run_id = baggage.get_baggage(conventions.RUN_ID, context)
    if isinstance(run_id, str):
        carrier[RUN_ID_VARIABLE] = run_id
    return carrier


def _carrier_names() -> set[str]:
    return {variable_name(field) for field in propagate.get_global_textmap().fields}


def _apply() -> None:
    for name, value in _original.items():
        _set(os.environ, name, _exported[-1].get(name) if _exported else value)


def _set(environ: MutableMapping[str, str], name: str, value: str | None) -> None:
    if value is None:
        environ.pop(name, None)
    else:
        environ[name] = value


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  the inherited lock may be held by a thread that does not exist here
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
