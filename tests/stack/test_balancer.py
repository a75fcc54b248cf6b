"""Several gateways behind the balancer: each trace is whole at one of them, and an outage of one loses nothing."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from stack import flood, tempo
from stack.servers import REPOSITORY, TOKEN, Server, collector, free_ports, gateway, running


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[list[Server]]:
    """Two gateways, each with a store of its own."""
    servers = []
    for name in ("one", "two"):
        store = tempo.stand_in(tmp_path / name)
        servers += [store, gateway(tmp_path / name, {"OTEL_ML_TEMPO_ENDPOINT": store.otlp})]
    with running(*servers):
        yield servers[1::2]


@pytest.fixture
def balancer(tmp_path: Path, gateways: list[Server]) -> Iterator[Server]:
    """The shipped balancer; the addresses of the gateways are written down instead of looked up."""
    ports = free_ports(4)
    names = ("GRPC_PORT", "HTTP_PORT", "HEALTH_PORT", "METRICS_PORT")
    settings = {f"OTEL_ML_BALANCER_{name}": str(port) for name, port in zip(names, ports, strict=True)}
    settings |= {"OTEL_ML_BALANCER_HOST": "127.0.0.1", "OTEL_ML_BALANCER_DIRECTORY": str(tmp_path)}
    resolver = {"static": {"hostnames": [server.otlp_grpc for server in gateways]}, "dns": None}
    exporters = {f"load_balancing/{signal}": {"resolver": resolver} for signal in ("traces", "logs", "metrics")}
    overlay = tmp_path / "addresses.yaml"
    overlay.write_text(json.dumps({"exporters": exporters}))  # JSON is YAML
    configs = [REPOSITORY / "collector/balancer.yaml", overlay]
    server = collector("balancer", configs, tmp_path, {**settings, "OTEL_ML_TOKEN": TOKEN}, ports)
    with running(server):
        yield server


def traces(server: Server) -> dict[str, int]:
    """Count the spans of each trace in the store of a gateway."""
    found: dict[str, int] = defaultdict(int)
    for span in tempo.spans(server.directory):
        found[span["traceId"]] += 1
    return found


def send(balancer: Server, requests: int) -> int:
    """Send requests of 1,000 spans, and return how many spans that were."""
    sent = flood.send(balancer.otlp, "/v1/traces", flood.spans_template(), TOKEN, 0.05, 0.05 * requests)
    assert sent.requests == {200: requests}
    return requests * flood.TRACES * flood.SPANS


def wait_for(gateways: list[Server], spans: int) -> None:
    """Wait until the stores have so many spans."""
    deadline = time.monotonic() + 60
    while sum(sum(traces(server).values()) for server in gateways) < spans:
        assert time.monotonic() < deadline, [sum(traces(server).values()) for server in gateways]
        time.sleep(0.5)


def test_each_trace_is_whole_at_one_gateway(balancer: Server, gateways: list[Server]) -> None:
    """Both get about half of the traces, and no trace is at both."""
    wait_for(gateways, send(balancer, 5))
    one, two = (traces(server) for server in gateways)
    assert not one.keys() & two.keys() and set(one.values()) | set(two.values()) == {flood.SPANS}
    assert 0.3 < len(one) / (len(one) + len(two)) < 0.7


def test_what_waits_for_a_gateway_that_is_gone_is_delivered(balancer: Server, gateways: list[Server]) -> None:
    """It was accepted, so it arrives when the gateway is back."""
    gateways[1].kill()
    spans = send(balancer, 3)
    gateways[1].start().wait()
    wait_for(gateways, spans)


def test_the_balancer_asks_for_the_token_too(balancer: Server) -> None:
    """It is what the network sees."""
    body = flood.logs_template().fresh(np.random.default_rng())
    headers = {"Content-Type": "application/x-protobuf"}
    assert httpx.post(f"{balancer.otlp}/v1/logs", content=body, headers=headers).status_code == 401
