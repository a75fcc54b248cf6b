"""Masking of attribute sets that recur: what needed none once is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_ml import conventions
from otel_ml.clean_attributes import CleanAttributes
from otel_ml.primitives import is_uuid
from otel_ml.redaction import Redactor, current

_LONGEST = 128
_MOST = 8192
_MOST_SHARED = 1024
_RECORD_ID = conventions.AUDIT_RECORD_ID
_MAY_BE_CARD = 10**14  # no smaller number is a card's


class Unmasked:
    """Knows texts that need no masking: names and versions are the same each time, and a look costs microseconds.

    Args:
        redactor: What is known belongs to it.
    """

    def __init__(self, redactor: Redactor) -> None:
        self.redactor = redactor
        self._repeatable = redactor.repeatable
        self._is_harmless = redactor.is_harmless
        self._known: dict[str, set[str | None]] = {}  # texts by name; None for numbers
        self._number = 0
        self._unnamed = self._known.setdefault("", set())
        self._shared: dict[int, CleanAttributes] = {}  # by identity, which is theirs as long as they are here

    def covers(self, items: Mapping[str, Any]) -> bool:
        """Return whether nothing in a mapping needs masking, as far as that can be told without a copy."""
        if not self._repeatable:
            return False
        if type(items) is CleanAttributes:
            return id(items) in self._shared or self._learns_shared(items)
        return self._covers_each(items)

    def _learns_shared(self, items: CleanAttributes) -> bool:
        covered = self._covers_each(items)
        if covered:
            if len(self._shared) >= _MOST_SHARED:
                self._shared = {}  # anew, not cleared: another thread may be between two looks
            self._shared[id(items)] = items
        return covered

    def _covers_each(self, items: Mapping[str, Any]) -> bool:
        known = self._known
        for key, value in items.items():
            texts = known.get(key)
            if type(value) is str:
                if texts is not None and value in texts:
                    continue
                if key == _RECORD_ID and is_uuid(value):  # another one each time
                    continue
                if texts is not None and len(value) > _LONGEST and self._is_harmless(value):  # so is its name
                    continue
                if not self._learns(key, value):
                    return False
            elif not isinstance(value, (bool, int, float)):
                return False
            else:
                if (texts is None or None not in texts) and not self._learns(key, None):
                    return False
                if not value < _MAY_BE_CARD and self.redactor.value(value) != value:  # NaN, too
                    return False
        return True

    def knows(self, text: str) -> bool:
        """Return whether a text that has no name is known to need no masking by the redactor in force."""
        return text in self._unnamed and self.redactor is current()

    def _learns(self, key: str, value: str | None) -> bool:
        item = {key: 0 if value is None else value}
        if type(key) is not str or self.redactor.mapping(item) != item:
            return False
        is_short = len(value or "") <= _LONGEST
        if len(key) <= _LONGEST and self._number < _MOST and (is_short or key not in self._known):
            texts = self._known.setdefault(key, set())  # of a long text its name only
            if is_short:
                texts.add(value)
            self._number += 1
        return True


_unmasked = Unmasked(current())


def masked_mapping(items: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the mapping itself when nothing in it needs masking, else a masked copy.

    Args:
        items: Attributes, or None.
    """
    global _unmasked  # noqa: PLW0603  what is known belongs to the redactor in force
    if not items:
        return items
    redactor = current()
    if _unmasked.redactor is not redactor:
        _unmasked = Unmasked(redactor)
    return items if _unmasked.covers(items) else redactor.mapping(items)


def masked_text(text: str) -> str:
    """Return a text of few different values, such as a span's name, masked."""
    if type(text) is str and _unmasked.knows(text):
        return text
    found = masked_mapping({"": text})
    return text if found is None else str(found.get("", current().text(text)))
