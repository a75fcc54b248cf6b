"""Libraries that only some uses of the audit trail need: imported when used, and asked for when they are missing."""

from __future__ import annotations

import importlib
from typing import Any

from otel_ml.errors import MissingExtraError


def require(module: str, extra: str, purpose: str) -> Any:
    """Return an optional module.

    Args:
        module: Name of the module.
        extra: The extra that brings it.
        purpose: What it is needed for, as the end of a sentence.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:  # it is there, and something that it needs is not
            raise
        raise MissingExtraError(module, extra, purpose) from None
