"""A column of a batch, masked and made plain as a whole: what cells have in common is looked at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from otel_ml import redaction, summaries
from otel_ml.plain_copy import copy_of
from otel_ml.redaction import Redactor

_NUMBER_BYTES = 26
_TEXT_BYTES = 256  # what a text is taken for at least: measuring a short one costs more than it tells
_SHORT_TEXT = 256
_LEAST_CARD = 10**14
_LEAST_INTEGER = -(2**63)
_NUMBERS: frozenset[type] = frozenset((float, int))


def texts_of(names: Sequence[Any]) -> list[str]:
    """Return the names of columns as the keys that a copy of a row has; equal ones are kept apart.

    Args:
        names: Of any kind.
    """
    texts: dict[str, None] = {}
    for name in names:
        text = next(iter(copy_of({name: None}, mask=redaction.current().text)))
        while text in texts:
            text = f"{text} ({len(texts) + 1})"
        texts[text] = None
    return list(texts)


def names_of(names: tuple[Any, ...], redactor: Redactor) -> tuple[tuple[str, ...], tuple[Any, ...], int]:
    """Return names of columns as they may be shown, what is shown instead of their values, and the bytes they take.

    Args:
        names: Of any kind. Texts that came before are remembered.
        redactor: One that judges the same name in the same way each time.
    """
    found = _judged_texts if set(map(type, names)) == {str} else _judged  # 1, 1.0 and True would be taken for one
    return found(names, redactor)


def _judged(names: tuple[Any, ...], redactor: Redactor) -> tuple[tuple[str, ...], tuple[Any, ...], int]:
    texts = texts_of(names)
    judged = redactor.value(dict.fromkeys(texts, 0))
    return tuple(judged), tuple(judged.values()), sum(map(most_bytes, texts))


_judged_texts = lru_cache(maxsize=128)(_judged)


def _is_ordinary(cells: Sequence[Any]) -> bool:
    """Whether a column has numbers only that are shown as they are: finite, in 64 bits, and no card's."""
    kinds = set(map(type, cells))
    if not kinds <= _NUMBERS:
        return False
    try:
        return (
            math.isfinite(sum(cells))
            and max(cells) < _LEAST_CARD
            and (kinds == {float} or min(cells) >= _LEAST_INTEGER)
        )
    except OverflowError:  # an integer that no float holds
        return False


def masked(cells: Sequence[Any], redactor: Redactor) -> tuple[Sequence[Any], int] | None:
    """Return a column as it may be shown, and how many bytes a cell takes at most; None when cells hold cells.

    Args:
        cells: One a row.
        redactor: What masks them; one that masks the same value in the same way each time.
    """
    if _is_ordinary(cells):
        return cells, _NUMBER_BYTES
    known: dict[str, str] = {}
    shown: list[Any] = []
    add, longest = shown.append, _TEXT_BYTES
    moments = {kind for kind in set(map(type, cells)) if kind is datetime or _is_timestamp(kind)}
    for cell in cells:
        kind = type(cell)
        if kind is str:
            text = known.get(cell)
            if text is None:
                copy = cell if len(cell) <= _SHORT_TEXT and cell.isascii() else copy_of(cell, mask=redactor.text)
                text = known[cell] = redactor.text(copy)
                longest = max(longest, most_bytes(copy))
            add(text)
        elif cell is None or kind is bool or (kind is float and -_LEAST_CARD < cell < _LEAST_CARD):
            add(cell)
        elif kind is float and cell != cell:  # noqa: PLR0124  NaN
            add(redactor.text("NaN"))
        else:
            copy = datetime.isoformat(cell) if kind in moments else copy_of(cell, mask=redactor.text)
            if isinstance(copy, (dict, list)):
                return None
            if type(copy) is str:
                longest = max(longest, most_bytes(copy))
                add(redactor.text(copy))
            else:
                add(redactor.value(copy))
    return shown, longest


def _is_timestamp(kind: type) -> bool:
    return summaries.type_name(kind) == "pandas.Timestamp"


def hidden(cells: Sequence[Any], mask: str) -> tuple[Sequence[Any], int]:
    """Return a column of which it is shown only where there is a value, and how many bytes that takes: none to count.

    Args:
        cells: One a row.
        mask: What is shown instead.
    """
    if set(map(type, cells)) <= {str, int, float, bool}:
        return [mask] * len(cells), 0
    return [None if copy_of(cell) is None else mask for cell in cells], 0


def most_bytes(text: str) -> int:
    """Return how many bytes a text takes in a copy, at most.

    Args:
        text: Anything.
    """
    most = 12 * len(text) + 16  # a character beyond U+FFFF is 12 in JSON
    return most if most <= _TEXT_BYTES else len(encode_basestring_ascii(text)) + 16
