"""What the reader chooses at the top of a dashboard."""

from __future__ import annotations

import names
import queries
from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh, VariableSort


def environment(metric: str) -> dashboard.QueryVariable:
    """Return the choice of environments in which a metric exists."""
    return _many("environment", "Environment", f"label_values({metric}, {names.ENVIRONMENT})", ".*")


def service(metric: str) -> dashboard.QueryVariable:
    """Return the choice of services that send a metric."""
    # `.+`, not `.*`: Loki asks for one matcher that no empty label meets.
    where = f'{names.ENVIRONMENT}=~"$environment"'
    return _many("service", "Service", f"label_values({metric}{{{where}}}, {names.SERVICE})", ".+")


def model(metric: str) -> dashboard.QueryVariable:
    """Return the choice of one model."""
    query = f"label_values({metric}{{{queries.SERVICES}}}, {names.MODEL})"
    return _from_prometheus("model", "Model", query)


def version(metric: str) -> dashboard.QueryVariable:
    """Return the choice of versions of the chosen model; all of them also means one that has no version."""
    where = f'{queries.SERVICES}, {names.MODEL}="$model"'
    return _many("version", "Version", f"label_values({metric}{{{where}}}, {names.VERSION})", ".*")


def text(name: str, label: str, description: str) -> dashboard.TextBoxVariable:
    """Return a text to be typed or pasted, empty at first."""
    variable = dashboard.TextBoxVariable(name).label(label).description(description)
    return variable.default_value("").current(VariableOption(text="", value=""))


def one_of(name: str, label: str, description: str, choices: list[str]) -> dashboard.CustomVariable:
    """Return a choice of fixed values, of which the first is the default."""
    variable = dashboard.CustomVariable(name).label(label).description(description).values(",".join(choices))
    return variable.current(VariableOption(text=choices[0], value=choices[0], selected=True))


def _many(name: str, label: str, query: str, every: str) -> dashboard.QueryVariable:
    variable = _from_prometheus(name, label, query).multi(True).include_all(True).all_value(every)
    return variable.current(VariableOption(text="All", value="$__all", selected=True))


def _from_prometheus(name: str, label: str, query: str) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(label).datasource(queries.PROMETHEUS).definition(query)
    # 1 is the editor's "label values".
    variable.query({"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.NATURAL_ASC)
