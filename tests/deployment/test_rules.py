"""Recording rules and alerts fit each other, their runbooks, their promtool tests and the dashboards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_ml import conventions
from otel_ml.metrics.names import metric_name

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs/runbooks"
GRAFANA = ROOT / "grafana"
FILES = sorted((GRAFANA / "rules").glob("*.yaml"))
GROUPS = [group for path in FILES for group in yaml.safe_load(path.read_text())["groups"]]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
PROMTOOL = {path.stem: yaml.safe_load(path.read_text()) for path in (GRAFANA / "rules/tests").glob("*.yaml")}
CHECKS = [check for file in PROMTOOL.values() for test in file["tests"] for check in test["alert_rule_test"]]
PAGES = {path.stem for path in (GRAFANA / "dashboards/json").glob("*.json")}
OF_A_RULE = re.compile(r"otel_ml:\w+:\w+")
OF_OURS = re.compile(r"\botel_ml_\w+_(?:total|count|bucket|sum)\b")


def kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_tells_what_to_do(alert: str) -> None:
    """An alert says how urgent it is, what happened in figures, what to do first, and where to look."""
    rule = ALERTS[alert]
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "runbook", "dashboard"}
    assert "{{ $" in notes["description"]
    assert "First " in notes["description"]
    assert notes["dashboard"] in PAGES


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_has_runbook(alert: str) -> None:
    """An alert's page is short, and says what it means, whom it hurts, where to look and when to escalate."""
    path = ALERTS[alert]["annotations"]["runbook"]
    assert path == f"docs/runbooks/{kebab(alert)}.md"
    text = (ROOT / path).read_text()
    assert text.startswith(f"# {alert} ({ALERTS[alert]['labels']['severity']})\n")
    assert [
        part for part in ("**Means:**", "**Hurt:**", "## First look", "## Causes", "## Escalate") if part not in text
    ] == []
    assert 15 <= len(text.splitlines()) <= 30


def test_runbooks_belong_to_alerts() -> None:
    """No page is left over, and every page and recorded metric that a page names is there."""
    pages = {path.name: path.read_text() for path in RUNBOOKS.glob("*.md")}
    assert set(pages) == {f"{kebab(alert)}.md" for alert in ALERTS}
    for name, text in pages.items():
        assert set(re.findall(r"\]\(([^)]+)\)", text)) <= set(pages), name
        assert set(OF_A_RULE.findall(text)) <= RECORDED, name
        assert set(re.findall(r"otel-ml-\w+", text)) <= PAGES, name


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_is_seen_firing_and_silent(alert: str) -> None:
    """The promtool tests see it fire with its annotations, and see it silent."""
    seen = [check["exp_alerts"] for check in CHECKS if check["alertname"] == alert]
    assert [] in seen
    firing = [one for alerts in seen for one in alerts]
    assert firing
    assert all(set(one["exp_annotations"]) == set(ALERTS[alert]["annotations"]) for one in firing)


def test_promtool_tests_load_every_rule() -> None:
    """Each test file loads all rule files and fixes the order of all groups: none is tested without the others."""
    names = {f"../{path.name}" for path in FILES}
    assert PROMTOOL
    for name, file in PROMTOOL.items():
        assert set(file["rule_files"]) == names, name
        assert set(file["group_eval_order"]) == {group["name"] for group in GROUPS}, name
        assert file["evaluation_interval"] == "1m", name


def test_groups_run_every_minute() -> None:
    """The longer windows count evaluations of a minute, so every group keeps to it."""
    assert {group["interval"] for group in GROUPS} == {"1m"}


def test_rules_name_what_exists() -> None:
    """What a rule reads from another rule is recorded, and what it reads from us is a metric that we emit."""
    ours = {metric_name(name) for name in (conventions.INFERENCE_DURATION, conventions.DROPPED)}
    emitted = {f"{name}{suffix}" for name in ours for suffix in ("_total", "_seconds_count", "_seconds_bucket")}
    emitted.add("otel_ml_audit_records_total")
    text = "\n".join(rule["expr"] for rule in RULES)
    assert set(OF_A_RULE.findall(text)) <= RECORDED
    assert set(OF_OURS.findall(text)) <= emitted


def test_objectives_stand_in_one_place() -> None:
    """Each objective is recorded once, alerts multiply it and name no share themselves, and the bound is a bucket."""
    objectives = [rule for rule in RULES if "objective" in rule.get("record", "")]
    assert sorted(rule["record"].split(":")[1] for rule in objectives) == [
        "objective_errors", "objective_latency", "objective_slow"
    ]  # fmt: skip
    [bound] = [rule["labels"]["le"] for rule in objectives if "labels" in rule]
    assert bound in {f"{bucket:g}" for bucket in conventions.INFERENCE_BUCKETS}
    assert not [rule for rule in RULES if 'le="' in rule["expr"]]
    for burn, fast in (("Error", "errors"), ("Latency", "slow")):
        for speed, factor, windows in (("Fast", "14.4", ("1h", "5m")), ("Slow", "6", ("6h", "30m"))):
            expression = ALERTS[f"Inference{burn}BudgetBurn{speed}"]["expr"]
            for window in windows:
                share = f"otel_ml:inference_{fast}:ratio{window} > {factor} * scalar(otel_ml:objective_{fast}:ratio)"
                assert share in expression


def test_rules_name_scrape_jobs() -> None:
    """A job that a rule selects is one that Prometheus scrapes; another would be silent for ever."""
    config = yaml.safe_load((GRAFANA / "prometheus.yaml").read_text())
    scraped = {job["job_name"] for job in config["scrape_configs"]}
    named = {job for rule in RULES for job in re.findall(r'job="(\w+)"', rule["expr"])}
    assert named
    assert named <= scraped
