"""E-mail, card, phone and national id numbers are found; ordinary numbers and ids are not."""

from __future__ import annotations

import uuid
from datetime import datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from otel_ml import personal_data
from otel_ml.redaction import Redactor

text = Redactor().text

BRANDS = st.sampled_from(
    [("4", 13), ("4", 16), ("4", 19), ("51", 16), ("2221", 16), ("34", 15), ("6011", 16), ("62", 18)]
)


def with_luhn_digit(digits: str) -> str:
    """Append the digit that makes a card number valid, computed in the textbook way."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    prefix, length = draw(BRANDS)
    missing = length - len(prefix) - 1
    return with_luhn_digit(prefix + draw(st.text("0123456789", min_size=missing, max_size=missing)))


@given(card_numbers(), st.sampled_from(["", " ", "-"]), st.sampled_from(["", " ", ", ", ". ", " 12/27 123", "\n", ")"]))
def test_a_valid_card_number_is_masked(number: str, separator: str, tail: str) -> None:
    """In one piece or in groups of four, whatever follows."""
    written = separator.join(number[start : start + 4] for start in range(0, len(number), 4))
    assert text(f"paid with {written}{tail}") == f"paid with [redacted]{tail}"


@given(card_numbers())
def test_a_card_number_with_a_wrong_digit_stays(number: str) -> None:
    """The checksum tells a card from another number."""
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert text(f"order {wrong}") == f"order {wrong}"


@pytest.mark.parametrize(
    "written", ["3782 822463 10005", "3056 930902 5904", "2024 4111 1111 1111 1111", "7 4111111111111111-0525"]
)
def test_a_card_number_is_found_between_other_numbers(written: str) -> None:
    """Groups of other brands, and groups before and behind, do not hide it."""
    assert "[redacted]" in text(written)
    assert not any(part in text(written) for part in ("4111", "822463", "930902"))


def test_bare_numbers_are_cards_of_large_brands_only() -> None:
    """A number without any text has to fit better: hashes and ids are numbers too."""
    assert personal_data.is_card_number(4111111111111111)
    assert personal_data.is_card_number(378282246310005.0)
    for other in (
        4111111111111112,
        41111111111111110,
        0,
        -1,
        1.5e14 + 0.5,
        float("nan"),
        float("inf"),
        1700000000000000,
    ):
        assert not personal_data.is_card_number(other)


@pytest.mark.parametrize(
    "address",
    ["alice@example.com", "Bob.O-Neil+tag@mail.co.uk", "jürgen@bücher.example", "x_1%y@a-b.c.museum", "1234@qq.com"],
)
def test_an_email_address_is_masked(address: str) -> None:
    """Also inside brackets, quotes and URLs of mail."""
    assert text(address) == "[redacted]"
    assert text(f"to <{address}>, '{address}'.") == "to <[redacted]>, '[redacted]'."
    assert text(f"see mailto:{address}?subject=x") == "see mailto:[redacted]?subject=x"


@pytest.mark.parametrize(
    "number",
    [
        "+14155550143", "+1 202 555 0143", "+1-202-555-0143", "+1.202.555.0143", "+49 (0)30 1234-5678",
        "+33 6 12 34 56 78", "+44 20 7946 0958", "0049 30 1234567", "(202) 555-0143", "(202)555-0143",
        "1 (800) 555-0143", "202-555-0143", "555-123-4567", "202.555.0143", "1-202-555-0143", "202 555 0143",
        "202 555-0143", "020 7946 0958", "07700 900123", "06 12 34 56 78", "01.23.45.67.89", "0151-12345678",
        "030/12345678", "(030) 1234567",
    ],
)  # fmt: skip
def test_a_phone_number_is_masked(number: str) -> None:
    """In the notations of several countries, also behind a time of day."""
    assert text(number) == "[redacted]"
    assert text(f"2024-01-01 12:00:00 call {number}, please.") == "2024-01-01 12:00:00 call [redacted], please."


def test_a_phone_number_is_masked_in_front_of_other_numbers() -> None:
    """What follows is left out until the length is right."""
    assert text("+1 202 555 0143 2024 12 11 10") == "[redacted] 12 11 10"
    assert text("+49 30 1234567890 20240101 1200") == "[redacted] 20240101 1200"


@pytest.mark.parametrize(
    "number",
    [
        "123-45-6789", "DE89 3704 0044 0532 0130 00", "DE89370400440532013000", "GB82WEST12345698765432",
        "NO93 8601 1117 947", "529.982.247-25", "11010519491231002X", "RSSMRA85T10A562S", "1 84 12 76 451 089 46",
        "184127645108946",
    ],
)  # fmt: skip
def test_a_national_id_is_masked(number: str) -> None:
    """US, bank account, Brazilian, Chinese, Italian and French numbers."""
    assert text(number) == "[redacted]"
    assert text(f"id {number} OK") == "id [redacted] OK"


@pytest.mark.parametrize(
    "number",
    [
        "000-12-3456", "666-12-3456", "912-12-3456", "123-00-4567", "123-45-0000", "123-45-67890", "1-123-45-6789",
        "123-45-6789-1", "DE88 3704 0044 0532 0130 00", "GB82WEST1234569876543", "ZZ82WEST12345698765432",
        "529.982.247-26", "11010519491231002", "110105194912310021", "184127645108947",
    ],
)  # fmt: skip
def test_a_number_with_a_wrong_checksum_or_range_stays(number: str) -> None:
    """Resembling a national id is not enough."""
    assert text(number) == number


@pytest.mark.parametrize(
    "ordinary",
    [
        "1234567.89", "+1234567.89", "-1234567890.5", "0.4111111111111111", "1.23e+10", "6.02214076e23",
        "-1.55e-01 549789 2", "4588 2492598451", "36765 266630 1622074", "1700000000000", "1700000000000000",
        "1700000000000000000", "2024-01-01", "2024-01-01 12:00:00", "2024-01-01T12:00:00.123456+00:00",
        "01-02-2024 10:30", "05/06/2024 10:30:00", "20240101T120000Z", "20240101 120000", "192.168.100.200",
        "10.0.0.1:8080", "4bf92f3577b34da6a3ce929d0e0e4736",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "12345678 87654321", "01 02 03 04 05 06",
        "00 11 22 33 44", "1 2 3 4 5 6 7 8 9 10 11 12 13", "[1000 2000 3000 4000]", "(100, 28, 28, 3)",
        "v1.2.3.4567", "1,234,567,890", "12345678901234567890123", "a@b", "@app.route", "x @ y", "IT60",
        "ISO 8601 2024-W01", "+1", "(555)", "555-1234", "3/4 2/3 1/2 5/6 7/8 9/10", "0123.456789", "AB12",
    ],
)  # fmt: skip
def test_ordinary_numbers_and_ids_stay(ordinary: str) -> None:
    """Floats, dates, times, hex ids, addresses and lists of numbers are what logs consist of."""
    assert text(ordinary) == ordinary
    assert text(f"x={ordinary} y") == f"x={ordinary} y"


@given(st.uuids())
def test_a_uuid_stays(value: uuid.UUID) -> None:
    """Written in either way."""
    assert text(str(value)) == str(value)
    assert text(value.hex) == value.hex


@given(st.floats(), st.integers(min_value=-(10**12), max_value=10**12))
def test_a_float_and_an_integer_up_to_twelve_digits_stay(number: float, integer: int) -> None:
    """Numbers are no phone numbers, whatever sign and digits they have."""
    for written in (repr(number), str(integer), f"{integer:+}", f"{number:.3f}", f"{number:+.6f}"):
        assume(len(written.lstrip("+-").partition(".")[0]) < 13)
        assume(not (written.startswith("+") and written[1:].isdigit() and len(written) > 9))
        assert text(written) == written


@given(st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.none() | st.timezones()))
def test_a_timestamp_stays(when: datetime) -> None:
    """In ISO 8601, with or without zone, and with a space."""
    written = when.isoformat()
    assert text(written) == written
    assert text(str(when)) == str(when)
