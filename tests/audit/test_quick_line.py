"""The quick line: byte for byte what the encoder would make, or a word that the encoder has to."""

from __future__ import annotations

import uuid

import orjson
import pytest
from audit.calls import MODEL, SERVICE, call
from hypothesis import example, given
from hypothesis import strategies as st

from otel_ml.audit.quick_line import quick_line
from otel_ml.audit.record import MOST_BODY, Encoder, Model, Service

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
PAYLOAD = st.none() | JSON.map(orjson.dumps)
MASKS = st.sampled_from(["[redacted]", "***", "", "é", '"'])
IDENTITY = str(uuid.UUID(int=7))


@given(
    st.integers(0, 2**62), st.integers(0, 10**13), st.integers(0, 2**128 - 1), st.integers(1, 2**64 - 1),
    st.integers(0, 255), st.none() | st.text(max_size=10), PAYLOAD, PAYLOAD, MASKS,
)  # fmt: skip
@example(1, 999_999, 0, 1, 1, None, b'"[redacted]"', None, "[redacted]")
@example(1, 0, 1, 1, 1, None, b'{"a":"[redacted]"}', b'"x"', "[redacted]")
def test_it_is_the_line_that_the_encoder_makes(
    started: int, duration: int, trace_id: int, span_id: int, flags: int, run_id: str | None,
    features: bytes | None, prediction: bytes | None, mask: str,
) -> None:  # fmt: skip
    """Whatever the values; and it says so where something has to be masked, escaped or listed."""
    encoder = Encoder(SERVICE, mask)
    ids = {"trace_id": trace_id, "span_id": span_id, "trace_flags": flags}
    payload = {"features": features, "prediction": prediction}
    item = call(record_id=IDENTITY, time_unix_nano=started, duration_s=duration / 1e9, run_id=run_id, **ids, **payload)
    made = quick_line(
        IDENTITY, started, duration, trace_id, span_id, flags, encoder.middle(run_id, MODEL), features, prediction,
        encoder.mask,
    )  # fmt: skip
    if made is not None:
        assert made == encoder.body(item)
    else:
        both = (features or b"") + (prediction or b"")
        assert encoder.mask in both or not both.isascii() or b"\x7f" in both


@pytest.mark.parametrize("payload", [b'"\x7f"', '"é"'.encode(), b"[1,\n2]", b"[1,\r2]", b'["[redacted]"]'])
def test_what_has_to_be_looked_at_is_left_to_the_encoder(payload: bytes) -> None:
    """In the features as in the prediction."""
    for features, prediction in [(payload, None), (None, payload)]:
        assert quick_line(IDENTITY, 1, 1, 1, 1, 1, b"", features, prediction, b'"[redacted]"') is None


@pytest.mark.parametrize("size", [1, 7, 15, 16, 17, 31, 32, 33, 64, 70])
def test_an_unusual_byte_is_found_wherever_it_stands(size: int) -> None:
    """At each place of short and long payloads; the bytes beside them in the code are none of these."""
    for usual in b' ~0"':
        assert quick_line(IDENTITY, 1, 1, 1, 1, 1, b"", bytes([usual]) * size, None, b'"***"') is not None
    for unusual in (0x7F, 0x80, 0xC3, 0xFF, 0x0A, 0x0D):
        for place in range(size):
            payload = bytearray(b" " * size)
            payload[place] = unusual
            assert quick_line(IDENTITY, 1, 1, 1, 1, 1, b"", bytes(payload), None, b'"***"') is None


def test_the_longest_line_fits_and_one_byte_more_does_not() -> None:
    """The encoder shortens what is longer."""
    middle = Encoder(SERVICE).middle(None, MODEL)

    def line(length: int) -> bytes | None:
        return quick_line(IDENTITY, 1, 1, 1, 1, 1, middle, b'"%b"' % (b"x" * length), None, b'"***"')

    short = line(0)
    assert short is not None
    longest = line(MOST_BODY - len(short))
    assert longest is not None and len(longest) == MOST_BODY
    assert line(MOST_BODY - len(short) + 1) is None


def test_long_names_of_service_and_model_fit() -> None:
    """They are no part of what has bounded room."""
    middle = Encoder(Service("s" * 5000)).middle("r" * 5000, Model("m" * 5000, "v" * 5000))
    body = quick_line(IDENTITY, 2**62, 10**15, 2**128 - 1, 2**64 - 1, 255, middle, b"1", b"2", b'"***"')
    assert body is not None and middle in body
    assert orjson.loads(body + b"}")["duration_ms"] == 1e9
