"""Records made through OpenTelemetry's own logging API."""

from __future__ import annotations

from pathlib import Path

from support import run_python

EMIT = """
import otel_ml
from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
early = get_logger("early")
with otel_ml.configure(logs=otel_ml.Logs(format="none")) as telemetry:
    with otel_ml.step("s") as span:
        for logger in (early, get_logger("library")):
            logger.emit(LogRecord(
                body="mail to ada@example.org", attributes={"password": "hunter2", "n": 1},
                severity_number=SeverityNumber.INFO, event_name="library.event",
            ))
print(next(telemetry.directory.glob("logs-*")).read_text())
"""


def test_what_the_logging_api_makes_is_exported_masked_with_its_ids(tmp_path: Path) -> None:
    """Also by loggers from before `configure`."""
    done = run_python(EMIT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"eventName":"library.event"') == 2
    assert "ada@example.org" not in done.stdout and "hunter2" not in done.stdout
    assert '"traceId"' in done.stdout and '"library"' in done.stdout and '"early"' in done.stdout


def test_configure_anew_takes_the_logging_api_along(tmp_path: Path) -> None:
    """After a shutdown nothing goes out, and after a new configure it does."""
    done = run_python(
        EMIT.replace("print(", "early.emit(LogRecord(body='between'))\nprint(")
        + """
with otel_ml.configure(directory="second", logs=otel_ml.Logs(format="none")) as telemetry:
    early.emit(LogRecord(body="again"))
print(next(telemetry.directory.glob("logs-*")).read_text())
""",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "between" not in done.stdout and "again" in done.stdout


def test_an_applications_own_logger_provider_stays(tmp_path: Path) -> None:
    """And is told of in one line."""
    done = run_python(
        """
        import otel_ml
        from opentelemetry._logs import get_logger_provider, set_logger_provider
        from opentelemetry.sdk._logs import LoggerProvider
        own = LoggerProvider(shutdown_on_exit=False)
        set_logger_provider(own)
        with otel_ml.configure(logs=otel_ml.Logs(format="json", stream="stderr")):
            assert get_logger_provider() is own
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "your LoggerProvider stays" in done.stderr
