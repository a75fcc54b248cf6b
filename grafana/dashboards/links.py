"""Ways from one panel to the next place to look: another dashboard, or logs and traces in Explore."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import DashboardLinkType

OVERVIEW: Final = "otel-ml-overview"
MODEL: Final = "otel-ml-model"
RUNS: Final = "otel-ml-runs"
HEALTH: Final = "otel-ml-health"
TAG: Final = "otel_ml"

_KEPT: Final = "${__url_time_range}&${service:queryparam}&${environment:queryparam}"


def others() -> dashboard.DashboardLink:
    """Return the links at the top of a dashboard to the others, which keep time range and variables."""
    link = dashboard.DashboardLink("otel_ml").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.as_dropdown(False).keep_time(True).include_vars(True)


def to_dashboard(title: str, uid: str, variables: str) -> dashboard.DashboardLink:
    """Return a data link to another dashboard.

    Args:
        title: What the reader clicks on.
        uid: Of the dashboard.
        variables: What is chosen there, as URL parameters, from the clicked value.
    """
    return dashboard.DashboardLink(title).url(f"/d/{uid}?{variables}&{_KEPT}")


def to_model(label: str) -> dashboard.DashboardLink:
    """Return a data link to the model whose name is in a label of the clicked series."""
    return to_dashboard("This model", MODEL, f"var-model=${{__field.labels.{label}}}")


def to_logs(title: str, expression: str) -> dashboard.DashboardLink:
    """Return a data link to log lines in Explore."""
    return _explore(title, "loki", {"expr": expression, "queryType": "range"})


def to_traces(title: str, expression: str) -> dashboard.DashboardLink:
    """Return a data link to a trace search in Explore."""
    return _explore(title, "tempo", {"query": expression, "queryType": "traceql", "limit": 20, "tableType": "traces"})


def _explore(title: str, source: str, query: dict[str, object]) -> dashboard.DashboardLink:
    pane = {
        "datasource": source,
        "queries": [{"refId": "A", "datasource": {"type": source, "uid": source}, **query}],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    # Variables stay as they are, for Grafana to fill in; the rest of the JSON is encoded.
    panes = quote(json.dumps({"a": pane}, separators=(",", ":")), safe="${}:,.")
    return dashboard.DashboardLink(title).url(f"/explore?schemaVersion=1&orgId=1&panes={panes}").target_blank(True)
