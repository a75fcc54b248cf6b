"""Tempo, or what takes its place: a collector that writes what reaches it to a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stack.servers import REPOSITORY, Server, collector, free_ports

WHY_SKIPPED = "Tempo is not there: set OTEL_ML_TEMPO to its binary"
_BINARY = os.environ.get("OTEL_ML_TEMPO")


def is_real() -> bool:
    """Whether a Tempo binary was named."""
    return bool(_BINARY)


def tempo(directory: Path, prometheus_write: str = "") -> Server:
    """Return a Tempo with the shipped config, or its stand-in."""
    if not _BINARY:
        return stand_in(directory)
    port, internal, grpc, http = free_ports(4)
    settings = {
        "OTEL_ML_TEMPO_HOST": "127.0.0.1",
        "OTEL_ML_TEMPO_PORT": str(port),
        "OTEL_ML_TEMPO_GRPC_PORT": str(internal),
        "OTEL_ML_TEMPO_OTLP_GRPC_PORT": str(grpc),
        "OTEL_ML_TEMPO_OTLP_HTTP_PORT": str(http),
        "OTEL_ML_TEMPO_DIRECTORY": str(directory / "tempo"),
        "OTEL_ML_PROMETHEUS_WRITE_ENDPOINT": prometheus_write,
    }
    command = [_BINARY, f"-config.file={REPOSITORY / 'grafana/tempo.yaml'}"]
    url = f"http://127.0.0.1:{port}"
    otlp = f"http://127.0.0.1:{http}"
    return Server("tempo", [*command, "-config.expand-env=true"], directory, url, f"{url}/ready", settings, otlp)


def stand_in(directory: Path) -> Server:
    """Return a collector that writes what would have reached Tempo to a file in a directory."""
    grpc, http, health, internal = free_ports(4)
    settings = {"DIRECTORY": str(directory), "GRPC": str(grpc), "HTTP": str(http), "HEALTH": str(health)}
    configs = [Path(__file__).with_name("tempo_stand_in.yaml")]
    return collector("tempo", configs, directory, settings, (grpc, http, health, internal))


def spans(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield the spans that reached the stand-in, each with its resource's attributes under `resource`."""
    path = directory / "spans.jsonl"
    if not path.exists():
        return
    with path.open() as lines:
        for line in lines:
            if not line.endswith("\n"):
                return  # it is still being written
            for resource in json.loads(line)["resourceSpans"]:
                facts = attributes(resource.get("resource", {}))
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        yield {**span, "resource": facts, "attributes": attributes(span)}


def attributes(holder: Mapping[str, Any]) -> dict[str, Any]:
    """Return OTLP-JSON attributes as a dictionary; values are text as they stand there."""
    return {pair["key"]: next(iter(pair["value"].values()), None) for pair in holder.get("attributes", ())}
