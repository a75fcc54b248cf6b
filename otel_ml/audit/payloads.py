"""Features and predictions that were encrypted for their subject: in clear while the subject's key is there."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from otel_ml.audit.extras import require

if TYPE_CHECKING:
    from otel_ml.audit.subjects import SubjectKeys

_PURPOSE = "to read encrypted records of the audit trail"


def has_keys(directory: Path) -> bool:
    """Return whether there is any subject's key; without one nothing can be decrypted.

    Args:
        directory: Audit directory.
    """
    return any(path.name != "hmac.key" for path in (directory / "keys").glob("[!.]*.key"))


def reveal(directory: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with its features and prediction in place of their ciphertext, as far as there is a key.

    Args:
        directory: Audit directory.
        record: As `columns.decode` returns it.
    """
    encrypted = record.pop("encrypted", None)
    if encrypted is not None and has_keys(directory):
        clear = _keys(directory).decrypt(record["subject"], encrypted, record["record_id"])
        record |= orjson.loads(clear) if clear is not None else {}
    return record


def register(connection: Any, directory: Path) -> bool:
    """Give DuckDB the function `payload(record_id, subject, encrypted)`; False when nothing could be decrypted.

    Args:
        connection: DuckDB connection.
        directory: Audit directory.

    Raises:
        MissingExtraError: cryptography is not installed, or numpy, which DuckDB needs for functions.
    """
    if not has_keys(directory):
        return False
    require("numpy", "audit", _PURPOSE)
    arrow = require("pyarrow", "audit", _PURPOSE)
    keys = _keys(directory)

    @lru_cache(4096)  # a query that asks for features and prediction decrypts once
    def payload(record_id: str | None, subject: str | None, encrypted: str | None) -> str | None:
        if record_id is None or subject is None or encrypted is None:
            return None
        clear = keys.decrypt(subject, encrypted, record_id)
        return None if clear is None else clear.decode()

    def payloads(record_id: Any, subject: Any, encrypted: Any) -> Any:
        rows = zip(record_id.to_pylist(), subject.to_pylist(), encrypted.to_pylist(), strict=True)
        return arrow.array([payload(*row) for row in rows], arrow.string())

    text = "VARCHAR"
    connection.create_function("payload", payloads, [text] * 3, text, type="arrow", null_handling="special")
    return True


def _keys(directory: Path) -> SubjectKeys:
    from otel_ml.audit.subjects import SubjectKeys  # noqa: PLC0415  who asks a trail without keys needs none of it

    return SubjectKeys(directory)
