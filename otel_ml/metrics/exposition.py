"""`/metrics`: a server of its own on the loopback interface, and applications to mount in a server that is there.

prometheus_client writes the formats, and picks one by the `Accept` header.
"""

from __future__ import annotations

import asyncio
import os
import socket
import socketserver
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from otel_ml import health
from otel_ml.metrics import active

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Message = MutableMapping[str, Any]
ASGIApplication = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_PATH: Final = "/metrics"
_CLIENT_TIMEOUT: Final = 30  # seconds that a client may take over its request, or over reading the answer
_POLL_INTERVAL: Final = 0.1  # seconds that `close` waits at most for the thread


class _ActiveCollector(Collector):
    def collect(self) -> Iterable[Metric]:
        return active.collect()


_active = CollectorRegistry(support_collectors_without_names=True)
_active.register(_ActiveCollector())


def wsgi_app() -> WSGIApplication:
    """Return a WSGI application that serves the metrics of the active pipeline, on whatever path it is mounted."""
    active.mount()
    return guarded(make_wsgi_app(_active))


def asgi_app() -> ASGIApplication:
    """Return an ASGI application that serves the metrics of the active pipeline, on whatever path it is mounted."""
    application = wsgi_app()

    async def serve(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            raise ValueError(f"the metrics application serves HTTP only, it received {scope['type']!r}")
        status, headers, body = await _beside_the_loop(lambda: _call(application, _environ(scope)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return serve


async def _beside_the_loop(work: Callable[[], Any]) -> Any:
    """Run work in a thread: thousands of series take long enough to be felt by other requests."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another event loop than asyncio's
        return work()
    return await asyncio.to_thread(work)


def _environ(scope: Message) -> WSGIEnvironment:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "PATH_INFO": scope["path"],
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
    }
    for raw_name, raw_value in scope.get("headers", ()):
        name = "HTTP_" + raw_name.decode("latin-1").upper().replace("-", "_")
        value = raw_value.decode("latin-1")
        environ[name] = f"{environ[name]},{value}" if name in environ else value
    return environ


def _call(application: WSGIApplication, environ: WSGIEnvironment) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Call a WSGI application; return status, headers and body as ASGI has them."""
    answer: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], error: Any = None) -> Callable[[bytes], object]:
        answer[:] = status, headers
        return answer.append

    body = b"".join(application(environ, start_response))
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer[1]]
    return int(answer[0].split(" ")[0]), headers, body


def guarded(application: WSGIApplication) -> WSGIApplication:
    """Return the application with an answer of 500 for what goes wrong in it: nothing of ours raises into a server."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return application(environ, start_response)
        except Exception as error:
            health.internal_error("an answer of /metrics", error)
            start_response("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")], sys.exc_info())
            return [f"the metrics could not be written: {type(error).__name__}\n".encode()]

    return serve


def only_metrics(application: WSGIApplication) -> WSGIApplication:
    """Return the application with an answer of 404 for any path other than `/metrics`."""

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").rstrip("/") == _PATH:
            return application(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"not found: the metrics are at {_PATH}\n".encode()]

    return serve


class _Handler(WSGIRequestHandler):
    timeout = _CLIENT_TIMEOUT

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a scrape every few seconds is no news."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_port = False  # two programs would both listen, and each get half of the scrapes

    def server_bind(self) -> None:
        """Bind without looking up the name of the host, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Count a scrape that broke off, instead of printing a stack trace."""
        health.count_dropped("metrics", "scrape_failed")


class MetricsServer:
    """Serves `/metrics` on threads of its own until it is closed.

    A forked child closes its copy of the socket, and serves nothing: the parent answers, for all of them.

    Args:
        host: Address to listen on.
        port: TCP port; 0 takes a free one.
        registry: What to serve.

    Raises:
        OSError: The address cannot be listened on, for example because another program does.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        kind = type("_FamilyServer", (_Server,), {"address_family": family})
        self._server: _Server | None = kind(address[:2], _Handler)
        assert self._server is not None  # noqa: S101  for the type checker
        self._server.set_app(only_metrics(guarded(make_wsgi_app(registry))))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_INTERVAL,), name="otel_ml-metrics-server", daemon=True
        )
        self._thread.start()
        if hasattr(os, "register_at_fork"):
            weak_leave = weakref.WeakMethod(self._leave_to_parent)
            os.register_at_fork(after_in_child=lambda: (leave := weak_leave()) and leave())

    @property
    def port(self) -> int | None:
        """The port; None once it is closed."""
        return self._server.server_port if self._server is not None else None

    def close(self) -> None:
        """Stop, and free the port. Safe to call twice."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _leave_to_parent(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.server_close()
