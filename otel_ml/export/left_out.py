"""Records that no encoder can write."""

from __future__ import annotations

from otel_ml import health
from otel_ml.errors import shorten


def leave_out(signal: str, error: Exception) -> None:
    """Count a record that cannot be encoded, and say so once: whatever one holds, the others have to arrive.

    Args:
        signal: `traces`, `logs` or `metrics`.
        error: What encoding it raised.
    """
    health.count_dropped(signal, "encode_failed")
    health.warn_once(
        f"encode_failed:{signal}:{type(error).__name__}",
        "dropped a record of %s that cannot be written as OTLP (further ones are only counted): %s",
        signal,
        shorten(error),
    )
