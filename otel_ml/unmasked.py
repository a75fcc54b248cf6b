"""Masking of attribute sets that recur: what needed none once is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_ml import redaction
from otel_ml.redaction import Redactor

_LONGEST = 128
_MOST = 8192


class Unmasked:
    """Knows texts that need no masking: names and versions are the same each time, and a look costs microseconds.

    Args:
        redactor: What is known belongs to it.
    """

    def __init__(self, redactor: Redactor) -> None:
        self.redactor = redactor
        self._known: set[tuple[str, str]] = set()

    def covers(self, items: Mapping[str, Any]) -> bool:
        """Return whether nothing in a mapping needs masking, as far as that can be told without a copy."""
        if not self.redactor.repeatable:
            return False
        known, is_sensitive = self._known, self.redactor.is_sensitive
        for key, value in items.items():
            if type(value) is str:
                if (key, value) not in known and not self._learns(key, value):
                    return False
            elif not isinstance(value, (bool, int, float)) or is_sensitive(key):
                return False
        return True

    def _learns(self, key: str, value: str) -> bool:
        item = {key: value}
        if self.redactor.mapping(item) != item:
            return False
        if len(value) <= _LONGEST and len(self._known) < _MOST:
            self._known.add((key, value))
        return True


_unmasked = Unmasked(redaction.current())


def masked_mapping(items: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the mapping itself when nothing in it needs masking, else a masked copy.

    Args:
        items: Attributes, or None.
    """
    global _unmasked  # noqa: PLW0603  what is known belongs to the redactor in force
    if not items:
        return items
    redactor = redaction.current()
    if _unmasked.redactor is not redactor:
        _unmasked = Unmasked(redactor)
    return items if _unmasked.covers(items) else redactor.mapping(items)


def masked_text(text: str) -> str:
    """Return a text of few different values, such as a span's name, masked."""
    found = masked_mapping({"": text})
    return text if found is None else str(found.get("", redaction.current().text(text)))
