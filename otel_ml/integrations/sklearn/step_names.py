"""Which name an estimator has in the one that calls it. It is compiled where that can be done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def name_of(estimator: Any, owner: Any) -> str | None:
    """Return the name of a step, transformer or member; None where there is none, or it cannot be told.

    A pipeline fits the very objects that it names; a ColumnTransformer fits copies, which are told by class and
    parameters.

    Args:
        estimator: The one that is called.
        owner: The one that calls it.
    """
    steps = getattr(owner, "steps", None)
    if type(steps) is list:  # of a pipeline, which is what is called most often
        for step in steps:
            if step[1] is estimator:
                return step[0]  # type: ignore[no-any-return]
    for name, part in _named(owner):
        if part is estimator:
            return name
    named = list(_named(owner))
    alike = [name for name, part in named if type(part) is type(estimator)]
    if len(alike) < 2:
        return alike[0] if alike else None
    wanted = _signature(estimator)
    alike = [name for name, part in named if type(part) is type(estimator) and _signature(part) == wanted]
    return alike[0] if len(alike) == 1 else None


def _named(owner: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an estimator names, by the attributes that scikit-learn documents for it."""
    for attribute in ("steps", "transformers_", "transformers", "transformer_list", "estimators"):
        parts = getattr(owner, attribute, None)
        if isinstance(parts, (list, tuple)):
            for part in parts:
                if isinstance(part, (list, tuple)) and len(part) >= 2 and isinstance(part[0], str):
                    yield part[0], part[1]


def _signature(estimator: Any) -> tuple[Any, ...]:
    """Return class and plain parameters, nested ones too: equal for a copy."""
    parameters = estimator.get_params(deep=True)
    return tuple(
        (name, value if isinstance(value, (str, int, float, bool, type(None))) else type(value))
        for name, value in sorted(parameters.items())
    )
