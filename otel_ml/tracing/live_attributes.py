"""The attributes of a span that has not ended, for readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class LiveAttributes(Mapping[str, Any]):
    """A view on attributes that may be iterated while other threads write.

    Args:
        values: The span's own dictionary.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(dict(self._values))

    def copy(self) -> dict[str, Any]:
        """Return a dictionary of what is there now, as the SDK's attributes do."""
        return self._values.copy()
