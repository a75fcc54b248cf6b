"""From arguments and environment to the values in force: argument, `OTEL_ML_*`, `OTEL_*`, default."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from otel_ml import environment_table, health
from otel_ml.errors import ConfigurationError
from otel_ml.options import Audit, Logs, Metrics, Redaction, Traces

Signal = Literal["traces", "metrics", "logs"]
Options = TypeVar("Options", Audit, Logs, Metrics, Redaction, Traces)

DEFAULT_PROMETHEUS_PORT = 9464


@dataclass(frozen=True)
class Settings:
    """Everything `configure` decided on.

    Args:
        service_name: Name of the service; default: that of the program.
        service_version: Its version, or None.
        environment: Deployment environment, or None.
        resource_attributes: Further attributes of the resource.
        endpoint: OTLP endpoint given as an argument; None leaves it to the `OTEL_EXPORTER_OTLP_*` variables.
        headers: OTLP headers given as an argument.
        directory: State directory that was asked for, or None.
        exporters: For each signal the names of its exporters: `file`, `otlp`, `console`, or an entry point's name.
        prometheus: Whether `/metrics` is served.
        traces: Options, or None when the signal is off.
        metrics: Options, or None when the signal is off.
        logs: Options, or None when the signal is off.
        audit: Options, or None when there is no audit trail.
        level_given: Whether the log level was chosen, not taken by default.
        redaction: What is masked; None: nothing.
        disabled: Whether `OTEL_SDK_DISABLED` turned everything off.
        origins: Where each value that is not a default came from: `argument` or a variable's name.
    """

    service_name: str
    service_version: str | None
    environment: str | None
    resource_attributes: dict[str, Any]
    endpoint: str | None
    headers: dict[str, str] | None
    directory: Path | None
    exporters: dict[Signal, tuple[str, ...]]
    prometheus: bool
    traces: Traces | None
    metrics: Metrics | None
    logs: Logs | None
    audit: Audit | None
    level_given: bool
    redaction: Redaction | None
    disabled: bool
    origins: dict[str, str] = field(default_factory=dict, compare=False)


def resolve(arguments: Mapping[str, Any]) -> Settings:
    """Return the settings for the arguments of `configure` and the environment.

    Raises:
        ConfigurationError: An argument is of the wrong type or cannot work.
    """
    origins: dict[str, str] = {}
    endpoint = _checked_endpoint(arguments.get("endpoint"))
    metrics = _options(Metrics, arguments.get("metrics"), origins)
    prometheus = "prometheus" in _exporter_names("metrics")
    if metrics is not None and metrics.port is not None and origins.get("Metrics.port", "").startswith("OTEL_EXPORTER"):
        metrics = metrics if prometheus else dataclasses.replace(metrics, port=None)
    elif metrics is not None and metrics.port is None and prometheus:
        metrics = dataclasses.replace(metrics, port=DEFAULT_PROMETHEUS_PORT)
    logs, level_given = _logs(arguments, origins)
    return Settings(
        service_name=_service_name(arguments, origins),
        service_version=_text("service_version", arguments, origins),
        environment=_text("environment", arguments, origins),
        resource_attributes=dict(_mapping("resource_attributes", arguments) or {}),
        endpoint=endpoint,
        headers=_headers(arguments),
        directory=_directory(arguments, origins),
        exporters={
            "traces": _destinations("traces", endpoint),
            "metrics": _destinations("metrics", endpoint),
            "logs": _destinations("logs", endpoint),
        },
        prometheus=metrics is not None and metrics.port is not None,
        traces=_options(Traces, arguments.get("traces"), origins),
        metrics=metrics,
        logs=logs,
        audit=_options(Audit, arguments.get("audit"), origins),
        level_given=level_given,
        redaction=_options(Redaction, arguments.get("redaction"), origins),
        disabled=os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true",
        origins=origins,
    )


def state_directory(directory: Path | None) -> Path:
    """Return where local files should go: the directory asked for, else `.otel_ml`."""
    wanted = directory or (environment_table.read("directory") or (None,))[0] or Path.cwd() / ".otel_ml"
    return Path(wanted).expanduser().absolute()


def state_directories(directory: Path | None) -> Iterator[Path]:
    """Give where local files may go, best first: where they should, then the user's own places."""
    yield state_directory(directory)
    import platformdirs  # noqa: PLC0415  5 ms, and seldom needed

    yield Path(platformdirs.user_state_dir("otel_ml", appauthor=False))
    try:
        temporary = tempfile.gettempdir()
    except OSError:  # none that can be written
        return
    yield Path(temporary) / f"otel_ml-{os.getuid()}"


def _options(kind: type[Options], given: object, origins: dict[str, str]) -> Options | None:
    """Fill the fields that were left at their default from the environment; False turns the part off.

    In a mapping, which is what a config file holds, what is said is said, also where it is the default.
    """
    said: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    if given is False:
        origins[kind.__name__] = "argument"
        return None
    if given is None or isinstance(given, Mapping):
        given = kind(**_known(kind, said))
    if not isinstance(given, kind):
        name = kind.__name__
        raise ConfigurationError(name.lower(), given, f"otel_ml.{name}(...) or False")
    result = given
    for option in dataclasses.fields(kind):
        path = f"{kind.__name__}.{option.name}"
        if option.name in said or getattr(given, option.name) != option.default:
            origins[path] = "argument"
            continue
        found = environment_table.read(path)
        if found is None:
            continue
        value, variable = found
        try:
            result = dataclasses.replace(result, **{option.name: value})
            origins[path] = variable
        except ConfigurationError as error:
            environment_table.reject(variable, str(value), error.expected)
    return result


def _known(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    names = [option.name for option in dataclasses.fields(kind)]
    for name in values:
        if name not in names:
            raise ConfigurationError(kind.__name__.lower(), name, f"one of {', '.join(names)}")
    return dict(values)


def _logs(arguments: Mapping[str, Any], origins: dict[str, str]) -> tuple[Logs | None, bool]:
    logs = _options(Logs, arguments.get("logs"), origins)
    level = arguments.get("level")
    if level is not None:
        Logs(level=level)  # says what is wrong with it, also when logs are off
        origins["Logs.level"] = "argument"
        logs = dataclasses.replace(logs, level=level) if logs is not None else None
    return logs, "Logs.level" in origins


def _exporter_names(signal: Signal) -> tuple[str, ...]:
    text = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _destinations(signal: Signal, endpoint: str | None) -> tuple[str, ...]:
    """What the standard variables say; without them the endpoint, and without an endpoint local files."""
    names = _exporter_names(signal)
    if "none" in names:
        return ()
    others = tuple(name for name in names if name != "prometheus")
    if others:
        return others
    variables = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    if endpoint is None and not any(_is_endpoint(name, os.environ.get(name, "").strip()) for name in variables):
        return ("file",)
    return () if names else ("otlp",)


def _is_endpoint(variable: str, text: str) -> bool:
    """Whether a variable says where to send; what is no URL is a warning, except `host:port`, which gRPC takes."""
    if not text or (urlsplit(text).scheme in ("http", "https") and urlsplit(text).netloc):
        return bool(text)
    grpc = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip() == "grpc" or text.endswith(":4317")
    if grpc and re.fullmatch(r"[\w.-]+:\d+", text):
        return True
    environment_table.reject(variable, text, "a URL such as http://localhost:4318")
    return False


def _service_name(arguments: Mapping[str, Any], origins: dict[str, str]) -> str:
    name = _text("service_name", arguments, origins)
    if name is not None:
        return name
    resource = parse_env_headers(os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""), liberal=True)
    if resource.get("service.name"):
        origins["service_name"] = "OTEL_RESOURCE_ATTRIBUTES"
        return str(resource["service.name"])
    program = Path(sys.argv[0] if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "python")
    return program.parent.name if program.name == "__main__.py" else program.stem or "python"


def _text(option: str, arguments: Mapping[str, Any], origins: dict[str, str]) -> str | None:
    value = arguments.get(option)
    if value is not None:
        if not isinstance(value, str) or not value:
            raise ConfigurationError(option, value, "a non-empty string")
        origins[option] = "argument"
        return value
    found = environment_table.read(option)
    if found is None:
        return None
    origins[option] = found[1]
    return str(found[0])


def _mapping(option: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
    value = arguments.get(option)
    if value is not None and not (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
        raise ConfigurationError(option, value, "a mapping with string keys")
    return value


def _headers(arguments: Mapping[str, Any]) -> dict[str, str] | None:
    headers = _mapping("headers", arguments)
    if headers is not None and not all(isinstance(value, str) for value in headers.values()):
        raise ConfigurationError("headers", sorted(headers), "a mapping of names to strings")
    return dict(headers) if headers is not None else None


def _directory(arguments: Mapping[str, Any], origins: dict[str, str]) -> Path | None:
    value = arguments.get("directory")
    if value is not None:
        if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
            raise ConfigurationError("directory", value, "a path")
        origins["directory"] = "argument"
        return Path(value)
    found = environment_table.read("directory")
    if found is not None:
        origins["directory"] = found[1]
    return None if found is None else Path(found[0])


def _checked_endpoint(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        raise ConfigurationError(
            "endpoint", value, "a URL such as http://localhost:4318", "Give scheme, host and port of an OTLP receiver."
        )
    return value


def writable_directory(candidates: Iterable[Path]) -> Path | None:
    """Return the first candidate in which files can be made, with a warning when it is not the first.

    The directory is made (mode 0700) when it is missing.
    """
    for candidate in candidates:
        try:
            candidate.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=candidate):
                return candidate
        except OSError as error:
            health.warn_once(
                f"directory:{candidate}",
                "directory: %s cannot be written (%s); trying the next place. Set OTEL_ML_DIR to a writable one.",
                candidate, error.strerror or type(error).__name__,
            )  # fmt: skip
    return None
