"""The kinds of panels, each with one look for all dashboards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import queries
from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    logs,
    nodegraph,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

GOOD: Final = "green"
DOUBTFUL: Final = "orange"
BAD: Final = "red"
NEUTRAL: Final = "blue"

RATIO: Final = "percentunit"
SECONDS: Final = "s"
CALLS: Final = "reqps"
PER_SECOND: Final = "cps"
COUNT: Final = "short"
TEXT: Final = "string"  # with any other unit Grafana takes what looks like a number for one, a version 1.20 for 1.2
BYTES: Final = "bytes"

Target = Any  # the SDK's builders of queries have no base class that mypy could use
P = TypeVar(
    "P",
    bargauge.Panel,
    dashboard.Panel,
    heatmap.Panel,
    logs.Panel,
    nodegraph.Panel,
    stat.Panel,
    statetimeline.Panel,
    table.Panel,
    timeseries.Panel,
)


def filled(panel: P, title: str, question: str, targets: Sequence[Target]) -> P:
    """Give a panel its title, question and targets."""
    panel.title(title).description(question)
    for number, target in enumerate(targets):
        panel.with_target(target.ref_id(chr(ord("A") + number)))
    if targets:
        panel.datasource(targets[0].build().datasource)
    return panel


def levels(doubtful: float | None, bad: float | None, *, low_is_bad: bool = False) -> dashboard.ThresholdsConfig:
    """Return thresholds from green to red, or from red to green; all blue when there is no bad."""
    first, second, last = (BAD, DOUBTFUL, GOOD) if low_is_bad else (GOOD, DOUBTFUL, BAD)
    if bad is None:
        steps = [Threshold(color=NEUTRAL)]
    elif doubtful is None:
        steps = [Threshold(color=first), Threshold(value=bad, color=last)]
    else:
        low, high = sorted((doubtful, bad))
        steps = [Threshold(color=first), Threshold(value=low, color=second), Threshold(value=high, color=last)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def graph(title: str, question: str, unit: str, *targets: Target) -> timeseries.Panel:
    """Return lines over time, coloured by name, so that a model has one colour in every panel."""
    panel = filled(timeseries.Panel(), title, question, targets).unit(unit).min(0)
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    panel.line_width(1).fill_opacity(8).show_points(options.VisibilityMode.AUTO).span_nulls(180_000.0)
    legend = common.VizLegendOptions().show_legend(True).display_mode(options.LegendDisplayMode.TABLE)
    panel.legend(legend.placement(options.LegendPlacement.BOTTOM).calcs(["lastNotNull", "max"]))
    tooltip = common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI)
    return panel.tooltip(tooltip.sort(options.SortOrder.DESCENDING))


def stacked(title: str, question: str, unit: str, *targets: Target, percent: bool = False) -> timeseries.Panel:
    """Return bars or, as percent, areas over time that add up."""
    panel = graph(title, question, unit, *targets)
    mode = options.StackingMode.PERCENT if percent else options.StackingMode.NORMAL
    panel.stacking(common.StackingConfig().mode(mode).group("A")).fill_opacity(60).line_width(0)
    return panel if percent else panel.draw_style(options.GraphDrawStyle.BARS)


def limited(panel: timeseries.Panel, doubtful: float, bad: float) -> timeseries.Panel:
    """Draw thresholds as dashed lines."""
    style = common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(levels(doubtful, bad)).thresholds_style(style)


def coloured(panel: timeseries.Panel, colours: dict[str, str]) -> timeseries.Panel:
    """Give the series whose names match a regular expression a fixed colour."""
    for pattern, colour in colours.items():
        panel.override_by_regexp(pattern, [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})])
    return panel


def judged(panel: stat.Panel | bargauge.Panel, thresholds: dashboard.ThresholdsConfig) -> None:
    """Show the last value of each series, in the colour of its threshold."""
    panel.thresholds(thresholds)
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))


def number(
    title: str,
    question: str,
    unit: str,
    target: Target,
    *,
    doubtful: float | None = None,
    bad: float | None = None,
    low_is_bad: bool = False,
) -> stat.Panel:
    """Return one big number with its course in the background, green, orange or red where thresholds are given."""
    panel = filled(stat.Panel(), title, question, [target]).unit(unit)
    judged(panel, levels(doubtful, bad, low_is_bad=low_is_bad))
    panel.color_mode(options.BigValueColorMode.VALUE).graph_mode(options.BigValueGraphMode.AREA)
    return panel.text_mode(options.BigValueTextMode.VALUE).no_value("-")


def bars(
    title: str,
    question: str,
    unit: str,
    target: Target,
    *,
    doubtful: float | None = None,
    bad: float | None = None,
    low_is_bad: bool = False,
) -> bargauge.Panel:
    """Return one horizontal bar a series, the worst at its own colour."""
    panel = filled(bargauge.Panel(), title, question, [target]).unit(unit).min(0)
    judged(panel, levels(doubtful, bad, low_is_bad=low_is_bad))
    panel.orientation(options.VizOrientation.HORIZONTAL).display_mode(options.BarGaugeDisplayMode.BASIC)
    return panel.value_mode(options.BarGaugeValueMode.COLOR).show_unfilled(True)


def heat(title: str, question: str, target: Target) -> heatmap.Panel:
    """Return a heatmap of durations, with exemplars."""
    panel = filled(heatmap.Panel(), title, question, [target]).unit(SECONDS)
    panel.calculate(False).y_axis(heatmap.YAxisConfig().unit(SECONDS)).show_legend()
    panel.color(
        heatmap.HeatmapColorOptions()
        .mode(HeatmapColorMode.SCHEME)
        .scheme("Blues")
        .exponent(0.5)
        .steps(64)
        .reverse(False)
    )
    return panel.tooltip(heatmap.HeatmapTooltip().mode(options.TooltipDisplayMode.SINGLE).show_color_scale(True))


def lines(title: str, question: str, target: Target) -> logs.Panel:
    """Return log lines, the latest first; each opens to its fields, with the link to its trace."""
    panel = filled(logs.Panel(), title, question, [target])
    panel.show_time(True).show_labels(False).show_common_labels(False).wrap_log_message(True)
    panel.enable_log_details(True).prettify_log_message(False).dedup_strategy(options.LogsDedupStrategy.NONE)
    return panel.sort_order(options.LogsSortOrder.DESCENDING)


def dotted(panel: timeseries.Panel) -> timeseries.Panel:
    """Show dots instead of lines, for what happens now and then."""
    return panel.draw_style(options.GraphDrawStyle.POINTS).point_size(6)


def graph_of_services(title: str, question: str) -> nodegraph.Panel:
    """Return who calls whom, with rates, errors and durations."""
    return filled(nodegraph.Panel(), title, question, [queries.service_map()])


def states(title: str, question: str, target: Target) -> statetimeline.Panel:
    """Return up or down over time, one line for each series."""
    panel = filled(statetimeline.Panel(), title, question, [target]).unit(COUNT)
    up = {"1": ValueMappingResult(text="up", color=GOOD), "0": ValueMappingResult(text="down", color=BAD)}
    panel.mappings([ValueMap(options=up)]).color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    panel.merge_values(True).show_value(options.VisibilityMode.NEVER).row_height(0.8).fill_opacity(70)
    return panel.legend(common.VizLegendOptions().show_legend(False))


def alerts(title: str, question: str) -> dashboard.Panel:
    """Return the alerts that fire or are about to; the SDK has no builder of this panel."""
    shown = {"firing": True, "pending": True, "noData": False, "normal": False, "error": True, "recovering": False}
    chosen = {
        "alertName": "", "dashboardAlerts": False, "groupBy": [], "groupMode": "default", "maxItems": 20,
        "sortOrder": 3, "stateFilter": shown, "alertInstanceLabelFilter": "", "viewMode": "list",
    }  # fmt: skip
    return filled(dashboard.Panel().type("alertlist"), title, question, []).options(chosen)
