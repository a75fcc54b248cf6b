"""What the figures were measured on and with."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "otel-ml", "opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-common",
    "prometheus-client", "orjson", "protobuf", "logfire", "mlflow-tracing", "openinference-instrumentation", "langfuse",
)  # fmt: skip


def describe() -> dict[str, object]:
    """Return date, CPU, cores, load, Python and the versions of what is compared (None: not installed)."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: _version(name) for name in PACKAGES},
    }


def python_series() -> str:
    """Return implementation and minor version of this Python, as in `cpython-3.11`."""
    return f"{platform.python_implementation().lower()}-{'.'.join(platform.python_version_tuple()[:2])}"


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
