"""Masking of credentials and personal data in plain values, before they reach a logger, a span or a file."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from otel_ml import credentials, health, key_names, personal_data
from otel_ml.options import Redaction
from otel_ml.prefilter import Prefilter, has_mark

LONGEST_TEXT = 64 * 1024
"""Characters of a text that are looked at; what is behind them is cut off, so that the cost of a text is bounded."""

# Behind the cut a credential may go on: what is left of it would not be recognised, so the text ends earlier.
_CUT_MARGIN = 1024
_LONGEST_NAME = 128
_DEEPEST = 64
_MOST_KEPT = 256
_LONGEST_KEPT = 16 * 1024

_UNMARKED = tuple(find for find in credentials.FINDERS if find not in credentials.MARKED)


class Redactor:
    r"""Masks what is sensitive: by the names of keys, and by the shape of values in any text.

    Values are private keys, tokens (also base64 of `user:password` behind `Basic`; other base64 is not decoded),
    passwords in URLs, the values of sensitive keys inside a text (`password=...`, `\"token\": \"...\"`), e-mail
    addresses, card, phone and national id numbers. A mask never tells anything of what it stands for.

    Time is linear in the length of a text, and a text is cut at 64 KiB. The built-in patterns are linear by
    construction. Those of `Redaction.patterns` are kept short of harm by the cut only: one with nested repetitions,
    such as `(a+)+b`, can still take exponential time; write `(?:a++)+b` or `a+b`.

    A redactor is immutable and may be used by any number of threads. No method raises: what cannot be masked
    is replaced by the mask as a whole.

    Args:
        options: What is masked beyond the defaults.
    """

    def __init__(self, options: Redaction = Redaction()) -> None:  # noqa: B008  immutable
        self._mask = options.mask
        self._callback = options.callback
        self._patterns = [re.compile(pattern) for pattern in options.patterns]
        self._keys = frozenset(words for words in map(key_names.words_of, options.keys) if words)
        self._keys |= {("".join(words),) for words in self._keys}
        self._enabled = True
        self._names = key_names.Judgements(self._judge_name)
        self._judged = self._names.of
        self._prefilter = Prefilter(self.is_sensitive)
        self._asks_nobody = self._callback is None and not self._patterns
        self._kept: set[str] = set()

    @classmethod
    def off(cls) -> Redactor:
        """Return a redactor that changes nothing."""
        redactor = cls()
        redactor._enabled = False
        return redactor

    @property
    def repeatable(self) -> bool:
        """Whether the same value is always masked in the same way: not with a callback, which may do anything."""
        return self._callback is None

    def text(self, value: str) -> str:
        """Return `value` with everything sensitive in it masked, and cut if it is longer than 64 KiB.

        Args:
            value: Any text.
        """
        if not self._enabled:
            return value
        try:
            if self.is_harmless(value):
                return value
            return str(self._called("", self._text(value)))
        except Exception as error:  # fail closed
            return self._failed(error)

    def is_sensitive(self, key: str) -> bool:
        """Whether the value of this key is masked whatever it is.

        Args:
            key: Name of a column, argument, header, variable... It is compared by words: `userPassword` and
                `X-API-Key` are sensitive, `author_session_len` and `tokens_total` are not.
        """
        if not self._enabled:
            return False
        try:
            return self._judged(key)[1]
        except Exception as error:  # fail closed
            self._failed(error)
            return True

    def value(self, value: object, key: str = "") -> Any:
        """Return plain data with everything sensitive masked: the same object if that is nothing, else a copy.

        Dicts, lists, tuples and sets are walked, keys included; strings and bytes are searched; everything below a
        sensitive key becomes the mask, numbers too, but for None. Other objects are returned as they are. What is
        deeper than 64 levels becomes `<depth>`, what contains itself `<cycle>`.

        Args:
            value: The data.
            key: Name that the value has where it comes from.
        """
        if not self._enabled:
            return value
        try:
            return self._value(value, key, {}, _DEEPEST)
        except Exception as error:  # fail closed
            return self._failed(error)

    def mapping(self, items: Mapping[str, Any]) -> dict[str, Any]:
        """Return a masked copy of a mapping; see `value`. Values that need no masking are the same objects.

        Args:
            items: Names and values.
        """
        try:
            copy = dict(items)
            masked = self.value(copy)
            return masked if isinstance(masked, dict) else {self._mask: masked}
        except Exception as error:  # the mapping may be any class
            return {self._mask: self._failed(error)}

    def _failed(self, error: Exception) -> str:
        health.internal_error("redaction", error)
        return self._mask

    @property
    def asks_nobody(self) -> bool:
        """Whether nothing of the user's decides what is masked, no pattern and no callback."""
        return self._asks_nobody

    @property
    def shapes(self) -> dict[bytes, int] | None:
        """What is known of texts by their shape, see `Prefilter`; None when this redactor changes no text.

        It is for whoever cannot wait for a text to be searched, and holds only where `asks_nobody`.
        """
        return self._prefilter.known if self._enabled else None

    @property
    def plain_names(self) -> set[str] | None:
        """Names known to need no masking, whose values may be shown if they need none; None: ask for each."""
        return self._names.plain if self._callback is None and self._enabled else None

    def is_harmless(self, value: object) -> bool:
        """Whether a value is a text that certainly stays as it is."""
        if not self._asks_nobody or type(value) is not str or len(value) > LONGEST_TEXT:
            return False
        return value in self._kept or self._prefilter.passes(value)

    def keep(self, masked: str) -> None:
        """Remember a long text that this redactor made, for it goes several ways, and need be searched once only.

        Args:
            masked: What `text` returned.
        """
        if len(masked) <= _LONGEST_KEPT:
            if len(self._kept) >= _MOST_KEPT:
                self._kept = set()  # anew, not cleared: another thread may be between two looks
            self._kept.add(masked)

    def _text(self, value: str) -> str:
        if len(value) > LONGEST_TEXT:
            head = self._text(value[:LONGEST_TEXT])[:-_CUT_MARGIN]
            return f"{head}... [cut, {len(value)} characters]"
        if value not in self._kept and not self._prefilter.passes(value):
            for find in credentials.FINDERS if has_mark(value) else _UNMARKED:
                value = self._replace(value, find(value))
            if self._prefilter.has_sensitive_name(value):
                value = self._replace(value, credentials.values_of_keys(value, self.is_sensitive))
            for find in personal_data.FINDERS:
                value = self._replace(value, find(value))
        for pattern in self._patterns:
            value = self._replace(value, (match.span() for match in pattern.finditer(value) if match[0]))
        return value

    def _replace(self, text: str, spans: credentials.Spans) -> str:
        pieces: list[str] = []
        done = 0
        for start, end in spans:
            pieces += (text[done:start], self._mask)
            done = end
        return "".join((*pieces, text[done:])) if pieces else text

    def _judge_name(self, name: str) -> tuple[str, bool]:
        """Return a name as it may be shown, and whether its value is sensitive."""
        return self._text(name), key_names.is_sensitive(name[:LONGEST_TEXT], self._keys)

    def _value(self, value: object, key: str, seen: dict[int, object], depth: int) -> object:
        if key and value is not None and self._judged(key)[1]:
            return self._called(key, self._mask)
        return self._insensitive(value, key, seen, depth)

    def _insensitive(
        self, value: object, key: str, seen: dict[int, object], depth: int, in_sequence: bool = False
    ) -> object:
        kind = type(value)
        if not issubclass(kind, _CONTAINERS):
            return self._called(key, self._leaf(value))
        if depth == 0:
            return "<depth>"
        if id(value) not in seen:
            seen[id(value)] = "<cycle>"  # what it stays for its own items
            if issubclass(kind, dict):
                seen[id(value)] = self._dict(value, seen, depth)  # type: ignore[arg-type]
            else:
                seen[id(value)] = self._sequence(value, key, seen, depth, in_sequence)  # type: ignore[arg-type]
        return seen[id(value)]

    def _leaf(self, value: object) -> object:
        kind = type(value)
        if issubclass(kind, str):
            return self._text(value)  # type: ignore[arg-type]
        if issubclass(kind, (bytes, bytearray)):
            text = value.decode("utf-8", "surrogateescape")  # type: ignore[attr-defined]
            masked = self._text(text)
            return value if masked == text else masked.encode("utf-8", "surrogateescape")
        is_card = (kind is int or kind is float) and personal_data.is_card_number(value)  # type: ignore[arg-type]
        return self._mask if is_card else value

    def _is_plain(self, value: dict[Any, object]) -> bool:
        """Whether a mapping certainly stays as it is: known names, and numbers or harmless texts."""
        if type(value) is not dict or self._callback is not None or not self._names.plain.issuperset(value):
            return False
        for item in [*value.values()]:
            kind = type(item)
            if kind in _NUMBERS:
                if 10**14 <= item < 10**16:  # type: ignore[operator]  # may be a card
                    return False
            elif kind is not bool and item is not None and not self.is_harmless(item):
                return False
        return True

    def _dict(self, value: dict[Any, object], seen: dict[int, object], depth: int) -> dict[Any, object]:
        if self._is_plain(value):
            return value
        masked: dict[Any, object] = {}
        changed = False
        for key, item in list(value.items()):
            name, secret = self._judged(key) if type(key) is str else self._key(key, seen, depth)
            text_key = key if type(key) is str else ""
            if secret and item is not None:
                new = self._called(text_key, self._mask)
            elif type(item) in _NUMBERS and self._callback is None and not 10**14 <= item < 10**16:  # type: ignore[operator]
                new = item  # no card: spared two calls
            else:
                new = self._insensitive(item, text_key, seen, depth - 1)
            while name in masked:  # two keys that look the same once they are masked
                name = f"{name} ({len(masked) + 1})"
            masked[name] = new
            changed = changed or new is not item or (name is not key and name != key)
        return masked if changed else value

    def _key(self, key: object, seen: dict[int, object], depth: int) -> tuple[Any, bool]:
        secret = type(key) is bytes and self._judged(key.decode("latin-1"))[1]
        return (self._leaf(key) if not isinstance(key, tuple) else self._insensitive(key, "", seen, depth - 1)), secret

    def _sequence(
        self, value: Collection[object], key: str, seen: dict[int, object], depth: int, in_sequence: bool
    ) -> object:
        """Mask items; in `["--password", "x"]`, and in a pair among others as in HTTP headers, one names the next."""
        is_pair = in_sequence and len(value) == 2
        masked: list[object] = []
        name = ""
        for item in list(value):
            if name and item is not None and self._judged(name)[1]:
                masked.append(self._called(name, self._mask))
                name = ""
                continue
            masked.append(self._insensitive(item, key, seen, depth - 1, in_sequence=True))
            name = _name_of_next(item, is_pair)
        if all(new is old for new, old in zip(masked, value, strict=True)):
            return value
        kind = type(value)
        return next(base for base in _SEQUENCES if issubclass(kind, base))(masked)

    def _called(self, key: str, value: object) -> object:
        """Return what the user's callback makes of a value that is masked already."""
        if self._callback is None:
            return value
        try:
            return self._callback(key, value)
        except Exception as error:
            health.warn_once("redaction.callback", "Redaction.callback raised; its values are masked: %r", error)
            return self._mask


_NUMBERS = frozenset((int, float))
_SEQUENCES: tuple[type, ...] = (list, tuple, set, frozenset)
_CONTAINERS = (dict, *_SEQUENCES)


def _name_of_next(item: object, is_pair: bool) -> str:
    if type(item) is bytes:
        item = item.decode("latin-1")
    if type(item) is not str or len(item) > _LONGEST_NAME:
        return ""
    return item.lstrip("-") if is_pair or (item.startswith("-") and "=" not in item) else ""


_current = Redactor()


def current() -> Redactor:
    """Return the redactor of this process: the defaults until `configure` or `use` set another."""
    return _current


def use(redactor: Redactor) -> None:
    """Make `redactor` the one of this process.

    Args:
        redactor: Applied to everything that is captured from now on.
    """
    global _current  # noqa: PLW0603  one a process, like the providers
    _current = redactor
