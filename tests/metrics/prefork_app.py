"""The application that `test_prefork.py` runs under real servers: it predicts, says who did, and shows its metrics."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry import trace

import otel_ml
from otel_ml import Metrics
from otel_ml.metrics import asgi_app, wsgi_app

port = os.environ.get("TEST_METRICS_PORT")
telemetry = otel_ml.configure(service_name="prefork", metrics=Metrics(port=int(port)) if port else None)
metrics_wsgi, metrics_asgi = wsgi_app(), asgi_app()


@otel_ml.inference(model="m", version="1")
def predict(rows: list[int]) -> str:
    return format(trace.get_current_span().get_span_context().trace_id, "032x")


def answer() -> bytes:
    return f"{os.getpid()} {predict([1, 2, 3])}".encode()


def application(environ: dict[str, Any], start_response: Any) -> Any:
    if environ["PATH_INFO"] == "/metrics":
        return metrics_wsgi(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [answer()]


async def asgi_application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        telemetry.shutdown()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"] == "/metrics":
        await metrics_asgi(scope, receive, send)
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer()})
