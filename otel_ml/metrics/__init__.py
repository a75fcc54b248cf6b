"""Durations and counters on their way to `/metrics` and OTLP."""

from __future__ import annotations

from otel_ml.metrics.exposition import asgi_app, wsgi_app

__all__ = ["asgi_app", "wsgi_app"]
