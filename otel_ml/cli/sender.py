"""Sends one OTLP-JSON request to an endpoint, patiently, and says what became of it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import orjson
import requests

from otel_ml.cli.otlp_files import SIGNALS, Signal
from otel_ml.errors import ConfigurationError

TRIES = 4
LONGEST_WAIT = 60.0
TIMEOUT = (5.0, 30.0)  # seconds to connect, and to answer
GRPC_PORT = 4317
_BODY_READ = 64 * 1024
_REJECTED_FIELDS = {"traces": "rejectedSpans", "logs": "rejectedLogRecords", "metrics": "rejectedDataPoints"}

_HINTS = {
    401: "Give a token with --header or OTEL_EXPORTER_OTLP_HEADERS",
    403: "Give a token with --header or OTEL_EXPORTER_OTLP_HEADERS",
    415: "It does not take OTLP as JSON; send it through a collector",
}

Verdict = Literal["accepted", "refused", "wrong_endpoint", "unavailable"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a request.

    Args:
        verdict: `accepted`; `refused` for what it says, so that the next one may do better; `wrong_endpoint`, which
            no request for this signal will change; `unavailable`, now.
        detail: Why, a sentence for the user; empty when all went well.
        rejected: Items of an accepted request that the receiver did not take.
    """

    verdict: Verdict
    detail: str = ""
    rejected: int = 0


def base_url(endpoint: str, option: str = "--endpoint") -> str:
    """Return the part of an OTLP/HTTP endpoint before `/v1/traces`.

    Args:
        endpoint: What the user gave.
        option: Where, for the message.

    Raises:
        ConfigurationError: It is not an HTTP URL, or that of a gRPC receiver.
    """
    example = "an OTLP/HTTP URL such as http://localhost:4318"
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        raise ConfigurationError(option, endpoint, example) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(option, endpoint, example)
    if port == GRPC_PORT:
        hint = f"Port {GRPC_PORT} speaks gRPC; push sends over HTTP, whose port is 4318 by default."
        raise ConfigurationError(option, endpoint, example, hint)
    path = parts.path.rstrip("/")
    for signal in SIGNALS:
        path = path.removesuffix(f"/v1/{signal}")
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def without_secrets(url: str) -> str:
    """Return a URL without user, password and query, as it may be shown and stored."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def session(headers: Mapping[str, str]) -> requests.Session:
    """Return an HTTP session with the certificates that the `OTEL_EXPORTER_OTLP_*` variables name.

    Args:
        headers: Sent with each request.
    """
    result = requests.Session()
    result.headers.update(headers)
    result.verify = os.environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE") or True
    certificate = os.environ.get("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
    key = os.environ.get("OTEL_EXPORTER_OTLP_CLIENT_KEY")
    result.cert = (certificate, key) if certificate and key else certificate
    return result


class Sender:
    """Posts request bodies; also a context manager.

    Args:
        base: What `base_url` returned.
        headers: Sent with each request.
        pause: Called with the seconds to wait before a further try.
    """

    def __init__(self, base: str, headers: Mapping[str, str], *, pause: Callable[[float], None] = time.sleep) -> None:
        self._base = urlsplit(base)
        self._pause = pause
        self._session = session({**headers, "Content-Type": "application/json"})

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def send(self, signal: Signal, body: bytes) -> Reply:
        """Post one request, again while the endpoint is busy or away, but at most 4 times."""
        url = urlunsplit(self._base._replace(path=f"{self._base.path}/v1/{signal}"))
        detail = ""
        for attempt in range(TRIES):
            wait = 0.5 * 2**attempt
            try:
                with self._session.post(
                    url, data=body, timeout=TIMEOUT, allow_redirects=False, stream=True
                ) as response:
                    reply = judge(response, signal)
                    asked = retry_after(response.headers.get("Retry-After"))
            except (OSError, ValueError) as error:  # requests' own are OSError; a host name may be a UnicodeError
                reply, asked = Reply("unavailable", unreachable(error)), None
                if not isinstance(error, (requests.ConnectionError, requests.Timeout)):
                    return reply
            if reply.verdict != "unavailable":
                return reply
            detail, wait = reply.detail, wait if asked is None else asked
            if wait > LONGEST_WAIT:
                return Reply("unavailable", f"{detail}, and asks to wait {wait:.0f} s")
            if attempt < TRIES - 1:
                self._pause(wait)
        return Reply("unavailable", f"{detail}, {TRIES} times")


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, as a number or a date; None without a valid one."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def judge(response: requests.Response, signal: Signal) -> Reply:
    """Sort an answer as the OTLP specification does: only four codes mean that the same may work later."""
    status = response.status_code
    detail = f"the endpoint answered {status} {response.reason or ''}".rstrip()
    if status in (429, 502, 503, 504):
        return Reply("unavailable", detail)
    body = _beginning(response)
    if 200 <= status < 300:
        return _accepted(body, response.headers.get("Content-Type", ""), signal)
    said = _message(body)
    detail = f"{detail}: {said}" if said else detail
    if status in (400, 413, 422):
        return Reply("refused", detail)
    if 300 <= status < 400:
        hint = f"It redirects to {response.headers.get('Location', 'elsewhere')}"
    else:
        default = "" if status == 500 else f"Does this URL belong to an OTLP/HTTP receiver for {signal}?"
        hint = _HINTS.get(status, default)
    return Reply("wrong_endpoint", f"{detail}. {hint}".removesuffix(". "))


def _beginning(response: requests.Response) -> bytes:
    """Read a bounded part of an answer; one that breaks off has still answered."""
    try:
        return next(response.iter_content(_BODY_READ), b"")
    except requests.RequestException:
        return b""


def _accepted(body: bytes, content_type: str, signal: Signal) -> Reply:
    """Look for a partial success in an answer; a web page is no answer, anything else that is no OTLP is."""
    if "html" in content_type:
        hint = f"Does this URL belong to an OTLP/HTTP receiver for {signal}?"
        return Reply("wrong_endpoint", f"the endpoint answered with a web page. {hint}")
    if "protobuf" in content_type:  # against the specification for a JSON request, but some do
        return _accepted_protobuf(body)
    try:
        partial = orjson.loads(body)["partialSuccess"]
        rejected, message = int(partial.get(_REJECTED_FIELDS[signal]) or 0), str(partial.get("errorMessage") or "")
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return Reply("accepted")
    return Reply("accepted", message, rejected)


def _accepted_protobuf(body: bytes) -> Reply:
    from google.protobuf.message import DecodeError  # noqa: PLC0415  rarely needed
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse  # noqa: PLC0415

    try:  # the answers for the three signals are the same on the wire
        partial = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return Reply("accepted")
    return Reply("accepted", partial.error_message, partial.rejected_spans)


def _message(body: bytes) -> str:
    try:
        content = orjson.loads(body)
        text = content.get("message", "") if isinstance(content, dict) else ""
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "replace")
    return " ".join(str(text).split())[:200]


def unreachable(error: Exception) -> str:
    """Say in few words what urllib3 says in many."""
    if not isinstance(error, (requests.ConnectionError, requests.Timeout)):
        return f"the request cannot be made ({type(error).__name__})"  # its text may quote a header's value
    if isinstance(error, requests.exceptions.SSLError):
        return f"no secure connection ({_innermost(error)}); see OTEL_EXPORTER_OTLP_CERTIFICATE"
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return f"the endpoint cannot be reached ({_innermost(error)})"


def _innermost(error: BaseException) -> str:
    """Return the reason that the chain of wrapped exceptions ends with."""
    for _ in range(8):
        below = getattr(error, "reason", None) or next((a for a in error.args if isinstance(a, BaseException)), None)
        if not isinstance(below, BaseException):
            break
        error = below
    text = getattr(error, "strerror", None) or str(error).rpartition(": ")[2] or type(error).__name__
    return re.sub(r"^\[Errno -?\d+\] ", "", str(text))
