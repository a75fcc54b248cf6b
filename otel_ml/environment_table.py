"""Every environment variable that otel_ml reads itself: which option it sets, and how its text is read.

`docs/configuration.md` is generated from this table. Variables that the OpenTelemetry SDK and its exporters read
(samplers, limits, propagators, headers, certificates, compression, timeouts) work as everywhere and are not repeated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from otel_ml import health
from otel_ml.errors import shorten


class Variable(NamedTuple):
    """One environment variable.

    Args:
        name: Its name.
        option: The option that it sets, as `configure` spells it.
        expected: What a right value is, in words.
        parse: Reads the text; a `ValueError` means that it is wrong.
    """

    name: str
    option: str
    expected: str
    parse: Callable[[str], Any]


def _text(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _flag(text: str) -> bool:
    if text.lower() in ("true", "1", "yes", "on"):
        return True
    if text.lower() in ("false", "0", "no", "off"):
        return False
    raise ValueError(text)


def _milliseconds(text: str) -> float:
    return float(text) / 1000


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


TABLE: tuple[Variable, ...] = (
    Variable("OTEL_ML_SERVICE_NAME", "service_name", "a name", _text),
    Variable("OTEL_SERVICE_NAME", "service_name", "a name", _text),
    Variable("OTEL_ML_SERVICE_VERSION", "service_version", "a version", _text),
    Variable("OTEL_ML_ENVIRONMENT", "environment", "a name such as production", _text),
    Variable("OTEL_ML_DIR", "directory", "a path", Path),
    Variable("OTEL_ML_LOG_LEVEL", "Logs.level", "DEBUG, INFO, WARNING, ERROR or CRITICAL", _text),
    Variable("OTEL_ML_LOG_FORMAT", "Logs.format", "auto, json, console or none", _text),
    Variable("OTEL_ML_LOG_STREAM", "Logs.stream", "stdout or stderr", _text),
    Variable("OTEL_ML_LOG_DIR", "Logs.directory", "a path", Path),
    Variable("OTEL_ML_LOG_MAX_BYTES", "Logs.max_bytes", "a whole number of bytes", int),
    Variable("OTEL_ML_LOG_MAX_AGE", "Logs.max_age", "a number of seconds", float),
    Variable("OTEL_ML_LOG_RETENTION_AGE", "Logs.retention_age", "a number of seconds", float),
    Variable("OTEL_ML_LOG_RETENTION_BYTES", "Logs.retention_bytes", "a whole number of bytes", int),
    Variable("OTEL_ML_LOG_COMPRESS", "Logs.compress", "true or false", _flag),
    Variable("OTEL_ML_LOG_APPEND", "Logs.append", "true or false", _flag),
    Variable("OTEL_ML_LOG_QUEUE_SIZE", "Logs.queue_size", "a whole number above 0", int),
    Variable("OTEL_BLRP_MAX_QUEUE_SIZE", "Logs.queue_size", "a whole number above 0", int),
    Variable("OTEL_BSP_MAX_QUEUE_SIZE", "Traces.queue_size", "a whole number above 0", int),
    Variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "Traces.batch_size", "a whole number above 0", int),
    Variable("OTEL_BSP_SCHEDULE_DELAY", "Traces.interval", "a number of milliseconds", _milliseconds),
    Variable("OTEL_EXPORTER_PROMETHEUS_PORT", "Metrics.port", "a TCP port", int),
    Variable("OTEL_EXPORTER_PROMETHEUS_HOST", "Metrics.host", "an address", _text),
    Variable("OTEL_METRIC_EXPORT_INTERVAL", "Metrics.interval", "a number of milliseconds", _milliseconds),
    Variable("OTEL_ML_METRICS_MAX_SERIES", "Metrics.max_series", "a whole number above 0", int),
    Variable("OTEL_ML_AUDIT_DIR", "Audit.directory", "a path", Path),
    Variable("OTEL_ML_AUDIT_DURABILITY", "Audit.durability", "fast or sync", _text),
    Variable("OTEL_ML_AUDIT_MAX_ROWS", "Audit.max_rows", "a whole number above 0", int),
    Variable("OTEL_ML_AUDIT_RETENTION_AGE", "Audit.retention_age", "a number of seconds", float),
    Variable("OTEL_ML_AUDIT_RETENTION_BYTES", "Audit.retention_bytes", "a whole number of bytes", int),
    Variable("OTEL_ML_AUDIT_ENCRYPT_SUBJECTS", "Audit.encrypt_subjects", "true or false", _flag),
    Variable("OTEL_ML_AUDIT_COMPACT", "Audit.compact", "true or false", _flag),
    Variable("OTEL_ML_REDACTION_KEYS", "Redaction.keys", "names separated by commas", _words),
)


def read(option: str, environ: Mapping[str, str] | None = None) -> tuple[Any, str] | None:
    """Return value and variable name of an option that the environment sets, or None.

    The first variable in the table's order that is set to a readable value wins; one that cannot be read is a
    warning and is passed over.

    Args:
        option: Name of the option, for example `Logs.level`.
        environ: Where to look; default: `os.environ`.
    """
    environ = os.environ if environ is None else environ
    for variable in TABLE:
        text = environ.get(variable.name, "").strip() if variable.option == option else ""
        if not text:
            continue
        try:
            return variable.parse(text), variable.name
        except ValueError:
            reject(variable.name, text, variable.expected)
    return None


def reject(name: str, text: str, expected: str) -> None:
    """Warn, once, that a variable has a value that cannot work and that the default is used."""
    health.warn_once(
        f"environment:{name}", "%s: expected %s, received %s. The default is used.", name, expected, shorten(text)
    )


_LIMITS = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT", "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
)  # fmt: skip


def withdraw_unreadable_limits() -> None:
    """Take limits that are no whole numbers out of the environment, with a warning: the SDK fails to import on them."""
    for name in _LIMITS:
        text = os.environ.get(name, "").strip()
        if text and text.lower() != "unset" and not text.isdecimal():
            reject(name, text, "a whole number or unset")
            del os.environ[name]
