"""What the stores answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from stack.servers import Server


def eventually(look: Callable[[], Any], seconds: float = 60) -> Any:
    """Look until there is something, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "nothing was found"
        time.sleep(1)
    return found


def lines(loki: Server, query: str) -> list[tuple[dict[str, str], str]]:
    """Return labels with structured metadata, and text, of the log lines that a LogQL query finds."""
    since = time.time_ns() - 3600 * 10**9
    found = httpx.get(
        f"{loki.url}/loki/api/v1/query_range", params={"query": query, "start": since, "limit": 1000}, timeout=30
    )
    found.raise_for_status()
    return [(stream["stream"], text) for stream in found.json()["data"]["result"] for _, text in stream["values"]]


def prometheus(server: Server, path: str, **parameters: Any) -> Any:
    """Return the data of an answer of Prometheus."""
    found = httpx.get(f"{server.url}/api/v1/{path}", params=parameters, timeout=30)
    assert found.is_success, found.text
    return found.json()["data"]
