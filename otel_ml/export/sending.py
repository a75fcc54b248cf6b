"""Ready requests to the exporters that take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_ml import health, sdk_compat
from otel_ml.suppression import suppress_instrumentation

Send = Callable[[bytes, int], bool]
"""Sends a request that holds so many records; False when it was not delivered."""

_HTTP = "opentelemetry.exporter.otlp.proto.http."


class Encoded:
    """A request, where an exporter expects records; its length is their number.

    Args:
        content: The request.
        number: How many records it holds.
    """

    __slots__ = ("content", "number")

    def __init__(self, content: bytes, number: int) -> None:
        self.content = content
        self.number = number

    def __len__(self) -> int:
        return self.number


def sender_of(exporter: Any) -> Send | None:
    """Return how bytes are sent through an exporter, with its connection, compression, retries and headers.

    Those are the stock exporters over HTTP, and any exporter that says so by an attribute `takes_encoded`: its `export`
    is given an `Encoded`. None for an exporter that wants objects: all others, sub-classes of the stock ones, and the
    stock ones of a release in which the way to send bytes is another one.
    """
    if getattr(exporter, "takes_encoded", False):
        return lambda content, number: exporter.export(Encoded(content, number)).name == "SUCCESS"
    if type(exporter).__module__.startswith(_HTTP):
        return sdk_compat.http_sender(exporter)
    return None


class Sending:
    """Sends requests, and counts and says what was not delivered.

    Args:
        signal: `traces` or `logs`.
        send: See `sender_of`.
        exporter: Is named when something was not delivered.
    """

    def __init__(self, signal: str, send: Send, exporter: object) -> None:
        self._signal = signal
        self._send = send
        self._exporter = exporter

    def __call__(self, content: bytes, number: int) -> None:
        """Send one request."""
        with suppress_instrumentation():
            delivered = self._send(content, number)
        if not delivered:
            health.not_delivered(self._signal, number, self._exporter)
