"""The benchmarks run, and say what they found: no assertion here is about speed."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import run_python

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # last, so that the installed otel_ml stays the one that is tested

from benchmarks import report, rows  # noqa: E402
from benchmarks.rounds import Outcome  # noqa: E402
from benchmarks.rows import Goal, Row  # noqa: E402
from benchmarks.summary import summarise  # noqa: E402

STOCK = Row("stock", "stock", "stock:span", "stock")


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"""
    import runpy, sys
    sys.path.append({str(ROOT)!r})
    sys.argv[1:] = {list(arguments)!r}
    runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
    """
    return run_python(code, timeout=300)


def walls(*values: float) -> Outcome:
    return Outcome([{"wall": value, "cpu": value, "lost": 0} for value in values])


def test_a_small_run_measures_ours_beside_stock_and_keeps_table_and_json(tmp_path: Path) -> None:
    """Two rounds of 50 calls give every kind of row its figures, without a span lost, in JSON and in Markdown."""
    chosen = ["bare", "span", "inference", "audit", "latency", "backlog", "logfire"]
    done = benchmarks(
        *("--rounds", "2", "--calls", "50", "--backlog", "300", "--output", str(tmp_path), "--only", *chosen)
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "RESULTS.md").read_text("utf-8")
    (kept,) = (tmp_path / "results").glob("*.json")
    assert kept.with_suffix(".md").read_text("utf-8") == page
    assert page.strip() == done.stdout.strip()
    result = json.loads(kept.read_text("utf-8"))
    assert result["settings"] == {"rounds": 2, "calls": 50, "backlog": 300}
    assert set(result["machine"]) >= {"date", "cpu", "cores", "python", "packages"}
    records = {record["key"]: record for record in result["rows"]}
    assert set(records) == {*chosen, "stock", "stock_latency", "stock_backlog"}
    for key in ("bare", "stock", "span", "inference", "audit"):
        assert records[key]["median_us"] >= records[key]["min_us"] > 0
        assert len(records[key]["rounds"]) == 2
        assert records[key]["lost"] == 0
    for key in ("latency", "stock_latency"):
        assert records[key]["p999_us"] >= records[key]["median_us"] > 0
        assert records[key]["lost"] == 0
    for key in ("backlog", "stock_backlog"):
        assert (records[key]["waiting"], records[key]["lost"]) == (300, 0)
        assert records[key]["objects_per_span"] > 0
    assert records["stock"]["ratio"] == 1
    assert isinstance(records["span"]["holds"], bool)
    assert records["audit"]["status"] == "measured"


@pytest.mark.parametrize("chosen", ["sklearn", "sklearn_bare"])
def test_what_can_be_switched_off_is_measured_with_and_without_in_one_process(tmp_path: Path, chosen: str) -> None:
    """The row and its reference come from there, whichever is asked for."""
    pytest.importorskip("sklearn")
    done = benchmarks("--rounds", "2", "--calls", "200", "--output", str(tmp_path), "--only", chosen)
    assert done.returncode == 0, done.stderr
    (kept,) = (tmp_path / "results").glob("*.json")
    records = {record["key"]: record for record in json.loads(kept.read_text("utf-8"))["rows"]}
    assert set(records) == {"stock", "sklearn", "sklearn_bare"}
    for key in ("sklearn", "sklearn_bare"):
        assert (records[key]["status"], records[key]["lost"], len(records[key]["rounds"])) == ("measured", 0, 2)
        assert records[key]["median_us"] >= records[key]["min_us"] > 0
    assert records["sklearn"]["ratio"] > 0


def test_a_peer_that_is_not_installed_is_a_row_that_says_so(tmp_path: Path) -> None:
    """A missing peer costs its own row only, and the page names the reason."""
    missing = [row.key for row in rows.PEERS if importlib.util.find_spec(row.key) is None]
    if not missing:
        pytest.skip("all peers are installed here")
    done = benchmarks("--rounds", "1", "--calls", "20", "--output", str(tmp_path), "--only", *missing)
    assert done.returncode == 0, done.stderr
    (kept,) = (tmp_path / "results").glob("*.json")
    records = {record["key"]: record for record in json.loads(kept.read_text("utf-8"))["rows"]}
    for peer in missing:
        assert records[peer]["status"] == "not measured"
        assert records[peer]["reason"] == f"ModuleNotFoundError: No module named '{peer}'"
        assert records[peer]["reason"] in done.stdout
    assert records["stock"]["status"] == "measured"


def test_an_unknown_row_is_refused_with_the_names_of_all_rows() -> None:
    """A misspelt `--only` runs nothing, and the message lists what there is."""
    done = benchmarks("--only", "sapn")
    assert done.returncode == 2
    assert "no row is called sapn" in done.stderr
    assert all(row.key in done.stderr for row in rows.ROWS)


def test_chosen_rows_bring_what_they_are_compared_with() -> None:
    """A ratio needs its reference in the same run."""
    assert {row.key for row in rows.chosen(["raising"])} == {"raising", "stock_raising", "stock"}
    assert rows.chosen([]) == rows.ROWS


def test_every_row_has_a_reference_and_goals_are_ours() -> None:
    """The table is consistent: keys are unique, references exist, and only rows of ours are held to a goal."""
    keys = [row.key for row in rows.ROWS]
    assert len(set(keys)) == len(keys)
    assert {row.reference for row in rows.ROWS} <= set(keys)
    assert all(row.group == "ours" for row in rows.ROWS if row.goal is not None)


def test_a_ratio_is_the_median_of_the_ratios_within_each_round() -> None:
    """A machine that is ten times slower in one round slows both down, so that the ratio stays."""
    row = Row("span", "span", "ladder:span", goal=Goal(0.5))
    ours, stock = summarise((row, STOCK), {"span": walls(1000, 10_000, 3000), "stock": walls(2000, 20_000, 2000)})
    assert (ours["ratio"], ours["cpu_ratio"], ours["median_us"], ours["min_us"]) == (0.5, 0.5, 3.0, 1.0)
    assert ours["holds"] is True
    assert (stock["ratio"], stock["goal"], stock["holds"]) == (1.0, None, None)


@pytest.mark.parametrize(("limit", "holds"), [(0.25, True), (0.19, False)])
def test_a_goal_of_microseconds_is_judged_by_the_difference(limit: float, holds: bool) -> None:
    """The disabled decorator is held to what it adds to the bare function, not to a ratio."""
    row = Row("disabled", "disabled", "ladder:disabled", reference="bare", goal=Goal(limit, "us over"))
    bare = Row("bare", "bare", "stock:bare")
    record, _ = summarise((row, bare), {"disabled": walls(270, 270), "bare": walls(70, 70)})
    assert (record["judged"], record["holds"]) == (0.2, holds)


def test_what_could_not_be_measured_is_neither_held_nor_hidden() -> None:
    """A worker that died judges nothing, and the page says why."""
    row = Row("span", "our span", "ladder:span", goal=Goal(0.5))
    outcomes = {"span": Outcome([], "the process ended: MemoryError"), "stock": walls(1000)}
    result = {
        "machine": {"date": "2026-01-01", "cpu": "c", "cores": 8, "system": "s", "python": "p",
                    "load_average_before": 0.1, "packages": {"logfire": None}},
        "settings": {"rounds": 1, "calls": 1, "backlog": 1},
        "rows": summarise((row, STOCK), outcomes),
    }  # fmt: skip
    page = report.markdown(result)
    assert result["rows"][0]["holds"] is None
    assert "0 hold, 0 do not, and 1 could not be judged" in page
    assert "our span: not measured. the process ended: MemoryError" in page
    assert "logfire not installed" in page


def test_lost_spans_are_said() -> None:
    """A subject that drops spans is cheaper than one that exports them, so the page may not be silent about it."""
    outcomes = {"stock": Outcome([{"wall": 1.0, "cpu": 1.0, "lost": 7}, {"wall": 1.0, "cpu": 1.0, "lost": 5}])}
    (record,) = summarise((STOCK,), outcomes)
    assert record["lost"] == 12
    assert "stock: 12 spans never reached the exporter" in report._notes([record])


def test_every_microsecond_in_the_readme_comes_from_the_results() -> None:
    """A figure of speed in the README is one that the last full run measured."""
    readme, results = ROOT / "README.md", ROOT / "benchmarks" / "RESULTS.md"
    figures = re.findall(r"(\d[\d.,]*)\s?(?:us|µs|microseconds)\b", readme.read_text("utf-8"))
    measured = set(re.findall(r"\d[\d.,]*", results.read_text("utf-8")))
    assert [figure for figure in figures if figure not in measured] == []
