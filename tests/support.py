"""What more than one test module needs: running code in a Python process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

# What the developer's own shell may have set: a test must not send its telemetry anywhere, nor join a run outside.
AMBIENT_PREFIXES = ("OTEL_",)
AMBIENT_NAMES = ("TRACEPARENT", "TRACESTATE", "BAGGAGE")


def is_ambient(name: str) -> bool:
    """Whether an environment variable would configure telemetry in a process that inherits it."""
    return name.startswith(AMBIENT_PREFIXES) or name in AMBIENT_NAMES


def run_python(
    code: str,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter and return its exit code and text output.

    OpenTelemetry's globals can be set once a process, so whatever configures them runs here. The code may be
    indented. Warnings are errors there too, but for the one of a fork beside other threads, which Python 3.12 brought.
    The child takes `otel_ml` from where this process has it, never from the working directory.

    Args:
        code: Python source, dedented before it runs.
        env: Variables on top of this process's environment, which is inherited less what configures telemetry.
        cwd: Working directory of the child; None keeps this process's.
        timeout: Seconds after which the child is killed and `subprocess.TimeoutExpired` raised.
    """
    inherited = {name: value for name, value in os.environ.items() if not is_ambient(name)}
    warnings = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")
    return subprocess.run(
        [sys.executable, "-P", *warnings, "-c", textwrap.dedent(code)],
        env={**inherited, **(env or {})},
        cwd=cwd,
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
    )
