"""A library's own log lines, once on the console: by our pipeline where it has one, else by the library's handler."""

from __future__ import annotations

import logging

from otel_ml.patches import Undo


def has_pipeline() -> bool:
    """Whether our log pipeline may show lines on a console."""
    from otel_ml.telemetry import active  # noqa: PLC0415  the SDK loads when it is configured

    telemetry = active()
    logs = None if telemetry is None else telemetry.settings.logs
    return logs is not None and logs.format != "none"


def take_over(name: str) -> Undo:
    """Have a logger's records go to the root logger instead of to a stream of its own, where our pipeline shows them.

    Args:
        name: Of the library's top logger.

    Returns:
        A function that undoes it.
    """
    logger = logging.getLogger(name)
    streams = [handler for handler in logger.handlers if type(handler) is logging.StreamHandler]
    if logger.propagate or not streams or not has_pipeline():
        return lambda: None
    logger.handlers = [handler for handler in logger.handlers if handler not in streams]
    logger.propagate = True

    def undo() -> None:
        logger.handlers += streams
        logger.propagate = False

    return undo
