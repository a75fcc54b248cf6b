from __future__ import annotations

import os
import time
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import identity
from support import run_python


def test_an_id_is_a_uuid7_of_now() -> None:
    """Version, variant and time of an id are those of RFC 9562."""
    before = time.time_ns() // 1_000_000
    parsed = uuid.UUID(identity.uuid7())
    after = time.time_ns() // 1_000_000
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert before <= parsed.int >> 80 <= after


def test_ids_do_not_repeat() -> None:
    """Ids made in the same instant differ."""
    assert len({identity.uuid7() for _ in range(5_000)}) == 5_000


@given(st.integers(0, 253402300799_999), st.integers(0, 2**64 - 1))
def test_a_folder_is_named_by_the_ids_own_time(milliseconds: int, rest: int) -> None:
    """The folder's name tells the second in which the id was made, whatever the clock says now."""
    run_id = str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | 0b10 << 62 | rest & (2**62 - 1)))
    name = identity.folder_name(run_id)
    started = datetime.strptime(name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert started.timestamp() == milliseconds // 1000
    assert name[16:] == f"-{run_id}"


@pytest.mark.parametrize(
    "run_id", ["build-17", str(uuid.UUID(int=5, version=4)), "ffffffff-ffff-7fff-bfff-ffffffffffff"]
)
def test_the_folder_of_any_other_id_is_the_id(run_id: str) -> None:
    """An id that is no UUIDv7, or whose time no calendar has, is its own folder's name."""
    assert identity.folder_name(run_id) == run_id


@given(st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True).filter(lambda text: text.strip("._-")))
def test_a_usable_id_is_inherited(run_id: str) -> None:
    """Letters, digits, dots, dashes and underscores, up to 64 of them, are taken as they are."""
    assert identity.inherited_id({"OTEL_ML_RUN_ID": run_id}) == run_id


@pytest.mark.parametrize("run_id", ["..", ".", "a/b", "x" * 65, "a b", "é", "a\n"])
def test_an_unusable_id_is_a_warning(run_id: str, caplog: pytest.LogCaptureFixture) -> None:
    """What could leave the state directory, or is no id, is refused with a warning that shows it."""
    assert identity.inherited_id({"OTEL_ML_RUN_ID": run_id}) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "OTEL_ML_RUN_ID: expected 1 to 64 letters" in caplog.text


def test_no_id_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """An environment without a run, or with an empty one, hands nothing down."""
    assert identity.inherited_id({}) is None and identity.inherited_id({"OTEL_ML_RUN_ID": ""}) is None
    assert not caplog.records


def test_the_first_run_takes_the_id_of_the_process() -> None:
    """Later runs get an id of their own."""
    done = run_python("""
        from otel_ml import identity
        process = identity.own_id()
        assert identity.own_id() == process
        assert identity.next_id() == process
        assert len({process, identity.next_id(), identity.next_id()}) == 3
    """)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_runs_of_its_own() -> None:
    """An id made before the fork is taken neither by two children nor by parent and child."""
    done = run_python("""
        import os
        from otel_ml import identity
        process = identity.own_id()
        reader, writer = os.pipe()
        for _ in range(2):
            if os.fork() == 0:
                os.write(writer, f"{identity.next_id()}\\n".encode())
                os._exit(0)
            os.wait()
        os.close(writer)
        children = open(reader).read().split()
        assert len({process, *children}) == 3, (process, children)
        assert identity.next_id() == process
    """)
    assert done.returncode == 0, done.stderr
