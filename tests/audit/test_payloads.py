"""Encrypted records: in clear while the subject's key is there, and gone with it, everywhere."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from otel_ml import audit
from otel_ml.audit.pseudonyms import Pseudonyms
from otel_ml.audit.reading import compaction
from otel_ml.audit.subjects import SubjectKeys
from segments import Process

CANARY = "canary-7d1f"


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """A trail with records of two subjects and one of none: sealed and compacted, sealed, and open."""
    directory = tmp_path / "audit"
    process = Process(directory)
    keys, pseudonyms = SubjectKeys(directory), Pseudonyms(directory)
    for part in range(3):
        for name in ("ada", "bob"):
            subject, record_id = pseudonyms.of(name), f"{name}-{part}"
            assert subject is not None
            plain = f'{{"features":{{"text":"{CANARY}-{name}"}},"prediction":{part}}}'.encode()
            encrypted = keys.encrypt(subject, plain, record_id)
            process.prediction(
                record_id=record_id, features=None, prediction=None, subject=subject, encrypted=encrypted
            )
        process.prediction(record_id=f"nobody-{part}")
        if part < 2:
            process.seal()
        if part == 0:
            compaction.compact(directory)
    return directory


def texts(trail: Path) -> dict[str, object]:
    rows = audit.query("SELECT record_id, features->>'text' AS text, prediction FROM predictions", directory=trail)
    return {row["record_id"]: (row["text"], row["prediction"]) for row in rows}


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_sql_reads_what_is_encrypted_while_the_key_is_there(trail: Path) -> None:
    """From lines and Parquet alike; on the disk nothing of it is in clear, in no file."""
    found = texts(trail)
    assert {key: value for key, value in found.items() if key.startswith("ada")} == {
        f"ada-{part}": (f"{CANARY}-ada", part) for part in range(3)
    }
    assert found["nobody-0"] == (None, 0.25)
    assert CANARY.encode() not in everything(trail)
    condition = f"features->>'text' = '{CANARY}-bob'"
    assert len(audit.query(f"SELECT * FROM predictions WHERE {condition}", directory=trail)) == 3


def test_what_was_erased_is_gone_everywhere_and_the_rest_stays(trail: Path, tmp_path: Path) -> None:
    """In queries, tail, Parquet and exports; the other subject is readable, and the chain holds."""
    assert audit.erase("ada", directory=trail)
    assert not audit.erase("ada", directory=trail)
    compaction.compact(trail)
    found = texts(trail)
    assert [found[f"ada-{part}"] for part in range(3)] == [(None, None)] * 3
    assert [found[f"bob-{part}"] for part in range(3)] == [(f"{CANARY}-bob", part) for part in range(3)]
    tailed = {record["record_id"]: record for record in audit.tail(9, follow=False, directory=trail)}
    assert "features" not in tailed["ada-2"]
    assert tailed["bob-2"]["features"] == {"text": f"{CANARY}-bob"}
    for name in ("out.csv", "out.parquet"):
        assert audit.export(tmp_path / name, directory=trail) == 9
    rows = {row["record_id"]: row for row in pq.read_table(tmp_path / "out.parquet").to_pylist()}
    assert rows["ada-0"]["features"] is None
    assert "encrypted" not in rows["ada-0"]
    exported = (tmp_path / "out.csv").read_text()
    assert f"{CANARY}-ada" not in exported
    assert f"{CANARY}-bob" in exported
    assert audit.verify(directory=trail).problems == ()


def test_ciphertext_is_no_column(trail: Path) -> None:
    """What nobody can read is of no use to anybody, but it stays in the Parquet file, which outlives the key."""
    (row,) = audit.query("SELECT * FROM predictions WHERE record_id = 'ada-0'", directory=trail)
    assert "encrypted" not in row
    (path,) = trail.glob("parquet/*.parquet")
    assert all(r["encrypted"] for r in pq.read_table(path).to_pylist() if r["subject"])


def test_a_ciphertext_that_was_moved_to_another_record_is_not_shown(trail: Path) -> None:
    """It belongs to the record that it was made for."""
    process = Process(trail, pid=2)
    (line,) = [line for line in everything(trail).splitlines() if b'"record_id":"ada-2"' in line]
    stolen = json.loads(line)
    process.prediction(
        record_id="other", features=None, prediction=None, subject=stolen["subject"], encrypted=stolen["encrypted"]
    )
    assert texts(trail)["other"] == (None, None)


def test_erasing_while_segments_are_compacted_leaves_nothing_readable(tmp_path: Path) -> None:
    """Ciphertext is copied, never what is in it: whichever comes first, nothing is left, and the chain holds."""
    trail = tmp_path / "audit"
    process, keys = Process(trail), SubjectKeys(trail)
    subject = Pseudonyms(trail).of("ada")
    assert subject is not None
    for number in range(20):
        encrypted = keys.encrypt(subject, f'{{"features":{{"text":"{CANARY}"}}}}'.encode(), str(number))
        process.prediction(record_id=str(number), features=None, prediction=None, subject=subject, encrypted=encrypted)
        process.seal()
    compacting = threading.Thread(target=lambda: compaction.compact(trail))
    compacting.start()
    while not list(trail.glob("parquet/*.parquet")):
        assert compacting.is_alive()
    assert audit.erase("ada", directory=trail)
    compacting.join()
    assert len(list(trail.glob("parquet/*.parquet"))) == 20
    rows = audit.query("SELECT features FROM predictions", directory=trail)
    assert rows == [{"features": None}] * 20
    assert CANARY.encode() not in everything(trail)
    assert audit.verify(directory=trail)
