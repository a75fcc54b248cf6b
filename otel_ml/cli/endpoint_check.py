"""Asks the configured endpoints, with an empty request, whether they take OTLP."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from otel_ml.cli.checks import Check
from otel_ml.cli.sender import judge, session, unreachable, without_secrets
from otel_ml.export.otlp import Endpoint, Protocol, protocol_of
from otel_ml.settings import Settings, Signal

TIMEOUT = 5.0
_DEFAULT_URLS = {"http/protobuf": "http://localhost:4318", "grpc": "http://localhost:4317"}
_GRPC_SERVICES = {"traces": "trace", "metrics": "metrics", "logs": "logs"}
_GRPC_ADVICE = {
    "UNAUTHENTICATED": "Give a token with OTEL_EXPORTER_OTLP_HEADERS.",
    "PERMISSION_DENIED": "Give a token with OTEL_EXPORTER_OTLP_HEADERS.",
    "UNIMPLEMENTED": "What listens there speaks gRPC, but does not take this signal.",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where one signal goes, as the exporters understand the environment.

    Args:
        signal: `traces`, `metrics` or `logs`.
        protocol: `http/protobuf` or `grpc`.
        url: Complete over HTTP; host and port over gRPC.
        headers: Sent with each request.
        origin: The variable that says it, or `default`.
    """

    signal: Signal
    protocol: Protocol
    url: str
    headers: dict[str, str]
    origin: str


def targets(settings: Settings) -> list[Target]:
    """Return where each signal goes that goes to an endpoint at all."""
    return [_target(signal, settings) for signal, names in settings.exporters.items() if "otlp" in names]


def _target(signal: Signal, settings: Settings) -> Target:
    own, general = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    protocol = protocol_of(Endpoint.of(settings.endpoint), signal)
    variable = next((name for name in (own, general) if os.environ.get(name, "").strip()), None)
    url = os.environ[variable].strip() if variable else _DEFAULT_URLS[protocol]
    if protocol != "grpc" and variable != own:
        url = f"{url.rstrip('/')}/v1/{signal}"
    texts = [os.environ.get(f"OTEL_EXPORTER_OTLP_{part}HEADERS", "") for part in (f"{signal.upper()}_", "")]
    headers = parse_env_headers(next((text for text in texts if text), ""), liberal=True)
    return Target(signal, protocol, url, dict(headers), variable or "default")


def check_endpoints(settings: Settings) -> Iterator[tuple[Check, float | None]]:
    """Yield a finding for each signal that is sent, with the seconds that our clock is ahead where the answer tells."""
    for target in targets(settings):
        yield (_ask_grpc(target), None) if target.protocol == "grpc" else _ask_http(target)


def _ask_http(target: Target) -> tuple[Check, float | None]:
    """Post an empty request, which in protobuf is an empty body."""
    subject, shown = f"endpoint for {target.signal}", without_secrets(target.url)
    advice = f"Start a collector there, or correct {target.origin}. Until then telemetry is dropped."
    begun = time.monotonic()
    try:
        with session({**target.headers, "Content-Type": "application/x-protobuf"}) as http:
            response = http.post(target.url, data=b"", timeout=TIMEOUT, allow_redirects=False, stream=True)
            with response:
                reply = judge(response, target.signal)
                date = response.headers.get("Date")
    except (OSError, ValueError) as error:
        return Check("FAIL", subject, f"{shown}: {unreachable(error)}", advice), None
    milliseconds = (time.monotonic() - begun) * 1000
    if reply.verdict == "accepted":
        return Check("OK", subject, f"{shown} took an empty request in {milliseconds:.0f} ms"), _skew(date)
    return Check("FAIL", subject, f"{shown}: {reply.detail}", advice), _skew(date)


def _skew(date: str | None) -> float | None:
    try:
        return time.time() - parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None


def _ask_grpc(target: Target) -> Check:
    """Call the signal's Export with an empty request."""
    import grpc  # noqa: PLC0415  slow to import, and only needed here

    subject, shown = f"endpoint for {target.signal}", without_secrets(target.url)
    service, request = _grpc_service(target.signal)
    try:
        with _channel(target) as channel:
            metadata = tuple((name.lower(), value) for name, value in target.headers.items())
            service(channel).Export(request(), timeout=TIMEOUT, metadata=metadata)
    except grpc.RpcError as error:
        code = error.code().name
        advice = _GRPC_ADVICE.get(code, f"Start a collector there, or correct {target.origin}. Is it the gRPC port?")
        details = str(error.details()).rpartition("last error: ")[2]  # gRPC names all addresses before
        return Check("FAIL", subject, f"{shown} over gRPC: {code}: {details}", advice)
    except (OSError, ValueError) as error:
        advice = "Correct OTEL_EXPORTER_OTLP_CERTIFICATE or the endpoint."
        return Check("FAIL", subject, f"{shown} over gRPC: {error}", advice)
    return Check("OK", subject, f"{shown} took an empty request over gRPC")


def _channel(target: Target) -> Any:
    import grpc  # noqa: PLC0415

    parts = urlsplit(target.url if "://" in target.url else f"//{target.url}")
    plain = os.environ.get("OTEL_EXPORTER_OTLP_INSECURE", "").strip().lower() == "true"
    if parts.scheme == "http" or (not parts.scheme and plain):
        return grpc.insecure_channel(parts.netloc)
    path = os.environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE")
    return grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials(Path(path).read_bytes() if path else None))


def _grpc_service(signal: Signal) -> tuple[Any, Any]:
    from importlib import import_module  # noqa: PLC0415

    name = _GRPC_SERVICES[signal]
    package = f"opentelemetry.proto.collector.{name}.v1.{name}_service_pb2"
    title = name.title()
    return (
        getattr(import_module(f"{package}_grpc"), f"{title}ServiceStub"),
        getattr(import_module(package), f"Export{title}ServiceRequest"),
    )
