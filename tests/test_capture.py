"""Any value is described, measured and copied: bounded, plain, unmasked in a snapshot and masked as features."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any, NoReturn
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import capture, health, redaction
from otel_ml.redaction import Redactor

LIMIT = 64 * 1024


def fail(*_: object, **__: object) -> NoReturn:
    """Stand in for any method that must not run."""
    raise AssertionError("code of the value ran")


class Hostile:
    """An object whose every method raises."""

    __slots__ = ()
    __repr__ = __str__ = __len__ = __iter__ = __eq__ = __hash__ = __bool__ = __getattr__ = __getattribute__ = fail  # type: ignore[assignment]
    __class__ = property(fail)  # type: ignore[assignment]


class HostileDict(dict[Any, Any]):
    keys = items = values = __iter__ = __len__ = __getitem__ = __repr__ = __contains__ = fail  # type: ignore[assignment]


class HostileList(list[Any]):
    __iter__ = __len__ = __getitem__ = __repr__ = fail  # type: ignore[assignment]


class HostileText(str):
    __slots__ = ()
    __len__ = __str__ = __repr__ = __iter__ = encode = fail  # type: ignore[assignment]


class HostileInteger(int):
    __int__ = __index__ = __str__ = __repr__ = __add__ = __lt__ = __le__ = fail  # type: ignore[assignment]


class Meta(type):
    __name__ = property(fail)  # type: ignore[assignment]
    __module__ = property(fail)  # type: ignore[assignment]
    __mro__ = property(fail)  # type: ignore[assignment]
    __getattr__ = __instancecheck__ = __subclasscheck__ = __repr__ = __hash__ = __eq__ = fail  # type: ignore[assignment]


class OfHostileClass(metaclass=Meta):
    pass


# Behind functions: pytest shows its parameters with repr().
HOSTILE: list[Callable[[], object]] = [
    lambda: Hostile(), lambda: OfHostileClass(),  # noqa: PLW0108
    lambda: HostileDict(a=1), lambda: HostileList([1]), lambda: HostileText("x"), lambda: HostileInteger(5),
    lambda: {Hostile: 1}, lambda: {"a": Hostile(), "b": 2}, lambda: Hostile,
    lambda: OfHostileClass, type("X", (), {"__module__": 3}), threading.Lock, lambda: fail, lambda: json,
]  # fmt: skip


@pytest.mark.parametrize("make", HOSTILE, ids=range(len(HOSTILE)))
def test_no_code_of_a_value_runs(make: Callable[[], object]) -> None:
    """Whatever its methods would do; nothing is counted as an error of ours."""
    value = make()
    orjson.dumps(capture.snapshot(value))
    orjson.dumps(capture.features(value))
    assert isinstance(capture.describe(value)["type"], str)
    capture.rows_and_columns(value)
    assert health.dropped() == {}


def test_the_data_in_a_subclass_of_a_plain_type_is_copied() -> None:
    """Through the plain type's own methods."""
    value = {"d": HostileDict(a=1), "l": HostileList([1, 2]), "t": HostileText("x"), "i": HostileInteger(5)}
    assert capture.snapshot(value) == {"d": {"a": 1}, "l": [1, 2], "t": "x", "i": 5}
    assert capture.describe(HostileDict(a=1)) == {"type": f"{__name__}.HostileDict", "length": 1}
    assert capture.rows_and_columns(HostileList([[1, 2], [3, 4], [5, 6]])) == (3, 2)


def test_an_iterator_is_not_consumed() -> None:
    """Neither a generator nor any other; it is told by its type."""

    def numbers() -> Iterator[int]:
        yield 1

    generator, iterator = numbers(), iter([1, 2])
    for value in (generator, iterator, [generator], {"x": iterator}):
        for function in (capture.snapshot, capture.features, capture.describe, capture.rows_and_columns):
            function(value)
    assert capture.snapshot(generator) == "<type generator>"
    assert (list(generator), list(iterator)) == ([1], [1, 2])


def test_a_cycle_and_a_great_depth_are_noted_in_place() -> None:
    """The rest of the data is there."""
    cycle: dict[str, Any] = {"a": 1}
    cycle["self"] = [cycle]
    assert capture.snapshot(cycle) == {"a": 1, "self": ["<cycle>"]}
    shared = [1]
    assert capture.snapshot([shared, shared]) == [[1], [1]]
    deep: Any = "x"
    for _ in range(10_000):
        deep = [deep]
    assert capture.snapshot(deep) == [[[[[["<depth>"]]]]]]
    assert capture.describe(deep) == {"type": "list", "length": 1}


def test_a_full_stack_costs_the_copy_and_nothing_else() -> None:
    """Captured just below the recursion limit, a value is at worst told by its type."""

    def descend() -> list[Any]:
        try:
            return descend()
        except RecursionError:
            return [capture.snapshot({"a": [1]}), capture.describe([1])["type"], capture.rows_and_columns([1])]

    found = descend()
    assert found[0] in ({"a": [1]}, {"a": "<type list>"}, "<type dict>")


def test_numbers_stay_exact() -> None:
    """What JSON or 64 bits cannot hold becomes exact text."""
    value = {
        "nan": math.nan, "inf": math.inf, "-inf": -math.inf, "big": 2**63, "small": -(2**63), "most": 2**63 - 1,
        "huge": 10**5000, "decimal": Decimal("1.10"), "complex": 1 + 2j, "true": True, "none": None,
    }  # fmt: skip
    copy = capture.snapshot(value)
    assert copy.pop("huge").startswith(hex(10**5000)[:4000])
    assert copy == {
        "nan": "NaN", "inf": "Infinity", "-inf": "-Infinity", "big": "9223372036854775808", "small": -(2**63),
        "most": 2**63 - 1, "decimal": "1.10", "complex": "(1+2j)", "true": True, "none": None,
    }  # fmt: skip


def test_values_of_the_standard_library_become_their_usual_text() -> None:
    """ISO 8601 for times, text for bytes, names for members of enumerations."""

    class Color(Enum):
        RED = 1

    class Level(IntEnum):
        LOW = 1

    values = [
        datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), date(2024, 1, 2), time(3, 4), timedelta(hours=1), b"ab\xff",
        bytearray(b"x"), UUID(int=1), PurePosixPath("/a"), Color.RED, Level.LOW, range(3), deque([1]), frozenset([1]),
    ]  # fmt: skip
    assert capture.snapshot(values) == [
        "2024-01-02T03:04:05+00:00", "2024-01-02", "03:04:00", "1:00:00", "ab\\xff",
        "x", "00000000-0000-0000-0000-000000000001", "/a", "Color.RED", 1, "<type range>", [1], [1],
    ]  # fmt: skip


def test_records_become_dicts_and_foreign_objects_their_type() -> None:
    """Dataclasses and named tuples have fields; a model of pydantic and any other object has code."""

    @dataclasses.dataclass
    class Row:
        a: int
        b: list[int]

        def __getattribute__(self, name: str) -> Any:
            raise AssertionError("ran")

    @dataclasses.dataclass(slots=True)
    class Slotted:
        a: int
        missing: int = dataclasses.field(init=False)

    Point = namedtuple("Point", "x y")

    class Model:
        def __init__(self) -> None:
            self.password = "x"

    slotted = dataclasses.make_dataclass("S", ["a"], slots=True)(1)
    assert capture.snapshot(Row(1, [2])) == {"a": 1, "b": [2]}
    assert capture.snapshot(slotted) == {"a": 1}
    assert capture.snapshot(Point(1, 2)) == {"x": 1, "y": 2}
    assert capture.snapshot([Model()]) == [f"<type {__name__}.{Model.__qualname__}>"]
    assert capture.snapshot(Slotted(1)) == f"<type {__name__}.{Slotted.__qualname__}>"


def test_keys_become_text_and_stay_apart() -> None:
    """Tuples, bytes, numbers, None and objects; equal texts are numbered."""
    thing = object()
    value = {(1, "a"): 1, b"k": 2, "k": 3, 1: 4, "1": 5, None: 6, 1.5: 7, thing: 8, True and (2, (3,)): 9}
    assert capture.snapshot(value) == {
        "(1, a)": 1, "k": 2, "k (3)": 3, "1": 4, "1 (5)": 5, "None": 6, "1.5": 7, "<type object>": 8, "(2, (3))": 9,
    }  # fmt: skip


def test_a_later_change_does_not_show() -> None:
    """The copy shares nothing that can change."""
    value = {"a": [1, {"b": bytearray(b"x")}], "s": {1}}
    before = capture.snapshot(value)
    value["a"][1]["b"][0] = 121  # type: ignore[index]
    value["a"].append(3)  # type: ignore[attr-defined]
    value["s"].add(2)  # type: ignore[attr-defined]
    assert before == {"a": [1, {"b": "x"}], "s": [1]}


def test_what_is_left_out_is_noted_in_place() -> None:
    """Long texts, many keys, long lists."""
    assert capture.snapshot("x" * 5000) == "x" * 4096 + "... [5000 characters]"
    keys = capture.snapshot({str(number): "v" for number in range(300)})
    assert (len(keys), keys["..."]) == (257, "44 more")
    assert capture.snapshot(["x"] * 100) == ["x"] * 32 + ["... 68 more"]
    assert list(capture.snapshot({"k" * 1000: 1})) == ["k" * 256 + "..."]


def test_a_long_list_of_numbers_is_summarised() -> None:
    """As an array is: up to 4096 sampled items tell about any length."""
    assert capture.snapshot([1.0, math.nan] + [3.0] * 31) == {
        "shape": [33], "dtype": "float", "n_nan": 1, "min": 1.0, "max": 3.0, "mean": 2.9375,
        "std": pytest.approx(0.348, abs=1e-3),
    }  # fmt: skip
    long = capture.snapshot(tuple(range(10_000)))
    assert (long["shape"], long["dtype"], long["sampled"]) == ([10_000], "int", 3334)
    assert capture.snapshot([math.nan] * 40) == {"shape": [40], "dtype": "float", "n_nan": 40}
    assert capture.snapshot([math.inf, 1.0] * 20)["std"] == "NaN"
    assert capture.snapshot([1] * 40 + ["x"])[:2] == [1, 1]
    assert capture.snapshot([2**70] * 40)[0] == str(2**70)


TEXTS = st.text(st.characters())
KEYS = TEXTS | st.integers() | st.binary() | st.none() | st.tuples(st.integers(), st.text())
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary() | st.decimals()
    | st.datetimes() | st.uuids() | st.complex_numbers() | st.builds(object) | st.builds(Hostile),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner),
    max_leaves=30,
)  # fmt: skip


@given(JUNK)
def test_anything_becomes_json_of_at_most_64_kib(value: Any) -> None:
    """Both JSON encoders take it, strictly, and nothing is counted as an error."""
    for copy in (capture.snapshot(value), capture.features(value)):
        assert len(orjson.dumps(copy)) <= LIMIT
        assert len(json.dumps(copy, allow_nan=False)) <= LIMIT
    orjson.dumps(capture.describe(value))
    capture.rows_and_columns(value)
    assert health.dropped() == {}


@pytest.mark.parametrize(
    "value",
    [
        [["x" * 5000] * 32] * 32,
        {str(number): {str(number): "\x00" * 4096 for number in range(256)} for number in range(256)},
        [[[[["\U0001f600" * 4096] * 32] * 32] * 32] * 32] * 32,
        {f"{'k' * 250}{number}": number for number in range(10_000)},
        [[[[[[None] * 32] * 32] * 32] * 32] * 32] * 32,
        [[[[[[{}] * 32] * 32] * 32] * 32] * 32] * 32,
        "\udc80" * 10_000_000,
        b"\xff" * 10_000_000,
        [0.1] * 1_000_000,
    ],
    ids=["texts", "escapes", "emoji", "keys", "nones", "dicts", "surrogates", "bytes", "floats"],
)  # fmt: skip
def test_a_huge_value_stays_below_64_kib(value: Any) -> None:
    """Wide, deep, or full of what JSON writes with six characters."""
    for copy in (capture.snapshot(value), capture.features(value)):
        assert len(json.dumps(copy)) <= LIMIT
        assert len(orjson.dumps(copy)) <= LIMIT


def test_features_are_masked_by_key_and_by_shape() -> None:
    """A snapshot is not; features are what may leave."""
    value = {"password": 1234, "note": "mail a@b.example", "age": 41, "a@b.example": 1}
    assert capture.snapshot(value) == value
    assert capture.features(value) == {"password": "[redacted]", "note": "mail [redacted]", "age": 41, "[redacted]": 1}


def test_half_a_secret_does_not_survive_the_cut() -> None:
    """Long texts and keys are masked before they are cut."""
    value = "x" * 4086 + " 4111 1111 1111 1111 and more " * 3
    assert "4111" in capture.snapshot(value)
    assert "4111" not in capture.features(value)
    key = "y" * 250 + " alice@example.com"
    assert "alice" not in str(capture.features({key: 1}))


def test_features_follow_the_redactor_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switched off, they are the snapshot."""
    monkeypatch.setattr(redaction, "_current", Redactor.off())
    assert capture.features({"password": "x"}) == {"password": "x"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {"type": "NoneType"}),
        (1, {"type": "int"}),
        ("secret", {"type": "str", "length": 6}),
        (b"ab", {"type": "bytes", "length": 2}),
        ([1, 2], {"type": "list", "length": 2}),
        ({"a": 1}, {"type": "dict", "length": 1}),
        (range(5), {"type": "range", "length": 5}),
        (OrderedDict(a=1), {"type": "collections.OrderedDict", "length": 1}),
        (defaultdict(int), {"type": "collections.defaultdict", "length": 0}),
        (Counter("ab"), {"type": "collections.Counter", "length": 2}),
        (deque([1]), {"type": "collections.deque", "length": 1}),
        (Decimal(1), {"type": "decimal.Decimal"}),
    ],
)
def test_a_description_has_no_values(value: object, expected: dict[str, Any]) -> None:
    """Type and length only."""
    assert capture.describe(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], (0, None)),
        ([1, 2, 3], (3, None)),
        ([[1, 2], [3, 4], [5, 6]], (3, 2)),
        ([{"a": 1, "b": 2}], (1, 2)),
        (((1, 2, 3),), (1, 3)),
        ({"a": 1, "b": 2}, (1, 2)),
        ({"a": [1, 2, 3], "b": [4, 5, 6]}, (3, 2)),
        ({}, (1, 0)),
        ({1, 2}, (2, None)),
        ("text", (None, None)),
        (5, (None, None)),
        (None, (None, None)),
        (object(), (None, None)),
    ],
)
def test_rows_and_columns_of_plain_containers(value: object, expected: tuple[int | None, int | None]) -> None:
    """Lists have rows, dicts have columns, scalars neither."""
    assert capture.rows_and_columns(value) == expected


def test_another_thread_may_change_what_is_copied() -> None:
    """A dict that grows and shrinks meanwhile is copied without an error."""
    shared: dict[int, int] = {}
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            shared[number % 500] = number
            shared.pop((number * 7) % 500, None)
            number += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(300):
            capture.features(shared)
    finally:
        stop.set()
        thread.join()
    assert health.dropped() == {}


def test_rows_and_columns_are_those_of_the_class_that_asks() -> None:
    """What is remembered of classes is found by the class itself, and only known libraries' stay in memory."""
    np = pytest.importorskip("numpy")
    array = np.zeros((3, 2))
    for _ in range(2):
        assert capture.rows_and_columns(array) == (3, 2)
        assert capture.rows_and_columns([array[0]] * 4) == (4, 2)
        assert capture.rows_and_columns({"a": array[:, 0]}) == (3, 1)
        assert capture.rows_and_columns(np.float64(1)) == (None, None)
        assert capture.rows_and_columns(Hostile()) == (None, None)
    assert type(capture.rows_and_columns(array)[0]) is int
    kept = [kind for kind, _ in capture._roles.values()]
    assert np.ndarray in kept and not any(kind is Hostile for kind in kept)


def test_classes_that_are_made_at_run_time_are_not_kept_without_end() -> None:
    """Each may keep a whole module alive."""
    np = pytest.importorskip("numpy")
    for number in range(200):
        made = type(f"Array{number}", (np.ndarray,), {})
        assert capture.rows_and_columns(np.zeros((number, 2)).view(made)) == (number, 2)
    assert len(capture._roles) <= 64
