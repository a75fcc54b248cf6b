"""Who serves `/metrics` at the port: of processes none of which is the parent of the others one does, the rest wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_ml import health
from otel_ml.loggers import own_logger
from otel_ml.metrics.exposition import MetricsServer
from otel_ml.metrics.family import Family
from otel_ml.metrics.ticking import Ticker

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_logger = own_logger()
_INTERVAL: Final = 1.0  # seconds that nobody serves at most after the process that did has ended


def serve(host: str, port: int, registry: CollectorRegistry, family: Family | None) -> Server | None:
    """Serve a registry over HTTP; when that does not work, say so once and return None.

    Args:
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        registry: What to serve.
        family: The processes that are shown together; when another one of them has the port, this one waits for it.
    """
    announced = _announce(port, family)
    for _ in range(2):  # who had the port may have ended before we looked who that is
        try:
            server = MetricsServer(host, port, registry)
        except (OSError, ValueError) as error:  # ValueError: no host name can be made of it
            if announced and family is not None and family.has_server(port):
                return StandbyServer(host, port, registry)
            reason = getattr(error, "strerror", None) or error
        else:
            if not port:
                _logger.info("/metrics is served on http://%s:%d/metrics", host, server.port)
            return server
    health.warn_once(
        f"metrics:server:{host}:{port}",
        "/metrics cannot be served on %s:%d (%s); the program goes on without it. Metrics(port=0) takes a free port.",
        host, port, reason,
    )  # fmt: skip
    return None


def _announce(port: int, family: Family | None) -> bool:
    """Tell the family, before anybody finds the port taken, which one this process means to serve."""
    if not port or family is None:
        return False
    try:
        family.join(port)
    except OSError:  # said when there is something to count
        return False
    return True


class StandbyServer:
    """Serves `/metrics` as soon as the process that does it now has ended.

    Args:
        host: Address to listen on.
        port: TCP port.
        registry: What to serve.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        self._host, self._port, self._registry = host, port, registry
        self._server: MetricsServer | None = None
        self._ticker = Ticker("otel_ml-metrics-standby", _INTERVAL, self._try, in_children=False)

    @property
    def port(self) -> int | None:
        """The port; None while another process has it."""
        return self._server.port if self._server is not None else None

    def close(self) -> None:
        """Stop, and free the port. Safe to call twice."""
        self._ticker.stop()
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _try(self) -> None:
        try:
            server = MetricsServer(self._host, self._port, self._registry)
        except OSError:
            return
        if self._ticker.stopped:  # closed meanwhile
            server.close()
            return
        self._server = server
        self._ticker.stop()


Server = MetricsServer | StandbyServer
