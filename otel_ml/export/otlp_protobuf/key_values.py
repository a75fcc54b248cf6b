"""Attributes as repeated KeyValue fields: masked, and kept as bytes where they recur."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_ml import conventions
from otel_ml.clean_attributes import CleanAttributes
from otel_ml.export.otlp_protobuf.values import key_value
from otel_ml.export.otlp_protobuf.wire import VARINTS, counted, pack_double, signed, utf8, varint
from otel_ml.primitives import is_uuid
from otel_ml.redaction import Redactor

_LONGEST: Final = 128  # characters of a text that is kept
_MOST: Final = 8192  # texts that are kept; then all are forgotten, for those that recur are back soon
_MOST_SHARED: Final = 1024
_KNOWN: Final = len(VARINTS)
_MAY_BE_CARD: Final = 10**14  # no smaller number is a card's


class _Key:
    """What is known of a name whose values may be shown.

    Args:
        tag: Of the repeated field.
        name: The attribute's.
    """

    __slots__ = ("double", "integers", "none", "texts", "truths")

    def __init__(self, tag: bytes, name: str) -> None:
        key = counted(b"\x0a", utf8(name))
        self.texts: dict[str, bytes] = {}
        self.double = tag + varint(len(key) + 11) + key + b"\x12\x09\x21"
        # By the length of the number: the lengths around it depend on nothing else.
        self.integers = [tag + varint(len(key) + 3 + n) + key + b"\x12" + varint(1 + n) + b"\x18" for n in range(11)]
        self.truths = [counted(tag, key + b"\x12\x02\x10" + truth) for truth in (b"\x00", b"\x01")]
        self.none = counted(tag, key + b"\x12\x00")


class KeyValues:
    """Encodes attributes; safe with any number of threads, for each operation on what is kept is atomic.

    What was masked is not kept: the texts that it stood for would stay in memory.

    Args:
        tag: Of the repeated field that the attributes are.
        redactor: What is kept belongs to it. None: attributes are shown as they are.
    """

    def __init__(self, tag: bytes, redactor: Redactor | None) -> None:
        self._tag = tag
        self._redactor = redactor
        self._keeps = redactor is None or redactor.repeatable
        self._keys: dict[str, _Key] = {}
        self._kept = 0
        self._shared: dict[int, tuple[CleanAttributes, bytes]] = {}  # by identity, which is theirs while they are here

    def add_shared(self, parts: list[bytes], items: CleanAttributes) -> None:
        """Append attributes that many spans share, whose fields are kept as a whole."""
        found = self._shared.get(id(items))
        if found is None:
            begin = len(parts)
            self.add(parts, items)
            if self._keeps:
                if len(self._shared) >= _MOST_SHARED:
                    self._shared = {}  # anew, not cleared: another thread may be between two looks
                self._shared[id(items)] = (items, b"".join(parts[begin:]))
        else:
            parts.append(found[1])

    def add(self, parts: list[bytes], items: Mapping[str, Any]) -> None:  # noqa: PLR0912  a call costs 50 ns
        """Append the attributes' fields to a message's parts."""
        keys = self._keys
        begin = len(parts)
        append = parts.append
        for name, value in items.items():
            key = keys.get(name) or self._learn_name(name)
            if key is None:
                break
            kind = type(value)
            if kind is str:
                field = key.texts.get(value) or self._learn_text(key, name, value)
                if field is None:
                    break
                append(field)
            elif kind is int:
                if 0 <= value < _KNOWN:
                    number = VARINTS[value]
                elif self._stays(value):
                    number = signed(value)
                else:
                    break
                append(key.integers[len(number)] + number)
            elif kind is float:
                if value >= _MAY_BE_CARD and not self._stays(value):
                    break
                append(key.double + pack_double(value))
            elif kind is bool:
                append(key.truths[value])
            elif value is None:
                append(key.none)
            else:
                break
        else:
            return
        del parts[begin:]
        self._add_slowly(parts, items)

    def _add_slowly(self, parts: list[bytes], items: Mapping[str, Any]) -> None:
        """Append attributes of which one is unusual: masking may rename a key, so it has to see all of them."""
        shown = items if self._redactor is None else self._redactor.mapping(items)
        for name, value in shown.items():
            parts.append(counted(self._tag, key_value(name, value)))

    def _stays(self, value: float) -> bool:
        """Whether a number is shown as it is, and fits its field."""
        if type(value) is int and not -(2**63) <= value < 2**63:
            return False
        return value < _MAY_BE_CARD or self._redactor is None or bool(self._redactor.value(value) == value)

    def _learn_name(self, name: str) -> _Key | None:
        """Return what is known of a name from now on; None when it is none, or itself or its values are masked."""
        if type(name) is not str or not self._keeps or len(name) > _LONGEST:
            return None
        if self._redactor is not None and self._redactor.mapping({name: 0}) != {name: 0}:
            return None
        self._make_room()
        key = self._keys[name] = _Key(self._tag, name)
        return key

    def _learn_text(self, key: _Key, name: str, value: str) -> bytes | None:
        """Return the field of a text; None when there is something to mask in it."""
        if name == conventions.AUDIT_RECORD_ID and is_uuid(value):
            return counted(self._tag, key_value(name, value))
        if self._redactor is not None and self._redactor.text(value) != value:
            return None
        field = counted(self._tag, key_value(name, value))
        if len(value) <= _LONGEST:
            self._make_room()
            key.texts[value] = field
        return field

    def _make_room(self) -> None:
        self._kept += 1
        if self._kept > _MOST:
            self._kept = 0
            self._keys.clear()
