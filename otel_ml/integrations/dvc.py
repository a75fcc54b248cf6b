"""DVC: a span for each stage of `dvc repro`, and whatever its processes record below it.

`otel-ml run -- dvc repro` sets the process of DVC up like any Python program, and this is what it finds there. DVC has
no hooks. The two functions of its internals that are wrapped, and the attributes of a stage that are read, are named in
this module only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.trace import Span

from otel_ml import conventions, environment, health, propagation
from otel_ml.instruments import instruments
from otel_ml.labels import labelled
from otel_ml.loggers import own_logger
from otel_ml.operations import record_failure
from otel_ml.patches import Undo, replace, when_imported
from otel_ml.telemetry import active

RAN = "ran"
SKIPPED = "skipped"
RESTORED = "restored"

_logger = own_logger("dvc")
_undo: list[Undo] = []
_commands: ContextVar[list[object] | None] = ContextVar("otel_ml.dvc", default=None)
_MOST_FILES = 100


class DvcInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Watches the stages that `dvc repro` and `dvc exp run` go through, in the process of DVC.

    A span `stage <name>` says whether a stage ran, was skipped, or was restored from the run cache, with hashes and
    sizes of its dependencies and outputs. Its name is a label: on every span and log record of its processes.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what must be installed for it to work."""
        return ("dvc >= 3.67",)

    def _instrument(self, **kwargs: Any) -> None:
        _undo.append(when_imported("dvc.stage", _patch))

    def _uninstrument(self, **kwargs: Any) -> None:
        while _undo:
            _undo.pop()()


def _patch() -> list[Undo]:
    from dvc.stage import Stage, run  # noqa: PLC0415  the program has imported it

    return [replace((Stage,), "reproduce", _watched), replace((run,), "cmd_run", _noted)]


def _watched(reproduce: Callable[..., Any]) -> Callable[..., Any]:
    """Watch what is done with a stage, unless it has no command: what `dvc add` and imports made is not run."""

    def watched(stage: Any, *args: Any, **kwargs: Any) -> Any:
        if not instruments.enabled or kwargs.get("dry") or not getattr(stage, "cmd", None):
            return reproduce(stage, *args, **kwargs)
        commands: list[object] = []
        token = _commands.set(commands)
        cleanup = ExitStack()
        try:
            span = _begin(cleanup, stage, kwargs)
            try:
                result = reproduce(stage, *args, **kwargs)
            except BaseException as error:
                _fail(span, stage, error)
                raise
            _end(span, stage, RAN if commands else SKIPPED if result is None else RESTORED)
            return result
        finally:
            _commands.reset(token)
            _close(cleanup)

    return watched


def _noted(cmd_run: Callable[..., Any]) -> Callable[..., Any]:
    """Note that the commands of a stage are run; their processes find its span in the environment."""

    def noted(stage: Any, *args: Any, **kwargs: Any) -> Any:
        commands = _commands.get()
        if commands is not None:
            commands.append(stage)
        return cmd_run(stage, *args, **kwargs)

    return noted


def _begin(cleanup: ExitStack, stage: Any, kwargs: Mapping[str, Any]) -> Span:
    """Open a stage's span, here and for the processes that are started, until `cleanup` is closed."""
    try:
        name = str(stage.addressing)
        labels = {conventions.DVC_STAGE: name}
        experiment = (kwargs.get("run_env") or {}).get("DVC_EXP_NAME")
        if experiment:
            labels[conventions.DVC_EXPERIMENT] = str(experiment)
        cleanup.enter_context(labelled(labels))
        command = stage.cmd if isinstance(stage.cmd, str) else "\n".join(stage.cmd)
        attributes = {conventions.DVC_COMMAND: environment.masked_arguments([command])[0]}
        span = instruments.tracer.start_span(f"stage {name}", attributes=attributes)
        cleanup.callback(span.end)
        cleanup.enter_context(_ended_at_shutdown(span))
        context = trace.set_span_in_context(span)
        cleanup.callback(context_api.detach, context_api.attach(context))
        cleanup.callback(propagation.withdraw_environment, propagation.export_environment(context))
        return span
    except Exception as error:
        health.internal_error("start of a stage", error)
        return trace.INVALID_SPAN


@contextmanager
def _ended_at_shutdown(span: Span) -> Iterator[None]:
    """Have the span of a stage that is under way recorded when DVC is told to end."""

    def end() -> None:
        if os.getpid() != pid:  # a fork's copy of it
            return
        span.set_attributes({conventions.DVC_OUTCOME: RAN, conventions.STATUS: conventions.CANCELLED})
        span.end()

    pid, telemetry = os.getpid(), active()
    unfinished = [] if telemetry is None else telemetry.unfinished
    unfinished.append(end)
    try:
        yield
    finally:
        unfinished.remove(end)


def _close(cleanup: ExitStack) -> None:
    try:
        cleanup.close()
    except Exception as error:  # the span processor of an application may raise
        health.internal_error("end of a stage", error)


def _end(span: Span, stage: Any, outcome: str) -> None:
    try:
        files = {conventions.DVC_DEPS: _files(stage.deps), conventions.DVC_OUTS: _files(stage.outs)}
        span.set_attribute(conventions.DVC_OUTCOME, outcome)
        for key, found in files.items():
            span.set_attribute(key, json.dumps(found, ensure_ascii=False))
        _say(stage.addressing, outcome, files)
    except Exception as error:
        health.internal_error("end of a stage", error)


def _fail(span: Span, stage: Any, error: BaseException) -> None:
    try:
        deps = _files(stage.deps)
        span.set_attribute(conventions.DVC_OUTCOME, RAN)
        span.set_attribute(conventions.DVC_DEPS, json.dumps(deps, ensure_ascii=False))
        record_failure(span, error, _logger, f"stage {stage.addressing}", {conventions.DVC_DEPS: deps})
    except Exception as own:
        health.internal_error("end of a stage", own)


def _say(name: str, outcome: str, files: Mapping[str, Any]) -> None:
    extra = {conventions.EVENT_NAME: conventions.DVC_STAGE_ENDED, conventions.DVC_OUTCOME: outcome, **files}
    _logger.info("stage %s: %s", name, outcome, extra=extra)


def _files(items: Iterable[Any]) -> list[dict[str, Any]]:
    """Return what `dvc.lock` says of dependencies or outputs; parameters have values, and are left out."""
    found = []
    for item in items:
        hashed, meta = getattr(item, "hash_info", None), getattr(item, "meta", None)
        value = getattr(hashed, "value", None)
        if isinstance(value, Mapping):
            continue
        file: dict[str, Any] = {"path": str(item.def_path)}
        if value:
            file[str(getattr(hashed, "name", "hash"))] = value
        for key, number in (("size", getattr(meta, "size", None)), ("nfiles", getattr(meta, "nfiles", None))):
            if number is not None:
                file[key] = number
        found.append(file)
    return found[:_MOST_FILES]
