"""Subjects: pseudonyms that agree, records that a key of each subject's own hides, and keys that can be destroyed."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import health
from otel_ml.audit import key_files, pseudonyms, subjects
from otel_ml.audit import manifest as marks
from otel_ml.audit.key_files import KeyFileError
from otel_ml.audit.pseudonyms import KEY_VARIABLE, Pseudonyms
from otel_ml.audit.reading import erasure
from otel_ml.audit.reading.erasure import HeldError
from otel_ml.audit.subjects import RECHECK, SubjectError, SubjectKeys
from segments import START, Process
from support import run_python

ADA, BOB = "ada@example.org", "bob@example.org"
PLAIN = b'{"features":{"income":1.5},"prediction":0.2}'
SHARED = "one key for several hosts, 32 or more"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A monotonic clock that a test moves."""
    now = [time.monotonic()]
    monkeypatch.setattr(subjects.time, "monotonic", lambda: now[0])
    yield now


def manifest(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "manifest.jsonl").read_text().splitlines()]


def test_a_subject_has_one_pseudonym_wherever_the_key_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each process of a directory, and on each host that has the key in its environment; nowhere else."""
    here, again, there = Pseudonyms(tmp_path / "a"), Pseudonyms(tmp_path / "a"), Pseudonyms(tmp_path / "b")
    assert here.of(ADA) == again.of(ADA) != there.of(ADA)
    assert here.of(ADA) != here.of(BOB)
    monkeypatch.setenv(KEY_VARIABLE, SHARED)
    one, other = Pseudonyms(tmp_path / "c"), Pseudonyms(tmp_path / "d")
    assert one.of(ADA) == other.of(ADA) != here.of(ADA)
    assert not (tmp_path / "c").exists()


@given(text=st.text())
def test_a_pseudonym_is_a_text_of_fixed_form(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It tells nothing of the subject, and is a safe name of a file."""
    found = Pseudonyms(tmp_path_factory.getbasetemp() / "form").of(text)
    assert found is not None and pseudonyms.is_pseudonym(found)


def test_numbers_and_ids_are_the_same_as_their_text(tmp_path: Path) -> None:
    """Also those of numpy, and lone surrogates are no error."""
    of = Pseudonyms(tmp_path).of
    assert of(42) == of("42") == of(np.int64(42)) == of(b"42")
    assert of(UUID(int=1)) == of(str(UUID(int=1)))
    assert of("\ud800") is not None and of(None) is None
    assert health.dropped() == {}


@pytest.mark.parametrize("subject", [object(), [1], {"id": 1}, lambda: 1], ids=lambda subject: type(subject).__name__)
def test_what_is_no_subject_is_said_and_not_mistaken_for_one(
    tmp_path: Path, subject: object, caplog: pytest.LogCaptureFixture
) -> None:
    """All objects of a class would have one pseudonym otherwise."""
    assert Pseudonyms(tmp_path).of(subject) is None
    assert "expected text, a number or an id" in caplog.text and type(subject).__name__ in caplog.text


def test_a_short_key_in_the_environment_is_one_warning_that_does_not_tell_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The file's key is used."""
    expected = Pseudonyms(tmp_path).of(ADA)
    monkeypatch.setenv(KEY_VARIABLE, "hunter2")
    assert Pseudonyms(tmp_path).of(ADA) == expected
    assert f"{KEY_VARIABLE}: expected at least 32 characters, received 7" in caplog.text
    assert "hunter2" not in caplog.text


def test_processes_that_start_together_agree_on_the_keys(tmp_path: Path) -> None:
    """One of them makes each, for its owner only; no draft is left behind."""
    code = f"""
        from pathlib import Path
        from otel_ml.audit.pseudonyms import Pseudonyms
        from otel_ml.audit.subjects import SubjectKeys
        directory = Path({str(tmp_path)!r})
        subject = Pseudonyms(directory).of({ADA!r})
        print(subject, SubjectKeys(directory).encrypt(subject, b"x", "id"))
    """
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: run_python(code, env={"PYTHONHASHSEED": "0"}), range(8)))
    found = [one.stdout.split() for one in done]
    assert len({subject for subject, _ in found}) == 1, done[0].stderr
    keys = SubjectKeys(tmp_path)
    assert [keys.decrypt(subject, encrypted, "id") for subject, encrypted in found] == [b"x"] * 8
    folder = tmp_path / "keys"
    assert sorted(path.name for path in folder.iterdir()) == sorted(["hmac.key", f"{found[0][0]}.key"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_file_without_a_key_is_an_error_that_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    """Going on with another key would give the same subjects other pseudonyms."""
    (key_files.folder_of(tmp_path) / "hmac.key").write_bytes(content)
    with pytest.raises(KeyFileError, match=r"hmac\.key: expected a key of 32 bytes, received \d+.*\. Restore the file"):
        Pseudonyms(tmp_path)


@given(plain=st.binary(max_size=200), record_id=st.text(st.characters(codec="utf-8"), max_size=40))
def test_what_is_encrypted_comes_back_for_its_own_record_only(
    plain: bytes, record_id: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Not as part of another record, nor for another subject; the text is plain ASCII without anything to escape."""
    directory = tmp_path_factory.getbasetemp() / "round"
    ada, bob = Pseudonyms(directory).of(ADA) or "", Pseudonyms(directory).of(BOB) or ""
    keys = SubjectKeys(directory)
    encrypted, other = keys.encrypt(ada, plain, record_id), keys.encrypt(bob, plain, record_id)
    assert encrypted.isascii() and json.dumps(encrypted) == f'"{encrypted}"' and encrypted != other
    assert plain not in base64.b64decode(encrypted) or len(plain) < 4
    assert keys.decrypt(ada, encrypted, record_id) == plain
    assert subjects.decrypt(directory, ada, encrypted, record_id) == plain
    assert keys.decrypt(ada, encrypted, f"{record_id}x") is None
    assert keys.decrypt(bob, encrypted, record_id) is None


@given(data=st.data())
def test_a_changed_text_is_not_read(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nor one of another form, nor anything that is no base64."""
    directory = tmp_path_factory.getbasetemp() / "changed"
    ada = Pseudonyms(directory).of(ADA) or ""
    keys = SubjectKeys(directory)
    encrypted = bytearray(base64.b64decode(keys.encrypt(ada, PLAIN, "id")))
    encrypted[data.draw(st.integers(0, len(encrypted) - 1))] ^= data.draw(st.integers(1, 255))
    assert keys.decrypt(ada, base64.b64encode(encrypted).decode(), "id") is None
    assert keys.decrypt(ada, data.draw(st.text(max_size=80)), "id") is None


@pytest.mark.parametrize("subject", [ADA, "", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 33])
def test_a_subject_that_is_no_pseudonym_never_becomes_the_name_of_a_file(tmp_path: Path, subject: str) -> None:
    """Encrypting for it is an error that does not tell it, and there is nothing to decrypt."""
    keys = SubjectKeys(tmp_path)
    with pytest.raises(SubjectError, match="expected a pseudonym of 32 hexadecimal digits, received") as raised:
        keys.encrypt(subject, PLAIN, "id")
    assert not subject or subject not in str(raised.value)
    assert keys.decrypt(subject, "AQ==", "id") is None
    assert not (tmp_path / "keys").exists()


def test_without_the_library_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    """At once, when encryption is configured and not with the first record; pseudonyms and erasing do without it."""
    done = run_python(
        """
        import sys
        from pathlib import Path
        sys.modules["cryptography"] = None
        from otel_ml.audit import subjects
        from otel_ml.audit.pseudonyms import Pseudonyms
        from otel_ml.audit.reading import erasure
        print(Pseudonyms(Path("audit")).of("x") is not None, erasure.erase(Path("audit"), "x"))
        try:
            subjects.SubjectKeys(Path("audit"))
        except subjects.Error as error:
            print(error)
        """,
        cwd=tmp_path,
    )
    assert done.stdout.startswith("True False\ncryptography"), done.stderr
    assert "pip install 'otel-ml[encryption]'" in done.stdout and "Audit.encrypt_subjects" in done.stdout


@pytest.mark.parametrize("by", ["name", "pseudonym", "name in the environment's key"])
def test_an_erased_subject_is_unreadable_and_the_others_are_not(
    tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name or by pseudonym; the key is overwritten before it is deleted, and the manifest says so."""
    if by == "name in the environment's key":
        monkeypatch.setenv(KEY_VARIABLE, SHARED)
    names = Pseudonyms(tmp_path)
    ada, bob = names.of(ADA) or "", names.of(BOB) or ""
    keys = SubjectKeys(tmp_path)
    hidden = {subject: keys.encrypt(subject, PLAIN, "id") for subject in (ada, bob)}
    key = (tmp_path / "keys" / f"{ada}.key").read_bytes()
    os.link(tmp_path / "keys" / f"{ada}.key", tmp_path / "same-blocks")
    assert erasure.erase(tmp_path, ada if by == "pseudonym" else ADA)
    assert subjects.decrypt(tmp_path, ada, hidden[ada], "id") is None
    assert subjects.decrypt(tmp_path, bob, hidden[bob], "id") == PLAIN
    assert (tmp_path / "same-blocks").read_bytes() != key
    assert sorted(path.name for path in (tmp_path / "keys").iterdir() if path.name != "hmac.key") == [f"{bob}.key"]
    (said,) = manifest(tmp_path)
    assert (said["event.name"], said["subject"]) == ("otel_ml.audit.erased", ada)
    assert ADA not in (tmp_path / "manifest.jsonl").read_text()
    assert not erasure.erase(tmp_path, ADA), "there is nothing left"


@pytest.mark.parametrize("is_sealed", [True, False])
def test_what_is_held_is_not_erased_until_it_is_released(tmp_path: Path, is_sealed: bool) -> None:
    """The error names the hold; nothing is erased and nothing is said in the manifest."""
    ada = write_record(tmp_path, ADA, is_sealed=is_sealed)
    encrypted = SubjectKeys(tmp_path).encrypt(ada, PLAIN, "id")
    identity = marks.hold(tmp_path, "case 4711", since=START - 1, until=START + 1)
    for name in (ADA, ada):
        with pytest.raises(HeldError, match=f"under 'case 4711' \\({identity}\\).*release {identity}"):
            erasure.erase(tmp_path, name)
    assert subjects.decrypt(tmp_path, ada, encrypted, "id") == PLAIN
    assert [said["event.name"] for said in manifest(tmp_path)] == [marks.HOLD]
    marks.release(tmp_path, identity)
    assert erasure.erase(tmp_path, ADA)
    assert subjects.decrypt(tmp_path, ada, encrypted, "id") is None


def test_a_hold_of_other_records_keeps_nobody_from_being_erased(tmp_path: Path) -> None:
    """Of another time, or of other subjects, also where a feature of theirs has the pseudonym as its value."""
    ada, bob = write_record(tmp_path, ADA), Pseudonyms(tmp_path).of(BOB) or ""
    process = Process(tmp_path, pid=2)
    process.prediction(time_unix_nano=START + 10, subject=bob, features={"subject": ada})
    process.torn()
    SubjectKeys(tmp_path).encrypt(ada, PLAIN, "id")
    marks.hold(tmp_path, "later", since=START + 1)
    marks.hold(tmp_path, "before", until=START - 1)
    assert erasure.erase(tmp_path, ADA)


def test_a_hold_that_is_placed_while_records_are_looked_at_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two is told first that it is done, they agree."""
    ada = write_record(tmp_path, ADA)
    SubjectKeys(tmp_path).encrypt(ada, PLAIN, "id")
    look = erasure.refuse_erasure

    def look_slowly(*given: Any) -> None:
        look(*given)
        marks.hold(tmp_path, "case 4711")

    monkeypatch.setattr(erasure, "refuse_erasure", look_slowly)
    with pytest.raises(HeldError, match="case 4711"):
        erasure.erase(tmp_path, ADA)


def write_record(directory: Path, subject: str, *, is_sealed: bool = True) -> str:
    """Put one record of a subject on record, and return its pseudonym."""
    pseudonym = Pseudonyms(directory).of(subject) or ""
    process = Process(directory)
    process.prediction(features=None, prediction=None, subject=pseudonym, encrypted="x")
    if is_sealed:
        process.seal()
    return pseudonym


def test_what_was_never_encrypted_is_not_said_to_be_erased(tmp_path: Path) -> None:
    """Neither a subject without a key, nor one of a directory without any."""
    assert not erasure.erase(tmp_path, ADA)
    Pseudonyms(tmp_path).of(ADA)
    assert not erasure.erase(tmp_path, ADA)
    assert not (tmp_path / "manifest.jsonl").exists() or manifest(tmp_path) == []


def test_records_after_an_erasure_have_a_new_key(tmp_path: Path, clock: list[float]) -> None:
    """A process that keeps a key notices within the stated time, and what it wrote until then is unreadable."""
    writer, reader = SubjectKeys(tmp_path), SubjectKeys(tmp_path)
    ada = Pseudonyms(tmp_path).of(ADA) or ""
    before = writer.encrypt(ada, PLAIN, "1")
    assert reader.decrypt(ada, before, "1") == PLAIN
    assert erasure.erase(tmp_path, ADA)
    late = writer.encrypt(ada, PLAIN, "2")
    assert subjects.decrypt(tmp_path, ada, late, "2") is None
    clock[0] += RECHECK
    after = writer.encrypt(ada, PLAIN, "3")
    assert [reader.decrypt(ada, text, number) for text, number in ((before, "1"), (late, "2"))] == [None, None]
    assert reader.decrypt(ada, after, "3") == PLAIN


def test_a_process_keeps_a_bounded_number_of_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more subjects than that, each is still read with its own."""
    monkeypatch.setattr(subjects, "_MOST_KEPT", 2)
    keys, of = SubjectKeys(tmp_path), Pseudonyms(tmp_path).of
    names = [of(number) or "" for number in range(5)]
    hidden = [keys.encrypt(name, name.encode(), "id") for name in names]
    assert [keys.decrypt(name, text, "id") for name, text in zip(names, hidden, strict=True)] == [
        name.encode() for name in names
    ]
    assert len(keys._ciphers) <= 2


def test_another_process_that_has_the_key_notices(tmp_path: Path) -> None:
    """It reads until the key is destroyed, and soon no more."""
    ada = Pseudonyms(tmp_path).of(ADA) or ""
    encrypted = SubjectKeys(tmp_path).encrypt(ada, PLAIN, "id")
    code = f"""
        import sys, time
        from pathlib import Path
        from otel_ml.audit.subjects import SubjectKeys
        keys = SubjectKeys(Path({str(tmp_path)!r}))
        read = lambda: keys.decrypt({ada!r}, {encrypted!r}, "id")
        assert read() is not None
        print("has it", flush=True)
        deadline = time.monotonic() + 50
        while read() is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        print("noticed", flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-P", "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "has it\n"
        assert erasure.erase(tmp_path, ADA)
        assert other.stdout.read() == "noticed\n"
    assert other.returncode == 0


@pytest.mark.parametrize("step", range(1, 8))
def test_an_erasure_that_is_killed_goes_on_when_it_is_done_again(tmp_path: Path, step: int) -> None:
    """At each of its steps: never is the manifest first, and never is a key left that nobody will overwrite."""
    ada = Pseudonyms(tmp_path).of(ADA) or ""
    encrypted = SubjectKeys(tmp_path).encrypt(ada, PLAIN, "id")
    done = run_python(
        f"""
        import os, signal
        from pathlib import Path
        from otel_ml.audit.reading import erasure
        left = [{step}]

        def deadly(call):
            def called(*args, **kwargs):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **kwargs)
            return called

        for name in ("rename", "unlink"):
            setattr(Path, name, deadly(getattr(Path, name)))
        os.fsync, os.write = deadly(os.fsync), deadly(os.write)
        erasure.erase(Path({str(tmp_path)!r}), {ADA!r})
        """
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    path = tmp_path / "manifest.jsonl"
    if path.exists() and b"erased" in path.read_bytes():
        assert subjects.decrypt(tmp_path, ada, encrypted, "id") is None
    erasure.erase(tmp_path, ADA)
    assert subjects.decrypt(tmp_path, ada, encrypted, "id") is None
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["hmac.key"]
    assert {said["subject"] for said in manifest(tmp_path) if said["event.name"] == erasure.ERASED} == {ada}


def test_writers_erasures_and_a_compaction_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    """No record is half readable, all that was erased stays unreadable, and the segments are not touched."""
    pytest.importorskip("duckdb")
    from otel_ml import audit

    names = Pseudonyms(tmp_path)
    ada, bob = names.of(ADA) or "", names.of(BOB) or ""
    stop, hidden = threading.Event(), dict[str, tuple[str, str]]()

    def write(number: int) -> None:
        keys, count = SubjectKeys(tmp_path), 0
        while not stop.is_set() and count < 3000:
            subject, record_id = (ada, bob)[count % 2], f"{number}-{count}"
            hidden[record_id] = (subject, keys.encrypt(subject, PLAIN, record_id))
            count += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    while len(hidden) < 100:
        time.sleep(0.001)
    process = Process(tmp_path)
    written = dict(list(hidden.items())[:50])
    for record_id, (subject, encrypted) in written.items():
        process.prediction(record_id=record_id, features=None, prediction=None, subject=subject, encrypted=encrypted)
    sealed = process.seal()
    content = sealed.read_bytes()
    compacting = threading.Thread(target=audit.compact, kwargs={"directory": tmp_path})
    compacting.start()
    assert erasure.erase(tmp_path, ADA)
    compacting.join()
    stop.set()
    for thread in threads:
        thread.join()
    found = {
        record_id: subjects.decrypt(tmp_path, subject, text, record_id) for record_id, (subject, text) in hidden.items()
    }
    for record_id, (subject, _) in hidden.items():
        assert found[record_id] == (PLAIN if subject == bob else None) or (subject == ada and record_id not in written)
        assert found[record_id] in (None, PLAIN)
    assert sealed.read_bytes() == content
    (parquet,) = (tmp_path / "parquet").glob("*.parquet")
    assert b"income" not in content + parquet.read_bytes()
    assert audit.verify(directory=tmp_path)
