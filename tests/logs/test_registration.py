"""opentelemetry-instrumentation-logging beside our pipeline, imported by the program later."""

from __future__ import annotations

from pathlib import Path

from support import run_python


def test_the_package_is_registered_when_it_is_imported(tmp_path: Path) -> None:
    """Not before: it takes a while. Whoever instruments then changes nothing; after shutdown they can."""
    done = run_python(
        """
        import logging, sys, warnings
        import otel_ml
        telemetry = otel_ml.configure(logs=otel_ml.Logs(format="json"))
        factory = logging.getLogRecordFactory()
        print("opentelemetry.instrumentation.logging" in sys.modules)
        from opentelemetry.instrumentation.logging import LoggingInstrumentor
        print(LoggingInstrumentor().is_instrumented_by_opentelemetry)
        LoggingInstrumentor().instrument()
        print(logging.getLogRecordFactory() is factory)
        logging.getLogger("app").warning("once")
        telemetry.shutdown()
        print(LoggingInstrumentor().is_instrumented_by_opentelemetry)
        LoggingInstrumentor().instrument(enable_log_auto_instrumentation=False)
        print(logging.getLogRecordFactory() is factory)
        """,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    printed = [line for line in done.stdout.splitlines() if not line.startswith("{")]
    assert printed == ["False", "True", "True", "False", "False"]
    assert (done.stdout + done.stderr).count('"once"') == 1


def test_a_program_that_ends_its_telemetry_first_is_not_touched(tmp_path: Path) -> None:
    """What is imported after shutdown is as it comes."""
    done = run_python(
        """
        import otel_ml
        otel_ml.configure().shutdown()
        from opentelemetry.instrumentation.logging import LoggingInstrumentor
        print(LoggingInstrumentor().is_instrumented_by_opentelemetry)
        """,
        cwd=tmp_path,
    )
    assert done.stdout == "False\n", done.stderr
