"""What the tests of the single stores share: their runs, the data they send, and the queries of the runbooks."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack.servers import REPOSITORY, binary

GRAFANA = REPOSITORY / "grafana"
RESOURCE = {"service.name": "credit-api", "service.namespace": "bank", "deployment.environment.name": "production"}
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
STACK = "line\n" * 10_000
DAY = 24 * 3600

_CODE = re.compile(r"`([^`\n]+)`")
_QUERY = re.compile(r"\[\d+\w\]|\{.+\}| by \(")


def run(program: str, *arguments: str | Path, **environment: str) -> str:
    """Run a program of the stack to its end, and return what it wrote."""
    command = [binary(program), *map(str, arguments)]
    variables = {"PATH": os.environ["PATH"], **environment}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def attributes(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def runbook_queries(language: str) -> list[str]:
    """Return the queries on the runbooks in `logql`, `promql` or `traceql`."""
    pages = "\n".join(path.read_text() for path in sorted((REPOSITORY / "docs/runbooks").glob("*.md")))
    return [text for text in _CODE.findall(pages) if _QUERY.search(text) and _language(text) == language]


def _language(query: str) -> str:
    if "bytes_rate" in query or re.match(r"\{\w+=", query):
        return "logql"
    return "traceql" if query.startswith("{ ") else "promql"
