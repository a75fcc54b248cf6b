"""The results as Markdown."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]

INTRODUCTION = """\
# What a call costs on {python}

Written by `make bench`, for another Python by `make bench PYTHON=...`; the figures behind it are in `results/`. Every
subject runs in a process of its own, unless a note says otherwise. In each of {rounds} rounds they take turns at
{calls:,} calls of the same function, which does nothing, so all rows are one interleaved run. Median and minimum are
over rounds, of the time that the caller waits. CPU is that of all threads until everything recorded has been exported;
on a busy machine it is the steadier figure. A ratio is the median of the ratios within each round, to a bare span of
the stock SDK unless the row says otherwise; goals are held against it. Absolute figures differ between machines:
compare ratios.
"""


def markdown(result: Record) -> str:
    """Return the page for one result, as `__main__` puts it together."""
    rows, settings = result["rows"], result["settings"]
    parts = [
        INTRODUCTION.format(**settings, python=result["machine"]["python"]),
        _verdict(rows),
        "## The ladder\n",
        _ladder([row for row in rows if row["kind"] == "calls" and row["group"] == "ours"]),
        "## Beside others, in the same run\n",
        _peers([row for row in rows if row["kind"] == "calls" and row["group"] != "ours"]),
        "## Latency of a call while spans are encoded and exported\n",
        _latency([row for row in rows if row["kind"] == "latency"]),
        f"## {settings['backlog']:,} spans waiting for export\n",
        _backlog([row for row in rows if row["kind"] == "backlog"]),
        _notes(rows),
        _machine(result["machine"]),
    ]
    return "\n".join(part for part in parts if part)


def _verdict(rows: list[Record]) -> str:
    goals = [row for row in rows if row["goal"]]
    if not goals:
        return ""
    holding = [row for row in goals if row["holds"] is True]
    failing = [row for row in goals if row["holds"] is False]
    silent = len(goals) - len(holding) - len(failing)
    return f"**Of {len(goals)} goals {len(holding)} hold, {len(failing)} do not, and {silent} could not be judged.**\n"


def _ladder(rows: list[Record]) -> str:
    head = ("work per call", "median us", "min us", "ratio", "CPU us", "CPU ratio", "goal", "holds")
    return _table(head, [[_label(row), *_times(row), *_goal(row)] for row in rows])


def _peers(rows: list[Record]) -> str:
    head = ("work per call", "median us", "min us", "ratio", "CPU us", "CPU ratio")
    return _table(head, [[_label(row), *_times(row)] for row in rows])


def _latency(rows: list[Record]) -> str:
    head = (
        "a call of", "p50 us", "p99 us", "p99.9 us", "max us", "exported meanwhile", "ratio of p99.9", "goal", "holds",
    )  # fmt: skip
    cells = [
        [
            _label(row), _number(row, "median_us"), _number(row, "p99_us"), _number(row, "p999_us"),
            _number(row, "max_us"), _percent(row, "exported_meanwhile"), _ratio(row), *_goal(row),
        ]
        for row in rows
    ]  # fmt: skip
    return _table(head, cells)


def _backlog(rows: list[Record]) -> str:
    head = (
        "spans of", "bytes a span", "objects a span", "collector us a span", "longest pause ms, while recording",
        "full collection ms, empty", "with all waiting", "goal", "holds",
    )  # fmt: skip
    cells = [
        [
            _label(row), _number(row, "bytes_per_span"), _number(row, "objects_per_span"),
            _number(row, "gc_per_span", 1e3), _number(row, "longest_pause", 1e6),
            _number(row, "collection_empty", 1e6), _number(row, "collection_waiting", 1e6), *_goal(row),
        ]
        for row in rows
    ]  # fmt: skip
    return _table(head, cells)


def _notes(rows: list[Record]) -> str:
    notes = [f"- {row['label']}: {row['note']}." for row in rows if row["note"]]
    notes += [f"- {row['label']}: not measured. {row['reason']}" for row in rows if row["status"] == "not measured"]
    lossy = [row for row in rows if row.get("lost")]
    notes += [f"- {row['label']}: {row['lost']:,.0f} spans never reached the exporter." for row in lossy]
    return "## Notes\n\n" + "\n".join(notes) + "\n" if notes else ""


def _machine(machine: Record) -> str:
    packages = ", ".join(f"{name} {version or 'not installed'}" for name, version in machine["packages"].items())
    load = machine["load_average_before"]
    busy = load is not None and load > 0.25 * machine["cores"]
    caution = "The machine was not idle: wall times, tails above all, include waiting for a core.\n\n" if busy else ""
    return (
        f"## Machine\n\n{caution}"
        f"{machine['date']}; {machine['cpu']}, {machine['cores']} cores, {machine['system']}, "
        f"load {load} before the run; {machine['python']}.\n\n{packages}.\n"
    )


def _label(row: Record) -> str:
    return str(row["label"])


def _times(row: Record) -> list[str]:
    if row["status"] != "measured":
        return [row["status"], "", "", "", ""]
    wall = [_number(row, "median_us"), _number(row, "min_us"), _ratio(row) if row["measure"] == "wall" else ""]
    return [*wall, _number(row, "cpu_us"), _ratio(row, "cpu_ratio")]


def _ratio(row: Record, key: str = "ratio") -> str:
    if row[key] is None:
        return ""
    text = f"{row[key]:.3g}"
    return text if row["reference"] in ("stock", row["key"]) else f"{text} of `{row['reference']}`"


def _goal(row: Record) -> list[str]:
    if not row["goal"]:
        return ["", ""]
    verdict = {True: "yes", False: "no", None: "not judged"}[row["holds"]]
    over = f" ({_number(row, 'judged')})" if "over" in row["goal"] and "judged" in row else ""
    return [row["goal"], verdict + over]


def _number(row: Record, key: str, divisor: float = 1.0) -> str:
    """Three digits and no exponent."""
    if key not in row:
        return ""
    value = row[key] / divisor
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def _percent(row: Record, key: str) -> str:
    return f"{row[key]:.0%}" if key in row else ""


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    if not rows:
        return "Not part of this run.\n"
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"
