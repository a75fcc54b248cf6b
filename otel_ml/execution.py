"""One execution: its identity, its span, and all that has to be undone when it ends. `runs.run` is how it is used."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar, Token
from typing import Any
from urllib.parse import parse_qsl, urlencode

from opentelemetry import baggage, context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode

from otel_ml import (
    conventions,
    environment,
    exceptions,
    health,
    identity,
    plain_copy,
    propagation,
    redaction,
    run_record,
)
from otel_ml.errors import ConfigurationError
from otel_ml.instruments import instruments
from otel_ml.loggers import own_logger
from otel_ml.operations import record_failure

RUN_KEY = context.create_key("otel_ml.run")
"""Key of the current `Run` in an OpenTelemetry context."""

_logger = own_logger("run")
_LABELS = {"DVC_STAGE": conventions.DVC_STAGE, "DVC_EXP_NAME": conventions.DVC_EXPERIMENT}
"""Environment variables that are labels, in the processes of a stage of DVC."""
_innermost: ContextVar[Execution | None] = ContextVar("otel_ml.run", default=None)
_failed = threading.Event()
_waiting: list[Callable[[], object]] | None = []
"""Called when the first `Run` is made in this process; None since then."""


def when_in_use(act: Callable[[], object]) -> None:
    """Call a function once there is a run in this process, which may be now: without one, spans need not be asked."""
    inherited()
    if _waiting is None:
        act()
    else:
        _waiting.append(act)


def _begin_use() -> None:
    global _waiting
    waiting, _waiting = _waiting, None
    for act in waiting or ():
        act()


class Run:
    """One execution, as `with run(...) as current:` and `current_run()` give it.

    Args:
        run_id: Its identity, UUIDv7 text, or what a parent process handed down.
        name: Its name.
        config: Its configuration as plain data, or None.
        span: Its span; None when it is a run of a parent process.
        labels: What else is on everything inside, by name: see `otel_ml.labels`.
        entered: Whether a `run` was entered for it; if not, it only carries labels, and a `run` inside is the first.

    Attributes:
        attributes: What its spans have: id, name and labels.
    """

    __slots__ = ("_lock", "_recorded", "_span", "_status", "attributes", "config", "entered", "id", "labels", "name")

    def __init__(
        self, run_id: str, name: str, config: Mapping[str, Any] | None = None, span: Span | None = None,
        labels: Mapping[str, str] | None = None, *, entered: bool = True,
    ) -> None:  # fmt: skip
        self.id = run_id
        self.name = name
        self.labels = dict(labels or {})
        self.entered = entered
        self.attributes = {conventions.RUN_ID: run_id, conventions.RUN_NAME: name, **self.labels}
        _begin_use()
        self.config = config
        self._recorded = None if config is None else _snapshot(config)
        self._span = span
        self._status = conventions.OK
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.id, self.name, self.config, self.labels, self.entered)

    def __repr__(self) -> str:
        return f"Run(id={self.id!r}, name={self.name!r})"

    def update_config(self, changes: Mapping[str, Any]) -> None:
        """Change the configuration, and write old and new values to the run's span and in an INFO record.

        What was changed in place in the configuration given to `run` is seen as well. Without a difference nothing
        is written.

        Args:
            changes: New values; nested mappings are merged, so `{"model": {"depth": 5}}` leaves `model.width` alone.

        Raises:
            ConfigurationError: `changes` is not a mapping.
        """
        check_config("update_config(changes)", changes)
        try:
            with self._lock:
                self.config = _merged(self.config or {}, environment.plain_config(changes))
                old, self._recorded = self._recorded or {}, _snapshot(self.config)
                difference = environment.changes(old, self._recorded)
            if difference:
                run_record.config_changed(self._span or trace.get_current_span(), self.name, difference)
        except Exception as error:
            health.internal_error("change of a run's configuration", error)

    def mark_failed(self, kind: str, description: str) -> None:
        """Note a failure that is no exception, such as the exit code of a command.

        Args:
            kind: Value of `error.type`; few different ones.
            description: Description of the span's status.
        """
        _failed.set()
        self._status = conventions.FAILED
        span = self._span or trace.get_current_span()
        if span.is_recording():
            span.set_attribute(conventions.ERROR_TYPE, kind)
            span.set_status(StatusCode.ERROR, description)


def _restored(
    run_id: str, name: str, config: Mapping[str, Any] | None, labels: Mapping[str, str], entered: bool
) -> Run:
    return Run(run_id, name, config, labels=labels, entered=entered)


def current_run(in_context: Context | None = None) -> Run | None:
    """Return the run that the caller is in, or None.

    That is the innermost `run` of this thread or task, else the one that the parent process handed down.

    Args:
        in_context: Where to look; default: the current context.
    """
    current = context.get_current() if in_context is None else in_context
    found = current.get(RUN_KEY)
    return found if isinstance(found, Run) else inherited()


def is_inside() -> bool:
    """Whether a `run` was entered around the caller, in this process or where its work came from."""
    found = context.get_current().get(RUN_KEY)
    return isinstance(found, Run) and found.entered


def process_run_id() -> str:
    """Return the run id of this process: the one handed down, else the one that its first run has or will have."""
    handed_down = inherited()
    return identity.own_id() if handed_down is None else handed_down.id


def any_failed() -> bool:
    """Whether a run of this process ended with an error."""
    return _failed.is_set()


def innermost() -> Execution | None:
    """Return the execution that was entered last in this thread or task, or None."""
    return _innermost.get()


class Execution:
    """One entry into a `run`: what has to be undone when it is left. No method raises an exception of its own.

    Args:
        owner: Who enters.
        name: Name of the run.
        config: Its configuration, or None.
        labels: What else is on everything inside, besides what the run around it has.
        span: A span that is current and is to be the run's, which is left to who ends it; None: one is made.
    """

    def __init__(
        self, owner: object, name: str, config: Mapping[str, Any] | None,
        labels: Mapping[str, str] | None = None, span: Span | None = None,
    ) -> None:  # fmt: skip
        self.owner = owner
        self._lent = span
        self.outer = _innermost.get()
        self.closed = False
        self._began = time.monotonic()
        self._seconds = 0.0
        self._outermost = not is_inside()
        self._cleanup = ExitStack()
        self._tokens: tuple[Token[Context], Token[Execution | None]] | None = None
        if self._outermost:
            inherited.cache_clear()
        joined = current_run()
        run_id = identity.next_id() if joined is None else joined.id
        try:
            plain = environment.plain_config(config) if config is not None else None
        except Exception as error:
            health.internal_error("configuration of a run", error)
            plain = None
        self.run = Run(run_id, name, plain, labels={**({} if joined is None else joined.labels), **(labels or {})})

    def open(self) -> None:
        """Start the span, make the run current, and tell processes to come."""
        try:
            run_context = self._context()
            span = _start_span(self.run, run_context) if self._lent is None else self._lent
            self.run._span = span
            if self._lent is None:
                self._cleanup.callback(span.end)
            else:
                span.set_attributes(self.run.attributes)
            run_context = trace.set_span_in_context(span, run_context)
            self._tokens = (context.attach(run_context), _innermost.set(self))
            self._cleanup.callback(self._leave)
            if self._outermost:
                carried = propagation.export_environment(run_context)
                self._cleanup.callback(propagation.withdraw_environment, carried)
                self._cleanup.callback(self._say_end, run_context)
            thread = run_record.start(span, run_context, self.run.name, self.run._recorded, outermost=self._outermost)
            if thread is not None:
                self._cleanup.callback(thread.join, run_record.LONGEST_WAIT)
        except Exception as error:
            health.internal_error("start of a run", error)

    def close(self, error: BaseException | None) -> None:
        """End the run; `error` is what left its block."""
        self.closed = True
        self._seconds = time.monotonic() - self._began  # before the wait for the description of the start
        try:
            self._note(error)
        except Exception as own:
            health.internal_error("recording of an exception", own)
        try:
            self._cleanup.close()
        except Exception as own:
            health.internal_error("end of a run", own)

    def _context(self) -> Context:
        current = context.get_current()
        if self._outermost and not trace.get_current_span(current).get_span_context().is_valid:
            current = propagation.extract_environment(propagation.inherited_environment(), current)
        return context_with(self.run, current)

    def _note(self, error: BaseException | None) -> None:
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            return
        span = self.run._span
        if span is None or (self._lent is not None and not span.is_recording()):  # its owner has ended it
            span = trace.INVALID_SPAN
        self.run._status = conventions.CANCELLED if exceptions.is_cancellation(error) else conventions.FAILED
        if exceptions.is_cancellation(error):
            span.set_attribute(conventions.STATUS, conventions.CANCELLED)
            return
        _failed.set()
        if instruments.enabled:
            record_failure(span, error, _logger, f"run {self.run.name}", {})

    def _say_end(self, run_context: Context) -> None:
        try:
            run_record.end(run_context, self.run.name, self.run._status, self._seconds)
        except Exception as error:  # an application's handler may raise
            health.internal_error("end of a run", error)

    def _leave(self) -> None:
        """Restore the context from before, also of outer runs that ended first; in another context do nothing."""
        ended = [self] if _innermost.get() is self else []
        while ended and ended[-1].outer is not None and ended[-1].outer.closed:
            ended.append(ended[-1].outer)
        for execution in reversed(ended):
            if execution._tokens is None:
                continue
            try:
                _innermost.reset(execution._tokens[1])
            except (ValueError, RuntimeError):  # entered, or left before, in a context of which this is a copy
                continue
            context.detach(execution._tokens[0])
            return


def context_with(run: Run, base: Context) -> Context:
    """Return a context in which a run is current, here and in the processes that are started in it."""
    changed = baggage.set_baggage(conventions.RUN_ID, run.id, base)
    changed = baggage.set_baggage(conventions.RUN_NAME, run.name, changed)
    if run.labels:
        changed = baggage.set_baggage(conventions.RUN_LABELS, urlencode(run.labels), changed)
    return context.set_value(RUN_KEY, run, changed)


def _start_span(run: Run, run_context: Context) -> Span:
    try:
        return instruments.tracer.start_span(f"run {run.name}", run_context, attributes=run.attributes)
    except Exception as error:  # an SDK that the application set up, its samplers and processors, may do anything
        health.internal_error("start of a span", error)
        return trace.INVALID_SPAN


@functools.cache
def inherited() -> Run | None:
    """Return the run that the parent process handed down, read from the environment once; None when it did not.

    A process of a stage of DVC that is in no run carries the stage's name with the process's own run.
    """
    try:
        environ = propagation.inherited_environment()
        run_id = identity.inherited_id(environ)
        given = {label: environ[name] for name, label in _LABELS.items() if environ.get(name)}
        if run_id is None:
            return Run(identity.own_id(), next(iter(given.values())), labels=given) if given else None
        carried = baggage.get_all(propagation.extract_environment(environ))
    except Exception as error:
        health.internal_error("reading of the environment", error)
        return None
    if carried.get(conventions.RUN_ID) != run_id:
        return Run(run_id, run_id, labels=given)
    labels = dict(parse_qsl(str(carried.get(conventions.RUN_LABELS, "")), keep_blank_values=True))
    return Run(run_id, str(carried.get(conventions.RUN_NAME) or run_id), labels=labels | given)


def _snapshot(config: Mapping[str, Any]) -> Any:
    """Copy a configuration, bounded; values of secret keys stay in it, so that a change of theirs is seen."""
    return plain_copy.copy_of(config, mask=redaction.current().text)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        inner = merged.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(inner, value) if both else value  # type: ignore[arg-type]
    return merged


def check_config(option: str, config: object) -> None:
    """Raise a `ConfigurationError` unless a configuration is a mapping."""
    if not isinstance(config, Mapping):
        raise ConfigurationError(option, type(config), "a mapping")  # the type only: values may be secret
