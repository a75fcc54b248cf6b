"""Tables and arrays of pandas, polars, pyarrow, numpy, scipy.sparse and torch, told by class without importing them.

Statistics are taken from at most 1 MiB of the data, every n-th item, so that they cost about the same for any size.
No method of a lazy frame, and none that waits for a device, is called.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Literal

Role = Literal["table", "array", "scalar"]

MOST_ROWS = 32
"""Rows of a table, or items of an array, up to which it is shown in full."""

MISSING = frozenset({"pandas.NAType", "pandas.NaTType"})
"""Classes whose only value stands for a missing one."""

_MOST_COLUMNS = 256
_MOST_SUMMARISED_COLUMNS = 64
_MOST_DTYPES = 32
_LONGEST_NAME = 64
_SAMPLE_BYTES = 1024 * 1024
_NUMERIC_KINDS = "biuf"
_TORCH_DTYPES = frozenset(
    f"torch.{name}" for name in "float64 float32 float16 int64 int32 int16 int8 uint8 bool".split()
)

_ROLES: dict[tuple[str, str], Role] = {
    ("pandas", "DataFrame"): "table",
    ("polars", "DataFrame"): "table",
    ("pyarrow", "Table"): "table",
    ("pyarrow", "RecordBatch"): "table",
    ("pandas", "Series"): "array",
    ("pandas", "Index"): "array",
    ("polars", "Series"): "array",
    ("pyarrow", "Array"): "array",
    ("pyarrow", "ChunkedArray"): "array",
    ("numpy", "ndarray"): "array",
    ("scipy", "_spbase"): "array",
    ("torch", "Tensor"): "array",
    ("numpy", "generic"): "scalar",
}
_LIBRARIES = frozenset(library for library, _ in _ROLES)

# Read past a metaclass, which may answer for its classes as it likes.
_mro_of = type.__dict__["__mro__"].__get__
_module_of = type.__dict__["__module__"].__get__
_qualname_of = type.__dict__["__qualname__"].__get__


def mro(kind: type) -> tuple[type, ...]:
    """Return the classes that `kind` is made of, itself first, without running any code of theirs."""
    return _mro_of(kind)  # type: ignore[no-any-return]


def type_name(kind: type) -> str:
    """Return the qualified name of a class: as one writes it for known libraries, without `builtins`."""
    module, name = _module_of(kind), str(_qualname_of(kind))[:200]
    if not isinstance(module, str) or module == "builtins":
        return name
    library = module.partition(".")[0]
    if library in _LIBRARIES:
        return f"{library}.sparse.{name}" if module.startswith("scipy.sparse.") else f"{library}.{name}"
    return f"{module[:200]}.{name}"


def recognised(kind: type) -> tuple[str, Role] | None:
    """Return the library that defines tables, arrays or scalars of this class, and which of these they are."""
    for base in mro(kind):
        module = _module_of(base)
        library = module.partition(".")[0] if isinstance(module, str) else ""
        if library in _LIBRARIES and (role := _ROLES.get((library, _qualname_of(base)))) is not None:
            return library, role
    return None


def shape(value: Any) -> tuple[int, ...]:
    """Return the lengths of a table or array along its axes."""
    lengths = getattr(value, "shape", None)
    return (len(value),) if lengths is None else tuple(int(length) for length in lengths)


def description(value: Any, library: str, role: Role) -> dict[str, Any]:
    """Return type, shape and dtypes: no value and no statistic."""
    described: dict[str, Any] = {"type": type_name(type(value))}
    if role == "table":
        rows, columns = shape(value)
        dtypes = _by_name(_dtypes(value, library, _MOST_DTYPES))
        described |= {"rows": rows, "columns": columns, "dtypes": dtypes}
        if columns > _MOST_DTYPES:
            dtypes["..."] = f"{columns - _MOST_DTYPES} more"
        return described
    described |= {"shape": list(shape(value)), "dtype": str(value.type if library == "pyarrow" else value.dtype)}
    if library == "torch":
        described["device"] = str(value.device)
    return described


def _by_name(pairs: Iterable[tuple[object, Any]]) -> dict[str, Any]:
    """Return a dict by bounded names of columns, in which columns of the same name are kept apart."""
    named: dict[str, Any] = {}
    for label, item in pairs:
        name = _label(label)[:_LONGEST_NAME]
        while name in named:
            name = f"{name} ({len(named) + 1})"
        named[name] = item
    return named


def _label(label: object) -> str:
    if type(label) is tuple:
        return f"({', '.join(map(_label, label))})"
    return str(label) if type(label) in (str, int, float, bool) else f"<type {type_name(type(label))}>"


def _dtypes(value: Any, library: str, most: int) -> Iterator[tuple[object, str]]:
    if library == "pandas":
        head = value if value.shape[1] <= most else value.iloc[:0, :most]
        return zip(head.columns.tolist(), _texts(head.dtypes.tolist()), strict=True)
    if library == "polars":
        return ((name, str(dtype)) for name, dtype in islice(value.schema.items(), most))
    return ((field.name, str(field.type)) for field in islice(value.schema, most))


def _texts(dtypes: list[Any]) -> Iterator[str]:
    """Yield dtypes as texts; columns have few different ones, and numpy takes 4 us to say what one is called."""
    known: dict[int, str] = {}
    for dtype in dtypes:
        if id(dtype) not in known:
            known[id(dtype)] = str(dtype)
        yield known[id(dtype)]


def labelled(value: Any, library: str) -> dict[Any, Any] | None:
    """Return the items of a pandas Series by label, when it is one row of a table and not a column; else None."""
    if library != "pandas" or not hasattr(value, "index") or not 0 < len(value) <= _MOST_COLUMNS:
        return None
    labels = value.index.tolist()
    return dict(zip(labels, value.tolist(), strict=True)) if type(labels[0]) is str and value.index.is_unique else None


def items(value: Any, library: str) -> Any:
    """Return a copy of a small array as nested lists, or None where that would wait for a device."""
    if library == "torch":
        return value.detach().tolist() if _in_memory(value) else None
    if library == "scipy":
        return value.toarray().tolist()
    if library == "pyarrow":
        return value.to_pylist()
    if library == "numpy" and value.dtype.kind in "mM":  # tolist() of nanoseconds gives bare numbers
        return value.astype(str).tolist()
    return value.to_list() if library == "polars" else value.tolist()


def rows(value: Any, library: str) -> tuple[list[Any], list[tuple[Any, ...]]]:
    """Return the names of the first columns of a table, and its first rows."""
    if library == "pandas":
        head = value.iloc[:MOST_ROWS, :_MOST_COLUMNS]
        return list(head.columns), list(head.itertuples(index=False, name=None))
    if library == "polars":
        head = value[:MOST_ROWS, :_MOST_COLUMNS]
        return head.columns, head.rows()
    head = value.slice(0, MOST_ROWS)
    names = head.schema.names[:_MOST_COLUMNS]
    return names, list(zip(*(head.column(place).to_pylist() for place in range(len(names))), strict=True))


def columns(value: Any, library: str) -> dict[str, dict[str, Any]]:
    """Return dtype and statistics of the first columns of a table, by name."""
    step = _step(math.prod(shape(value)) * 8)
    most = min(shape(value)[1], _MOST_SUMMARISED_COLUMNS)
    series: list[Any] = []
    if library == "pandas":
        series = [value.iloc[:, place] for place in range(most)]
    elif library == "polars":
        series = value[:, :most].get_columns()
    dtypes = _dtypes(value, library, most)
    if not series:
        return _by_name((name, {"dtype": dtype}) for name, dtype in dtypes)
    return _by_name(
        (name, {"dtype": dtype, **_statistics(_numeric(column, library, step), step)})
        for (name, dtype), column in zip(dtypes, series, strict=True)
    )


def statistics(value: Any, library: str) -> dict[str, Any]:
    """Return n_nan, min, max, mean and std of an array; nothing for what is no number, or not in this memory."""
    if library == "scipy":
        # The other formats hold padding, or would have to count.
        is_plain = value.format in ("csr", "csc", "coo", "bsr")
        return {"nnz": int(value.nnz), **statistics(value.data, "numpy")} if is_plain else {}
    if library == "numpy":
        is_file = any(base.__name__ == "memmap" for base in mro(type(value)))
        step = _step(value.nbytes, value.size)
        return {} if is_file else _statistics(_every(value, step), step)
    if library == "torch":
        has_twin = _in_memory(value) and str(value.dtype) in _TORCH_DTYPES
        return statistics(value.detach().numpy(), "numpy") if has_twin else {}
    if library == "pyarrow":
        return {}
    step = _step(len(value) * 8)
    return _statistics(_numeric(value, library, step), step)


def _in_memory(tensor: Any) -> bool:
    return tensor.device.type == "cpu" and str(tensor.layout) == "torch.strided"


def _step(size: int, length: int = 0) -> int:
    """Return the distance of sampled items; it shares no divisor with `length`, so that no column is always missed."""
    step = max(1, math.ceil(size / _SAMPLE_BYTES))
    while step > 1 and math.gcd(step, length or 1) > 1:
        step += 1
    return step


def _every(array: Any, step: int) -> Any:
    """Return every `step`-th item of a numpy array of any layout, without copying all of it."""
    if step == 1:
        return array.reshape(-1)
    is_contiguous = array.flags.c_contiguous or array.flags.f_contiguous
    return array.ravel(order="K")[::step] if is_contiguous else array.flat[::step]


def _numeric(column: Any, library: str, step: int) -> Any:
    """Return every `step`-th item of a column as a numpy array, or None if it holds no numbers."""
    if "numpy" not in sys.modules:  # polars does without
        return None
    if library == "polars":
        return column[::step].to_numpy() if column.dtype.is_numeric() else None
    if getattr(column.dtype, "kind", "O") not in _NUMERIC_KINDS:
        return None
    sample = column.iloc[::step] if hasattr(column, "iloc") else column[::step]
    is_numpy = type(column.dtype).__module__.startswith("numpy")
    return sample.to_numpy() if is_numpy else sample.to_numpy(dtype="float64", na_value=math.nan)


def _statistics(sample: Any, step: int) -> dict[str, Any]:
    if sample is None or sample.dtype.kind not in _NUMERIC_KINDS:
        return {}
    numpy = sys.modules["numpy"]
    sample = numpy.asarray(sample)  # not the subclass, whose methods may mean something else
    with numpy.errstate(all="ignore"):
        is_nan = numpy.isnan(sample)
        n_nan = int(numpy.count_nonzero(is_nan))
        found = sample[~is_nan] if n_nan else sample
        result: dict[str, Any] = {"n_nan": n_nan}
        if found.size:
            result |= {"min": found.min().item(), "max": found.max().item()}
            result |= {"mean": float(found.mean(dtype="float64")), "std": float(found.std(dtype="float64"))}
    return result if step == 1 else {**result, "sampled": int(sample.size)}


def statistics_of_numbers(numbers: list[float], length: int) -> dict[str, Any]:
    """Return the summary of a plain list of numbers, computed without numpy.

    Args:
        numbers: All of the list, or a sample of it.
        length: Items in the list.
    """
    found = [number for number in numbers if number == number]  # noqa: PLR0124  not NaN
    dtype = "float" if any(type(number) is float for number in numbers) else "int"
    result: dict[str, Any] = {"shape": [length], "dtype": dtype, "n_nan": len(numbers) - len(found)}
    if found:
        mean = sum(found) / len(found)
        variance = sum((number - mean) * (number - mean) for number in found) / len(found)
        result |= {"min": min(found), "max": max(found), "mean": mean, "std": math.sqrt(variance)}
    return result if length == len(numbers) else {**result, "sampled": len(numbers)}
