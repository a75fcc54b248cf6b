"""A batch becomes one record a row: each as it would be alone, as it was at the call, whatever it is made of."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import Redaction, capture, health, redaction
from otel_ml.audit.rows import Batch
from otel_ml.redaction import Redactor
from support import run_python

CARD = "4111 1111 1111 1111"
EMAIL = "ada@example.org"
MOST = 10_000


@pytest.fixture
def use_redactor() -> Iterator[Any]:
    """Sets the redactor of the process, and sets the former one again."""
    before = redaction.current()
    yield lambda **options: redaction.use(Redactor(Redaction(**options)))
    redaction.use(before)


def batch_of(features: object, prediction: object = None, max_rows: int = MOST) -> Batch:
    batch = Batch.of(features, prediction, max_rows)
    assert batch is not None
    return batch


def shown(features: object, prediction: object = None) -> tuple[list[Any], list[Any]]:
    """Return features and predictions of all rows, which are numbered."""
    found = list(batch_of(features, prediction).rows())
    assert [index for index, _, _ in found] == list(range(len(found)))
    orjson.dumps(found)
    return [row for _, row, _ in found], [row for _, _, row in found]


numbers = st.one_of(
    st.floats(width=64),
    st.integers(-(2**70), 2**70),
    st.sampled_from([4111111111111111, 4111111111111111.0, 10**14, 10**400]),
)
texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from([EMAIL, CARD, "--password", "secret", "Bearer x1y2z3w4"]),
    st.sampled_from("xé").map(lambda letter: 5000 * letter),
)
plain = st.one_of(st.none(), st.booleans(), numbers, texts, st.binary(max_size=8), st.decimals(allow_nan=True))
moments = st.datetimes() | st.dates() | st.times() | st.timedeltas() | st.uuids()
nested = st.recursive(
    plain | moments, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
names = st.lists(
    st.sampled_from(["age", "income", "password", "card_number", EMAIL, "é\ud800", "NaN"]) | st.text(max_size=5),
    min_size=1, max_size=5, unique=True,
)  # fmt: skip


@given(st.data(), names)
def test_a_row_of_dicts_is_shown_as_it_would_be_alone(data: Any, keys: list[str]) -> None:
    """Names and values masked, bounded and made plain in the same way, also where rows differ in their keys."""
    cells = data.draw(st.sampled_from([numbers, texts, plain, plain | moments, nested]))
    columns = dict.fromkeys(keys, cells)
    equal, ragged = st.fixed_dictionaries(columns), st.fixed_dictionaries({}, optional=columns)
    row = equal if data.draw(st.booleans()) else ragged
    rows = data.draw(st.lists(row, min_size=2, max_size=6))
    assert shown(rows)[0] == [capture.features(row) for row in rows]


@given(st.data(), st.integers(1, 40))
def test_a_row_of_lists_is_shown_as_it_would_be_alone(data: Any, width: int) -> None:
    """Also where lists are too long to be shown, and where one item names the next."""
    cells = data.draw(st.sampled_from([numbers, st.floats(), texts, plain, nested]))
    row = st.lists(cells, min_size=width, max_size=width)
    rows = data.draw(st.lists(row if data.draw(st.booleans()) else st.lists(cells, max_size=9), min_size=2, max_size=4))
    rows = [tuple(row) for row in rows] if data.draw(st.booleans()) else rows
    assert shown(rows)[0] == [capture.features(row) for row in rows]


@given(st.data())
def test_predictions_of_a_batch_are_split_as_they_would_be_shown_alone(data: Any) -> None:
    """A list of bare values, of dicts or of lists that is as long as the batch."""
    cells = data.draw(st.sampled_from([numbers, texts, plain | moments, nested]))
    prediction = data.draw(st.lists(cells, min_size=3, max_size=3))
    assert shown([[1.0]] * 3, prediction)[1] == [capture.features(one) for one in prediction]
    assert shown([[1.0]] * 3, tuple(prediction))[1] == [capture.features(one) for one in prediction]


FRAME = pd.DataFrame(
    {
        "income": [1.5, math.nan, math.inf],
        "n": [1, 2**62, 4111111111111111],
        "ok": [True, False, True],
        "purpose": ["car", None, EMAIL],
        "password": ["hunter2", "", None],
        "at": pd.to_datetime(["2026-01-01", None, "2026-01-02 03:04:05.678901"], format="ISO8601"),
        "grade": pd.Categorical(["a", "b", "a"]),
        "rank": pd.array([1, None, 3], dtype="Int64"),
        "tags": [["x"], {"token": "abc123"}, EMAIL],
        "odd": [Decimal("1.10"), np.float32(2.5), object()],
        "long": ["y" * 5000, "z", "é" * 3000],
        ("a", 1): [1, 2, 3],
        7: [0.1, 0.2, 0.3],
    }
)


def rows_of(frame: pd.DataFrame) -> list[Any]:
    return [capture.features(frame.iloc[place : place + 1])[0] for place in range(len(frame))]


@pytest.mark.parametrize("columns", [list(FRAME), *([name] for name in FRAME)], ids=str)
def test_a_row_of_a_data_frame_is_shown_as_it_would_be_alone(columns: list[Any]) -> None:
    """With every kind of column, all together and each by itself."""
    frame = FRAME[columns]
    assert shown(frame)[0] == rows_of(frame)


@pytest.mark.parametrize("width", [2, 256, 257, 400])
def test_columns_of_one_name_and_too_many_columns_are_kept_apart_and_noted(width: int) -> None:
    """Of a very wide frame 256 columns are shown."""
    frame = pd.DataFrame(np.arange(3 * width).reshape(3, width), columns=["same"] * 2 + list(range(width - 2)))
    found = shown(frame)[0]
    assert found[0]["same"] == 0 and found[0]["same (2)"] == 1 and found[2]["same"] == 2 * width
    assert len(found[0]) == min(width, 257)
    assert found == rows_of(frame) or width > 256
    assert width <= 256 or found[0]["..."] == f"{width - 256} more"


def test_a_row_above_the_budget_is_cut_as_it_would_be_alone() -> None:
    """Whatever the number of columns."""
    frame = pd.DataFrame({f"text {place}": [f"{place} " + "x" * 4000] * 2 for place in range(30)})
    found = shown(frame)[0]
    assert found == rows_of(frame)
    assert len(json.dumps(found[0])) <= 64 * 1024


@pytest.mark.parametrize("make", [pl.from_pandas, lambda frame: pa.Table.from_pandas(frame, preserve_index=False)])
def test_polars_and_arrow_tables_are_shown_like_pandas_ones(make: Any) -> None:
    """Numbers, texts, dates, missing values, sensitive names."""
    frame = FRAME[["income", "n", "ok", "purpose", "password"]]
    table = make(frame)
    assert shown(table)[0] == [capture.features(row) for row in pl.DataFrame(table).rows(named=True)]
    nested = pl.DataFrame({"a": [[1, 2], []], "s": [{"token": "x"}, {"token": None}]})
    assert shown(nested)[0] == [{"a": [1, 2], "s": {"token": "[redacted]"}}, {"a": [], "s": {"token": None}}]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(3, 2),
        np.array([[1.5, math.nan], [math.inf, -math.inf], [4111111111111111.0, 0.0]]),
        np.array([[True, False], [False, True]]),
        np.array([[2**63, 1], [2, 3]], dtype="uint64"),
        np.array([["2026-01-01", "NaT"]] * 2, dtype="datetime64[s]"),
        np.array([["--password", "hunter2"], ["a", EMAIL]]),
        np.array([[1, "x"], [None, [1, EMAIL]]], dtype=object),
        np.array([[1 + 2j, 3], [4, 5]]),
        np.arange(4, dtype="float16").reshape(2, 2),
        np.arange(4, dtype="longdouble").reshape(2, 2),
        np.asfortranarray(np.arange(8.0).reshape(2, 4)),
        np.matrix([[1, 2], [3, 4]]),
    ],
    ids=lambda array: f"{type(array).__name__}-{array.dtype}-{array.shape}",
)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_a_row_of_an_array_is_shown_as_it_would_be_alone(array: Any) -> None:
    """With every kind of numbers, and those that are none."""
    plain = np.asarray(array)
    assert shown(array)[0] == [capture.features(row) for row in plain]
    assert shown([[1.0]] * len(plain), array)[1] == [capture.features(row) for row in plain]
    assert shown([[1.0]] * len(plain), plain[:, 0])[1] == [capture.features(item) for item in plain[:, 0]]


@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "uint8", "bool", "longdouble"])
@pytest.mark.parametrize("odd", [None, math.nan, math.inf, 4111111111111111], ids=str)
def test_a_long_row_of_an_array_becomes_its_statistics(dtype: str, odd: float | None) -> None:
    """As for the row alone: shape, dtype, n_nan, min, max, mean and std."""
    array = (np.random.default_rng(1).random((4, 100)) * 100).astype(dtype)
    if odd is not None and dtype in ("float64", "longdouble"):
        array[1, 5] = odd
    for found, row in zip(shown(array)[0], array, strict=True):
        alone = capture.features(row)
        assert found.keys() == alone.keys()
        for key, value in alone.items():
            assert found[key] == (pytest.approx(value) if type(value) is float else value), key


def test_masked_items_of_an_array_stay_masked() -> None:
    """What numpy hides is not shown."""
    array = np.ma.masked_array([[1.0, 2.0], [3.0, 4.0]], mask=[[True, False], [False, True]])
    assert shown(array)[0] == [[None, 2.0], [3.0, None]]


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array", "coo_matrix", "dok_matrix", "lil_array"])
def test_rows_of_a_sparse_matrix_are_shown_when_short_and_told_when_long(kind: str) -> None:
    """Short ones as they are, long ones by shape, stored items and statistics of these."""
    dense = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]])
    assert shown(getattr(scipy.sparse, kind)(dense))[0] == dense.tolist()
    wide = np.zeros((2, 50))
    wide[1, 3:6] = (1, 2, 3)
    first, second = shown(getattr(scipy.sparse, kind)(wide))[0]
    assert first == {"shape": [50], "dtype": "float64", "nnz": 0, "n_nan": 0}
    assert second["nnz"] == 3 and (second["min"], second["max"], second["mean"]) == (1.0, 3.0, 2.0)


def test_series_and_arrays_of_predictions_are_split() -> None:
    """Of pandas, polars and numpy, and a table of several outputs."""
    features = [[1.0]] * 2
    for prediction in (pd.Series([0.1, 0.2]), pl.Series([0.1, 0.2]), np.array([0.1, 0.2]), [0.1, 0.2], (0.1, 0.2)):
        assert shown(features, prediction)[1] == [0.1, 0.2]
    assert shown(features, pd.Series([{"a": 1}, EMAIL]))[1] == [{"a": 1}, "[redacted]"]
    assert shown(features, pl.Series([[1, 2], [3]]))[1] == [[1, 2], [3]]
    outputs = pd.DataFrame({"score": [0.1, 0.2], "token": pd.Series(["x", None], dtype=object)})
    assert shown(features, outputs)[1] == [
        {"score": 0.1, "token": "[redacted]"},
        {"score": 0.2, "token": None},
    ]


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (pd.DataFrame({"a": [1.5], "email": [EMAIL]}), {"a": 1.5, "email": "[redacted]"}),
        (pl.DataFrame({"a": [1.5], "email": [EMAIL]}), {"a": 1.5, "email": "[redacted]"}),
        ([{"a": 1.5, "email": EMAIL}], {"a": 1.5, "email": "[redacted]"}),
        (({"a": [EMAIL]},), {"a": ["[redacted]"]}),
        ([[1.0, 2.0]], [1.0, 2.0]),
        (np.ones((1, 2)), [1.0, 1.0]),
        (scipy.sparse.csr_matrix((1, 2)), [0.0, 0.0]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_single_row_is_shown_as_it_would_be_among_others(features: Any, expected: Any) -> None:
    """In one record, with its prediction, so that a question in SQL need not know how many there were."""
    for prediction in ([0.5], np.array([0.5]), pd.Series([0.5]), 0.5):
        batch = batch_of(features, prediction)
        assert batch.is_summary and list(batch.rows()) == [(0, expected, 0.5)]
    assert list(batch_of(features, [1, 2]).rows()) == [(0, expected, [1, 2])]


@pytest.mark.parametrize(
    "prediction",
    [
        None,
        0.5,
        "ab",
        {"a": [1, 2]},
        {1, 2},
        [1, 2, 3],
        np.zeros(3),
        np.array(1.0),
        np.zeros((2, 2, 2)),
        (x for x in "ab"),
    ],
    ids=lambda prediction: type(prediction).__name__,
)
def test_any_other_prediction_stands_whole_on_each_row(prediction: object) -> None:
    """A failed call has none, and a sequence of another length belongs to no row."""
    assert shown([[1.0], [2.0]], prediction)[1] == [capture.features(prediction)] * 2


@pytest.mark.parametrize(
    "features",
    [
        None, 5, "text", b"ab", {"a": [1, 2]}, {"a": 1}, [1.0, 2.0], ["a", "b"], [], [None, {}],
        np.zeros(5), np.zeros((0, 5)), np.zeros((2, 0)), np.zeros((2, 2, 2)), np.float64(1),
        pd.Series([1, 2]), pd.DataFrame(), {1, 2}, (x for x in "ab"), object(), pl.LazyFrame({"a": [1, 2]}),
        scipy.sparse.csr_matrix((0, 3)),
    ],
    ids=lambda features: type(features).__name__,
)  # fmt: skip
def test_what_has_no_rows_is_no_batch(features: object) -> None:
    """The caller then writes one record; nothing is counted as an error."""
    assert Batch.of(features, None, MOST) is None
    assert health.dropped() == {}


def changeable() -> list[tuple[Any, Any]]:
    """Return inputs, each with a function that changes it in every place that it has."""

    def change_rows(rows: list[Any]) -> None:
        rows[0].clear()
        rows.pop()

    def change_inside(rows: list[dict[str, Any]]) -> None:
        rows[0]["tags"].append("changed")
        rows[1]["tags"][0] = "changed"
        rows[1]["deep"]["x"][0]["y"] = "changed"
        rows[1]["array"][0] = -1

    def change_frame(frame: pd.DataFrame) -> None:
        frame.loc[0, "a"] = -1
        frame.iloc[1, 0] = -1
        frame.loc[0, "tags"].append("changed")
        frame["new"] = 1

    def change_array(array: Any) -> None:
        array[0, 0] = -1

    def change_objects(array: Any) -> None:
        array[0, 1].append("changed")

    def change_sparse(matrix: Any) -> None:
        matrix.data[:] = -1

    def change_polars(frame: pl.DataFrame) -> None:
        frame[0, "a"] = -1.0

    inner = {"tags": ["a"], "deep": {"x": [{"y": 1}]}, "array": np.arange(3)}
    objects = np.empty((2, 2), dtype=object)
    objects[:] = [[1, ["a"]], [2, ["b"]]]
    return [
        ([{"a": 1.0}, {"a": 2.0}], change_rows),
        ([[1.0], [2.0]], change_rows),
        ([inner, {**inner, "tags": ["b"]}], change_inside),
        (pd.DataFrame({"a": [1.0, 2.0], "tags": [["x"], ["y"]]}), change_frame),
        (np.arange(4.0).reshape(2, 2), change_array),
        (np.arange(80.0).reshape(2, 40), change_array),
        (objects, change_objects),
        (scipy.sparse.csr_matrix([[1.0, 2.0], [3.0, 4.0]]), change_sparse),
        (scipy.sparse.csr_matrix(np.ones((2, 40))), change_sparse),
        (pl.DataFrame({"a": [1.0, 2.0]}), change_polars),
    ]


@pytest.mark.parametrize("number", range(len(changeable())))
def test_a_change_after_the_call_does_not_show(number: int) -> None:
    """Of the outer value or of anything inside, in features and predictions."""
    value, change = changeable()[number]
    expected = shown(value, value)
    batch = batch_of(value, value)
    change(value)
    assert [(row, prediction) for _, row, prediction in batch.rows()] == list(zip(*expected, strict=True))
    # An array that hands out its memory, too.
    memory = np.arange(4.0)
    frame = pd.DataFrame(memory.reshape(2, 2), copy=False)
    batch = batch_of(frame, frame)
    memory[:] = -1
    assert [row for _, row, _ in batch.rows()] == [{"0": 0.0, "1": 1.0}, {"0": 2.0, "1": 3.0}]


def test_a_prediction_can_be_added_to_features_that_were_copied_before() -> None:
    """The model may change its input; a prediction that cannot be copied costs no features."""

    class Broken(pd.Series):
        def copy(self, deep: bool = True) -> Any:
            raise RuntimeError("no copy")

    features = np.zeros((2, 1))
    batch = batch_of(features)
    features += 1
    assert list(batch.rows()) == [(0, [0.0], None), (1, [0.0], None)]
    size = batch.size
    batch.predicted(np.array([0.1, 0.2]))
    assert list(batch.rows()) == [(0, [0.0], 0.1), (1, [0.0], 0.2)] and batch.size > size
    batch.predicted(Broken([1, 2]))
    ((_, _, shown_as), _) = batch.rows()
    assert shown_as.startswith("<type ") and shown_as.endswith("Broken>")
    assert health.dropped() == {("internal", "copy of a batch"): 1}


def test_rows_can_be_read_again() -> None:
    """With the same result."""
    batch = batch_of(FRAME, [1, 2, 3])
    assert list(batch.rows()) == list(batch.rows())
    assert not batch.is_summary and batch.length == 3 and batch.size > 0


@pytest.mark.parametrize("value", [np.zeros((50, 2)), [[1.0, 2.0]] * 50, pd.DataFrame(np.zeros((50, 2)))], ids=type)
def test_above_the_limit_one_summary_stands_for_all_rows(value: Any) -> None:
    """What it is and its statistics, of features and predictions."""
    batch = batch_of(value, np.arange(50.0), max_rows=49)
    assert batch.is_summary and batch.length == 50
    ((index, features, prediction),) = batch.rows()
    assert (index, features) == (0, capture.features(value))
    assert prediction["shape"] == [50] and prediction["mean"] == 24.5
    assert len(list(batch_of(value, None, max_rows=50).rows())) == 50


def test_a_batch_too_large_for_the_queue_is_a_summary() -> None:
    """However few its rows are."""
    batch = batch_of(np.zeros((10, 500_000)), None)
    assert batch.is_summary and batch.size < 100_000
    ((_, features, _),) = batch.rows()
    assert features["shape"] == [10, 500_000]
    row = batch_of(np.zeros((1, 5_000_000)), [0.5])
    ((_, features, prediction),) = row.rows()
    assert row.size < 100_000 and (features["shape"], prediction) == ([1, 5_000_000], [0.5])


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __reduce__(self) -> str:
        raise RuntimeError("no copy")

    __deepcopy__ = __eq__ = __hash__ = __iter__ = __len__ = __repr__  # type: ignore[assignment]


class Colour(Enum):
    RED = 1


class MyDict(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("code of the value ran")


@dataclasses.dataclass
class Point:
    x: int
    token: str = "t"


def test_no_code_of_a_value_runs_and_one_bad_row_costs_no_other() -> None:
    """A value that cannot be copied is shown by its type, what can be is, and 511 rows are as they were."""
    lock = threading.Lock()
    iterator = iter([1, 2])
    bad = {"odd": Odd(), "lock": lock, "it": iterator, "type": Odd, "f": len, "c": Colour.RED, "my": MyDict(a=1),
           "p": Point(1), "n": np.float64(1.5), "t": pd.Timestamp("2026-01-01"), "big": 2**70}  # fmt: skip
    rows = [{"a": float(place)} for place in range(512)]
    rows[100] = bad  # type: ignore[assignment]
    expected = [capture.features(row) for row in rows]
    assert shown(rows)[0] == expected
    assert expected[100]["my"] == {"a": 1} and expected[100]["p"] == {"x": 1, "token": "[redacted]"}
    assert list(iterator) == [1, 2]
    assert health.dropped() == {}


def test_cycles_and_great_depth_are_noted_in_place() -> None:
    """Rows beside them are whole."""
    cycle: dict[str, Any] = {"a": 1}
    cycle["self"] = cycle
    deep: Any = "x"
    for _ in range(10_000):
        deep = [deep]
    assert shown([cycle, {"a": 2}])[0] == [{"a": 1, "self": "<cycle>"}, {"a": 2}]
    found = shown([{"a": deep}, {"a": 2}])[0]
    assert "<depth>" in json.dumps(found[0]) and found[1] == {"a": 2}


def test_a_copy_that_fails_is_counted_and_the_caller_goes_on() -> None:
    """A subclass of a known class may do anything."""

    class Broken(pd.DataFrame):
        @property
        def shape(self) -> Any:  # type: ignore[override]
            raise RuntimeError("no shape")

    assert Batch.of(Broken({"a": [1, 2]}), None, MOST) is None
    assert health.dropped() == {("internal", "copy of a batch"): 1}


def test_rows_that_cannot_be_read_back_are_told_by_type() -> None:
    """Their number is right, and their predictions are there."""

    @dataclasses.dataclass(frozen=True)
    class Key:
        x: int

    found = list(batch_of([{"k": {Key(1): 1}}, {"k": 2}], [0.1, 0.2]).rows())
    assert found == [(0, "<type list>", 0.1), (1, "<type list>", 0.2)]
    assert health.dropped() == {("internal", "reading of a batch"): 1}


def test_a_callback_sees_every_value_with_its_name(use_redactor: Any) -> None:
    """It may answer differently each time, so that nothing is remembered for it."""
    seen: list[tuple[str, object]] = []

    def callback(key: str, value: object) -> object:
        seen.append((key, value))
        return len(seen)

    use_redactor(callback=callback)
    rows, predictions = shown([{"a": 1.0, "b": "x"}, {"a": 2.0, "b": "x"}], [0.1, 0.1])
    assert rows == [{"a": 1, "b": 2}, {"a": 4, "b": 5}] and predictions == [3, 6]
    assert seen == [("a", 1.0), ("b", "x"), ("", 0.1), ("a", 2.0), ("b", "x"), ("", 0.1)]


@pytest.mark.parametrize("options", [{"patterns": ("NaN|car",)}, {"keys": ("income", "min")}, {"mask": "***"}], ids=str)
def test_further_names_and_patterns_are_masked(options: dict[str, Any], use_redactor: Any) -> None:
    """In frames, and in the statistics of long rows."""
    use_redactor(**options)
    assert shown(FRAME)[0] == rows_of(FRAME)
    array = np.ones((2, 64))
    assert shown(array)[0] == [capture.features(row) for row in array]


def test_with_masking_off_nothing_is_masked() -> None:
    """The bounds hold all the same."""
    before = redaction.current()
    redaction.use(Redactor.off())
    try:
        assert shown([{"email": EMAIL, "x": "y" * 5000}] * 2)[0][0]["email"] == EMAIL
    finally:
        redaction.use(before)


def test_a_canary_is_in_no_row() -> None:
    """In a value, a nested value, a name, or an object of another class."""
    canary = "hunter2canary"
    rows = [
        {"password": canary, "url": f"https://u:{canary}@host/", f"password={canary}": 1, "n": [{"token": canary}]},
        {"password": canary, "x": datetime(2026, 1, 1, tzinfo=UTC), "y": MyDict(token=canary)},
    ]
    for features in (
        rows,
        pd.DataFrame(rows),
        pl.DataFrame({"password": [canary] * 2}),
        [list(r.items()) for r in rows],
    ):
        assert canary not in json.dumps(list(batch_of(features, [{"secret": canary}, canary[:0]]).rows()))


def test_no_library_is_imported_for_it() -> None:
    """Lists and dicts need none of those that tables come from."""
    done = run_python(
        """
        import sys
        from otel_ml.audit.rows import Batch
        assert len(list(Batch.of([{"a": 1, "b": [1]}, {"a": 2, "b": []}], [1, 2], 10).rows())) == 2
        heavy = ("numpy", "pandas", "polars", "pyarrow", "scipy", "opentelemetry.sdk")
        print([name for name in heavy if name in sys.modules])
        """
    )
    assert done.stdout.strip() == "[]", done.stderr
