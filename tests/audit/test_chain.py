"""The hash chain: what is sealed holds, and nothing else does."""

from __future__ import annotations

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from otel_ml.audit.chain import Chain, start_of

BODIES = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=3000), min_size=1), min_size=1, max_size=6)


def sealed(bodies: list[dict[str, str]]) -> list[bytes]:
    chain = Chain(start_of("a.jsonl"))
    return [chain.seal(json.dumps(body)[:-1].encode()) for body in bodies]


@given(BODIES)
def test_a_line_is_json_whose_hash_follows_from_the_line_before_as_documented(bodies: list[dict[str, str]]) -> None:
    """Whoever knows the rule can check a line with SHA-256 alone, whatever its length."""
    root = hashlib.sha256(b"otel_ml.audita.jsonl").digest()
    for number, line in enumerate(sealed(bodies)):
        body, separator, rest = line.rpartition(b',"hash":"')
        root = hashlib.sha256(body + root).digest()
        assert separator and rest == root.hex().encode() + b'"}\n'
        assert json.loads(line)["seq"] == number


@given(BODIES)
def test_sealing_many_at_once_gives_the_same_lines(bodies: list[dict[str, str]]) -> None:
    """The batch is only quicker."""
    at_once = Chain(start_of("a.jsonl")).seal_all([json.dumps(body)[:-1].encode() for body in bodies])
    assert at_once == (b"".join(sealed(bodies)), 0)


@given(BODIES)
def test_a_chain_checks_its_own_lines(bodies: list[dict[str, str]]) -> None:
    """What was sealed holds, and the chain gets to the same place."""
    lines = sealed(bodies)
    chain = Chain(start_of("a.jsonl"))
    assert [chain.check(line) for line in lines] == [""] * len(lines)
    assert (chain.seq, chain.root.hex()) == (len(lines), json.loads(lines[-1])["hash"])


@given(BODIES, st.data())
def test_a_changed_byte_is_found_and_the_chain_stays_before_it(
    bodies: list[dict[str, str]], data: st.DataObject
) -> None:
    """Any byte of any line, its hash and its line break included."""
    lines = sealed(bodies)
    number = data.draw(st.integers(0, len(lines) - 1))
    position = data.draw(st.integers(0, len(lines[number]) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != lines[number][position]))
    changed = lines[number][:position] + bytes([value]) + lines[number][position + 1 :]
    chain = Chain(start_of("a.jsonl"))
    assert not any(chain.check(line) for line in lines[:number])
    assert chain.check(changed) != ""
    assert chain.seq == number
