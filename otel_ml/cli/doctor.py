"""`otel-ml doctor`: what is configured and by what, whether it works, and what to do where it does not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_ml import conventions
from otel_ml.cli import checks, render
from otel_ml.cli.checks import Check, Status
from otel_ml.cli.endpoint_check import check_endpoints, targets
from otel_ml.cli.sender import without_secrets
from otel_ml.settings import Settings, resolve, state_directory

_STYLES: dict[Status, str] = {"OK": "green", "WARN": "yellow", "FAIL": "bold red"}
_VERDICTS: dict[Status, str] = {
    "OK": "All is well.",
    "WARN": "Telemetry will work; what is marked WARN may surprise you.",
    "FAIL": "Telemetry is lost: see what is marked FAIL.",
}


def doctor(directory: Path | None) -> int:
    """Print settings and findings.

    Args:
        directory: State directory, or None for the default one.

    Returns:
        1 when a finding is a failure, else 0.
    """
    console = render.make_console()
    with _captured_warnings() as warnings:
        settings = resolve({"directory": directory} if directory is not None else {})
        _print_settings(settings, console)
    console.print(render.heading("Checks"))
    found = set()
    for check in _checks(settings, warnings):
        found.add(check.status)
        _print_check(check, console)
    worst: Status = "FAIL" if "FAIL" in found else "WARN" if "WARN" in found else "OK"
    console.print(Text(f"\n{_VERDICTS[worst]}", style=_STYLES[worst]))
    return int(worst == "FAIL")


def _checks(settings: Settings, warnings: list[str]) -> Iterator[Check]:
    """Yield findings one by one, so that those before a slow one are seen."""
    for warning in warnings:
        yield Check("WARN", "environment", warning, "Correct or unset it.")
    yield from checks.environment(settings)
    yield from checks.state_directory(settings)
    skews = []
    for check, skew in check_endpoints(settings):
        skews += [skew] if skew is not None else []
        yield check
    yield checks.clock(settings, skews[0] if skews else None)
    yield from checks.packages()
    yield checks.compiled()
    yield from checks.entry_points()


def _print_settings(settings: Settings, console: Console) -> None:
    console.print(Text("Settings", style="bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="cyan")
    table.add_column(overflow="fold", style="dim")
    for option, value, origin in _rows(settings):
        table.add_row(f"  {option}", Text(render.printable(value)), render.printable(origin))
    console.print(table)


def _rows(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield option, value and where it comes from; header values may be secrets and are not shown."""
    origins = settings.origins
    if "service_name" not in origins:  # the default would be the name of this very command
        yield "service_name", "(the program's name)", "default"
    for option in ("service_name", "service_version", "environment"):
        if option in origins and (value := getattr(settings, option)):
            yield option, value, origins.get(option, "default")
    yield "directory", str(state_directory(settings.directory)), origins.get("directory", "default")
    sent = {target.signal: target for target in targets(settings)}
    for signal, names in settings.exporters.items():
        target = sent.get(signal)
        where = f"{without_secrets(target.url)} ({target.protocol})" if target else ", ".join(names) or "nowhere"
        yield signal, where, target.origin if target else "default: no endpoint is set"
        if target and target.headers:
            yield f"{signal} headers", ", ".join(sorted(target.headers)), "OTEL_EXPORTER_OTLP_HEADERS"
    if settings.prometheus and settings.metrics is not None:
        yield "/metrics", f"http://{settings.metrics.host}:{settings.metrics.port}", "OTEL_METRICS_EXPORTER"
    shown = {"service_name", "service_version", "environment", "directory"}
    for path, origin in sorted(origins.items()):
        if path not in shown:
            part, _, name = path.partition(".")
            options = getattr(settings, part.lower(), None)
            yield path, str(getattr(options, name, "")), origin


@contextmanager
def _captured_warnings() -> Iterator[list[str]]:
    """Collect what otel_ml itself warns about, instead of printing it between the lines."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = logging.getLogger(conventions.SCOPE), Collector()
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _print_check(check: Check, console: Console) -> None:
    line = Text(f"  {check.status:<4}  ", style=_STYLES[check.status])
    line.append(f"{check.subject}: ", style="default").append(render.printable(check.finding), style="default")
    console.print(line, soft_wrap=True)
    if check.advice:
        console.print(Text(f"        {render.printable(check.advice)}", style="dim"), soft_wrap=True)
