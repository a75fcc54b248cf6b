"""Where e-mail addresses, card, phone and national id numbers stand in a text, found in linear time.

An ordinary number, id, timestamp or float has to stay. So a phone number needs the structure in which people write
one (a `+`, brackets, groups), and what only a checksum tells from another number is reported when the checksum holds:
cards (Luhn), IBAN, Brazilian CPF, Chinese and French identity numbers. A US social security number is known by its
dashes, an Italian codice fiscale by its letters. Why it is linear: see `credentials`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Spans = Iterator[tuple[int, int]]

_EMAIL = re.compile(r"(?<![\w.%+-])(?<!://)[\w.%+-]++@(?:[\w-]++\.)+[^\W\d_]{2,}")


def emails(text: str) -> Spans:
    """Yield e-mail addresses. Behind `://` stands no address: `credentials.logins` has judged that place."""
    return (match.span() for match in _EMAIL.finditer(text)) if "@" in text else iter(())


_LETTERED_ID = re.compile(
    r"[A-Z][A-Z](?<!\w..)(?:(?P<iban>\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)"
    r"|[A-Z]{4}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z](?!\w))"
)
# From the IBAN registry of SWIFT. With the exact length no hexadecimal id passes for an IBAN.
_IBAN_LENGTHS = {
    entry[:2]: int(entry[2:])
    for entry in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
        "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
        "LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SD18 "
        "SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
    ).split()
}


def lettered_ids(text: str) -> Spans:
    """Yield bank account numbers (IBAN) and Italian codici fiscali."""
    position = 0
    while (found := _LETTERED_ID.search(text, position)) is not None:
        start = found.start()
        end = _iban_end(text, start, found.end()) if found["iban"] else found.end()
        if end:
            yield start, end
        position = end or start + 2


def _iban_end(text: str, start: int, end: int) -> int:
    """Return where a valid IBAN that begins at `start` ends, 0 if none does."""
    places = [place for place in range(start, end) if text[place] != " "]
    length = _IBAN_LENGTHS.get(text[start : start + 2], 0)
    if not length or len(places) < length:
        return 0
    end = places[length - 1] + 1
    number = "".join(text[place] for place in places[4:length] + places[:4])
    valid = int("".join(str(int(character, 36)) for character in number)) % 97 == 1
    return end if valid and not text[end : end + 1].isalnum() else 0


# The gate of all that follows: nine digits that stand close together, at the start of a number.
_DIGITS = re.compile(r"[\d+(](?<!\w.)(?<!\d[.,].)(?<![\d.][eE][+-].)(?:[ ./()-]{0,2}\d){8}", re.DOTALL)
_FIRST_GROUP = re.compile(r"[+(]*\d*")


def numbers(text: str) -> Spans:
    """Yield card, phone and national id numbers."""
    position = 0
    while (found := _DIGITS.search(text, position)) is not None:
        start = found.start()
        end = _card_end(text, start) or _national_id_end(text, start) or _phone_end(text, start)
        if end:
            yield start, end
            position = end
        else:
            group = _FIRST_GROUP.match(text, start)
            position = max(start + 1, group.end() if group is not None else 0)


# No card begins with 1, as timestamps since 1970 do, nor with 20, as years do.
_CARD = re.compile(r"(?:2(?:2[2-9]|[3-6]\d|7[0-2])\d|[3-6]\d{3})(?:[ -]?\d){9,15}")
_LARGE_BRAND = re.compile(r"4\d{15}|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|6(?:011|5\d\d)\d{12}")
_LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def is_card_number(number: float) -> bool:
    """Whether a bare number is a valid one, of 15 or 16 digits, of one of the large card brands."""
    if not 10**14 <= number < 10**16 or number != int(number):
        return False
    digits = str(int(number))
    return _LARGE_BRAND.fullmatch(digits) is not None and _luhn(digits)


def _luhn(digits: str) -> bool:
    total = sum(int(digit) for digit in digits[-1::-2]) + sum(_LUHN_DOUBLED[int(digit)] for digit in digits[-2::-2])
    return total % 10 == 0


def _card_end(text: str, start: int) -> int:
    """Return where a card number that begins at `start` ends: groups behind it may belong to something else."""
    found = _CARD.match(text, start)
    candidate = found[0] if found is not None else ""
    while len(digits := candidate.replace(" ", "").replace("-", "")) >= 13:
        end = start + len(candidate)
        groups = re.split("[ -]", candidate)
        is_in_groups = len(groups) > 2 and len(groups[0]) == 4 and all(3 <= len(group) <= 6 for group in groups[:-1])
        if (is_in_groups or len(groups) == 1) and _luhn(digits) and not _goes_on(text, end, ""):
            return end
        candidate = candidate[: -len(groups[-1]) - 1]
    return 0


def _goes_on(text: str, end: int, separators: str) -> bool:
    """Whether a number goes on behind `end`: with a letter or digit, decimals, or one more group."""
    following, behind = text[end : end + 1], text[end + 1 : end + 2]
    return following.isalnum() or following == "_" or (following in (".", *separators) and behind.isdigit())


_NATIONAL_ID = re.compile(
    r"(?P<us>(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4})"
    r"|(?P<brazil>\d{3}\.\d{3}\.\d{3}-\d\d)"
    r"|(?P<china>[1-9]\d{5}(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx])"
    r"|(?P<france>[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?\d\d ?\d{3} ?\d{3} ?\d\d)"
)


def _national_id_end(text: str, start: int) -> int:
    found = _NATIONAL_ID.match(text, start)
    if found is None or _goes_on(text, found.end(), "-"):
        return 0
    if found["us"]:
        continues = text[max(0, start - 1) : start] == "-" and text[max(0, start - 2) : start - 1].isdigit()
        return 0 if continues else found.end()
    digits = [10 if character in "Xx" else int(character) for character in found[0] if character not in " .-"]
    if found["brazil"]:
        valid = all(sum(d * (n + 1 - i) for i, d in enumerate(digits[:n])) * 10 % 11 % 10 == digits[n] for n in (9, 10))
    elif found["china"]:
        valid = sum(digit * 2 ** (17 - place) for place, digit in enumerate(digits)) % 11 == 1
    else:
        valid = (int("".join(map(str, digits[:13]))) + int("".join(map(str, digits[13:])))) % 97 == 0
    return found.end() if valid else 0


_PHONE = re.compile(
    r"(?P<international>(?:\+|00(?=[1-9]\d{0,2}[ /-]))[1-9]\d{0,2}[ ./-]?(?:\(\d{1,4}\)[ ./-]?)?\d{1,14}"
    r"(?:[ ./-]\d{2,12}){0,5})"
    r"|(?P<national>0[1-9]\d{0,3}([ ./-])\d{2,9}(?:\3\d{2,5}){0,4})"
    r"|\(0\d{1,4}\)[ /-]?\d{2,9}(?:[ /-]\d{2,5}){0,4}"
    r"|(?:1[ .-]?)?\([2-9]\d\d\)[ .-]?\d{3}[ .-]\d{4}"  # North America
    r"|(?:1[.-])?[2-9]\d\d([.-])\d{3}\4\d{4}"
    r"|(?:1 )?[2-9]\d\d (?:\d{3}-|[2-9]\d\d )\d{4}"
)
_LAST_GROUP = re.compile(r"[ ./-]\d+\Z")
_NUMBER_AT_END = re.compile(r"(?<![\d:./-])\d+\Z")  # and not the end of a date or time
_SEPARATOR = re.compile(r"[ ./()-]")


def _phone_end(text: str, start: int) -> int:
    found = _PHONE.match(text, start)
    if found is None:
        return 0
    candidate = found[0]
    if found["international"]:
        while _digits(candidate) > 15 and (last := _LAST_GROUP.search(candidate)) is not None:
            candidate = candidate[: last.start()]
        end = start + len(candidate)
        least = 8 if _SEPARATOR.search(candidate) else 9
        has_decimals = "." in candidate and (candidate.count(".") == 1 or any(mark in candidate for mark in " /-"))
        in_a_list = candidate[0] == "0" and _goes_back(text, start, " -")
        is_one = least <= _digits(candidate) <= 15 and not has_decimals and not in_a_list
        return end if is_one and not _goes_on(text, end, "") else 0
    if found["national"]:
        most = 12 if len(_SEPARATOR.findall(candidate)) < 3 else 11  # six groups of two are bytes
        if not 9 <= _digits(candidate) <= most or candidate.count(".") == 1:
            return 0
    separators = "".join(set(candidate) & set(" ./-"))
    in_a_list = "(" not in candidate and _goes_back(text, start, separators)
    return 0 if in_a_list or _goes_on(text, found.end(), separators) else found.end()


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))


def _goes_back(text: str, start: int, separators: str) -> bool:
    """Whether one more group stands before `start`: then this is a list of numbers, or the middle of an id."""
    if not start or text[start - 1] not in separators:
        return False
    before = text[max(0, start - 24) : start - 1]
    return _NUMBER_AT_END.search(before) is not None if text[start - 1] == " " else before[-1:].isalnum()


FINDERS = (emails, lettered_ids, numbers)
"""Each is applied to what the one before left."""
