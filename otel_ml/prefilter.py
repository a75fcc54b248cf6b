"""Which texts hold nothing sensitive, told without looking for each kind of it.

Nearly every text that passes a redactor is harmless, and searching it for everything that `credentials` and
`personal_data` know takes tens of microseconds. So a text is first asked for what is *necessary* for a find: a few
literal marks, an `@`, a sensitive name before a separator, two capitals before digits, a number in groups. A text that
has none of it is harmless; everything else is left to the finders.

Hardly any of these questions depends on which digits a text has. So the answer is remembered for the text with every
digit replaced by 0: `epoch 3: loss 0.61` and `epoch 7: loss 0.48` are one. A text of which some digits could make a
card, phone or identity number is remembered as such, and asked about its own digits each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LONGEST_REMEMBERED = 512
_MOST_REMEMBERED = 4096
ZEROED = bytes.maketrans(b"123456789", b"000000000")
_LEAST_DIGITS = 8  # of any number that `personal_data.numbers` finds
HARMLESS, _HAS_NUMBER, _SUSPECT = range(3)

# What every find of `credentials.tokens` has, by a character that most texts do not have.
_MARKS = ("eyJ", "AKIA", "ASIA", "AIza", "dapi", "earer", "EARER", "asic", "ASIC")  # and of `scheme_tokens`
_MARKS_WITH = (
    ("-", ("sk-", "-----BEGIN ", "glpat-", "xox", "xapp-", "nvapi-", "pypi-")),
    ("_", ("k_live_", "k_test_", "gh", "hf_", "gsk_", "npm_", "dop_")),
    (".", ("ya29.", "ya00.", "SG.", "hooks.slack.com/")),
    ("=", ("sig=",)),
)

# A name before a separator, in a text that is read backwards: so the search goes from separator to separator.
_NAME_BACKWARDS = re.compile(
    r"[:=]++[ \t]{0,8}\]?(?:[\"']\\{0,8})?"
    r"([\w.-]++(?: (?i:ipa|ssecca|terces|etavirp|htua|tnuocca|noisses|noitpyrcne))?)"
)
_FLAG = re.compile(r"(?<![\w-])--(\w[\w.-]*+)[ \t]")
_LETTER = re.compile(r"[^\W\d_]")

_LETTERED_ID = re.compile(rb"[A-Z][A-Z](?:\d\d|[A-Z]{4}\d\d)")
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
# How everything begins that `personal_data.numbers` finds, where it looks: first whatever its digits, then with them.
_NUMBER_SHAPE = re.compile(
    rb"[0-9+(](?<!\w.)(?<!\d[.,].)(?=(?:[ ./()-]{0,2}\d){8})"
    rb"(?:(?<=[+(])|(?<=\d)(?:\d{3}(?:[ -]?\d){9}"
    rb"|\d\d-\d\d-\d{4}|\d\d\.\d{3}\.\d{3}-\d\d"
    rb"| ?\d\d ?\d\d ?\d\d ?\d{3} ?\d{3} ?\d\d"
    rb"|\d\d{1,3}[ /-]|(?=\d{1,4}([ ./-]))(?:\d\1?){8}"
    rb"|[ .-]?\(|(?:[ .-]\d)?\d\d[ .-]\d{3}[ .-]\d{4}))",
    re.DOTALL,
)
_NUMBER = re.compile(
    rb"[0-9+(](?<!\w.)(?<!\d[.,].)(?:"
    rb"(?<=[3-6])\d{3}(?:[ -]?\d){9}|(?<=2)[2-7]\d\d(?:[ -]?\d){9}"  # cards
    rb"|(?<=\d)\d\d(?:-\d\d-\d{4}|\.\d{3}\.\d{3}-\d\d|\d{14}[\dXx])"  # the United States, Brazil, China
    rb"|(?<=[12]) ?\d\d ?[01]\d ?\d\d ?\d{3} ?\d{3} ?\d\d"  # France
    rb"|(?<=\+)[1-9]|(?<=0)(?:0[1-9]\d{0,2}[ /-]|[1-9]\d{0,3}[ ./-]\d\d)|(?<=\()(?:0\d|[2-9]\d\d\))"  # phones
    rb"|(?<=1)(?:[ .-]?\([2-9]|[ .-][2-9]\d\d[ .-])|(?<=[2-9])\d\d[ .-]\d{3}[ .-]\d{4})",
    re.DOTALL,
)


class Prefilter:
    """Tells of most harmless texts that they are; safe with any number of threads.

    Args:
        is_sensitive: Tells whether the value of a name is; the digits in a name may not matter to it.

    Attributes:
        known: What was found about the shape of a text, in UTF-8: `HARMLESS`, or something else.
    """

    def __init__(self, is_sensitive: Callable[[str], bool]) -> None:
        self._is_sensitive = is_sensitive
        self.known: dict[bytes, int] = {}
        self._names: set[str] = set()  # backwards, not sensitive

    def passes(self, text: str) -> bool:
        """Whether no built-in finder would find anything in a text; when False, it may hold something."""
        try:
            written = text.encode()
        except UnicodeEncodeError:  # lone surrogates
            return False
        shape = written.translate(ZEROED)
        kind = self.known.get(shape)
        if kind is None:
            kind = self._judge(shape)
        return kind == HARMLESS or (kind == _HAS_NUMBER and _NUMBER.search(written) is None)

    def _judge(self, shape: bytes) -> int:
        text = shape.decode()
        if "@" in text or has_mark(text) or _LETTERED_ID.search(shape) or self.has_sensitive_name(text):
            return _SUSPECT
        if not text.isascii() and _FOREIGN_DIGIT.search(text):
            return _SUSPECT
        has_number = shape.count(b"0") >= _LEAST_DIGITS and _NUMBER_SHAPE.search(shape) is not None
        kind = _HAS_NUMBER if has_number else HARMLESS
        if len(shape) <= LONGEST_REMEMBERED:
            if len(self.known) >= _MOST_REMEMBERED:
                self.known.clear()
            self.known[shape] = kind
        return kind

    def has_sensitive_name(self, text: str) -> bool:
        """Whether `credentials.values_of_keys` may find something; each digit may have been replaced by 0.

        Args:
            text: Any text.
        """
        if ":" in text or "=" in text:
            names = _NAME_BACKWARDS.findall(text[::-1])
            if not self._names.issuperset(names) and any(map(self._is_suspect, names)):
                return True
        return "--" in text and any(self._is_suspect(flag[::-1]) for flag in _FLAG.findall(text))

    def _is_suspect(self, backwards: str) -> bool:
        if backwards in self._names or _LETTER.search(backwards) is None:
            return False
        name = backwards[::-1]  # of two words when the first may belong to it, as in `api key`
        if self._is_sensitive(name) or (" " in name and self._is_sensitive(name.partition(" ")[2])):
            return True
        if len(backwards) <= LONGEST_REMEMBERED:
            if len(self._names) >= _MOST_REMEMBERED:
                self._names.clear()
            self._names.add(backwards)
        return False


def has_mark(text: str) -> bool:
    """Whether one of `credentials.MARKED` may find something; each digit may have been replaced by 0.

    Args:
        text: Any text.
    """
    for mark in _MARKS:  # loops, because a generator costs as much as ten searches
        if mark in text:
            return True
    for character, marks in _MARKS_WITH:
        if character in text:
            for mark in marks:
                if mark in text:
                    return True
    return False
