"""The prefilter lets nothing pass in which a finder would find something, and most ordinary texts pass."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_ml import credentials, personal_data, prefilter
from otel_ml.options import Redaction
from otel_ml.redaction import Redactor

MASK = "[redacted]"
WORDS = (
    "a", "key", "password", "pass", "pan", "count", "token", "api", "my", "access", "e-mail", "Authorization",
    "userPin", "tokens_total", "pin", "session", "user0_pwd", "B", "GB82", "WEST", "de89 3704 0044 0532 0130 00",
    "RSSMRA85T10A562S", "ghp_abcdefghijklmnop", "sk-abcdefghijklmn0p", "eyJabcdefgh", "AKIAABCDEFGHIJKLMNOP",
    "ya29.abcdefghijklmnopqrstuvw", "dop_v1_abcdefghijklmnopqrst", "sig=abcdefghijkl", "Bearer abc1",
    "Basic dXNlcjpwYXNz", "ann@example.com", "postgres://app:hUnter2@db", "u:p@tcp(db)", "\u0665", "\xfc",
    "\u017fession", "4111", "1111", "+49", "030", "00", "0171", "123-45-6789", "529.982.247-25", "11010519491231002X",
    "1 85 05 78 006 084 36", "212", "555", "0199", "1e5", "20",
)  # fmt: skip
SIGNS = (
    "=", ":", " ", "  ", "\t", "-", "--", "_", ".", ",", "'", '"', "\\", "[", "]", "(", ")", "/", "=>", ":=", "==", "+",
    "@",
)  # fmt: skip
NUMBERS = st.from_regex(r"[+(]{0,2}[0-9]{1,6}([ ./()-]{0,2}[0-9]{1,5}){0,6}[xX]?", fullmatch=True)
TEXTS = st.lists(
    st.sampled_from(WORDS) | st.sampled_from(SIGNS) | NUMBERS | st.integers(0, 10**18).map(str) | st.floats().map(str),
    max_size=9,
).map("".join)

redactor = Redactor()
own = Redactor(Redaction(keys=("client_name", "count")))


def by_all_finders(text: str, of: Redactor) -> str:
    """Mask by each finder in its turn, whatever the text: what the fast way has to equal."""

    def replaced(value: str, spans: credentials.Spans) -> str:
        pieces, done = [], 0
        for start, end in spans:
            pieces += [value[done:start], MASK]
            done = end
        return "".join([*pieces, value[done:]])

    def by_key(value: str) -> credentials.Spans:
        return credentials.values_of_keys(value, of.is_sensitive)

    for find in (*credentials.FINDERS, by_key, *personal_data.FINDERS):
        text = replaced(text, find(text))
    return text


@settings(max_examples=1000)
@given(TEXTS)
@example("x--count.--token v")
@example("myaccess pass=hUnter2")
@example("count api key=3")
def test_a_text_is_masked_as_by_all_finders_in_turn(text: str) -> None:
    """What the prefilter spares changes no result, for names of an application's own too, and not the second time."""
    for of in (redactor, own):
        expected = by_all_finders(text, of)
        assert of.text(text) == expected
        assert of.text(text) == expected


@settings(max_examples=500)
@given(NUMBERS, st.sampled_from(["", " ", "a", "-", "é", "id "]), st.data())
def test_what_is_remembered_holds_for_other_digits(number: str, before: str, data: Any) -> None:
    """A number that is none of a person's says nothing of the next one of its shape."""
    first = before + number
    second = re.sub("[0-9]", lambda _: data.draw(st.sampled_from("0123456789")), first)
    for text in (first, second):
        assert redactor.text(text) == by_all_finders(text, redactor)


@pytest.mark.parametrize(
    "text",
    [
        "predicted 0.8123456789012345 for customer 12345 in 12.31 ms",
        "epoch 3 of 10: loss 0.6931471805599453 validation loss 0.7012345678901234",
        "request 550e8400-e29b-41d4-a716-446655440000 took 12.345 ms",
        "request_id=8f14e45f model=fraud version=1.2.0 rows=128 status=ok",
        "GET http://10.0.0.12:8080/v1/models/fraud/predict?explain=true 200 OK",
        '{"age": 41, "income": 52340.5, "balance": 0.8123456789}',
        "wrote /data/fraud-1.2.0/model.joblib (12345678 bytes)",
        "2026-11-22 23:08:30,123 INFO worker-3 started",
        "Straße 12, größer als 3",
    ],
)
def test_ordinary_messages_pass(text: str) -> None:
    """They are the reason for the prefilter."""
    assert prefilter.Prefilter(redactor.is_sensitive).passes(text)


def test_what_is_remembered_is_bounded() -> None:
    """Any number of different texts and names leaves a few thousand behind, and the answers stay right."""
    filled = prefilter.Prefilter(redactor.is_sensitive)
    letters = str.maketrans("0123456789", "abcdefghij")
    for number in range(10_000):
        name = str(number).translate(letters)
        assert filled.passes(f"{name}: 1")
    assert len(filled.known) <= 4096 and len(filled._names) <= 4096
    assert not filled.passes("password: 1")
    assert filled.passes("x" * 10_000)
    assert max(map(len, filled.known)) <= 512
