"""Every query of the generated dashboards and of the rules, and what Prometheus, Loki and Tempo answer to it."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import yaml

GRAFANA = Path(__file__).parents[2] / "grafana"
KINDS = {"prometheus": "promql", "loki": "logql", "tempo": "traceql"}
RATE_INTERVAL = "4m"  # what Grafana makes of the data source's timeInterval of 60 s
LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)")


@dataclass(frozen=True)
class Sources:
    """Base addresses of the servers; `tempo` is None where a stand-in takes its place."""

    prometheus: str
    loki: str
    tempo: str | None


@dataclass(frozen=True)
class Query:
    """One query of a panel, or of a choice at the top of a dashboard."""

    dashboard: str
    panel: str
    ref: str
    kind: str
    expression: str
    instant: bool = False
    exemplar: bool = False

    def __str__(self) -> str:
        return f"{self.dashboard}-{self.panel}-{self.ref}".replace(" ", "_")

    @property
    def needs_tempo(self) -> bool:
        """Whether only a real Tempo has what it asks for."""
        return self.kind == "traceql" or "traces_service_graph" in self.expression or "tempo_" in self.expression


@functools.cache
def dashboards() -> dict[str, dict[str, Any]]:
    """Return every generated dashboard by its uid."""
    pages = [json.loads(path.read_text("utf-8")) for path in sorted((GRAFANA / "dashboards" / "json").glob("*.json"))]
    return {page["uid"]: page for page in pages}


def panel_queries() -> Iterator[Query]:
    """Yield the queries of all panels."""
    for uid, page in dashboards().items():
        for panel in page["panels"]:
            for target in panel.get("targets", []):
                yield _of_target(uid, panel["title"], target)


def _of_target(uid: str, panel: str, target: dict[str, Any]) -> Query:
    kind = KINDS[target["datasource"]["type"]]
    if target.get("queryType") == "serviceMap":
        # Grafana draws the map from these series, which Tempo writes to Prometheus.
        expression = "sum by (client, server) (rate(traces_service_graph_request_total[$__range]))"
        return Query(uid, panel, target["refId"], "promql", expression, instant=True)
    expression = target["query"] if kind == "traceql" else target["expr"]
    instant = bool(target.get("instant")) or target.get("queryType") == "instant"
    return Query(uid, panel, target["refId"], kind, expression, instant, bool(target.get("exemplar")))


def variable_queries() -> Iterator[Query]:
    """Yield the queries of all choices."""
    for uid, page in dashboards().items():
        for variable in page["templating"]["list"]:
            if variable["type"] == "query":
                yield Query(uid, variable["name"], "variable", "label_values", variable["query"]["query"])


def rule_selectors() -> Iterator[tuple[str, str]]:
    """Yield each rule's name and each selector that it reads, without offset."""
    for path in sorted((GRAFANA / "rules").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            for rule in group["rules"]:
                for selector in sorted(_selectors(rule["expr"])):
                    yield rule.get("alert") or rule["record"], selector


def _selectors(expression: str) -> set[str]:
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> bool:
        selector = node.vector_selector if isinstance(node, promql_parser.MatrixSelector) else node
        if isinstance(selector, promql_parser.VectorSelector):
            found.add(re.sub(r" (offset|@) .*", "", selector.prettify()))
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


@functools.cache
def _client() -> httpx.Client:
    return httpx.Client(timeout=30, trust_env=False)


@dataclass(frozen=True)
class Asker:
    """Asks the servers about one span of time, as Grafana would.

    Args:
        sources: Where the servers are.
        start: Begin of the time range, seconds.
        end: Its end.
        every: Whether "All" is chosen everywhere; otherwise every single value, as `(a|b)`.
        turn: Which value is chosen where only one can be: not every model has failed.
    """

    sources: Sources
    start: float
    end: float
    every: bool
    turn: int = 0

    def has_data(self, query: Query) -> bool:
        """Whether a query returns anything that is not NaN."""
        query = replace(query, expression=self.filled(query))
        if query.kind == "label_values":
            return bool(self._label_values(query.expression))
        if query.kind == "traceql":
            return bool(self._get(f"{self.sources.tempo}/api/search", q=query.expression, limit=20).get("traces"))
        return any(not math.isnan(float(sample)) for sample in self._samples(query))

    def exemplars(self, query: Query) -> list[dict[str, str]]:
        """Return the labels of the exemplars that Grafana would draw as dots."""
        url = f"{self.sources.prometheus}/api/v1/query_exemplars"
        found = self._get(url, query=self.filled(query))["data"]
        return [exemplar["labels"] for series in found for exemplar in series["exemplars"]]

    def selected(self, selector: str) -> bool:
        """Whether a selector has had a sample in the time range."""
        query = f"count(last_over_time({selector}[{self.end - self.start:.0f}s]))"
        return bool(self._get(f"{self.sources.prometheus}/api/v1/query", query=query, time=self.end)["data"]["result"])

    def filled(self, query: Query) -> str:
        """Return an expression with a value for each variable, as Grafana sends it."""
        expression = query.expression
        builtin = {
            "__rate_interval": RATE_INTERVAL,
            "__range": f"{self.end - self.start:.0f}s",
            "__auto": "1m",
        }
        for variable in dashboards()[query.dashboard]["templating"]["list"]:
            name = variable["name"]
            if f"${name}" in expression:
                expression = re.sub(rf"\${name}\b", lambda _, v=variable: self._value(query, v), expression)
        for name, value in builtin.items():
            expression = expression.replace(f"${name}", value)
        assert "$" not in expression, expression
        return expression

    def _value(self, query: Query, variable: dict[str, Any]) -> str:
        if variable["type"] == "textbox":
            return "" if self.every else self._a_run_id()
        if variable["type"] == "custom":
            return variable["current"]["value"]
        if self.every and variable.get("includeAll"):
            return variable["allValue"]
        chosen = self._label_values(self.filled(replace(query, expression=variable["query"]["query"])))
        if not variable.get("multi"):
            return chosen[self.turn % len(chosen)] if chosen else ""
        return f"({'|'.join(map(re.escape, chosen))})".replace("\\", "\\\\")

    def _a_run_id(self) -> str:
        expression = '{service_name=~".+"} | otel_ml_run_status!="" | keep otel_ml_run_id'
        found = self._get(f"{self.sources.loki}/loki/api/v1/query_range", query=expression, limit=1)["data"]["result"]
        return found[0]["stream"]["otel_ml_run_id"]

    def _label_values(self, expression: str) -> list[str]:
        match = LABEL_VALUES.fullmatch(expression)
        assert match, expression
        url = f"{self.sources.prometheus}/api/v1/label/{match['label']}/values"
        return self._get(url, **{"match[]": match["selector"]})["data"]

    def _samples(self, query: Query) -> Iterator[str]:
        """Yield the values of a PromQL or LogQL query; of log lines, a 1 each."""
        path = {"promql": f"{self.sources.prometheus}/api/v1", "logql": f"{self.sources.loki}/loki/api/v1"}[query.kind]
        if query.instant:
            data = self._get(f"{path}/query", query=query.expression, time=self.end)["data"]
        else:
            data = self._get(f"{path}/query_range", query=query.expression, step=15, limit=100)["data"]
        for series in data["result"]:
            if data["resultType"] == "streams":
                yield from ("1" for _ in series["values"])
            else:
                yield from (value for _, value in series.get("values") or [series["value"]])

    def _get(self, url: str, **parameters: Any) -> dict[str, Any]:
        times = {} if "time" in parameters else {"start": int(self.start), "end": int(self.end)}
        response = _client().get(url, params={**times, **parameters})
        assert response.status_code == 200, f"{parameters}: {response.text}"
        return response.json()
