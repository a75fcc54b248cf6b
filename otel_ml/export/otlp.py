"""The stock OTLP exporters, from an endpoint given in code or from the environment."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from otel_ml import health

if TYPE_CHECKING:
    import requests
    from opentelemetry.sdk._logs.export import LogRecordExporter
    from opentelemetry.sdk.metrics.export import MetricExporter
    from opentelemetry.sdk.trace.export import SpanExporter

Protocol = Literal["http/protobuf", "grpc"]
Signal = Literal["traces", "logs", "metrics"]

GRPC_PORT = 4317  # registered for OTLP over gRPC
Exporter = TypeVar("Exporter", "SpanExporter", "LogRecordExporter", "MetricExporter")

_inherited: list[object] = []  # from before a fork: to let go of it takes locks that nobody releases in the child

CREDENTIAL_PROVIDER = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_{}CREDENTIAL_PROVIDER"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where OTLP goes. Compression, certificates and timeouts are always the `OTEL_EXPORTER_OTLP_*` variables'.

    Args:
        url: Base URL such as `http://localhost:4318`; None: the environment says it.
        protocol: None: `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL` and its like, else gRPC on port 4317, else HTTP.
        headers: Sent with each request, on top of those of `OTEL_EXPORTER_OTLP_HEADERS`, and before them.
    """

    url: str | None = None
    protocol: Protocol | None = None
    headers: Mapping[str, str] | None = field(default=None, repr=False)  # they hold keys

    @classmethod
    def of(cls, url: str | None, headers: Mapping[str, str] | None = None) -> Endpoint:
        """Return the endpoint at `url`, whose protocol is found out for each signal."""
        return cls(url, None, headers)


def span_exporter(endpoint: Endpoint | None = None) -> SpanExporter:
    """Return the stock span exporter for the endpoint, or for what the environment says.

    Raises:
        Exception: The stock exporter does not accept what an `OTEL_EXPORTER_OTLP_*` variable says.
    """
    return _renewed_after_fork(partial(_span_exporter, endpoint or Endpoint()))


def log_exporter(endpoint: Endpoint | None = None) -> LogRecordExporter:
    """Return the stock log exporter for the endpoint, or for what the environment says.

    Raises:
        Exception: The stock exporter does not accept what an `OTEL_EXPORTER_OTLP_*` variable says.
    """
    return _renewed_after_fork(partial(_log_exporter, endpoint or Endpoint()))


def metric_exporter(endpoint: Endpoint | None = None) -> MetricExporter:
    """Return the stock metric exporter for the endpoint, or for what the environment says.

    Raises:
        Exception: The stock exporter does not accept what an `OTEL_EXPORTER_OTLP_*` variable says.
    """
    return _renewed_after_fork(partial(_metric_exporter, endpoint or Endpoint()))


def _span_exporter(endpoint: Endpoint) -> SpanExporter:
    if protocol_of(endpoint, "traces") == "grpc":
        from otel_ml.export import otlp_grpc  # noqa: PLC0415

        return otlp_grpc.OTLPSpanExporter(**_grpc_arguments(endpoint, "traces"))
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces  # noqa: PLC0415

    return http_traces.OTLPSpanExporter(**_http_arguments(endpoint, "traces"))


def _log_exporter(endpoint: Endpoint) -> LogRecordExporter:
    if protocol_of(endpoint, "logs") == "grpc":
        from otel_ml.export import otlp_grpc  # noqa: PLC0415

        return otlp_grpc.OTLPLogExporter(**_grpc_arguments(endpoint, "logs"))
    from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs  # noqa: PLC0415

    return http_logs.OTLPLogExporter(**_http_arguments(endpoint, "logs"))


def _metric_exporter(endpoint: Endpoint) -> MetricExporter:
    if protocol_of(endpoint, "metrics") == "grpc":
        from otel_ml.export import otlp_grpc  # noqa: PLC0415

        return otlp_grpc.OTLPMetricExporter(**_grpc_arguments(endpoint, "metrics"))
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics  # noqa: PLC0415

    return http_metrics.OTLPMetricExporter(**_http_arguments(endpoint, "metrics"))


def protocol_of(endpoint: Endpoint, signal: Signal) -> Protocol:
    """Return the protocol that one signal is sent with; a wrong one in the environment is a warning."""
    if endpoint.protocol is not None:
        return endpoint.protocol
    variable, value = _variable(signal, "PROTOCOL")
    if value.lower() == "grpc":
        return "grpc"
    if value.lower() == "http/protobuf":
        return "http/protobuf"
    default = _default_protocol(endpoint.url or _variable(signal, "ENDPOINT")[1])
    if value:
        health.warn_once(
            f"protocol:{variable}",
            "%s: expected http/protobuf or grpc, received %r; %s is used.",
            variable,
            value,
            default,
        )
    return default


def _default_protocol(url: str) -> Protocol:
    try:
        port = urlsplit(url if "://" in url else f"//{url}").port
    except ValueError:  # not a URL: the exporter says what it makes of it
        return "http/protobuf"
    return "grpc" if port == GRPC_PORT else "http/protobuf"


def _variable(signal: Signal, name: str) -> tuple[str, str]:
    """Return name and value of the variable in force: the signal's own, else the general one."""
    own, general = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", f"OTEL_EXPORTER_OTLP_{name}"
    variable = own if os.environ.get(own, "").strip() else general
    return variable, os.environ.get(variable, "").strip()


def _http_arguments(endpoint: Endpoint, signal: Signal) -> dict[str, Any]:
    arguments: dict[str, Any] = {"headers": endpoint.headers}
    if endpoint.url is not None:
        parts = urlsplit(endpoint.url)
        arguments["endpoint"] = parts._replace(path=f"{parts.path.rstrip('/')}/v1/{signal}").geturl()
    providers = (CREDENTIAL_PROVIDER.format(""), CREDENTIAL_PROVIDER.format(f"{signal.upper()}_"))
    if not any(os.environ.get(name) for name in providers):  # such a provider brings a session of its own
        arguments["session"] = _counting_session(signal)
    return arguments


def _grpc_arguments(endpoint: Endpoint, signal: Signal) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if endpoint.url is not None:
        arguments["endpoint"] = endpoint.url
        arguments["insecure"] = urlsplit(endpoint.url).scheme == "http"
    if endpoint.headers:  # unlike over HTTP, the exporter takes either these or the environment's, and as they are
        inherited = parse_env_headers(_variable(signal, "HEADERS")[1], liberal=True)
        arguments["headers"] = {**inherited, **{name.lower(): value for name, value in endpoint.headers.items()}}
    return arguments


def _counting_session(signal: Signal) -> requests.Session:
    """Return an HTTP session that counts what a receiver says it rejected; the stock exporter does not look."""
    import requests  # noqa: PLC0415  the exporter over HTTP needs it anyway, the one over gRPC does not

    from otel_ml.export.rejected import count_rejected  # noqa: PLC0415

    def look(response: requests.Response, *args: object, **kwargs: object) -> None:
        is_json = "json" in response.headers.get("Content-Type", "")  # against the protocol, yet some answer so
        if response.status_code == requests.codes.ok and not is_json:
            count_rejected(signal, response.content)

    session = requests.Session()
    session.hooks["response"].append(look)
    return session


def _renewed_after_fork(make: Callable[[], Exporter]) -> Exporter:
    """Return what `make` makes, and see to it that a forked child has connections and locks of its own.

    On a connection that parent and child share, their requests mix, and a lock that was held at the fork is held for
    ever in the child. What remains is gRPC's: a child that is forked while another thread is inside its core may never
    get an answer. Servers that fork had better use HTTP.
    """
    exporter = make()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=partial(_renew, weakref.ref(exporter), make))
    return exporter


def _renew(reference: weakref.ref[Exporter], make: Callable[[], Exporter]) -> None:
    exporter = reference()
    if exporter is None:
        return
    _inherited.append(dict(vars(exporter)))
    try:
        vars(exporter).update(vars(make()))
    except Exception as error:
        health.internal_error("renewing an exporter after a fork", error)
