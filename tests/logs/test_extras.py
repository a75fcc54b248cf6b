from __future__ import annotations

import datetime as dt
import decimal
import enum
import pathlib
import uuid
from collections import OrderedDict, deque
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from otel_ml.logs.extras import MAX_ITEMS, MAX_STRING, argument, plain


class Colour(enum.Enum):
    RED = 1


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), "2026-01-02T03:04:00+00:00"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.50"), "1.50"),
        (pathlib.PurePosixPath("/a"), "/a"),
        (Colour.RED, "Colour.RED"),
        (b"secret", "<bytes of 6>"),
        (KeyError("k"), "KeyError: 'k'"),
        (Text("as it is"), "as it is"),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (np.str_("s"), "s"),
        (float("-inf"), "-Infinity"),
        (-(2**63), -(2**63)),
        (2**63, hex(2**63)),
        (OrderedDict(a=(1, {2})), {"a": [1, [2]]}),
        (deque([1]), [1]),
        ({1: None, None: 2}, {"1": None, "None": 2}),
    ],
)
def test_plain_value(value: object, expected: object) -> None:
    """Each kind of value has its plain form."""
    assert plain(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(3), pl.DataFrame({"a": [9876]}), pa.table({"a": [9876]}), scipy.sparse.eye(3), LinearRegression(),
        np.array(9876),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_data_is_described(value: object) -> None:
    """Tables, arrays and models of any library become a description that names their type and no value."""
    described = plain({"deep": [value]})["deep"][0]
    assert type(value).__name__ in described["type"]
    assert "9876" not in str(described) + str(argument(value))


def test_cycles_depth_and_size_are_bounded() -> None:
    """Recursive, deep, wide and long values give small plain data that says what is missing."""
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"d": deep}
    wide = {str(number): number for number in range(1_000_000)}
    for value in (cycle, deep, wide, [wide, wide], "x" * 10_000_000, list(range(1_000_000))):
        assert len(orjson.dumps(plain(value))) < MAX_STRING + 1024
    assert plain(wide)["..."] == f"{1_000_000 - MAX_ITEMS} more"


def test_small_arguments_are_formatted_as_they_are() -> None:
    """A message formats what the caller passed; only data and long containers are replaced by a short text."""
    for value in ("a", 1, 1.5, None, (1, 2), {"a": 1}, [1], Colour.RED):
        assert argument(value) is value
    assert len(str(argument(list(range(100_000))))) < 5000
    assert "9876" not in str(argument([np.full(3, 9876)]))


@given(
    st.recursive(
        st.none() | st.floats() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_plain_data_can_always_be_written(value: object) -> None:
    """Whatever plain data comes in, orjson writes what comes out."""
    orjson.dumps(plain(value))
