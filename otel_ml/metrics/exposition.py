"""`/metrics`: as a server of its own, or as an ASGI or WSGI app inside one that is there."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import prometheus_client
from opentelemetry.sdk.metrics.export import MetricsData
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from otel_ml import health
from otel_ml.metrics.prometheus import families

_source: Callable[[], MetricsData] | None = None


class _Current(Collector):
    """Collects whatever pipeline is active when a scrape comes."""

    def collect(self) -> Iterable[Family]:
        source = _source
        return () if source is None else families(source())


registry = CollectorRegistry(auto_describe=False)
registry.register(_Current())


def serve_from(source: Callable[[], MetricsData] | None) -> None:
    """Have scrapes answered from `source` from now on; None: with nothing."""
    global _source  # noqa: PLW0603  one process has one `/metrics`
    _source = source


def asgi_app() -> Any:
    """Return an ASGI app that answers with everything recorded in this process.

    Mount it, for example `app.mount("/metrics", otel_ml.metrics.asgi_app())`; also before `configure` is called.
    OpenMetrics with exemplars or the classic text, as the scraper's `Accept` says.
    """
    return prometheus_client.make_asgi_app(registry)


def wsgi_app() -> Any:
    """Return a WSGI app that answers with everything recorded in this process; see `asgi_app`."""
    return prometheus_client.make_wsgi_app(registry)


class MetricsServer:
    """A server of `/metrics` on its own thread.

    Args:
        host: Address to listen on.
        port: TCP port; 0 takes a free one.

    Raises:
        OSError: The address cannot be listened on.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server, self._thread = prometheus_client.start_http_server(port, host, registry)
        self.port: int = self._server.server_port
        if hasattr(os, "register_at_fork"):
            weak_close = weakref.WeakMethod(self._close_socket)
            os.register_at_fork(after_in_child=lambda: (close := weak_close()) and close())

    def _close_socket(self) -> None:
        """In a forked child: nobody answers there, and the socket must not outlive the parent."""
        self._server.socket.close()

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=1.0)


def start_server(host: str, port: int) -> MetricsServer | None:
    """Start a server of `/metrics`; a port that cannot be had is a warning, and the program goes on without.

    Args:
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
    """
    try:
        return MetricsServer(host, port)
    except OSError as error:
        health.warn_once(
            f"metrics-server:{host}:{port}", "/metrics cannot be served on %s:%d (%s). Choose another Metrics(port=...).",
            host, port, error.strerror or error,
        )  # fmt: skip
        return None
