"""PromQL, LogQL and TraceQL: the expressions that panels share, and the targets that carry them."""

from __future__ import annotations

from typing import Final

import names
from grafana_foundation_sdk.builders import loki, prometheus, tempo
from grafana_foundation_sdk.models import tempo as tempo_models
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from otel_ml import conventions

PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="prometheus")
LOKI: Final = DataSourceRef(type_val="loki", uid="loki")
TEMPO: Final = DataSourceRef(type_val="tempo", uid="tempo")

SERVICES: Final = f'{names.SERVICE}=~"$service", {names.ENVIRONMENT}=~"$environment"'
NOT_AUDIT: Final = f'{names.EVENT_NAME}!="{names.PREDICTION_EVENT}"'
# The rules say how many predictions may fail, how many may be slow, and what slow is. A colour cannot be computed from
# a query, so thresholds repeat the figures; a test holds them to the rules.
OBJECTIVE_ERRORS: Final = f"{conventions.SCOPE}:objective_errors:ratio"
ERRORS_ALLOWED: Final = 0.005
SLOW_SECONDS: Final = 0.25
ONE_MODEL: Final = f'{SERVICES}, {names.MODEL}="$model", {names.VERSION}=~"$version"'


def rate(metric: str, where: str, by: str, window: str = "$__rate_interval") -> str:
    """Return a counter's rate per second, summed by labels."""
    return f"sum by ({by}) (rate({metric}{{{where}}}[{window}]))"


def increase(metric: str, where: str, by: str, window: str = "$__rate_interval") -> str:
    """Return by how much a counter grew, summed by labels."""
    return f"sum by ({by}) (increase({metric}{{{where}}}[{window}]))"


def share(part: str, whole: str) -> str:
    """Return a part's share of the whole: 0, not nothing, while the part has never happened."""
    return f"({part} or 0 * {whole}) / {whole}"


def quantile(q: float, histogram: str, where: str, by: str = "", window: str = "$__rate_interval") -> str:
    """Return a quantile of a histogram, by labels."""
    buckets = rate(f"{histogram}_bucket", where, f"le, {by}" if by else "le", window)
    return f"histogram_quantile({q}, {buckets})"


def mean(histogram: str, where: str, by: str, window: str = "$__rate_interval") -> str:
    """Return the mean of a histogram, by labels."""
    return f"{increase(f'{histogram}_sum', where, by, window)} / {increase(f'{histogram}_count', where, by, window)}"


def series(expression: str, legend: str = "", *, exemplar: bool = False) -> prometheus.Dataquery:
    """Return a PromQL target over time."""
    target = prometheus.Dataquery().datasource(PROMETHEUS).expr(expression).range().exemplar(exemplar)
    return target.legend_format(legend or "__auto")


def now(expression: str, legend: str = "") -> prometheus.Dataquery:
    """Return a PromQL target of one value a series, for the whole time range."""
    target = prometheus.Dataquery().datasource(PROMETHEUS).expr(expression).instant().exemplar(False)
    return target.legend_format(legend or "__auto")


def rows(expression: str) -> prometheus.Dataquery:
    """Return a PromQL target of one table row a series."""
    return now(expression).format(PromQueryFormat.TABLE)


def buckets(histogram: str, where: str) -> prometheus.Dataquery:
    """Return a PromQL target of a histogram's buckets, for a heatmap."""
    target = series(increase(f"{histogram}_bucket", where, "le"), "{{le}}", exemplar=True)
    return target.format(PromQueryFormat.HEATMAP)


def log_lines(expression: str, limit: int) -> loki.Dataquery:
    """Return a LogQL target of lines, the latest first."""
    return loki.Dataquery().datasource(LOKI).expr(expression).query_type("range").max_lines(limit)


def log_series(expression: str, legend: str) -> loki.Dataquery:
    """Return a LogQL target over time."""
    return loki.Dataquery().datasource(LOKI).expr(expression).query_type("range").legend_format(legend)


def log_now(expression: str, legend: str = "") -> loki.Dataquery:
    """Return a LogQL target of one value a series, for the whole time range."""
    return loki.Dataquery().datasource(LOKI).expr(expression).query_type("instant").legend_format(legend)


def traces(expression: str, limit: int) -> tempo.Dataquery:
    """Return a TraceQL target of a table of traces."""
    target = tempo.Dataquery().datasource(TEMPO).query_type("traceql").query(expression).limit(limit)
    return target.table_type(tempo_models.SearchTableType.TRACES)


def service_map() -> tempo.Dataquery:
    """Return the target of the service graph, which Tempo derives from spans and keeps in Prometheus."""
    return tempo.Dataquery().datasource(TEMPO).query_type("serviceMap").service_map_query("{}")
