"""The shipped Tempo config in a real Tempo, where there is one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from stack import servers
from stack import tempo as tempo_or_stand_in
from stack.backends import DAY, RESOURCE, SPAN, STACK, TRACE, attributes, runbook_queries
from stack.servers import Server
from stack.stores import eventually
from stack.stores import prometheus as ask

pytestmark = [
    pytest.mark.xdist_group("tempo"),  # it is started once
    pytest.mark.skipif(not tempo_or_stand_in.is_real(), reason=tempo_or_stand_in.WHY_SKIPPED),
]

CLIENT, SERVER = 3, 2


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Where Tempo writes its service graph."""
    server = servers.prometheus(tmp_path_factory.mktemp("prometheus"))
    with servers.running(server):
        yield server


@pytest.fixture(scope="module")
def tempo(prometheus: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real Tempo with the shipped config, which sends its service graph to Prometheus."""
    server = tempo_or_stand_in.tempo(tmp_path_factory.mktemp("tempo"), f"{prometheus.url}/api/v1/write")
    with servers.running(server):
        yield server


def push_span(
    tempo: Server, service: str, kind: int, span: str, parent: str = "", *, trace: str = TRACE, age: float = 0
) -> None:
    """Send one span of a quarter of a second, with a long stack trace."""
    end = time.time_ns() - int(age * 1e9)
    event = {"timeUnixNano": str(end), "name": "exception", "attributes": attributes({"exception.stacktrace": STACK})}
    one = {
        "traceId": trace, "spanId": span, "parentSpanId": parent, "name": f"of {service}", "kind": kind,
        "startTimeUnixNano": str(end - 25 * 10**7), "endTimeUnixNano": str(end), "events": [event],
    }  # fmt: skip
    resource = {"attributes": attributes({**RESOURCE, "service.name": service})}
    spans = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [one]}]}]}
    assert httpx.post(f"{tempo.otlp}/v1/traces", json=spans, timeout=30).is_success


def test_tempo_reads_runbooks(tempo: Server) -> None:
    """A TraceQL query on a runbook is one that Tempo can run."""
    queries = runbook_queries("traceql")
    assert len(queries) > 3
    for query in queries:
        answer = httpx.get(f"{tempo.url}/api/search", params={"q": query}, timeout=30)
        assert answer.is_success, f"{query}: {answer.text}"


def test_late_run_is_found_at_its_time(tempo: Server) -> None:
    """A trace pushed days later is found where it happened, once written, and its stack trace is whole."""
    push_span(tempo, "trainer", SERVER, SPAN, trace="1" * 32, age=3 * DAY)
    now = int(time.time())
    query = {"q": '{resource.service.name="trainer"}', "start": now - 4 * DAY, "end": now - 2 * DAY}

    def search() -> Any:
        return httpx.get(f"{tempo.url}/api/search", params=query, timeout=30).json().get("traces")

    assert [found["traceID"] for found in eventually(search, 180)] == ["1" * 32]
    assert STACK.replace("\n", "\\n") in httpx.get(f"{tempo.url}/api/v2/traces/{'1' * 32}", timeout=30).text


def test_tempo_makes_service_graph_only(tempo: Server, prometheus: Server) -> None:
    """A call from one service to another is an edge in Prometheus; span metrics are left to the gateway."""
    push_span(tempo, "web", CLIENT, SPAN)
    push_span(tempo, "credit-api", SERVER, "c7ad6b7169203331", SPAN)
    query = 'traces_service_graph_request_total{client="web", server="credit-api"}'
    eventually(lambda: ask(prometheus, "query", query=query)["result"], 90)
    names = ask(prometheus, "label/__name__/values")
    assert not [name for name in names if name.startswith(("traces_spanmetrics", "traces_span_metrics"))]
