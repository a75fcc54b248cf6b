"""The trace tree: which spans are worth their line, and how they are drawn."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from otel_ml import conventions
from otel_ml.cli import render
from otel_ml.cli.otlp_files import Span

_ALIKE = 4  # siblings of one name that are drawn; the others are one line
_NAMES_SUMMED = 3
_BAR_WIDTH = 16
_DEEPEST = 10  # below it a recursion is no longer indented
_GUIDE = 4  # columns that a level of rich's tree takes
_SAID_ELSEWHERE = (
    "otel_ml.run.", "otel_ml.estimator.", "otel_ml.input.", "code.", "thread.", "exception.", "vcs.",
    conventions.STEP_NAME, conventions.MODEL_NAME, conventions.ERROR_TYPE, conventions.OUTPUT_ROWS,
    conventions.MODEL_VERSION, conventions.STATUS, conventions.FEATURE_VERSION, conventions.ITEMS,
    conventions.AUDIT_RECORD_ID,
)  # fmt: skip


@dataclass(slots=True)
class Node:
    """A span with its children, in the order in which they started."""

    span: Span
    parent: Node | None = None
    orphan: bool = False
    children: list[Node] = field(default_factory=list)

    def lineage(self) -> Iterator[Node]:
        """Yield this node and what it is in, up to the root."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent


def build(spans: Iterable[Span]) -> list[Node]:
    """Return the roots of all traces. A span whose parent is not there, or is below itself, is a root too."""
    nodes = {(span.trace_id, span.span_id): Node(span) for span in sorted(spans, key=lambda s: (s.start_ns, -s.end_ns))}
    roots = []
    for (trace_id, _), node in nodes.items():
        node.parent = nodes.get((trace_id, node.span.parent_id)) if node.span.parent_id else None
        if node.parent is not None:
            node.parent.children.append(node)
        else:
            node.orphan = bool(node.span.parent_id)
            roots.append(node)
    reached = {id(node) for node in walk(roots)}
    for node in nodes.values():
        if node.parent is not None and id(node) not in reached:  # damaged ids: a circle hangs from no root
            node.parent.children.remove(node)
            node.parent, node.orphan = None, True
            roots.append(node)
            reached.update(id(below) for below in walk([node]))
    return roots


def choose(roots: list[Node], limit: int) -> set[int]:
    """Return the `id()` of the nodes to draw: the failed and the longest, with all that they are in.

    Args:
        roots: What `build` returned.
        limit: Nodes at most.
    """
    nodes = list(walk(roots))
    nodes.sort(key=lambda node: (node.span.failed, node.span.seconds), reverse=True)
    chosen: set[int] = set()
    alike: Counter[tuple[int, str]] = Counter()
    for node in nodes:
        if len(chosen) >= limit:
            break
        missing = list(itertools.takewhile(lambda above: id(above) not in chosen, node.lineage()))
        full = any(alike[id(above.parent), above.span.name] >= _ALIKE for above in missing)
        if full or len(chosen) + len(missing) > limit:
            continue
        chosen.update(id(above) for above in missing)
        alike.update((id(above.parent), above.span.name) for above in missing)
    return chosen


def walk(roots: list[Node]) -> Iterator[Node]:
    """Yield all nodes, parents first; a recursion of the watched code of any depth is no recursion here."""
    waiting = list(reversed(roots))
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))


def render_tree(roots: list[Node], console: Console, *, limit: int, complete: bool) -> None:
    """Print the tree.

    Args:
        roots: What `build` returned.
        console: Where to.
        limit: Spans at most.
        complete: Whether all spans of the run are in the tree, so that a parent that is missing never arrived.
    """
    chosen = choose(roots, limit)
    top = Tree("", hide_root=True, guide_style="dim")
    waiting: list[tuple[Tree, list[Node], int]] = [(top, roots, 0)]
    while waiting:
        branch, nodes, depth = waiting.pop()
        hidden = [node for node in nodes if id(node) not in chosen]
        for node in nodes:
            if id(node) in chosen:
                whole = next(above.span for above in node.lineage() if above.parent is None)
                added = branch.add(_line(node, whole, depth, console, complete=complete))
                flat = depth >= _DEEPEST
                waiting.append((branch if flat else added, node.children, depth if flat else depth + 1))
        for line in _summaries(hidden):
            branch.add(line)
    console.print(top)


def _line(node: Node, whole: Span, depth: int, console: Console, *, complete: bool) -> Text:
    span = node.span
    style = "bold red" if span.failed else "bold" if depth == 0 else ""
    width = max(28, console.width * 2 // 5 - depth * _GUIDE)
    name = Text(render.printable(span.name, 120), style=style)
    name.truncate(width - 9, overflow="ellipsis")
    name.append(f" {span.span_id[:8]}", style="not bold dim")
    name.truncate(width, overflow="ellipsis", pad=True)
    line = Text(no_wrap=True, overflow="ellipsis").append_text(name)
    line.append(f" {render.duration(span.seconds):>9} ", style="red" if span.failed else "")
    line.append(_position(span, whole, ascii_only=console.options.ascii_only), style="red" if span.failed else "cyan")
    if span.failed:
        line.append(f"  {render.printable(str(span.attributes.get(conventions.ERROR_TYPE, 'error')), 60)}", style="red")
    if node.orphan:
        reason = "never arrived" if complete else "is not shown"
        line.append(f"  parent {span.parent_id[:8]} {reason}", style="yellow")
    line.append("  ").append(describe(span.attributes), style="dim")
    line.rstrip()
    return line


def _position(span: Span, whole: Span, *, ascii_only: bool) -> str:
    length = max(1, whole.end_ns - whole.start_ns)
    start = (span.start_ns - whole.start_ns) / length
    return render.position_bar(start, start + span.seconds * 1e9 / length, _BAR_WIDTH, ascii_only=ascii_only)


def _summaries(hidden: list[Node]) -> Iterator[Text]:
    """Yield one line a name for spans that are not drawn."""
    by_name: dict[str, list[float]] = {}
    for node in hidden:
        by_name.setdefault(node.span.name, []).append(node.span.seconds)
    groups = sorted(by_name.items(), key=lambda group: -sum(group[1]))
    for name, seconds in groups[:_NAMES_SUMMED]:
        each = f"median {render.duration(median(seconds))}, " if len(seconds) > 1 else ""
        text = f"... {len(seconds):,} more {render.printable(name, 60)}: {each}{render.duration(sum(seconds))} in all"
        yield Text(text, style="dim", no_wrap=True, overflow="ellipsis")
    if len(groups) > _NAMES_SUMMED:
        rest = groups[_NAMES_SUMMED:]
        spans = render.number(sum(len(seconds) for _, seconds in rest), "span")
        yield Text(f"... {spans} of {render.number(len(rest), 'other name')}", style="dim")


def describe(attributes: Mapping[str, Any]) -> str:
    """Return the attributes that tell spans apart, short: versions, rows and columns, then the caller's own."""
    parts = []
    if step := attributes.get(conventions.ESTIMATOR_STEP):
        parts.append(str(step))
    if version := attributes.get(conventions.MODEL_VERSION):
        parts.append(f"v{version}")
    if version := attributes.get(conventions.FEATURE_VERSION):
        parts.append(f"features v{version}")
    rows, columns = attributes.get(conventions.INPUT_ROWS), attributes.get(conventions.INPUT_COLUMNS)
    if isinstance(rows, int):
        parts.append(f"{rows:,} x {columns:,}" if isinstance(columns, int) else render.number(rows, "row"))
    if isinstance(score := attributes.get(conventions.ESTIMATOR_SCORE), float):
        parts.append(f"score {score:.4g}")
    if isinstance(items := attributes.get(conventions.ITEMS), int):
        parts.append(render.number(items, "item"))
    if status := attributes.get(conventions.STATUS):
        parts.append(str(status))
    for key, value in attributes.items():
        if not key.startswith(_SAID_ELSEWHERE):
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            parts.append(f"{key.removeprefix('otel_ml.step.')}={shown}")
    return render.printable(" · ".join(parts), 200)
