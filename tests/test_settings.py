"""Arguments before `OTEL_ML_*` before `OTEL_*` before defaults."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from otel_ml import Audit, ConfigurationError, Logs, Metrics, Redaction, Traces, environment_table, settings


def resolved(**arguments: Any) -> settings.Settings:
    return settings.resolve(arguments)


def test_precedence_of_the_service_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source is used only when the ones before it are silent."""
    monkeypatch.setattr("sys.argv", ["/opt/train.py"])
    assert resolved().service_name == "train"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=from-attributes,a=b")
    assert resolved().service_name == "from-attributes"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-otel")
    assert resolved().service_name == "from-otel"
    monkeypatch.setenv("OTEL_ML_SERVICE_NAME", "from-otel-ml")
    assert resolved().service_name == "from-otel-ml"
    assert resolved(service_name="argument").service_name == "argument"
    assert resolved(service_name="argument").origins["service_name"] == "argument"


@pytest.mark.parametrize(
    ("argv", "name"),
    [([""], "python"), (["-c"], "python"), (["/x/app/__main__.py"], "app"), (["/usr/bin/uvicorn"], "uvicorn")],
)
def test_a_program_without_a_name_gets_one(monkeypatch: pytest.MonkeyPatch, argv: list[str], name: str) -> None:
    """The script's name, the package's for `python -m`, else `python`."""
    monkeypatch.setattr("sys.argv", argv)
    assert resolved().service_name == name


def test_fields_left_at_their_default_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Level, format and directory switch without a code change; what the code says stays."""
    monkeypatch.setenv("OTEL_ML_LOG_LEVEL", "debug")
    monkeypatch.setenv("OTEL_ML_LOG_FORMAT", "json")
    monkeypatch.setenv("OTEL_ML_LOG_DIR", "/var/log/ml")
    monkeypatch.setenv("OTEL_ML_LOG_COMPRESS", "no")
    found = resolved(logs=Logs(format="console"))
    assert found.logs == Logs(level="DEBUG", format="console", directory=Path("/var/log/ml"), compress=False)
    assert found.level_given
    assert found.origins["Logs.level"] == "OTEL_ML_LOG_LEVEL"
    assert resolved(level="ERROR").logs == Logs(
        level="ERROR", format="json", directory=Path("/var/log/ml"), compress=False
    )


def test_standard_variables_set_queue_and_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """What OpenTelemetry's batch processors read is honoured, milliseconds included."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "250")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "1500")
    monkeypatch.setenv("OTEL_ML_REDACTION_KEYS", "client_name, branch")
    found = resolved()
    assert found.traces == Traces(queue_size=100, batch_size=10, interval=0.25)
    assert found.metrics == Metrics(interval=1.5)
    assert found.redaction == Redaction(keys=("client_name", "branch"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("OTEL_ML_LOG_LEVEL", "LOUD", "OTEL_ML_LOG_LEVEL: expected one of"),
        ("OTEL_ML_LOG_MAX_BYTES", "many", "OTEL_ML_LOG_MAX_BYTES: expected a whole number of bytes, received 'many'"),
        ("OTEL_ML_LOG_COMPRESS", "perhaps", "OTEL_ML_LOG_COMPRESS: expected true or false, received 'perhaps'"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-5", "OTEL_BSP_SCHEDULE_DELAY: expected a number of seconds above 0"),
    ],
)
def test_a_wrong_variable_is_one_warning_and_the_default(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, text: str, said: str
) -> None:
    """However often it is read."""
    default = resolved()
    monkeypatch.setenv(name, text)
    assert resolved() == resolved() == default
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.records[0].getMessage().startswith(said)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"service_name": ""}, "service_name: expected a non-empty string, received ''"),
        ({"environment": 3}, "environment: expected a non-empty string, received 3"),
        (
            {"endpoint": "collector:4317"},
            "endpoint: expected a URL such as http://localhost:4318, received 'collector:4317'",
        ),
        ({"headers": {"a": 1}}, "headers: expected a mapping of names to strings"),
        ({"headers": "a=b"}, "headers: expected a mapping with string keys"),
        ({"resource_attributes": {1: "x"}}, "resource_attributes: expected a mapping with string keys"),
        ({"directory": 3}, "directory: expected a path, received 3"),
        ({"traces": True}, "traces: expected otel_ml.Traces(...) or False, received True"),
        ({"logs": Metrics()}, "logs: expected otel_ml.Logs(...) or False"),
        ({"level": "LOUD"}, "Logs.level: expected one of"),
        ({"level": "LOUD", "logs": False}, "Logs.level: expected one of"),
    ],
)
def test_a_wrong_argument_is_an_error_that_names_it(arguments: dict[str, Any], message: str) -> None:
    """At configuration, where a human reads it."""
    with pytest.raises(ConfigurationError) as raised:
        resolved(**arguments)
    assert str(raised.value).startswith(message)


def test_headers_are_not_echoed_by_an_error() -> None:
    """A token must not end up in a traceback."""
    with pytest.raises(ConfigurationError) as raised:
        resolved(headers={"authorization": "Bearer s3cret", "n": 1})
    assert "s3cret" not in str(raised.value)


def test_false_turns_a_part_off() -> None:
    """Each of the four."""
    found = resolved(traces=False, metrics=False, logs=False, redaction=False)
    assert (found.traces, found.metrics, found.logs, found.redaction) == (None, None, None, None)


@pytest.mark.parametrize(
    ("environ", "arguments", "expected"),
    [
        ({}, {}, ("file",)),
        ({}, {"endpoint": "http://x:4318"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"}, {}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x:4318"}, {}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x:4318"}, {}, ("file",)),
        ({"OTEL_METRICS_EXPORTER": "none"}, {}, ()),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, {}, ("otlp",)),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, {}, ("file",)),
        ({"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318"}, {}, ()),
        ({"OTEL_METRICS_EXPORTER": "otlp, prometheus"}, {}, ("otlp",)),
        ({"OTEL_METRICS_EXPORTER": "console"}, {"endpoint": "http://x:4318"}, ("console",)),
    ],
)
def test_where_metrics_go(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], arguments: dict[str, Any], expected: tuple[str, ...]
) -> None:
    """Files without an endpoint, OTLP with one, and what the standard variables say before either."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert resolved(**arguments).exporters["metrics"] == expected


@pytest.mark.parametrize(
    ("environ", "metrics", "port"),
    [
        ({}, None, None),
        ({}, Metrics(port=0), 0),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, None, 9464),
        ({"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": "9999"}, None, 9999),
        ({"OTEL_EXPORTER_PROMETHEUS_PORT": "9999"}, None, None),
        ({"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": "9999"}, Metrics(port=1), 1),
    ],
)
def test_when_metrics_are_served(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], metrics: Metrics | None, port: int | None
) -> None:
    """Only when the code or the standard variables ask for it; a port alone does not."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = resolved(metrics=metrics)
    assert found.metrics is not None and found.metrics.port == port
    assert found.prometheus is (port is not None)
    assert found.metrics.host == "127.0.0.1"


def test_the_state_directory_falls_back_when_the_first_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next candidate is used and the reason said."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert settings.writable_directory([blocked / "state", tmp_path / "second"]) == tmp_path / "second"
    assert (tmp_path / "second").stat().st_mode & 0o777 == 0o700
    assert f"directory: {blocked / 'state'} cannot be written" in caplog.text
    assert settings.writable_directory([blocked / "state"]) is None


def test_candidates_are_argument_variable_working_directory_then_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In that order, absolute, so that a change of directory does not matter."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert list(settings.state_directories(None))[:2] == [tmp_path / ".otel_ml", tmp_path / "xdg" / "otel_ml"]
    monkeypatch.setenv("OTEL_ML_DIR", "relative")
    assert settings.state_directory(None) == tmp_path / "relative"
    assert settings.state_directory(Path("argument")) == tmp_path / "argument"


def test_where_no_temporary_folder_can_be_used_the_other_places_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the last resort, and none is no error."""

    def none_usable() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(settings.tempfile, "gettempdir", none_usable)
    assert len(list(settings.state_directories(None))) == 2


def test_every_variable_of_the_table_sets_an_option_that_exists() -> None:
    """The table, from which the documentation is made, names real options."""
    import dataclasses

    options = {
        f"{kind.__name__}.{f.name}"
        for kind in (Audit, Logs, Metrics, Redaction, Traces)
        for f in dataclasses.fields(kind)
    }
    plain = {"service_name", "service_version", "environment", "directory"}
    assert {variable.option for variable in environment_table.TABLE} <= options | plain
    assert len({variable.name for variable in environment_table.TABLE}) == len(environment_table.TABLE)
