"""Durations as histograms with exemplars, and counters, for `/metrics` and OTLP from the same cells.

`asgi_app` and `wsgi_app` serve them inside an application's own server:

    app = FastAPI()
    app.mount("/metrics", otel_ml.metrics.asgi_app())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from otel_ml.metrics.exposition import ASGIApplication

__all__ = ["asgi_app", "wsgi_app"]


def asgi_app() -> ASGIApplication:
    """Return an ASGI application that serves the metrics of this service, for example below `/metrics`.

    It may be mounted before `otel_ml.configure` is called; until then, and after `shutdown`, it serves an empty page.
    Whichever process of the service answers, it shows the sum of all of them.

    OpenMetrics with exemplars goes to who asks for it (`Accept: application/openmetrics-text`), else the Prometheus
    text format. Collection and formatting run in a thread, beside the event loop.
    """
    from otel_ml.metrics import exposition  # noqa: PLC0415  takes 80 ms to import, and few programs need it

    return exposition.asgi_app()


def wsgi_app() -> WSGIApplication:
    """Return a WSGI application that serves what `asgi_app` serves."""
    from otel_ml.metrics import exposition  # noqa: PLC0415

    return exposition.wsgi_app()
