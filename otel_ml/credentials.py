r"""Where credentials stand in a text, found in linear time.

Why it is linear, whatever the text (this holds for `personal_data` too): every pattern either

- fails after a bounded number of characters, because each repetition before its last mandatory part is bounded, or
- starts only where a run of characters starts that its first repetition swallows whole (`(?<!X)X++`), so that no two
  attempts read the same character, or
- matches as soon as its beginning does, and what it matched is not read again.

No repetition contains one that could match the same text in two ways. `redaction` also cuts text at 64 KiB. Where a
lookbehind can stand behind the characters that it speaks about, it does: Python skips to a first character fast.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator

Spans = Iterator[tuple[int, int]]


# Credentials that their own shape gives away.
_TOKEN = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]{0,40}-----|\Z)"
    r"|eyJ[\w-]{8,}(?:\.[\w-]*){0,2}"  # JSON Web Token: base64url of what begins with {"
    r"|A(?:KIA|SIA)(?<!\w....)[0-9A-Z]{16}"  # AWS
    r"|AIza[\w-]{35}|ya29\.[\w-]{20,}"  # Google
    r"|sk-(?<!\w...)(?=[A-Za-z_-]{0,40}\d)[\w-]{16,}"  # OpenAI, Anthropic; a digit, so that hyphenated words stay
    r"|[spr]k_(?<!\w...)(?:live|test)_\w{10,}"  # Stripe
    r"|gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}"
    r"|xox[abeoprs]-[\w-]{10,}|xapp-[\w-]{10,}|hooks\.slack\.com/services/[\w/]{10,}"
    r"|hf_(?<!\w...)[A-Za-z0-9]{20,}|nvapi-[\w-]{20,}|gsk_(?<!\w....)\w{20,}|dapi(?<!\w....)[0-9a-f]{32}"
    r"|npm_(?<!\w....)\w{20,}|pypi-[\w-]{20,}|dop_v1_\w{20,}|SG\.[\w-]{16,64}\.[\w-]{16,}"
    r"|sig=(?<=[?&]sig=)[\w%+/=-]{10,}",  # signature of an Azure shared-access URL
    re.DOTALL,
)


def tokens(text: str) -> Spans:
    """Yield where private keys, JSON Web Tokens, access key ids and tokens of well-known services stand."""
    return (match.span() for match in _TOKEN.finditer(text))


_SCHEME = re.compile(r"(?:B(?:earer|EARER|asic|ASIC)|b(?:earer|asic))[ \t]{1,8}")
_SCHEME_TOKEN = re.compile(r"[\w.~+/-]++=*+")


def scheme_tokens(text: str) -> Spans:
    """Yield what follows `Bearer`, and after `Basic` what is base64 of `user:password`."""
    for scheme in _SCHEME.finditer(text):
        token = _SCHEME_TOKEN.match(text, scheme.end())
        looks_real = _is_basic if "asic" in scheme[0].lower() else _is_bearer
        if token is not None and looks_real(token[0]):
            yield token.span()


def _is_basic(token: str) -> bool:
    """Whether a word is base64 of `user:password`; in `Basic training` it is not."""
    try:
        return b":" in base64.b64decode(token + "=" * (-len(token) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False


def _is_bearer(token: str) -> bool:
    """Whether a word is no ordinary one, as in `bearer of news` and `Bearer Authentication`."""
    is_word = token.isalpha() and (token.islower() or token.istitle()) and len(token) < 20
    return len(token) >= 4 and not is_word


_LOGIN = re.compile(r"://([^\s\"'<>/?#]*)@")
# With these schemes a name without password is a container, or the usual `git`.
_HARMLESS_LOGIN = ("abfs", "abfss", "wasb", "wasbs", "ssh", "git")
# A password with an unescaped `/`, which `host:8080/path@x` has not; and user:password@tcp(host), as Go writes it.
_LOOSE_PASSWORD = re.compile(
    r"://[^\s\"'<>/?#:@]{0,128}:(?!\d{0,5}[/?])([^\s\"'<>/?#@]{0,256}[/?#][^\s\"'<>]{0,256})@"
    r"|:([^\s:@]++)@(?:tcp|udp|unix)\("
)


def logins(text: str) -> Spans:
    """Yield the password in URLs and data source names, and the name where it stands alone (`https://token@host`)."""
    if "@" not in text:
        return
    for login in _LOGIN.finditer(text):
        start, end = login.span(1)
        colon = text.find(":", start, end)
        if colon >= 0:
            yield colon + 1, end
        elif re.split(r"\W", text[max(0, start - 10) : start - 3])[-1] not in _HARMLESS_LOGIN:
            yield start, end


def loose_passwords(text: str) -> Spans:
    """Yield passwords before `@` that stand where a standard URL has none."""
    if "@" in text:
        for found in _LOOSE_PASSWORD.finditer(text):
            yield found.span(found.lastindex or 0)


_KEY = re.compile(
    r"(?<![\w.-])[.-]*+(?P<key>(?:(?i:api|access|secret|private|auth|account|session|encryption) )?\w[\w.-]*+)"
    r"(?:\\{0,8}[\"'])?\]?[ \t]{0,8}(?:=>|:=|==|[:=](?![:=]|//))[ \t]{0,8}"
    r"|(?<![\w-])--(?P<flag>\w[\w.-]*+)[ \t]{1,8}(?!--)"
)
_QUOTED = re.compile(r"[bBfFrRuU]{0,2}(\\{0,8})([\"'])(?:(.*?)(?<!\\)\1\2|(.*))", re.DOTALL)
# Up to a space or quote; a separator or closing bracket belongs to the value only if the value goes on behind it.
_BARE = re.compile(
    r"(?:(?i:bearer|basic|digest|token|negotiate|apikey)[ \t]{1,8})?"
    r"(?:[^\s,;&\"'<>)\]}]|[,;&)\]}](?=[^\s,;&\"'<>)\]}])(?![\w.-]{1,64}[=:]))++"
)
_REST_OF_LINE = re.compile(r"[^\r\n\"']+")
_BRACKET = re.compile(r"[\[({]|[\])}]")


def values_of_keys(text: str, is_sensitive: Callable[[str], bool]) -> Spans:
    r"""Yield the values of sensitive keys: `key=value`, `key: value`, `--key value`, `"key": "value"`, `\"key\": ...`.

    Args:
        text: Any text.
        is_sensitive: Tells whether a key is sensitive.
    """
    if ":" not in text and "=" not in text and "--" not in text:
        return
    position = 0
    while (pair := _KEY.search(text, position)) is not None:
        position = pair.end()
        key = pair["key"] or pair["flag"]
        if is_sensitive(key):
            start, end = _value(text, position, key)
            if end > start:
                yield start, end
                position = end


def _value(text: str, start: int, key: str) -> tuple[int, int]:
    """Return where the value at `start` stands, without its quotes."""
    quoted = _QUOTED.match(text, start)
    if quoted is not None:
        return quoted.span(quoted.lastindex or 0)
    if text[start : start + 1] in ("[", "{", "("):
        return start, _closing_bracket(text, start)
    # Headers have parts behind spaces: `Cookie: a=b; c=d`, `Authorization: AWS4-HMAC-SHA256 Credential=..., ...`.
    whole_line = key.lower().endswith(("authorization", "cookie"))
    value = (_REST_OF_LINE if whole_line else _BARE).match(text, start)
    if value is None:
        return start, start
    in_brackets = "[" in value[0] and text[value.end() : value.end() + 1] == "]"  # such as a mask
    return start, value.end() + in_brackets


def _closing_bracket(text: str, start: int) -> int:
    depth = 0
    for bracket in _BRACKET.finditer(text, start):
        depth += 1 if bracket[0] in "[({" else -1
        if depth == 0:
            return bracket.end()
    return len(text)


MARKED = (tokens, scheme_tokens)
"""What finds nothing in a text without one of a few marks; see `prefilter.has_mark`."""

FINDERS = (*MARKED, logins, loose_passwords)
"""What needs nothing but the text. Each is applied to what the one before left."""
