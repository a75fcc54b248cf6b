"""`logging.basicConfig` as if our handler were not there: it does nothing when the root logger has a handler."""

from __future__ import annotations

import functools
import logging
from typing import Any

from otel_ml.logs.handler import Handler, is_ours


class BasicConfig:
    """Stands in for `logging.basicConfig` until `restore`, so that a program's own call still configures its logging.

    Args:
        handler: Our handler, which is off the root logger while the real function runs.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._original = logging.basicConfig
        functools.update_wrapper(self, self._original)
        logging.basicConfig = self

    def __call__(self, **options: Any) -> None:
        """Configure the root logger."""
        root = logging.getLogger()
        ours = [handler for handler in root.handlers if is_ours(handler, self._handler)]
        for handler in ours:
            root.removeHandler(handler)
        try:
            self._original(**options)
        finally:
            for handler in ours:
                root.addHandler(handler)

    def restore(self) -> None:
        """Put the original back, unless somebody else has replaced it since."""
        current: object = logging.basicConfig
        if current is self:
            logging.basicConfig = self._original
