"""Which features are numbers and harmless texts under harmless names, and so JSON as they are."""

from __future__ import annotations

from typing import Any, Final

from otel_ml.redaction import Redactor

MAY_BE_CARD: Final = 10**14
"""No smaller number is a card's."""

_MOST_KEYS: Final = 256  # what `capture.features` keeps of a dict and of a text
_LONGEST: Final = 4096


def are_simple(features: dict[Any, Any], redactor: Redactor, plain_names: set[str] | None, known: object) -> bool:
    """Whether nothing in features needs masking, and JSON has all of it: NaN and infinities it has not.

    Args:
        features: What a model was given.
        redactor: The one in force.
        plain_names: Its `plain_names`: names that are not in it may need masking.
        known: None, or a tuple of some of them: features whose names are these very objects, in this order, are looked
            up faster where this is compiled.
    """
    if plain_names is None or len(features) > _MOST_KEYS or not plain_names.issuperset(features):
        return False
    for name, value in features.items():
        kind = type(value)
        if kind is float:
            simple = is_short(value)
        elif kind is int:
            simple = -MAY_BE_CARD < value < MAY_BE_CARD
        elif kind is str:
            simple = len(value) <= _LONGEST and redactor.is_harmless(value)
        else:
            simple = kind is bool or value is None
        if not simple or type(name) is not str:  # of a sub-class, such as numpy's, orjson makes no JSON
            return False
    return True


def is_short(number: float) -> bool:
    """Whether a number has too few digits for a card's, and JSON has it."""
    return number - number == 0.0 and number < MAY_BE_CARD
