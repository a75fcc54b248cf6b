"""A flood through the shipped gateway: nothing is refused or lost, errors are kept, span metrics are exact.

`make stack-load` runs it for two minutes at 50,000 spans and 10,000 log records a second, and shows the figures.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stack import flood, tempo
from stack.servers import TOKEN
from stack.whole import Stack, start_stack

LONG = bool(os.environ.get("OTEL_ML_STACK_LONG"))
SECONDS = 120 if LONG else 10
SPANS, LOGS = (52_000, 10_400) if LONG else (10_000, 2_000)  # a second
MEMORY = 1600 * 2**20  # GOMEMLIMIT of the gateway in docker-compose.yml
# The limiter takes its percentages of the container's memory, and here there is no container: the same as figures.
LIMITS = """
processors:
  memory_limiter: {limit_percentage: 0, spike_limit_percentage: 0, limit_mib: 1600, spike_limit_mib: 400}
"""
SENDERS = 2


@pytest.fixture
def sampling_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that keeps five traces of a hundred."""
    variables = {"OTEL_ML_SAMPLING_PERCENTAGE": "5", "GOMEMLIMIT": str(MEMORY)}
    limits = tmp_path / "limits.yaml"
    limits.write_text(LIMITS)
    with start_stack(tmp_path, limits, **variables) as whole:
        yield whole


def own_metric(stack: Stack, prefix: str) -> float:
    """Add up the values of the gateway's own metrics whose names begin so."""
    text = httpx.get(f"{stack.gateway.url}/metrics", timeout=30).text
    families = text_string_to_metric_families(text)
    return sum(sample.value for family in families for sample in family.samples if sample.name.startswith(prefix))


def in_prometheus(stack: Stack, query: str) -> float:
    """Return the one value of a query, 0 without one."""
    answer = httpx.get(f"{stack.prometheus.url}/api/v1/query", params={"query": query}, timeout=60).json()
    return sum(float(one["value"][1]) for one in answer["data"]["result"])


def in_loki(stack: Stack) -> float:
    """Return how many records of the flood Loki has."""
    query = 'sum(count_over_time({service_name="flood"}[1h]))'
    answer = httpx.get(f"{stack.loki.url}/loki/api/v1/query", params={"query": query}, timeout=60).json()
    return sum(float(one["value"][1]) for one in answer["data"]["result"])


@pytest.mark.skipif(tempo.is_real(), reason="counts what reached the stand-in")
def test_load_is_taken_whole(sampling_stack: Stack) -> None:
    """Every request is accepted whole; afterwards each store has what belongs there, counted."""
    stack = sampling_stack
    spans = flood.TRACES * flood.SPANS
    send = functools.partial(flood.send, stack.gateway.otlp, token=TOKEN, seconds=SECONDS)
    traces = functools.partial(send, "/v1/traces", flood.spans_template(), every=SENDERS * spans / SPANS)
    logs = functools.partial(send, "/v1/logs", flood.logs_template(), every=flood.LOGS / LOGS)
    before, begin = {server.name: server.cpu for server in stack.servers()}, time.monotonic()
    *senders, logger = flood.together([*[traces] * SENDERS, logs])
    took = time.monotonic() - begin
    cores = {server.name: (server.cpu - before[server.name]) / took for server in stack.servers()}
    requests = sum(sent.requests[200] for sent in senders)
    records = logger.requests[200] * flood.LOGS
    assert all(sent.requests.keys() == {200} for sent in [*senders, logger]), (senders, logger)

    expected = {"spans": requests * spans, "records": records, "errors": requests * flood.ERRORS}
    stored: dict[str, float] = {}
    deadline = time.monotonic() + 120
    while stored != expected and time.monotonic() < deadline:
        time.sleep(2)
        stored = {
            "spans": in_prometheus(stack, 'sum(traces_span_metrics_calls_total{service_name="flood"})'),
            "records": in_loki(stack),
            "errors": sum(span.get("status", {}).get("code") == 2 for span in tempo.spans(stack.directory)),
        }
    assert stored == expected
    assert own_metric(stack, "otelcol_receiver_refused") == 0
    assert own_metric(stack, "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early") == 0
    assert stack.gateway.memory < MEMORY
    kept = len({span["traceId"] for span in tempo.spans(stack.directory)}) / (requests * flood.TRACES)
    assert 0.04 < kept < 0.08, "five of a hundred, and the errors"
    late = max(sent.late for sent in [*senders, logger])
    print(
        f"\n{requests * spans / took:,.0f} spans/s, {records / took:,.0f} log records/s for {took:.0f} s, none refused",
        f"last request {late:.1f} s late; {100 * kept:.1f} % of traces kept",
        *(f"{one.name}: {one.memory / 2**20:.0f} MB, {cores[one.name]:.2f} cores" for one in stack.servers()),
        sep="\n  ",
    )
