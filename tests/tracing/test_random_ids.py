"""The text of a UUIDv7, as it is made where the module is compiled and where it is not."""

from __future__ import annotations

import random
import uuid

from hypothesis import example, given
from hypothesis import strategies as st

from otel_ml.tracing import random_ids


@given(st.integers(0, 2**62), st.integers(0, 2**32))
@example(0, 0)
@example(2**63 - 1, 1)
def test_a_uuid7_is_milliseconds_and_random_bits(time_ns: int, seed: int) -> None:
    """48 bits of time, the version, 12 random bits, the variant, 62 random bits."""
    bits = random.Random(seed).getrandbits(76)
    random_ids.seed(seed)
    try:
        text = random_ids.uuid7(time_ns)
    finally:
        random_ids.seed()
    time = time_ns // 1_000_000 & 2**48 - 1
    number = time << 80 | 7 << 76 | bits >> 64 << 64 | 2 << 62 | bits & 2**62 - 1
    assert text == str(uuid.UUID(int=number))


def test_ids_that_are_not_seeded_are_uuids_too() -> None:
    """Of the variant and version that they say, and each another one."""
    found = {random_ids.uuid7(1_700_000_000_000_000_000) for _ in range(2000)}
    assert len(found) == 2000
    for text in found:
        parsed = uuid.UUID(text)
        assert str(parsed) == text and parsed.version == 7 and parsed.variant == uuid.RFC_4122
