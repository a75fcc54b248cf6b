"""A store is away under load, and both collectors are killed: what the agent had accepted arrives all the same.

`make stack-load` runs it with outages of a minute; otherwise they last seconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from stack import tempo
from stack.otlp_requests import counter, logs, record, span, traces
from stack.servers import Server
from stack.whole import Stack, start_stack

AWAY = 60 if os.environ.get("OTEL_ML_STACK_LONG") else 4
BATCH = 20
Encoder = Callable[[str, range], bytes]


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that nobody else looks at."""
    with start_stack(tmp_path_factory.mktemp("outage")) as whole:
        yield whole


def spans_request(service: str, numbers: range) -> bytes:
    """Encode a span for each number, which is its name."""
    return traces([span(f"n{number}") for number in numbers], {"service.name": service}).SerializeToString()


def logs_request(service: str, numbers: range) -> bytes:
    """Encode a log record for each number, which is its body."""
    return logs([record(f"n{number}") for number in numbers], {"service.name": service}).SerializeToString()


def metrics_request(service: str, numbers: range) -> bytes:
    """Encode one point of a counter, whose value is the first number: several would share a millisecond."""
    return counter(numbers[0], {}, {"service.name": service}).SerializeToString()


@dataclass
class Sender:
    """Sends numbered items to the agent, one request after another, and notes which were accepted."""

    path: str
    encode: Encoder
    service: str
    accepted: set[int] = field(default_factory=set)
    failed: int = 0

    def run(self, agent: Server, stop: threading.Event) -> None:
        """Send until told to stop. What is refused or not answered is not sent again: only what was accepted counts."""
        number = 0
        with httpx.Client(timeout=10, headers={"Content-Type": "application/x-protobuf"}) as client:
            while not stop.wait(0.05):
                numbers = range(number, number + BATCH)
                number += BATCH
                try:
                    answer = client.post(agent.otlp + self.path, content=self.encode(self.service, numbers))
                except httpx.HTTPError:
                    self.failed += 1
                    continue
                if answer.is_success:
                    self.accepted.update(numbers if self.path != "/v1/metrics" else numbers[:1])


@contextmanager
def load(agent: Server, service: str) -> Iterator[list[Sender]]:
    """Send all three signals meanwhile."""
    senders = [
        Sender("/v1/traces", spans_request, service),
        Sender("/v1/logs", logs_request, service),
        Sender("/v1/metrics", metrics_request, service),
    ]
    stop = threading.Event()
    threads = [threading.Thread(target=sender.run, args=(agent, stop)) for sender in senders]
    for thread in threads:
        thread.start()
    try:
        yield senders
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def stored_spans(stack: Stack, service: str) -> Counter[int]:
    """Count the spans that reached Tempo's stand-in, by number."""
    found = tempo.spans(stack.directory)
    return Counter(int(span["name"][1:]) for span in found if span["resource"].get("service.name") == service)


def stored_logs(stack: Stack, service: str) -> Counter[int]:
    """Count the log records in Loki, by number."""
    found: Counter[int] = Counter()
    since = time.time_ns() - 3600 * 10**9
    while True:  # a page at a time; the next begins a nanosecond after the last record
        parameters: dict[str, Any] = {"query": f'{{service_name="{service}"}}', "start": since, "limit": 5000}
        parameters["direction"] = "forward"
        answer = httpx.get(f"{stack.loki.url}/loki/api/v1/query_range", params=parameters, timeout=60)
        answer.raise_for_status()
        page = [value for stream in answer.json()["data"]["result"] for value in stream["values"]]
        found.update(int(line[1:]) for _, line in page)
        if len(page) < 5000:
            return found
        since = max(int(moment) for moment, _ in page) + 1


def stored_points(stack: Stack, service: str) -> Counter[int]:
    """Count the samples in Prometheus, by value."""
    query = f'test_count_total{{service_name="{service}"}}[1h]'
    answer = httpx.get(f"{stack.prometheus.url}/api/v1/query", params={"query": query}, timeout=60)
    answer.raise_for_status()
    return Counter(int(float(value)) for one in answer.json()["data"]["result"] for _, value in one["values"])


STORED = {"/v1/traces": stored_spans, "/v1/logs": stored_logs, "/v1/metrics": stored_points}


@pytest.mark.skipif(tempo.is_real(), reason="counts what reached the stand-in")
@pytest.mark.parametrize("store", ["loki", "prometheus", "tempo"])
def test_an_outage_loses_nothing_that_the_agent_had_accepted(own_stack: Stack, store: str) -> None:
    """The store is stopped, then gateway and agent are killed while it is away, and all come back."""
    service = f"outage-{store}"
    away: Server = getattr(own_stack, store)
    with load(own_stack.agent, service) as senders:
        time.sleep(2)
        away.stop()
        time.sleep(AWAY / 2)
        for collector in (own_stack.gateway, own_stack.agent):
            collector.kill()
            time.sleep(1)
            collector.start().wait()
        time.sleep(AWAY / 2)
        away.start()
        time.sleep(2)
    away.wait()
    report = []
    for sender in senders:
        deadline = time.monotonic() + 120
        while missing := sender.accepted - (stored := STORED[sender.path](own_stack, service)).keys():
            assert time.monotonic() < deadline, f"{len(missing)} of {len(sender.accepted)} lost: {sorted(missing)[:5]}"
            time.sleep(1)
        assert sender.accepted, f"{sender.path}: nothing was accepted, so this proves nothing"
        twice = sum(count - 1 for count in stored.values())
        report.append(f"{sender.path}: {len(sender.accepted)} accepted, 0 lost, {twice} twice, {sender.failed} refused")
    print(f"\n{store} away for {AWAY} s, gateway and agent killed:", *report, sep="\n  ")
