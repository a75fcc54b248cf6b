"""Hydra: `configure` from the config group `otel_ml`, a run around each job, and one around a multirun.

`hydra_plugins/otel_ml_search_path` holds the configs by which Hydra finds what is here.
"""

from __future__ import annotations

import atexit
import copy
import inspect
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from opentelemetry import context as context_api

from otel_ml import configuration, conventions, environment, health, luggage, propagation
from otel_ml.errors import ConfigurationError
from otel_ml.labels import labelled
from otel_ml.luggage import Shipment
from otel_ml.runs import Run, run
from otel_ml.settings import resolve
from otel_ml.telemetry import active

try:
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import JobReturn, JobStatus
    from hydra.experimental.callback import Callback
    from hydra.types import TaskFunction
    from omegaconf import DictConfig, OmegaConf
except ImportError as missing:
    raise ImportError("Hydra is not installed: pip install 'otel-ml[hydra]'") from missing

GROUP = "otel_ml"
"""Name of the config group."""

# Headers hold secrets, and Hydra writes configs to files: they come from OTEL_EXPORTER_OTLP_HEADERS.
_NAMES = tuple(name for name in inspect.signature(configuration.configure).parameters if name != "headers")


class OtelMlCallback(Callback):
    """Hydra's callback; the config `hydra/callbacks: otel_ml` makes it.

    A job is a run: its configuration, overrides and failure are written down, and everything inside carries its name
    as a label. The jobs of a multirun are below one run, also those in processes of a launcher. What a hook cannot do
    costs telemetry and nothing else.

    Args:
        settings: The config group `otel_ml`: the arguments of `otel_ml.configure`; what is None comes from the
            environment. None: all of it does.

    Raises:
        ConfigurationError: A setting is unknown or cannot work. Hydra ends the program then, as for other overrides.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self._arguments = _arguments({} if settings is None else settings)
        resolve(self._arguments)  # now: to Hydra, what a hook raises is no more than a warning
        self._parcel: bytes | None = None
        self._home = _PROCESS

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Configure, before Hydra changes the working directory."""
        with _survived():
            self._begin(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Configure, and open the run that all jobs are below."""
        with _survived():
            self._begin(config)
            opened = _Opened()
            with _as_current(config):
                opened.enter(f"{config.hydra.job.name} multirun", config)
            self._parcel = luggage.depart().parcel

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Close that run; Hydra does not call this after a failed job."""
        with _survived():
            _leave(None)

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        """Open the job's run."""
        with _survived():
            if self._is_abroad():
                _abandon()
            opened = _Opened()
            if self._is_abroad() and self._parcel is not None:
                context = Shipment(self._parcel, context_api.get_current)()
                opened.stack.callback(context_api.detach, context_api.attach(context))
            _keep_level()
            number = OmegaConf.select(config, "hydra.job.num")
            name = config.hydra.job.name if number is None else f"{config.hydra.job.name}#{number}"
            opened.stack.enter_context(labelled({conventions.HYDRA_JOB: name}))
            opened.enter(name, config)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Close the job's run with what it raised; what a worker recorded is delivered, for workers are killed."""
        with _survived():
            # The public `return_value` raises, and prints, what the job raised.
            _leave(job_return._return_value if job_return.status == JobStatus.FAILED else None)
            telemetry = active()
            if self._is_abroad() and telemetry is not None:
                telemetry.flush(luggage.FLUSH_SECONDS)

    def _begin(self, config: DictConfig) -> None:
        _abandon()
        if self._arguments or active() is None:
            with _without_handlers(config):
                configuration.configure(**self._arguments)

    def _is_abroad(self) -> bool:
        """Whether a launcher has sent this object to another process."""
        return self._home != _PROCESS


class _Opened:
    """What one hook opens and another one closes."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.run: Run | None = None
        _open.append(self)  # whatever goes wrong with it, there is something to close

    def enter(self, name: str, config: DictConfig) -> None:
        """Enter a run, inside of what is on the stack."""
        self.run = self.stack.enter_context(run(name, config=_task_config(config)))
        carried = propagation.export_environment(context_api.get_current())  # sub-processes belong to this job
        self.stack.callback(propagation.withdraw_environment, carried)
        atexit.unregister(_abandon)
        atexit.register(_abandon)  # after `configure` was, so that it is called before


_open: list[_Opened] = []
"""Innermost last."""

_PROCESS = uuid4().hex
"""Tells processes apart, also those of other machines; a fork has it in common with its parent, as the context."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.clear)


def _leave(error: BaseException | None) -> None:
    if _open:
        _open.pop().stack.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


def _abandon() -> None:
    """Close what Hydra opened and did not close: after SystemExit and Ctrl-C no hook is called.

    What ended the program is what the interpreter showed last. It shows no SystemExit, and tells nobody its code.
    """
    error = getattr(sys, "last_value", None)
    while _open:
        if error is None and (current := _open[-1].run) is not None:
            current.mark_failed("SystemExit", "the program ended inside of it")
        _leave(error)


@contextmanager
def _survived() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        health.internal_error("Hydra's callback", error)


@contextmanager
def _as_current(config: DictConfig) -> Iterator[None]:
    """Let `${hydra:...}`, and the record of a run, find Hydra's config, which Hydra itself sets for jobs only."""
    holder = HydraConfig.instance()
    before = holder.cfg
    holder.set_config(copy.deepcopy(config))  # it makes it read-only
    try:
        yield
    finally:
        holder.cfg = before


@contextmanager
def _without_handlers(config: DictConfig) -> Iterator[None]:
    """Hide the root logger's handlers where the jobs will find none, so that our stream is there for them.

    The handlers of now are those of `hydra/hydra_logging`; those of `hydra/job_logging` take their place.
    """
    root = logging.getLogger()
    hidden = [] if OmegaConf.select(config, "hydra.job_logging.root.handlers") else root.handlers[:]
    for handler in hidden:
        root.removeHandler(handler)
    try:
        yield
    finally:
        for handler in hidden:
            root.addHandler(handler)


def _keep_level() -> None:
    """Set the root logger's level again if one was asked for: `hydra/job_logging` has set its own."""
    telemetry = active()
    if telemetry is not None and telemetry.settings.level_given and telemetry.settings.logs is not None:
        logging.getLogger().setLevel(telemetry.settings.logs.level)


def _task_config(config: DictConfig) -> dict[str, Any]:
    """Return the application's own configuration, resolved; of ours what was said."""
    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    plain: dict[str, Any] = dict(environment.plain_config(task))
    settings = plain.pop(GROUP, None)
    said = _said(settings) if isinstance(settings, dict) else settings
    return {**plain, GROUP: said} if said else plain


def _said(settings: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: _said(value) if isinstance(value, Mapping) else value for name, value in settings.items()}
    return {name: value for name, value in found.items() if value is not None and value != {}}


def _arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `configure` that a config group stands for."""
    arguments = _said(settings)
    for name in arguments:
        if name not in _NAMES:
            raise ConfigurationError(GROUP, name, f"one of {', '.join(_NAMES)}")
    for holder in (arguments, arguments.get("logs"), arguments.get("audit")):
        if isinstance(holder, dict) and isinstance(holder.get("directory"), str):
            holder["directory"] = str(Path(holder["directory"]).expanduser().absolute())  # a job may be elsewhere
    return arguments
