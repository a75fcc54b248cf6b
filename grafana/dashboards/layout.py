"""Puts panels on Grafana's grid of 24 columns, and gives each its id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import links
from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, GridPos

WIDTH: Final = 24


@dataclass(frozen=True)
class Line:
    """Panels side by side, of one height.

    Args:
        height: In grid units, of about 30 pixels.
        panels: Each with its width; together they fill the grid.
    """

    height: int
    panels: Sequence[tuple[Any, int]]


@dataclass(frozen=True)
class Section:
    """Lines under a heading, which can be folded away; without a title they stand on top.

    Args:
        title: The heading.
        lines: From top to bottom.
    """

    title: str
    lines: Sequence[Line]


def evenly(height: int, *panels: Any) -> Line:
    """Return a line of panels that are all as wide."""
    return Line(height, [(panel, WIDTH // len(panels)) for panel in panels])


def new(uid: str, title: str, description: str, *, since: str, refresh: str) -> dashboard.Dashboard:
    """Return an empty dashboard.

    Args:
        uid: Part of its address, never changed.
        title: Its title.
        description: Whom it is for, and what it answers.
        since: Where the time range starts at first, for example `now-1h`.
        refresh: How often it asks again.
    """
    page = dashboard.Dashboard(title).uid(uid).description(description).tags([links.TAG]).timezone("browser")
    page.readonly().tooltip(DashboardCursorSync.CROSSHAIR).time(since, "now").refresh(refresh)
    return page.link(links.others())


def fill(page: dashboard.Dashboard, sections: Sequence[Section]) -> dashboard.Dashboard:
    """Put sections on a dashboard, from top to bottom."""
    y, next_id = 0, 1
    for section in sections:
        if section.title:
            row = dashboard.Row(section.title).id(next_id).grid_pos(GridPos(x=0, y=y, w=WIDTH, h=1))
            page.with_row(row)
            y, next_id = y + 1, next_id + 1
        for line in section.lines:
            x = 0
            for panel, width in line.panels:
                page.with_panel(panel.id(next_id).grid_pos(GridPos(x=x, y=y, w=width, h=line.height)))
                x, next_id = x + width, next_id + 1
            y += line.height
    return page
