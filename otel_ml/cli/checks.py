"""What `doctor` looks at on this machine: state directory, clock, packages, environment variables."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from otel_ml import primitives
from otel_ml.settings import Settings, state_directories

Status = Literal["OK", "WARN", "FAIL"]

LITTLE_SPACE = 1024**3
NO_SPACE = 50 * 1024**2
MOST_SKEW = 5.0
_LAST_RELEASE = 1_735_689_600  # 2025-01-01: no right clock shows an earlier time
_PACKAGES = (
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-proto",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-exporter-otlp-proto-grpc",
)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Args:
        status: `FAIL` when telemetry is lost, `WARN` when it may surprise, else `OK`.
        subject: What was looked at.
        finding: What was found.
        advice: What to do; empty when there is nothing to do.
    """

    status: Status
    subject: str
    finding: str
    advice: str = ""


def state_directory(settings: Settings) -> Iterator[Check]:
    """Check that local files can be written, and how much."""
    if not any("file" in names for names in settings.exporters.values()):
        yield Check("OK", "state directory", "not used: everything goes to the endpoint")
        return
    wanted, *others = state_directories(settings.directory)
    error = _write_error(wanted)
    if error:
        advice = "Set OTEL_ML_DIR, or --dir, to a directory that this user can write."
        second = next((place for place in others if not _write_error(place)), None)
        if second is None:
            yield Check("FAIL", "state directory", f"{wanted}: {error}; nor can any other place be written", advice)
            return
        yield Check("WARN", "state directory", f"{wanted}: {error}; {second} is used instead", advice)
        wanted = second
    else:
        yield Check("OK", "state directory", f"{wanted} can be written")
    if wanted.exists() and wanted.stat().st_mode & 0o077 and not settings.directory:
        yield Check("WARN", "permissions", f"others can look into {wanted}", f"chmod 700 {wanted}")
    yield _free_space(wanted)


def _write_error(directory: Path) -> str:
    """Return why no file can be made in a directory, or what would become of it; empty when one can."""
    existing = directory
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__


def _free_space(directory: Path) -> Check:
    existing = next(place for place in (directory, *directory.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    finding = f"{free / 1024**3:,.1f} GiB free"
    if free < NO_SPACE:
        return Check("FAIL", "disk space", finding, "Make room: runs will be recorded in part or not at all.")
    if free < LITTLE_SPACE:
        return Check("WARN", "disk space", finding, "Make room, or delete old runs from the state directory.")
    return Check("OK", "disk space", finding)


def clock(settings: Settings, skew: float | None) -> Check:
    """Check this machine's clock against the endpoint's, or else against the newest recorded file.

    Args:
        settings: The values in force.
        skew: Seconds that this clock is ahead of the endpoint's; None when that is unknown.
    """
    advice = "Have the clock set by NTP: spans and logs of several machines are put in order by it."
    if time.time() < _LAST_RELEASE:
        return Check("FAIL", "clock", f"it shows {time.strftime('%Y-%m-%d', time.gmtime(time.time()))}", advice)
    if skew is not None:
        ahead = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the endpoint's"
        return (
            Check("WARN", "clock", ahead, advice)
            if abs(skew) > MOST_SKEW
            else Check("OK", "clock", "as the endpoint's")
        )
    newest = max(
        (_age(run) for place in islice(state_directories(settings.directory), 2) for run in _entries(place)), default=0
    )
    if newest - time.time() > MOST_SKEW:
        return Check("WARN", "clock", f"a recorded run is {newest - time.time():.0f} s in the future", advice)
    return Check("OK", "clock", f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC, nothing contradicts it")


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # deleted meanwhile
        return 0


def packages() -> Iterator[Check]:
    """Check that the OpenTelemetry packages are there and of one release."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Check("FAIL", "packages", f"{name} is missing", "pip install --force-reinstall otel-ml")
    releases = {version.rpartition(".")[0] for version in versions.values()}
    listed = ", ".join(f"{name.removeprefix('opentelemetry-')} {version}" for name, version in versions.items())
    if len(releases) > 1:
        advice = f"pip install --upgrade {' '.join(versions)}"
        yield Check("WARN", "packages", f"OpenTelemetry of several releases: {listed}", advice)
    elif versions:
        yield Check("OK", "packages", f"OpenTelemetry: {listed}")


def compiled(file: str = primitives.__file__) -> Check:
    """Check whether the modules of the hot path are compiled.

    Args:
        file: One of them.
    """
    if not file.endswith(".py"):
        return Check("OK", "hot path", "compiled")
    advice = "Install a C compiler, then: pip install --force-reinstall --no-binary otel-ml otel-ml"
    return Check("OK", "hot path", "pure Python: a call takes about twice as long as it could", advice)


def entry_points() -> Iterator[Check]:
    """Check which distribution `opentelemetry-instrument` would load when several are installed."""
    for group, variable in (
        ("opentelemetry_distro", "OTEL_PYTHON_DISTRO"),
        ("opentelemetry_configurator", "OTEL_PYTHON_CONFIGURATOR"),
    ):
        found = {entry.name: entry.dist.name if entry.dist else entry.value for entry in _entry_points(group)}
        others = ", ".join(sorted(dist for name, dist in found.items() if name != "otel_ml"))
        chosen = os.environ.get(variable, "")
        if "otel_ml" not in found:
            advice = "pip install otel-ml: the source tree alone has no entry points."
            yield Check("WARN", group, "otel_ml is not registered", advice)
        elif chosen not in ("", "otel_ml"):
            yield Check(
                "WARN",
                group,
                f"{variable}={chosen}: opentelemetry-instrument will not use otel_ml",
                f"unset {variable}",
            )
        elif others and not chosen:
            advice = f"Set {variable}=otel_ml; `otel-ml run` does so itself."
            yield Check("WARN", group, f"opentelemetry-instrument may take {others} instead", advice)
        else:
            yield Check("OK", group, "otel_ml")


def _entry_points(group: str) -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=group)


def environment(settings: Settings) -> Iterator[Check]:
    """Check the standard variables that quietly turn telemetry off or double it."""
    if settings.disabled:
        yield Check("FAIL", "OTEL_SDK_DISABLED", "true: nothing is recorded at all", "unset OTEL_SDK_DISABLED")
    for signal, names in settings.exporters.items():
        if not names:
            variable = f"OTEL_{signal.upper()}_EXPORTER"
            value = os.environ.get(variable, "")
            yield Check("WARN", variable, f"{value}: {signal} are neither stored nor sent", f"unset {variable}")
    sampler = os.environ.get("OTEL_TRACES_SAMPLER", "").strip()
    if sampler.endswith("always_off"):
        yield Check("WARN", "OTEL_TRACES_SAMPLER", f"{sampler}: no span is kept", "unset OTEL_TRACES_SAMPLER")
    propagators = os.environ.get("OTEL_PROPAGATORS", "").strip()
    missing = {"tracecontext", "baggage"} - {name.strip() for name in propagators.split(",")}
    if propagators and missing:
        advice = "Set OTEL_PROPAGATORS=tracecontext,baggage: run ids and traces go to other processes with them."
        yield Check("WARN", "OTEL_PROPAGATORS", f"{propagators}: without {' and '.join(sorted(missing))}", advice)
    twice = "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED"
    if os.environ.get(twice, "").strip().lower() == "true":
        finding = "true: the SDK adds a log handler of its own, so records may be sent twice"
        yield Check("WARN", twice, finding, f"unset {twice}")
