"""Tables and arrays of six libraries are described, copied when small, and summarised when large."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from otel_ml import capture, health, summaries
from support import run_python

NAN = math.nan
PANDAS = pd.DataFrame({"a": [1, 2], "b": [1.5, NAN]})
BY_TYPE = {"a": "int64", "b": "float64"}
POLARS = pl.DataFrame({"a": [1, 2], "b": [1.5, None]})
ARROW = pa.table({"a": [1, 2], "b": [1.5, None]})


@pytest.mark.parametrize(
    ("value", "description", "size"),
    [
        (PANDAS, {"type": "pandas.DataFrame", "rows": 2, "columns": 2, "dtypes": BY_TYPE}, (2, 2)),
        (POLARS, {"type": "polars.DataFrame", "rows": 2, "columns": 2,
                  "dtypes": {"a": "Int64", "b": "Float64"}}, (2, 2)),
        (ARROW, {"type": "pyarrow.Table", "rows": 2, "columns": 2, "dtypes": {"a": "int64", "b": "double"}}, (2, 2)),
        (ARROW.to_batches()[0], {"type": "pyarrow.RecordBatch", "rows": 2, "columns": 2,
                                 "dtypes": {"a": "int64", "b": "double"}}, (2, 2)),
        (PANDAS["a"], {"type": "pandas.Series", "shape": [2], "dtype": "int64"}, (2, None)),
        (PANDAS.index, {"type": "pandas.RangeIndex", "shape": [2], "dtype": "int64"}, (2, None)),
        (POLARS["a"], {"type": "polars.Series", "shape": [2], "dtype": "Int64"}, (2, None)),
        (ARROW["a"], {"type": "pyarrow.ChunkedArray", "shape": [2], "dtype": "int64"}, (2, None)),
        (pa.array([1]), {"type": "pyarrow.Int64Array", "shape": [1], "dtype": "int64"}, (1, None)),
        (np.zeros((3, 4), "f4"), {"type": "numpy.ndarray", "shape": [3, 4], "dtype": "float32"}, (3, 4)),
        (np.zeros((8, 3, 32, 32)), {"type": "numpy.ndarray", "shape": [8, 3, 32, 32], "dtype": "float64"}, (8, None)),
        (np.array(5), {"type": "numpy.ndarray", "shape": [], "dtype": "int64"}, (None, None)),
        (np.float32(1), {"type": "numpy.float32"}, (None, None)),
        (sp.csr_array(np.eye(3)), {"type": "scipy.sparse.csr_array", "shape": [3, 3], "dtype": "float64"}, (3, 3)),
        (sp.dok_matrix((3, 4)), {"type": "scipy.sparse.dok_matrix", "shape": [3, 4], "dtype": "float64"}, (3, 4)),
        (POLARS.lazy(), {"type": "polars.LazyFrame"}, (None, None)),
        ([np.zeros(3), np.zeros(3)], {"type": "list", "length": 2}, (2, 3)),
        ({"a": np.zeros(5), "b": np.zeros(5)}, {"type": "dict", "length": 2}, (5, 2)),
    ],
)  # fmt: skip
def test_a_description_has_shape_and_dtypes(value: object, description: dict[str, Any], size: tuple[Any, Any]) -> None:
    """And no value; rows and columns are the same for every library."""
    assert capture.describe(value) == description
    assert capture.rows_and_columns(value) == size


@pytest.mark.parametrize(
    "table", [PANDAS, POLARS, ARROW, ARROW.to_batches()[0]], ids=lambda table: type(table).__name__
)
def test_a_small_table_is_copied_by_rows(table: Any) -> None:
    """A row is a dict, so that keys are masked; a missing value stays missing."""
    missing = "NaN" if isinstance(table, pd.DataFrame) else None
    assert capture.snapshot(table) == [{"a": 1, "b": 1.5}, {"a": 2, "b": missing}]
    assert orjson.loads(orjson.dumps(capture.snapshot({"x": table}))) == {"x": capture.snapshot(table)}


def test_columns_of_a_table_are_masked_by_name_and_content() -> None:
    """Small by cell, large by column; one row taken out of a table keeps its names."""
    small = pd.DataFrame({"user_email": ["x"], "note": ["call +49 30 1234567"], "age": [41]})
    assert capture.features(small) == [{"user_email": "[redacted]", "note": "call [redacted]", "age": 41}]
    assert capture.features(small.iloc[0]) == {"user_email": "[redacted]", "note": "call [redacted]", "age": 41}
    large = pd.DataFrame({"pin": range(100), "age": range(100)})
    summary = capture.features(large)["summary"]
    assert summary["pin"] == "[redacted]"
    assert summary["age"]["max"] == 99


LARGE = {"i": list(range(200)), "f": [NAN, *map(float, range(1, 200))], "s": ["x"] * 200}


@pytest.mark.parametrize("table", [pd.DataFrame(LARGE), pl.DataFrame(LARGE)], ids=["pandas", "polars"])
def test_a_large_table_is_summarised_by_column(table: Any) -> None:
    """Numbers by their statistics, anything else by its dtype only."""
    copy = capture.snapshot(table)
    assert (copy["rows"], copy["columns"], "dtypes" in copy) == (200, 3, False)
    assert copy["summary"]["i"] | {"dtype": ""} == {
        "dtype": "", "n_nan": 0, "min": 0, "max": 199, "mean": 99.5, "std": pytest.approx(57.734, abs=1e-3)
    }  # fmt: skip
    assert (copy["summary"]["f"]["n_nan"], copy["summary"]["f"]["min"]) == (1, 1.0)
    assert list(copy["summary"]["s"]) == ["dtype"]


def test_a_large_arrow_table_is_told_by_its_dtypes() -> None:
    """Its columns are not converted."""
    copy = capture.snapshot(pa.table(LARGE))
    assert copy["summary"] == {"i": {"dtype": "int64"}, "f": {"dtype": "double"}, "s": {"dtype": "string"}}


def test_pandas_extension_types_are_summarised_and_missing_values_are_none() -> None:
    """Nullable, arrow-backed and categorical columns, NaT and NA."""
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None], dtype="Int64"),
            "t": pd.to_datetime(["2024-01-01", None]),
            "c": pd.Categorical(["a", "b"]),
            "p": pd.array([1.5, None], dtype="float64[pyarrow]"),
        }
    )
    assert capture.snapshot(frame) == [
        {"n": 1, "t": "2024-01-01T00:00:00", "c": "a", "p": 1.5},
        {"n": None, "t": None, "c": "b", "p": None},
    ]
    summary = capture.snapshot(pd.concat([frame] * 50, ignore_index=True))["summary"]
    assert summary["n"] == {"dtype": "Int64", "n_nan": 50, "min": 1.0, "max": 1.0, "mean": 1.0, "std": 0.0}
    assert (summary["p"]["n_nan"], summary["t"], summary["c"]["dtype"]) == (
        50,
        {"dtype": str(frame["t"].dtype)},
        "category",
    )


def test_odd_columns_are_kept_apart() -> None:
    """Two of the same name, tuples, numbers and objects as names."""
    frame = pd.DataFrame([[1, 2, 3, 4, 5]], columns=pd.Index(["a", "a", ("a", 1), 7, summaries], dtype=object))
    assert capture.snapshot(frame) == [{"a": 1, "a (2)": 2, "(a, 1)": 3, "7": 4, "<type module>": 5}]
    assert list(capture.describe(frame)["dtypes"]) == ["a", "a (2)", "(a, 1)", "7", "<type module>"]


def test_wide_and_empty_tables_are_bounded() -> None:
    """32 dtypes, 256 cells a row, 64 summarised columns; no rows is a description."""
    wide = pd.DataFrame(np.zeros((2, 1000)))
    assert capture.describe(wide)["dtypes"]["..."] == "968 more"
    assert capture.snapshot(wide)[0]["..."] == "744 more"
    assert len(capture.snapshot(pd.concat([wide] * 50))["summary"]) == 64
    assert capture.snapshot(PANDAS.iloc[:0])["dtypes"] == {"a": "int64", "b": "float64"}
    assert capture.snapshot(pd.DataFrame()) == {"type": "pandas.DataFrame", "rows": 0, "columns": 0, "dtypes": {}}
    assert capture.snapshot(pl.DataFrame())["rows"] == 0


@pytest.mark.parametrize(
    ("value", "copy"),
    [
        (np.array([1.0, NAN, math.inf]), [1.0, "NaN", "Infinity"]),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array(5.0), 5.0),
        (np.zeros((0, 3)), []),
        (np.array([b"a", "b", None, object()], dtype=object), ["a", "b", None, "<type object>"]),
        (np.array(["2024-01-01"], dtype="M8[ns]"), ["2024-01-01T00:00:00.000000000"]),
        (np.ma.masked_array([1, 2], mask=[True, False]), [None, 2]),
        (np.zeros(1, dtype=[("a", int), ("b", float)]), [[0, 0.0]]),
        (np.array([1], dtype=np.longdouble), [1.0]),
        (np.array([2**64 - 1], dtype="u8"), ["18446744073709551615"]),
        (np.array([1j]), ["1j"]),
        (np.int64(3), 3), (np.float32(1.5), 1.5), (np.float64(NAN), "NaN"), (np.bool_(True), True), (np.str_("x"), "x"),
        (np.bytes_(b"x"), "x"), (np.datetime64("2024-01-01", "ns"), "2024-01-01T00:00:00.000000000"),
        (np.longdouble(1), 1.0), (np.uint64(2**64 - 1), "18446744073709551615"), (np.complex64(1j), "1j"),
        ({np.int64(1): np.float32(2)}, {"1": 2.0}),
        (pd.Series([1, 2]), [1, 2]), (PANDAS.index, [0, 1]), (pl.Series([1, None]), [1, None]),
        (pa.array([1, None]), [1, None]), (ARROW["b"], [1.5, None]),
        (sp.csr_array(np.eye(2)), [[1.0, 0.0], [0.0, 1.0]]),
    ],
)  # fmt: skip
def test_a_small_array_or_scalar_is_copied(value: Any, copy: Any) -> None:
    """As plain numbers, and as exact text where JSON has no equal."""
    assert capture.snapshot(value) == copy
    assert type(capture.snapshot(value)) is type(copy)
    assert health.dropped() == {}


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.arange(100), "int64"),
        (np.arange(100, dtype="f2"), "float16"),
        (np.arange(100, dtype=np.longdouble), str(np.dtype(np.longdouble))),
        (np.arange(200)[::2].astype("u8") // 2, "uint64"),
        (np.asfortranarray(np.arange(100).reshape(10, 10)), "int64"),
        (np.arange(400).reshape(20, 20)[::2, ::2] * 0 + np.arange(100).reshape(10, 10), "int64"),
        (pd.Series(range(100)), "int64"),
        (pl.Series(range(100)), "Int64"),
    ],
    ids=["int", "half", "long double", "unsigned", "fortran", "strided", "pandas", "polars"],
)
def test_a_large_array_is_summarised(value: Any, dtype: str) -> None:
    """The same six figures for every library and layout."""
    summary = capture.snapshot(value)
    assert math.prod(summary.pop("shape")) == 100
    assert summary == {
        "dtype": dtype, "n_nan": 0, "min": 0, "max": 99, "mean": 49.5, "std": pytest.approx(28.866, abs=1e-3)
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["U3", "M8[s]", "c16", "O"])
def test_an_array_of_something_else_is_told_by_shape_and_dtype(dtype: str) -> None:
    """No comparison of objects takes place."""
    value = np.zeros((50, 2), dtype)
    assert capture.snapshot(value) == {"shape": [50, 2], "dtype": str(value.dtype)}


def test_arrays_without_numbers_in_them_have_no_extremes() -> None:
    """All NaN, and none at all."""
    assert capture.snapshot(np.full(50, NAN)) == {"shape": [50], "dtype": "float64", "n_nan": 50}
    assert capture.snapshot(np.array([math.inf, -math.inf] * 50))["mean"] == "NaN"


@given(npst.arrays(st.sampled_from(["f8", "f4", "i8", "u1", "?"]), st.tuples(st.integers(4, 9), st.integers(9, 12))))
def test_statistics_are_those_of_numpy(array: np.ndarray[Any, Any]) -> None:
    """Over everything that is not NaN."""
    summary = capture.snapshot(array)
    numbers = array[~np.isnan(array)]
    assert summary["n_nan"] == array.size - numbers.size
    if numbers.size and np.isfinite(numbers).all():
        assert summary["min"] == numbers.min()
        assert summary["max"] == numbers.max()
        with np.errstate(all="ignore"):
            mean = float(numbers.mean(dtype="f8"))  # of numbers near the largest one it may be infinite
        if math.isfinite(mean):
            assert summary["mean"] == pytest.approx(mean)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(1_310_720, dtype="f8"),
        np.arange(1_310_720, dtype="f8").reshape(-1, 10),
        np.asfortranarray(np.arange(1_310_720, dtype="f8").reshape(-1, 10)),
        np.arange(2_621_440, dtype="f8").reshape(-1, 20)[:, ::2],
    ],
    ids=["vector", "matrix", "fortran", "strided"],
)
def test_ten_megabytes_are_sampled_across_all_columns(array: np.ndarray[Any, Any]) -> None:
    """At most 1 MiB is read; no column is always missed, so that each of them shows in the mean."""
    summary = capture.snapshot(array)
    assert summary["shape"] == list(array.shape)
    assert summary["sampled"] * 8 <= summaries._SAMPLE_BYTES
    assert summary["mean"] == pytest.approx(float(array.mean()), rel=1e-3)
    columns = np.zeros((131_072, 10))
    columns[:, 3] = 1
    assert capture.snapshot(columns)["mean"] == pytest.approx(0.1, rel=0.01)


def test_a_large_sparse_matrix_is_summarised_by_what_it_stores() -> None:
    """It is never made dense; formats that would have to count are told by their shape."""
    matrix = sp.eye_array(100_000, format="csr")
    assert capture.snapshot(matrix) == {
        "shape": [100_000, 100_000], "dtype": "float64", "nnz": 100_000,
        "n_nan": 0, "min": 1.0, "max": 1.0, "mean": 1.0, "std": 0.0,
    }  # fmt: skip
    for layout in ("coo", "csc", "bsr"):
        assert capture.snapshot(sp.eye_array(100, format="csr").asformat(layout))["nnz"] == 100
    for layout in ("lil", "dok", "dia"):
        assert capture.snapshot(sp.eye_array(100).asformat(layout)) == {"shape": [100, 100], "dtype": "float64"}


def test_a_file_is_not_read(tmp_path: Path) -> None:
    """A memory-mapped array is told by its shape: reading it would wait for a disk."""
    mapped = np.memmap(tmp_path / "x.bin", dtype="f8", mode="w+", shape=(1000,))
    assert capture.snapshot(mapped) == {"shape": [1000], "dtype": "float64"}


def test_a_later_change_of_an_array_does_not_show() -> None:
    """Nor does one of a table."""
    array, frame = np.zeros(3), pd.DataFrame({"a": [0]})
    copies = [capture.snapshot(array), capture.snapshot(frame), capture.snapshot([array])]
    array[:] = 1
    frame.loc[0, "a"] = 1
    assert copies == [[0.0] * 3, [{"a": 0}], [[0.0] * 3]]


def test_an_array_that_contains_itself_ends() -> None:
    """Objects in arrays are followed to the usual depth."""
    array = np.empty(1, dtype=object)
    array[0] = array
    orjson.dumps(capture.snapshot(array))


class Broken(pd.DataFrame):
    @property
    def shape(self) -> Any:
        raise RuntimeError("broken")


def test_a_subclass_that_raises_costs_itself_only() -> None:
    """Its neighbours are copied, and the failure is counted."""
    broken = Broken({"a": [1]})
    assert capture.snapshot({"x": broken, "y": 1}) == {"x": f"<type {__name__}.Broken>", "y": 1}
    assert capture.describe(broken) == {"type": f"{__name__}.Broken"}
    assert capture.rows_and_columns(broken) == (None, None)
    assert health.dropped() == {("internal", "capture"): 3}


def test_what_only_claims_to_be_of_a_library_does_no_harm() -> None:
    """A class named like a DataFrame that has none of its methods."""
    impostor = type("DataFrame", (), {"__module__": "pandas.core.frame"})()
    assert capture.snapshot([impostor]) == ["<type pandas.DataFrame>"]
    assert capture.rows_and_columns(impostor) == (None, None)


def test_torch_tensors_are_summarised_in_memory_and_described_elsewhere() -> None:
    """A tensor that requires gradients, one in half precision, one on a device without data."""
    torch = pytest.importorskip("torch")
    assert capture.describe(torch.zeros(2, 3)) == {
        "type": "torch.Tensor", "shape": [2, 3], "dtype": "torch.float32", "device": "cpu"
    }  # fmt: skip
    assert capture.snapshot(torch.ones(2, requires_grad=True)) == [1.0, 1.0]
    assert capture.snapshot(torch.arange(100.0))["mean"] == 49.5
    assert "mean" not in capture.snapshot(torch.zeros(100, dtype=torch.bfloat16))
    assert capture.snapshot(torch.zeros(3, device="meta"))["device"] == "meta"


def test_polars_is_described_without_numpy() -> None:
    """That library does not need it, so neither do we; nothing is imported for it."""
    result = run_python(
        """
        import sys
        sys.modules["numpy"] = None  # cannot be imported
        import polars
        from otel_ml import capture, health
        del sys.modules["numpy"]
        copy = capture.snapshot(polars.DataFrame({"a": range(100)}))
        assert copy["summary"] == {"a": {"dtype": "Int64"}}, copy
        assert not health.dropped() and "numpy" not in sys.modules
        """
    )
    assert result.returncode == 0, result.stderr


def test_no_library_is_imported() -> None:
    """They are recognised by what a value says of itself."""
    result = run_python(
        f"""
        import sys
        from otel_ml import capture
        capture.features({{"a": [1.0] * 100, "b": object()}})
        print(*(name for name in {sorted(summaries._LIBRARIES)!r} if name in sys.modules))
        """
    )
    assert (result.returncode, result.stdout.split(), result.stderr) == (0, [], "")
    assert "numpy" in sys.modules
