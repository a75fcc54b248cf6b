"""What a query may be: one statement that reads. Who writes it is not trusted with files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from otel_ml.audit.extras import require
from otel_ml.errors import Error, shorten

_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TABLE_FUNCTIONS = frozenset({"generate_series", "json_each", "json_tree", "range", "unnest"})


class QueryError(Error):
    """A query cannot be answered."""


def check(connection: Any, sql: str) -> None:
    """Let pass only one SELECT statement that cannot have an effect.

    DuckDB tells a SELECT from a COPY, but not a SELECT that has a COPY inside: as a common table expression, or as
    text that a table function runs. So the tree of the statement is walked, and what is not known to read is refused.

    Args:
        connection: A DuckDB connection, which only parses here.
        sql: The statement.

    Raises:
        QueryError: It is something else, or no SQL.
    """
    try:
        statements = connection.extract_statements(sql)
    except require("duckdb", "audit", "to query the audit trail").Error as error:
        raise QueryError(f"query: {error}") from None
    kinds = [statement.type.name for statement in statements]
    if kinds != ["SELECT"]:
        raise _refused(", ".join(kinds) or "nothing", sql)
    tree = orjson.loads(connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0])
    if tree["error"]:
        raise _refused(tree["error_message"], sql)
    for found in _effects(tree):
        raise _refused(found, sql)


def _effects(tree: Any) -> Iterator[str]:
    """Yield the name of everything in a tree that is not known to read only."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            kind = node.get("type")
            if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _NODES:
                yield kind.removesuffix("_NODE").removesuffix("_QUERY")
            elif kind == "TABLE_FUNCTION" and node["function"]["function_name"] not in _TABLE_FUNCTIONS:
                yield f"the table function {node['function']['function_name']}"


def _refused(received: str, sql: str) -> QueryError:
    return QueryError(
        f"query: expected one SELECT statement over predictions and outcomes, received {received} in {shorten(sql)}"
    )
