"""`otel-ml step NAME -- CMD...` and `--call`: a command of any language, or a Python function, as a step of a run."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry import context as context_api

from otel_ml import conventions, environment, plain_copy, program, redaction, runs
from otel_ml.cli.launch import kind_of, prepare_environment, wait_for
from otel_ml.decorators import step, step_spec
from otel_ml.errors import ConfigurationError
from otel_ml.identity import RUN_ID_VARIABLE
from otel_ml.options import Logs
from otel_ml.propagation import export_environment, inherited_environment, inject_environment, withdraw_environment
from otel_ml.runs import Run

_LONGEST_JSON = 8192
_EXAMPLE = "For example: otel-ml step clean --in raw.csv --out clean.csv -- python clean.py"


def run_command(
    name: str, command: list[str], *, inputs: list[str], outputs: list[str], directory: Path | None = None
) -> int:
    """Run a command as a step and wait for it; its standard streams are this process's own.

    It finds the step's span and the run in its environment, and a Python program is set up as by `otel-ml run`.

    Args:
        name: Name of the step.
        command: Program and arguments.
        inputs: Paths that are described before it starts.
        outputs: Paths that are described when it has ended well.
        directory: Where local files go; default: as for `otel_ml.configure`.

    Returns:
        The command's exit code, as `otel-ml run` has it.

    Raises:
        ConfigurationError: The command is empty.
    """
    if not command:
        raise ConfigurationError("step NAME -- COMMAND", command, "a command", _EXAMPLE)
    from otel_ml.configuration import configure  # noqa: PLC0415  the SDK is not needed to tell what is wrong above

    # The command writes logs, serves /metrics and predicts; this process must not take its terminal or its port.
    telemetry = configure(directory=directory, logs=Logs(format="none"), metrics=False, audit=False)
    files = {conventions.STEP_INPUTS: inputs, conventions.STEP_OUTPUTS: outputs}
    attributes = {conventions.STEP_COMMAND: environment.masked_arguments(command)}
    spec = step_spec(name, None, attributes, {key: paths for key, paths in files.items() if paths})
    with telemetry, _within_run(name) as own_run:
        operation = spec.start((), {})
        environ = dict(os.environ)
        inject_environment(environ)
        prepare_environment(environ, telemetry.directory.parent)
        code = wait_for(command, environ, speaker="step")
        operation.span.set_attribute(conventions.RUN_EXIT_CODE, code)
        if code == 0:
            operation.stop(None)
            return 0
        operation.fail(_failure(code))
        if own_run is not None:
            own_run.mark_failed(kind_of(code), f"exit code {code}")
    return code


def call(
    name: str,
    target: str,
    arguments: list[str],
    *,
    inputs: list[str],
    outputs: list[str],
    config_path: Path | None = None,
    config_name: str | None = None,
    directory: Path | None = None,
) -> None:
    """Call a Python function as a step; its exception is the caller's.

    The process is set up as by `otel-ml run`, with all instrumentations that are installed.

    Args:
        name: Name of the step, and of the service.
        target: `package.module:function`; the working directory is on the path, as for `python -m`.
        arguments: `key=value`, the value as JSON or else as text; with a config, Hydra's overrides of it.
        inputs: Paths that are described before the call.
        outputs: Paths that are described when it has returned.
        config_path: Folder of the Hydra config whose keys are the keyword arguments; default: the working directory.
        config_name: Its name; default, with a folder: `config`.
        directory: Where local files go; default: as for `otel_ml.configure`.

    Raises:
        ConfigurationError: There is no such function or config, or an argument is no `key=value`.
    """
    module, _, function = target.partition(":")
    if not module or not function:
        raise ConfigurationError("step --call", target, "package.module:function")
    with_config = config_path is not None or config_name is not None
    keywords = (
        _composed(config_path or Path(), config_name or "config", arguments) if with_config else _given(arguments)
    )
    from otel_ml.configuration import configure  # noqa: PLC0415  as above
    from otel_ml.settings import state_directory  # noqa: PLC0415
    from otel_ml.telemetry import active  # noqa: PLC0415

    prepare_environment(os.environ, state_directory(directory))
    if active() is None:  # else this process has been set up that way
        program.start()
    sys.path.insert(0, os.getcwd())
    with configure(service_name=name, directory=directory), _within_run(name):
        attributes = {conventions.STEP_ARGUMENTS: _arguments(keywords)}
        with step(name, attributes=attributes, inputs=inputs, outputs=outputs), _for_processes():
            _found(module, function)(**keywords)


@contextmanager
def _for_processes() -> Iterator[None]:
    """Have processes that are started meanwhile inside of the current span."""
    carried = export_environment(context_api.get_current())
    try:
        yield
    finally:
        withdraw_environment(carried)


def _found(module: str, function: str) -> Callable[..., object]:
    found: Any = importlib.import_module(module)
    for part in function.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ConfigurationError("step --call", f"{module}:{function}", f"a function of {module}")
    return found  # type: ignore[no-any-return]


def _given(arguments: Sequence[str]) -> dict[str, Any]:
    keywords: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigurationError("step --call", argument, "key=value")
        try:
            keywords[key] = json.loads(text)
        except ValueError:
            keywords[key] = text
    return keywords


def _composed(folder: Path, name: str, overrides: list[str]) -> dict[str, Any]:
    from otel_ml.audit.extras import require  # noqa: PLC0415

    hydra = require("hydra", "hydra", "for otel-ml step --config-name")
    try:
        with hydra.initialize_config_dir(config_dir=str(folder.absolute()), version_base=None):
            config = hydra.compose(name, overrides)
    except hydra.errors.HydraException as error:
        raise ConfigurationError("step --config-name", name, "a config that can be composed", str(error)) from error
    return {str(key): config[key] for key in config}


@contextmanager
def _within_run(name: str) -> Iterator[Run | None]:
    """Stay in the run that the environment hands down (None), else begin one."""
    if inherited_environment().get(RUN_ID_VARIABLE):
        yield None
        return
    with runs.run(name) as run:
        yield run


def _failure(code: int) -> Exception:
    """Return an exception that stands for an exit code: `error.type` is the name of its class."""
    kind: type[Exception] = type(kind_of(code), (Exception,), {"__module__": "builtins"})
    return kind(f"exit code {code}")


def _arguments(keywords: Mapping[str, Any]) -> str:
    """Return arguments as JSON: masked, bounded, and without what is no plain data."""
    redactor = redaction.current()
    plain = {name: environment.plain_config(value) for name, value in keywords.items()}
    text = json.dumps(redactor.mapping(plain_copy.copy_of(plain, mask=redactor.text)), ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_JSON else f"{text[: _LONGEST_JSON - 3]}..."
