"""The dashboards are what the code generates, and keep the rules that make them readable."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins

from otel_ml import conventions
from otel_ml.metrics.names import metric_name

GRAFANA = Path(__file__).parents[2] / "grafana"
CODE = GRAFANA / "dashboards"
PAGES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((CODE / "json").glob("*.json"))}
PANELS = [(uid, panel) for uid, page in PAGES.items() for panel in page["panels"] if panel["type"] != "row"]
TARGETS = [(panel, target) for _, panel in PANELS for target in panel.get("targets", [])]
PROMQL = [(panel, target) for panel, target in TARGETS if target["datasource"]["type"] == "prometheus"]
LOGQL = [(panel, target) for panel, target in TARGETS if target["datasource"]["type"] == "loki"]
WITHOUT_UNIT = {"alertlist", "logs", "nodeGraph"}  # they show no number of ours
COUNTER = re.compile(r".+_(total|count|sum|bucket)")
VARIABLES = {
    "otel-ml-overview": ["environment", "service"],
    "otel-ml-model": ["environment", "service", "model", "version", "slower"],
    "otel-ml-runs": ["environment", "service", "run"],
    "otel-ml-health": ["environment", "service"],
}


def named(value: Any) -> str | None:
    return value["title"].replace(" ", "_") if isinstance(value, dict) and "title" in value else None


def parsed(expression: str) -> promql_parser.Expr:
    """Parse PromQL with Grafana's own variables replaced; those inside matchers are plain text."""
    return promql_parser.parse(re.sub(r"\[\$\w+\]", "[5m]", expression))


def generate(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(directory), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_files_are_what_the_code_generates() -> None:
    """Nobody edited the JSON, and nobody forgot to generate it."""
    done = generate(CODE, "--check")
    assert done.returncode == 0, done.stderr


def test_check_names_what_differs(tmp_path: Path) -> None:
    """A changed, a missing and a left-over file are told, and nothing is written; generating mends the first two."""
    code = tmp_path / "dashboards"
    shutil.copytree(CODE, code, ignore=shutil.ignore_patterns("__pycache__"))
    changed, missing = code / "json" / "otel-ml-model.json", code / "json" / "otel-ml-runs.json"
    changed.write_text(changed.read_text("utf-8").replace("ML model", "My model"), "utf-8")
    missing.unlink()
    (code / "json" / "old.json").write_text("{}", "utf-8")
    done = generate(code, "--check")
    assert done.returncode == 1
    for words in ("old.json is not generated", f"{changed.name} differs", f"{missing.name} is missing"):
        assert words in done.stderr
    assert not missing.exists()
    assert generate(code).returncode == 0
    assert "not generated" in (told := generate(code, "--check").stderr)
    assert "differs" not in told
    assert "missing" not in told


@pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")
@pytest.mark.parametrize("uid", PAGES)
def test_grafana_understands_every_field(uid: str) -> None:
    """Read by the types that Grafana publishes and written again, nothing is lost or changed."""
    from grafana_foundation_sdk.models.dashboard import Dashboard  # says on import that v2 is to be preferred

    register_default_plugins()
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(PAGES[uid]))) == PAGES[uid]


def test_there_are_four_dashboards() -> None:
    """Their addresses never change: alerts and bookmarks point to them."""
    assert list(PAGES) == sorted(VARIABLES)


@pytest.mark.parametrize("uid", PAGES)
def test_dashboard_is_set_up_like_the_others(uid: str) -> None:
    """Not editable, one crosshair for all panels, a calm refresh, and links that keep time and choices."""
    page = PAGES[uid]
    assert page["uid"] == uid
    assert page["schemaVersion"] == 42
    assert page["editable"] is False
    assert page["graphTooltip"] == 1
    assert page["refresh"] in ("30s", "1m")
    assert page["time"]["to"] == "now"
    assert page["tags"] == ["otel_ml"]
    assert page["description"].endswith("?")
    (link,) = page["links"]
    assert (link["tags"], link["keepTime"], link["includeVars"]) == (["otel_ml"], True, True)


@pytest.mark.parametrize("uid", PAGES)
def test_panels_fill_the_grid_without_overlap(uid: str) -> None:
    """Ids are unique, no two panels share a cell, and no line has a hole."""
    panels = PAGES[uid]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        for g in (panel["gridPos"] for panel in panels)
    ]
    assert all(one.isdisjoint(other) for one, other in combinations(cells, 2))
    used = set().union(*cells)
    assert used == {(x, y) for x in range(24) for y in range(max(y for _, y in used) + 1)}


def test_alerts_are_on_top_of_the_overview() -> None:
    """Who was paged sees first what fires."""
    first = PAGES["otel-ml-overview"]["panels"][0]
    assert first["type"] == "alertlist"
    assert (first["gridPos"]["x"], first["gridPos"]["y"]) == (0, 0)


@pytest.mark.parametrize(("uid", "panel"), PANELS, ids=named)
def test_panel_says_what_it_answers(uid: str, panel: dict[str, Any]) -> None:
    """A panel has a title, a question as its description, and a unit."""
    assert panel["title"]
    assert "?" in panel["description"]
    assert panel["type"] in WITHOUT_UNIT or panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("uid", PAGES)
def test_titles_are_unique(uid: str) -> None:
    """No two panels of a dashboard are called the same, so that one can speak of them."""
    titles = [panel["title"] for panel in PAGES[uid]["panels"] if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("panel", [panel for _, panel in PANELS], ids=named)
def test_data_comes_from_the_provisioned_sources(panel: dict[str, Any]) -> None:
    """Panel and targets name the data sources by the uids that provisioning fixes, and each target has its letter."""
    targets = panel.get("targets", [])
    assert targets or panel["type"] == "alertlist"
    for source in [target["datasource"] for target in targets] + ([panel["datasource"]] if targets else []):
        assert source["uid"] == source["type"]
        assert source["uid"] in ("prometheus", "loki", "tempo")
    assert len({target["refId"] for target in targets}) == len(targets)


@pytest.mark.parametrize(("panel", "target"), PROMQL, ids=named)
def test_counters_are_read_as_rates(panel: dict[str, Any], target: dict[str, Any]) -> None:
    """What only grows is inside rate or increase, over Grafana's own windows."""
    inside: list[str] = []
    bare: list[str] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.Call) and node.func.name in ("rate", "increase"):
            inside.append(node.args[0].vector_selector.name)
        elif isinstance(node, promql_parser.VectorSelector):
            bare.append(node.name)
        return True

    promql_parser.walk(parsed(target["expr"]), visit)
    selected = [name for name in bare if COUNTER.fullmatch(name)]
    assert [name for name in selected if name not in inside] == []
    assert set(re.findall(r"\[(.*?)\]", target["expr"])) <= {"$__rate_interval", "$__range"}


@pytest.mark.parametrize(("panel", "target"), LOGQL, ids=named)
def test_logs_are_counted_over_grafanas_windows(panel: dict[str, Any], target: dict[str, Any]) -> None:
    """LogQL leaves the window to Grafana: `$__auto` over time, `$__range` for one number."""
    assert set(re.findall(r"\[(.*?)\]", target["expr"])) <= {
        "$__auto" if target["queryType"] == "range" else "$__range"
    }


@pytest.mark.parametrize(("panel", "target"), PROMQL, ids=named)
def test_exemplars_are_asked_for_durations_only(panel: dict[str, Any], target: dict[str, Any]) -> None:
    """Elsewhere they would be dots without meaning."""
    if target["exemplar"]:
        assert "_seconds_bucket" in target["expr"]
        assert panel["type"] in ("timeseries", "heatmap")


def test_each_graph_of_durations_has_exemplars() -> None:
    """From every graph of durations that has buckets a click leads to a trace."""
    shown = [(panel, target) for panel, target in PROMQL if panel["type"] in ("timeseries", "heatmap")]
    with_buckets = {panel["title"] for panel, target in shown if "_seconds_bucket" in target["expr"]}
    assert {panel["title"] for panel, target in shown if target["exemplar"]} == with_buckets


@pytest.mark.parametrize("uid", PAGES)
def test_choices_are_safe_in_regular_expressions(uid: str) -> None:
    """Several values can be chosen where queries match by expression, and "All" suits Loki, too."""
    variables = {variable["name"]: variable for variable in PAGES[uid]["templating"]["list"]}
    assert list(variables) == VARIABLES[uid]
    asked = [target.get("expr") or target["query"] for panel_uid, panel in PANELS if panel_uid == uid
             for target in panel.get("targets", []) if target.get("queryType") != "serviceMap"]  # fmt: skip
    asked += [variable["query"]["query"] for variable in variables.values() if variable["type"] == "query"]
    for name, variable in variables.items():
        if variable.get("multi"):
            assert variable["includeAll"]
            assert variable["allValue"] == (".+" if name == "service" else ".*")
            matched_by = {match[1] for text in asked for match in re.finditer(rf'([=!~]+) ?"[^"]*\${name}\b', text)}
            assert matched_by == {"=~"}


def test_our_names_are_never_spelled_again() -> None:
    """The code takes every name of ours from the conventions; only a tag and the link's title say `otel_ml`."""
    for path in CODE.glob("*.py"):
        text = re.sub(r"from otel_ml|\"otel_ml\"|`otel_ml\.conventions`", "", path.read_text("utf-8"))
        assert re.findall(r".*otel_ml.*", text) == [], path.name


def test_our_names_in_queries_are_those_that_we_emit() -> None:
    """What a query asks for under our prefix is a name of the conventions."""
    prefix = metric_name(conventions.SCOPE)
    emitted = {metric_name(value) for value in vars(conventions).values() if isinstance(value, str)}
    emitted |= {metric_name(f"{conventions.SCOPE}.audit.records"), metric_name(f"{conventions.SCOPE}.prediction")}
    suffix = re.compile(r"(_seconds)?(_total|_count|_sum|_bucket)?$")
    expressions = " ".join(target.get("expr", "") for _, target in TARGETS)
    asked = {suffix.sub("", name) for name in re.findall(rf"\b{prefix}_\w+", expressions)}
    assert asked
    assert asked <= emitted


def test_thresholds_are_the_objectives_of_the_rules() -> None:
    """Red begins where the objective ends, and the rules say where that is."""
    rules = yaml.safe_load((GRAFANA / "rules" / "inference_recording.yaml").read_text("utf-8"))
    recorded = {rule["record"]: rule for group in rules["groups"] for rule in group["rules"]}
    errors = float(re.fullmatch(r"vector\((.+)\)", recorded["otel_ml:objective_errors:ratio"]["expr"])[1])
    slow = float(recorded["otel_ml:objective_latency:bound"]["labels"]["le"])
    red = {
        (uid, panel["title"]): panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"]
        for uid, panel in PANELS
        if panel["type"] == "stat"
    }
    assert red["otel-ml-overview", "Failed predictions"] == errors
    assert red["otel-ml-model", "Failed"] == errors
    assert red["otel-ml-overview", "Prediction p99"] == slow
