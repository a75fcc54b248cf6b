"""The audit trail: every prediction on record. Asked with SQL, checked, completed by outcomes, erased from, exported.

What reads it loads when it is used: a program that is only recorded needs nothing of it. DuckDB, pyarrow and
scikit-learn load later still, when something asks for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_ml.audit.interface import (
        Compacted,
        HeldError,
        MissingExtraError,
        Performance,
        QueryError,
        Report,
        Stats,
        TrailNotFoundError,
        compact,
        erase,
        export,
        hold,
        named,
        outcome,
        performance,
        query,
        release,
        stats,
        tail,
        verify,
    )

__all__ = [
    "Compacted",
    "HeldError",
    "MissingExtraError",
    "Performance",
    "QueryError",
    "Report",
    "Stats",
    "TrailNotFoundError",
    "compact",
    "erase",
    "export",
    "hold",
    "named",
    "outcome",
    "performance",
    "query",
    "release",
    "stats",
    "tail",
    "verify",
]


if not TYPE_CHECKING:  # a type checker knows all names, and that there are no others

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module("otel_ml.audit.interface"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
