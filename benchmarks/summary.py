"""From measurements to figures: medians over rounds, ratios within a round, and whether a goal holds."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.measures import Measurement
from benchmarks.rounds import Outcome
from benchmarks.rows import Goal, Row

NANOSECONDS = {"us over": 1e3, "ms over": 1e6}


def summarise(rows: tuple[Row, ...], outcomes: dict[str, Outcome]) -> list[dict[str, Any]]:
    """Return one plain record a row, ready for JSON.

    `ratio` is the median of the ratios of each round, because a machine that slows down in between slows both down.
    """
    return [_summary(row, outcomes) for row in rows]


def _summary(row: Row, outcomes: dict[str, Outcome]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "key": row.key,
        "label": row.label,
        "group": row.group,
        "kind": row.kind,
        "measure": row.measure,
        "reference": row.reference,
        "goal": str(row.goal) if row.goal is not None else None,
        "holds": None,
        "ratio": None,
        "cpu_ratio": None,
        "note": row.note,
        "status": "measured",
        "reason": "",
    }
    outcome = outcomes[row.key]
    if outcome.unavailable or not outcome.measurements:
        return {**record, "status": "not measured", "reason": outcome.unavailable or "no round was run"}
    record |= _figures(row, outcome.measurements)
    reference = outcomes.get(row.reference)
    if reference is not None and not reference.unavailable and reference.measurements:
        record["ratio"] = _ratio(outcome, reference, row.measure)
        if row.kind == "calls":
            record["cpu_ratio"] = _ratio(outcome, reference, "cpu")
        if row.goal is not None:
            record |= _judgement(row.goal, record["ratio"], _over(row, outcome, reference))
    record["rounds"] = [{key: _rounded(value) for key, value in one.items()} for one in outcome.measurements]
    return record


def _figures(row: Row, measurements: list[Measurement]) -> dict[str, Any]:
    lost = sum(one["lost"] for one in measurements)
    if row.kind == "backlog":
        return {"lost": lost, **{key: _rounded(value) for key, value in measurements[0].items() if key != "lost"}}
    main = "wall" if row.kind == "calls" else "p50"
    figures = {
        "lost": lost,
        "median_us": _us(statistics.median(one[main] for one in measurements)),
        "min_us": _us(min(one[main] for one in measurements)),
    }
    if row.kind == "calls":
        return {**figures, "cpu_us": _us(statistics.median(one["cpu"] for one in measurements))}
    for key in ("p99", "p999", "max"):
        figures[f"{key}_us"] = _us(statistics.median(one[key] for one in measurements))
    return {**figures, "exported_meanwhile": _rounded(statistics.median(one["exported"] for one in measurements))}


def _ratio(outcome: Outcome, reference: Outcome, measure: str) -> float:
    pairs = zip(_values(outcome, measure), _values(reference, measure), strict=True)
    return _rounded(statistics.median(ours / max(theirs, 1e-9) for ours, theirs in pairs))


def _over(row: Row, outcome: Outcome, reference: Outcome) -> float:
    """Nanoseconds over the reference; for a backlog, over the same process with nothing waiting."""
    if row.kind == "backlog":
        return outcome.measurements[0]["collection_waiting"] - outcome.measurements[0]["collection_empty"]
    pairs = zip(_values(outcome, row.measure), _values(reference, row.measure), strict=True)
    return statistics.median(ours - theirs for ours, theirs in pairs)


def _judgement(goal: Goal, ratio: float, over: float) -> dict[str, Any]:
    value = ratio if goal.unit == "ratio" else _rounded(over / NANOSECONDS[goal.unit])
    return {"judged": value, "holds": value <= goal.limit}


def _values(outcome: Outcome, measure: str) -> list[float]:
    return [one[measure] for one in outcome.measurements]


def _us(nanoseconds: float) -> float:
    return _rounded(nanoseconds / 1e3)


def _rounded(value: float) -> float:
    """Four digits: more would be noise."""
    return float(f"{value:.4g}")
