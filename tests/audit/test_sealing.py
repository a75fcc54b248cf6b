"""Sealing: numbers and hashes of many lines at once are what SHA-256 says they are, however they are computed."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_ml.audit import sealing

ROOT = bytes(range(32))
use_portable = getattr(sealing, "use_portable", None)  # only where it is compiled


@pytest.fixture(params=["as usual", "portable"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Also without the processor's own instructions for SHA-256."""
    if request.param == "portable":
        if use_portable is None:
            pytest.skip("not compiled: hashlib does it")
        use_portable(True)
    yield request.param
    if use_portable is not None:
        use_portable(False)


@pytest.mark.usefixtures("way")
def test_the_hash_is_sha_256_at_every_length_around_a_block() -> None:
    """Padding takes another block or does not, and the last block has the hash before in it."""
    for length in [*range(330), 2014, 2015, 2016, 2047, 2048, 4095, 65_536, 1_000_003]:
        body = os.urandom(length)
        assert sealing.link(ROOT, body) == hashlib.sha256(body + ROOT).digest(), length


@given(st.lists(st.binary(max_size=300), max_size=20), st.sampled_from([0, 8, 9, 95, 10**9, 2**62]))
@example([], 0)
def test_lines_follow_on_one_another(bodies: list[bytes], seq: int) -> None:
    """Each has its number and the hash of itself and the hash before."""
    expected, root = b"", ROOT
    for number, body in enumerate(bodies):
        numbered = b'%b,"seq":%d' % (body, seq + number)
        root = hashlib.sha256(numbered + root).digest()
        expected += b'%b,"hash":"%b"}\n' % (numbered, root.hex().encode())
    assert sealing.seal(bodies, ROOT, seq) == (expected, root, 0)


@pytest.mark.usefixtures("way")
def test_lines_are_hashed_in_pairs_of_any_lengths() -> None:
    """Two at once as far as both have whole blocks, the rest of each by itself, and a last one alone."""
    for number in (1, 2, 3, 8):
        for step in (0, 1, 37, 64, 640):
            bodies = [os.urandom((index * step + number) % 2000) for index in range(number)]
            root = ROOT
            for index, body in enumerate(bodies):
                root = hashlib.sha256(b'%b,"seq":%d' % (body, index) + root).digest()
            assert sealing.seal(bodies, ROOT, 0)[1] == root, (number, step)


def test_what_is_sealed_is_written_in_the_same_call(tmp_path: Path) -> None:
    """As much as one write takes."""
    with (tmp_path / "lines").open("wb", buffering=0) as file:
        lines, _, written = sealing.seal([b'{"a":1'] * 1000, ROOT, 0, file.fileno())
    assert written == len(lines)
    assert (tmp_path / "lines").read_bytes() == lines


def test_what_a_pipe_does_not_take_is_told() -> None:
    """A short write says how much it was."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    lines, _, written = sealing.seal([b"x" * 1000] * 1000, ROOT, 0, write)
    assert 0 < written < len(lines)
    assert os.read(read, written) == lines[:written]
    os.close(read)
    os.close(write)


def test_an_error_of_writing_is_told_by_its_number() -> None:
    """The lines are there all the same: they are to be written elsewhere."""
    with open(os.devnull, "rb") as unwritable:
        lines, _, written = sealing.seal([b'{"a":1'], ROOT, 0, unwritable.fileno())
    assert written == -errno.EBADF
    assert lines.startswith(b'{"a":1,"seq":0,"hash":"')


def test_threads_seal_at_once() -> None:
    """The GIL is not held meanwhile, and nothing is shared."""
    expected = sealing.seal([b"x" * 5000] * 200, ROOT, 0)
    results: list[object] = []
    threads = [
        threading.Thread(target=lambda: results.append(sealing.seal([b"x" * 5000] * 200, ROOT, 0))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 8
