"""Option objects say at once what cannot work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_ml import ConfigurationError, Error, Logs, Metrics, Redaction, Traces


@pytest.mark.parametrize(
    ("option", "values", "message"),
    [
        (Traces, {"queue_size": 0}, "Traces.queue_size: expected a whole number of at least 1, received 0"),
        (Traces, {"batch_size": "512"}, "Traces.batch_size: expected a whole number of at least 1, received '512'"),
        (Traces, {"interval": float("nan")}, "Traces.interval: expected a number of seconds above 0, received nan"),
        (Traces, {"interval": "1"}, "Traces.interval: expected a number of seconds above 0, received '1'"),
        (Metrics, {"port": 70_000}, "Metrics.port: expected a whole number from 0 to 65535, received 70000"),
        (Metrics, {"port": True}, "Metrics.port: expected a whole number from 0 to 65535, received True"),
        (Metrics, {"host": ""}, "Metrics.host: expected an address"),
        (Metrics, {"interval": 0}, "Metrics.interval: expected a number of seconds above 0, received 0"),
        (Logs, {"level": "LOUD"}, "Logs.level: expected one of"),
        (Logs, {"level": 10}, "Logs.level: expected one of"),
        (Logs, {"format": "xml"}, "Logs.format: expected one of auto, json, console, none, received 'xml'"),
        (Logs, {"stream": "stdin"}, "Logs.stream: expected one of stdout, stderr, received 'stdin'"),
        (Logs, {"directory": 3}, "Logs.directory: expected a path, received 3"),
        (Logs, {"max_bytes": -1}, "Logs.max_bytes: expected a whole number of at least 0, received -1"),
        (Logs, {"max_age": -1}, "Logs.max_age: expected a number of seconds of 0 or more, received -1"),
        (Logs, {"compress": "yes"}, "Logs.compress: expected True or False, received 'yes'"),
        (Redaction, {"keys": "name"}, "Redaction.keys: expected a tuple of non-empty strings, received 'name'"),
        (Redaction, {"keys": None}, "Redaction.keys: expected a tuple of non-empty strings, received None"),
        (Redaction, {"patterns": ("(",)}, "Redaction.patterns: expected a regular expression"),
        (Redaction, {"callback": 1}, "Redaction.callback: expected a function of key and value, received 1"),
        (Redaction, {"mask": None}, "Redaction.mask: expected a string, received None"),
    ],
)
def test_a_wrong_value_names_option_value_and_what_is_right(option: Any, values: dict[str, Any], message: str) -> None:
    """The message is all that one needs to mend the call, and it is both a ValueError and our own."""
    with pytest.raises(ConfigurationError) as raised:
        option(**values)
    assert str(raised.value).startswith(message)
    assert isinstance(raised.value, ValueError) and isinstance(raised.value, Error)


def test_levels_are_read_in_any_case_and_paths_from_text() -> None:
    """What is plainly meant is taken."""
    logs = Logs(level="debug", directory="logs")  # type: ignore[arg-type]
    assert (logs.level, logs.directory) == ("DEBUG", Path("logs"))
    assert Redaction(keys=["a"]).keys == ("a",)  # type: ignore[arg-type]


def test_unknown_options_are_refused() -> None:
    """A misspelt name is an error, not silence."""
    with pytest.raises(TypeError, match="queue_sise"):
        Traces(queue_sise=5)  # type: ignore[call-arg]


def test_a_value_whose_repr_raises_is_still_reported() -> None:
    """The message names its type."""

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(ConfigurationError, match="received <Odd whose __repr__ raised RuntimeError>"):
        Logs(level=Odd())  # type: ignore[arg-type]
