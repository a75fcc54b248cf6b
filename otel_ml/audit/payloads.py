"""Features and predictions that were encrypted for their subject: in clear while the subject's key is there."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from otel_ml.audit.extras import require

_PURPOSE = "to read encrypted records of the audit trail"


def has_keys(directory: Path) -> bool:
    """Return whether there is any subject's key; without one nothing can be decrypted.

    Args:
        directory: Audit directory.
    """
    try:
        return any(path.name != "hmac.key" and not path.name.startswith(".") for path in (directory / "keys").iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False


def decrypted(directory: Path, subject: str | None, encrypted: str | None) -> bytes | None:
    """Return the JSON of features and prediction, or None when the subject's key is gone.

    Args:
        directory: Audit directory.
        subject: The record's pseudonym.
        encrypted: The record's ciphertext.
    """
    from otel_ml.audit import subjects  # noqa: PLC0415  brings in cryptography

    return None if subject is None or encrypted is None else subjects.decrypt(directory, subject, encrypted)


def reveal(directory: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with its features and prediction in place of their ciphertext, as far as there is a key.

    Args:
        directory: Audit directory.
        record: As `columns.decode` returns it.
    """
    encrypted = record.pop("encrypted", None)
    if encrypted is not None and has_keys(directory):
        clear = decrypted(directory, record.get("subject"), encrypted)
        record |= orjson.loads(clear) if clear is not None else {}
    return record


def register(connection: Any, directory: Path) -> bool:
    """Give a DuckDB connection the function `payload(subject, encrypted)`; False when nothing could be decrypted.

    Args:
        connection: DuckDB connection.
        directory: Audit directory.

    Raises:
        MissingExtraError: numpy is not installed, which DuckDB needs for functions.
    """
    if not has_keys(directory):
        return False
    require("numpy", "audit", _PURPOSE)
    arrow = require("pyarrow", "audit", _PURPOSE)

    @lru_cache(4096)  # a query that asks for both features and prediction decrypts once
    def payload(subject: str | None, encrypted: str | None) -> str | None:
        clear = decrypted(directory, subject, encrypted)
        return None if clear is None else clear.decode()

    def payloads(subject: Any, encrypted: Any) -> Any:
        pairs = zip(subject.to_pylist(), encrypted.to_pylist(), strict=True)
        return arrow.array([payload(*pair) for pair in pairs], arrow.string())

    connection.create_function(
        "payload", payloads, ["VARCHAR", "VARCHAR"], "VARCHAR", type="arrow", null_handling="special"
    )
    return True
