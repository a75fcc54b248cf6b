"""Puts our provider, and so our spans, in the place of the SDK's, whenever `opentelemetry.sdk.trace` is executed.

Tests reload that module, in the middle or at the end, so a fixture would come too late: the import system does it.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

MODULE = "opentelemetry.sdk.trace"
COUNTS = "SDK_SUITE_COUNTS"
"""Variable that names the file to which each process appends how many spans of ours and of the SDK's it started."""
SPAN = "SDK_SUITE_SPAN"
"""Variable that names the kind of span: "locked" for that of interpreters without a GIL, else this interpreter's."""

_kept: dict[str, type] = {}
_started = {"ours": 0, "stock": 0}


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _substitute(module)


def install() -> None:
    """Substitute from now on, and write the counts when the process ends."""
    sys.meta_path.insert(0, _Finder())
    atexit.register(_write_counts)


def _substitute(module: Any) -> None:
    if not _kept:
        # Our classes inherit from these: a reload must not make others of the same name.
        _kept.update({name: getattr(module, name) for name in ("ReadableSpan", "Span", "Tracer")})
        _count_stock(module)
        from otel_ml.tracing import locked_span, provider, tracer

        if os.environ[SPAN] == "locked":
            tracer.Tracer.span_class = locked_span.LockedSpan
        span = tracer.Tracer.span_class
        _kept.update({"TracerProvider": provider.TracerProvider, "_Span": span})
        _count_ours(tracer.Tracer, span)
    for name, kind in _kept.items():
        setattr(module, name, kind)


def _count_stock(module: Any) -> None:
    init = module.Span.__init__

    def counting(self: Any, *args: Any, **kwargs: Any) -> None:
        _started["stock"] += "_Span" not in _kept or not isinstance(self, _kept["_Span"])
        init(self, *args, **kwargs)

    module.Span.__init__ = counting


def _count_ours(tracer: Any, span: type) -> None:
    start = tracer.start_span
    init: Any = span.__init__  # type: ignore[misc]

    def counting_start(self: Any, *args: Any, **kwargs: Any) -> Any:
        started = start(self, *args, **kwargs)
        _started["ours"] += type(started) is span
        return started

    def counting_init(self: Any, *args: Any, **kwargs: Any) -> None:
        _started["ours"] += 1
        init(self, *args, **kwargs)

    tracer.start_span = counting_start
    span.__init__ = counting_init  # type: ignore[misc]


def _write_counts() -> None:
    with Path(os.environ[COUNTS]).open("a") as file:
        file.write(f"{_started['ours']} {_started['stock']}\n")
