"""The loggers that otel_ml itself writes to: an application's `dictConfig` does not switch them off by accident."""

from __future__ import annotations

import logging

from otel_ml import conventions


class OwnLogger(logging.Logger):
    """A logger that `disable_existing_loggers`, which is the default of `dictConfig`, leaves on.

    A failure that is not logged is worse than one line too many. Level, handlers and filters work as everywhere.
    """

    @property
    def disabled(self) -> bool:
        """Always False."""
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        """Do nothing."""


def own_logger(part: str = "") -> logging.Logger:
    """Return the logger `otel_ml`, or `otel_ml.<part>`.

    Args:
        part: Name below `otel_ml`; empty for `otel_ml` itself.
    """
    logger = logging.getLogger(f"{conventions.SCOPE}.{part}" if part else conventions.SCOPE)
    if type(logger) is logging.Logger:  # an application's own logger class stays
        logger.__class__ = OwnLogger
    return logger
