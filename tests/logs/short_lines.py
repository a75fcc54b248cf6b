"""Ordinary log lines, and whether they took the short way."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.sdk.resources import Resource

from otel_ml.logs import LogPipeline, short_way, start
from otel_ml.options import Logs

GENERAL = {"stacklevel": 1}
"""Sends a call the general way, and changes nothing else."""

is_compiled = not str(short_way.__file__).endswith(".py")
compiled_only = pytest.mark.skipif(not is_compiled, reason="there is no short way where it is not compiled")


class Short:
    """A pipeline that makes lines, and what its handler queues."""

    def __init__(self, directory: Path, exporter: InMemoryLogRecordExporter | None = None) -> None:
        root = logging.getLogger()
        root.handlers = [handler for handler in root.handlers if not type(handler).__module__.startswith("_pytest")]
        self.pipeline: LogPipeline = start(
            Logs(format="none", level="DEBUG"), service="shop", resource=Resource({}), directory=directory,
            exporter=exporter, set_level=True,
        )  # fmt: skip
        self.handler = self.pipeline._handler
        self.log = logging.getLogger("app.part")
        self.seen: list[Any] = []
        put = self.handler._put

        def see(item: Any) -> None:
            self.seen.append(item)
            put(item)

        self.handler._put = see

    def took(self, call: Callable[[], object]) -> bool:
        """Return whether what a function logs took the short way: standard logging's own was not called."""
        functions: set[str] = set()

        def see(frame: FrameType, event: str, argument: object) -> None:
            if event == "call" and frame.f_code.co_filename == logging.__file__:
                functions.add(frame.f_code.co_name)

        sys.setprofile(see)
        try:
            call()
        finally:
            sys.setprofile(None)
        return "_log" not in functions

    def write(self, *arguments: Any, level: int = logging.INFO, **options: Any) -> bool:
        """Log from one place in the code, and return whether it took the short way."""
        return self.took(lambda: self.log.log(level, *arguments, **options))

    def learn(self, *arguments: Any, **options: Any) -> None:
        """Let the listener find out about the place and a text."""
        self.write(*arguments, **options)
        assert self.pipeline.flush(30.0)


def around(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return another function that does the same."""

    def theirs(*arguments: Any, **options: Any) -> Any:
        return original(*arguments, **options)

    return theirs
