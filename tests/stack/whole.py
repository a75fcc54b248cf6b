"""The whole stack: agent, gateway, Loki, Prometheus, and Tempo or its stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack import tempo as tempo_or_stand_in
from stack.servers import Server, agent, gateway, loki, prometheus, running


@dataclass
class Stack:
    """The five servers and the folder that holds their data and output."""

    directory: Path
    agent: Server
    gateway: Server
    loki: Server
    prometheus: Server
    tempo: Server

    @property
    def tempo_url(self) -> str | None:
        """Where Tempo answers queries; None when a stand-in takes its place."""
        return self.tempo.url if tempo_or_stand_in.is_real() else None

    def servers(self) -> list[Server]:
        """Return all servers, stores first."""
        return [self.loki, self.prometheus, self.tempo, self.gateway, self.agent]


@contextmanager
def start_stack(directory: Path, *overlays: Path, **environment: str) -> Iterator[Stack]:
    """Start the stack, wait until all of it is ready, and end it afterwards.

    Args:
        directory: Where data and output go.
        *overlays: Configs that the gateway is given after its own.
        **environment: Variables of gateway and agent beside addresses and directories.
    """
    logs = loki(directory)
    gate = gateway(directory, None, *overlays)
    targets = {"gateway": gate.url.removeprefix("http://"), "loki": logs.url.removeprefix("http://")}
    traces = tempo_or_stand_in.tempo(directory)
    if tempo_or_stand_in.is_real():
        targets["tempo"] = traces.url.removeprefix("http://")
    metrics = prometheus(directory, targets)
    traces.environment = {**traces.environment, "OTEL_ML_PROMETHEUS_WRITE_ENDPOINT": f"{metrics.url}/api/v1/write"}
    gate.environment = {
        **gate.environment,
        "OTEL_ML_LOKI_ENDPOINT": logs.otlp,
        "OTEL_ML_TEMPO_ENDPOINT": traces.otlp,
        "OTEL_ML_PROMETHEUS_ENDPOINT": metrics.otlp,
        **environment,
    }
    stack = Stack(directory, agent(directory, gate.otlp, environment), gate, logs, metrics, traces)
    with running(*stack.servers()):
        yield stack
