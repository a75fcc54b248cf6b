"""The typed option objects that `otel_ml.configure` takes. Each is checked when it is made."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from otel_ml.errors import ConfigurationError

LogFormat = Literal["auto", "json", "console", "none"]
LogStream = Literal["stdout", "stderr"]
Durability = Literal["fast", "sync"]


@dataclass(frozen=True, kw_only=True)
class Traces:
    """How spans travel from the caller to the exporter.

    Args:
        queue_size: Ended spans that may wait for the exporter; one more is dropped and counted.
        batch_size: Largest number of spans in one export.
        interval: Seconds between two exports.
        accelerate: Whether a tracer provider of the SDK that the application has set is made as fast as ours, in place:
            its processors, exporters, sampler and limits stay.

    Raises:
        ConfigurationError: A value is not a positive number, or `accelerate` no truth value.
    """

    queue_size: int = 32_768
    batch_size: int = 2048
    interval: float = 1.0
    accelerate: bool = False

    def __post_init__(self) -> None:
        _whole("Traces.queue_size", self.queue_size, least=1)
        _whole("Traces.batch_size", self.batch_size, least=1)
        _seconds("Traces.interval", self.interval)
        _truth_value("Traces.accelerate", self.accelerate)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """How measurements are kept and shown.

    Args:
        port: TCP port of `/metrics`; 0 takes a free one, None (default) serves nothing.
        host: Address that `/metrics` listens on. The default is reachable from this machine only.
        interval: Seconds between two exports to the endpoint or file.
        max_series: Attribute sets that one histogram keeps; further ones share an overflow series.

    Raises:
        ConfigurationError: A value is of the wrong type or out of range.
    """

    port: int | None = None
    host: str = "127.0.0.1"
    interval: float = 60.0
    max_series: int = 2000

    def __post_init__(self) -> None:
        if self.port is not None:
            _whole("Metrics.port", self.port, least=0, most=65_535)
        host: object = self.host
        if not isinstance(host, str) or not host:
            raise ConfigurationError("Metrics.host", self.host, "an address such as '127.0.0.1' or '0.0.0.0'")
        _seconds("Metrics.interval", self.interval)
        _whole("Metrics.max_series", self.max_series, least=1)


@dataclass(frozen=True, kw_only=True)
class Logs:
    """How log records are written.

    Args:
        level: Lowest level that is kept, a name such as `INFO`.
        format: What the stream shows: `json` lines, coloured `console` text, `none`, or `auto`: text when the
            stream is a terminal and JSON otherwise.
        stream: `stdout` or `stderr`.
        directory: Folder of the JSON log files. None: the run's own folder when no endpoint is set, and no file
            when one is.
        max_bytes: Size in bytes at which a file is rotated; 0 never.
        max_age: Age in seconds at which a file is rotated; 0 never.
        retention_age: Age in seconds at which a rotated file is deleted; 0 never.
        retention_bytes: Total bytes of rotated files above which the oldest are deleted; 0 never.
        compress: Whether rotated files are compressed with gzip.
        append: Whether a process continues the file of the one before, instead of starting one with its own timestamp.
        queue_size: Records that may wait for the writer; one more is dropped and counted.

    Raises:
        ConfigurationError: A value is of the wrong type or out of range.
    """

    level: str = "INFO"
    format: LogFormat = "auto"
    stream: LogStream = "stdout"
    directory: Path | None = None
    max_bytes: int = 64 * 1024 * 1024
    max_age: float = 86_400.0
    retention_age: float = 30 * 86_400.0
    retention_bytes: int = 1024 * 1024 * 1024
    compress: bool = True
    append: bool = False
    queue_size: int = 16_384

    def __post_init__(self) -> None:
        names = logging.getLevelNamesMapping()
        level: object = self.level
        if not isinstance(level, str) or level.upper() not in names:
            raise ConfigurationError("Logs.level", self.level, f"one of {', '.join(names)}")
        object.__setattr__(self, "level", level.upper())
        _one_of("Logs.format", self.format, get_args(LogFormat))
        _one_of("Logs.stream", self.stream, get_args(LogStream))
        if self.directory is not None:
            object.__setattr__(self, "directory", _path("Logs.directory", self.directory))
        for name in ("max_bytes", "retention_bytes"):
            _whole(f"Logs.{name}", getattr(self, name), least=0)
        for name in ("max_age", "retention_age"):
            _seconds(f"Logs.{name}", getattr(self, name), zero=True)
        for name in ("compress", "append"):
            _truth_value(f"Logs.{name}", getattr(self, name))
        _whole("Logs.queue_size", self.queue_size, least=1)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """How predictions are put on record.

    Args:
        directory: Folder of the audit trail. None: `audit` in the state directory. Processes may share it.
        durability: What a crash may cost. `fast`: a killed process loses at most its last 10 ms, plus what the machine
            makes a thread or a write wait; a machine that loses power at most `sync_interval`, plus the same. `sync`: a
            call returns when its record is on the disk, so nothing that was returned is lost.
        max_rows: Rows of one call that get a record each; a call with more gets one record that stands for all of them.
        queue_size: Records that may wait for the writer; one more is dropped, counted, and noted in the trail. Failed
            predictions are not counted among these.
        queue_bytes: Bytes of records that may wait for the writer. Failed predictions may take four times as many.
        segment_bytes: Size in bytes at which a segment is sealed.
        segment_age: Age in seconds at which a segment is sealed.
        sync_interval: Seconds after which what was written is on the disk.
        retention_age: Age in seconds at which a sealed segment is deleted; 0 never. The default is half a year.
        retention_bytes: Total bytes of sealed segments above which the oldest are deleted; 0 never.
        encrypt_subjects: Whether features and predictions of calls with a subject are encrypted with a key for each
            subject, which can be destroyed.
        compact: Whether sealed segments are copied to Parquet in the background, which makes queries faster.

    Raises:
        ConfigurationError: A value is of the wrong type or out of range.
    """

    directory: Path | None = None
    durability: Durability = "fast"
    max_rows: int = 10_000
    queue_size: int = 65_536
    queue_bytes: int = 64 * 1024 * 1024
    segment_bytes: int = 64 * 1024 * 1024
    segment_age: float = 300.0
    sync_interval: float = 1.0
    retention_age: float = 184 * 86_400.0
    retention_bytes: int = 0
    encrypt_subjects: bool = False
    compact: bool = False

    def __post_init__(self) -> None:
        if self.directory is not None:
            object.__setattr__(self, "directory", _path("Audit.directory", self.directory))
        _one_of("Audit.durability", self.durability, get_args(Durability))
        for name in ("max_rows", "queue_size", "queue_bytes", "segment_bytes"):
            _whole(f"Audit.{name}", getattr(self, name), least=1)
        _whole("Audit.retention_bytes", self.retention_bytes, least=0)
        for name in ("segment_age", "sync_interval"):
            _seconds(f"Audit.{name}", getattr(self, name))
        _seconds("Audit.retention_age", self.retention_age, zero=True)
        for name in ("encrypt_subjects", "compact"):
            _truth_value(f"Audit.{name}", getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Redaction:
    """What is masked, in addition to credentials, e-mail, phone, card and national id numbers.

    Args:
        keys: Further names whose values are masked, compared by words: `client_name` also covers `clientName`.
        patterns: Further regular expressions; what they match is masked. Input is cut to 64 KiB before.
        callback: Called with key (empty where there is none) and value after the built-in masking; its result is used.
            What it raises masks the value.
        mask: Text that takes the place of what was masked.

    Raises:
        ConfigurationError: A value is of the wrong type, or a pattern is not a regular expression.
    """

    keys: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    callback: Callable[[str, object], object] | None = None
    mask: str = "[redacted]"

    def __post_init__(self) -> None:
        for name in ("keys", "patterns"):
            values = getattr(self, name)
            if not isinstance(values, (tuple, list)) or not all(isinstance(value, str) and value for value in values):
                raise ConfigurationError(f"Redaction.{name}", values, "a tuple of non-empty strings")
            object.__setattr__(self, name, tuple(values))
        for pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigurationError("Redaction.patterns", pattern, f"a regular expression ({error})") from None
        if self.callback is not None and not callable(self.callback):
            raise ConfigurationError("Redaction.callback", self.callback, "a function of key and value")
        if not isinstance(self.mask, str):
            raise ConfigurationError("Redaction.mask", self.mask, "a string")


def _whole(option: str, value: object, *, least: int, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigurationError(option, value, f"a whole number {span}")


def _seconds(option: str, value: object, *, zero: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (value == 0 and not zero):  # type: ignore[operator]
        raise ConfigurationError(option, value, f"a number of seconds {'of 0 or more' if zero else 'above 0'}")


def _truth_value(option: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(option, value, "True or False")


def _one_of(option: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(option, value, f"one of {', '.join(allowed)}")


def _path(option: str, value: object) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise ConfigurationError(option, value, "a path")
    return Path(value)
