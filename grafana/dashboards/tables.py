"""Tables: their columns, from labels or from the fields of log lines, and the links in their cells."""

from __future__ import annotations

import queries
from grafana_foundation_sdk.builders import common, dashboard, table
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    ValueMap,
    ValueMappingResult,
)
from panels import BAD, DOUBTFUL, GOOD, TEXT, Target, filled

from otel_ml import conventions


def grid(title: str, question: str, *targets: Target, sort: str) -> table.Panel:
    """Return a table, sorted downwards by a column."""
    panel = filled(table.Panel(), title, question, targets).unit(TEXT).cell_height(options.TableCellHeight.SM)
    return panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])


def with_outcomes(panel: table.Panel, title: str) -> table.Panel:
    """Colour the outcomes of runs in a column."""
    colours = {conventions.OK: GOOD, conventions.FAILED: BAD, conventions.CANCELLED: DOUBTFUL}
    mapping = ValueMap(options={word: ValueMappingResult(text=word, color=colour) for word, colour in colours.items()})
    cell = DynamicConfigValue("custom.cellOptions", {"type": "color-text"})
    return panel.override_by_name(title, [DynamicConfigValue("mappings", [mapping.to_json()]), cell])


def columns(panel: table.Panel, names: dict[str, tuple[str, str]]) -> table.Panel:
    """Merge a table's queries into one row for equal labels, and name its columns, in order.

    Args:
        panel: The table.
        names: For each column, as the query calls it, its title and unit; empty for text.
    """
    return _organized(panel.with_transformation(DataTransformerConfig(id_val="merge", options={})), names)


def log_columns(panel: table.Panel, names: dict[str, tuple[str, str]]) -> table.Panel:
    """Make the fields of log lines a table's columns, named and in order."""
    extract = {"source": "labels", "format": "auto", "replace": False, "keepTime": True}
    numeric = [{"targetField": name, "destinationType": "number"} for name, (_, unit) in names.items() if unit]
    panel.with_transformation(DataTransformerConfig(id_val="extractFields", options=extract))
    panel.with_transformation(DataTransformerConfig(id_val="convertFieldType", options={"conversions": numeric}))
    return _organized(panel, names)


def _organized(panel: table.Panel, names: dict[str, tuple[str, str]]) -> table.Panel:
    keep = {"include": {"names": list(names)}}
    order = {
        "renameByName": {name: title for name, (title, _) in names.items()},
        "indexByName": {name: number for number, name in enumerate(names)},
    }
    panel.with_transformation(DataTransformerConfig(id_val="filterFieldsByName", options=keep))
    panel.with_transformation(DataTransformerConfig(id_val="organize", options=order))
    for title, unit in names.values():
        if unit:
            panel.override_by_name(title, [DynamicConfigValue("unit", unit)])
    return panel


def linked(panel: table.Panel, title: str, *links: dashboard.DashboardLink) -> table.Panel:
    """Make the cells of a column links."""
    value = [{"title": link.title, "url": link.url} for link in (builder.build() for builder in links)]
    return panel.override_by_name(title, [DynamicConfigValue("links", value)])


def found_traces(title: str, question: str, expression: str, limit: int) -> table.Panel:
    """Return a table of traces that a TraceQL query finds; a trace's id opens it."""
    return grid(title, question, queries.traces(expression, limit), sort="Duration")
