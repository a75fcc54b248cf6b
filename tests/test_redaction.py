"""The redactor masks plain data by key and by shape, changes nothing else, never raises, and takes linear time."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import credentials, health, personal_data, redaction
from otel_ml.options import Redaction
from otel_ml.redaction import LONGEST_TEXT, Redactor

MASK = "[redacted]"
CANARIES = (
    "alice@example.com",
    "4111 1111 1111 1111",
    "+49 30 1234567",
    "123-45-6789",
    "DE89370400440532013000",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "postgres://app:hUnter2@db/x",
    "Bearer abc123.def",
    "password=hUnter2",
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("abc xyz.,")
NAMES = st.text("abcxyz")
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=20,
)

redactor = Redactor()


@given(PLAIN)
def test_data_without_anything_sensitive_is_returned_itself(value: Any) -> None:
    """No copy is made, so that the caller can see that nothing changed."""
    assert redactor.value(value) is value


@given(PLAIN, st.sampled_from(["password", "userEmail", "X-API-Key", "ssn"]))
def test_everything_below_a_sensitive_key_becomes_the_mask(value: Any, key: str) -> None:
    """Numbers, texts and containers alike; None tells nothing and stays."""
    expected = None if value is None else MASK
    assert redactor.value({key: value, "n": 1}) == {key: expected, "n": 1}
    assert redactor.value(value, key) == expected
    assert redactor.mapping({key: value}) == {key: expected}


@given(
    st.sampled_from(CANARIES),
    st.sampled_from(["value", "list", "tuple", "set", "nested", "key", "bytes", "json", "tuple key"]),
)
def test_a_canary_is_masked_wherever_it_stands(canary: str, place: str) -> None:
    """In values, items, keys, bytes and JSON inside a text."""
    value: Any = {
        "value": {"note": canary},
        "list": ["a", canary],
        "tuple": ("a", canary),
        "set": {canary},
        "nested": {"a": [{"b": (canary,)}]},
        "key": {canary: 1},
        "bytes": [canary.encode()],
        "json": ['{"note": "%s"}' % canary],  # noqa: UP031  braces
        "tuple key": {(1, canary): 1},
    }[place]
    masked = repr(redactor.value(value))
    secret = canary.replace("postgres://app:", "").removesuffix("@db/x").replace("Bearer ", "").replace("password=", "")
    assert MASK in masked
    assert secret not in masked


def test_the_kind_of_a_container_is_kept() -> None:
    """A subclass becomes the plain type: only that can be made without running its code."""
    mail = "a@b.example"
    assert redactor.value([mail, 1]) == [MASK, 1]
    assert redactor.value((mail, 1)) == (MASK, 1)
    assert redactor.value({mail}) == {MASK}
    assert redactor.value(frozenset({mail})) == frozenset({MASK})
    assert redactor.value(OrderedDict(a=mail)) == {"a": MASK}
    assert redactor.value(b"to a@b.example \xff") == b"to [redacted] \xff"


def test_only_what_changed_is_copied() -> None:
    """Neighbours are the same objects, and the original is untouched."""
    clean, original = [1, 2], {"a": [1, 2], "mail": "a@b.example"}
    original["a"] = clean
    masked = redactor.value(original)
    assert masked["a"] is clean
    assert original == {"a": [1, 2], "mail": "a@b.example"}


def test_keys_that_look_the_same_once_masked_are_kept_apart() -> None:
    """No entry is lost."""
    masked = redactor.value({"[redacted] (3)": 0, "a@b.example": 1, "c@d.example": 2})
    assert sorted(masked.values()) == [0, 1, 2]
    assert not any("@" in key for key in masked)


def test_a_name_announces_the_next_item_on_command_lines_and_in_headers() -> None:
    """`--password x` as two words, and the pairs of HTTP headers as text and bytes."""
    assert redactor.value(["train", "--password", "x y", "--epochs", "3"]) == [
        "train",
        "--password",
        MASK,
        "--epochs",
        "3",
    ]
    assert redactor.value([("authorization", "x"), ("accept", "y")]) == [("authorization", MASK), ("accept", "y")]
    assert redactor.value([(b"cookie", b"x")]) == [(b"cookie", MASK)]
    assert redactor.value({b"password": 1}) == {b"password": MASK}
    columns = ["email", "age"]
    assert redactor.value(columns) is columns


def test_a_bare_number_is_masked_when_it_is_a_card() -> None:
    """A column of card numbers has no text around it; other large numbers stay."""
    assert redactor.value({"n": 4111111111111111, "m": 4111111111111111.0}) == {"n": MASK, "m": MASK}
    numbers = {"time": 1700000000000000, "hash": 4111111111111112, "f": 1e300, "nan": float("nan")}
    assert redactor.value(numbers) is numbers


@given(st.dictionaries(st.sampled_from(["a", "b", "user_email", "n"]), SCALARS | st.sampled_from(CANARIES), max_size=4))
def test_names_that_are_known_vouch_for_no_value(items: dict[str, Any]) -> None:
    """Masking is the same whether the names were seen before, with harmless values, or not."""
    seen = Redactor()
    assert seen.mapping(dict.fromkeys("abn", 1.5)) == dict.fromkeys("abn", 1.5)
    assert seen.mapping(items) == {key: Redactor().value(value, key) for key, value in items.items()}
    card = {"a": 1.5, "b": 4111111111111111}
    assert seen.mapping(card) == {"a": 1.5, "b": MASK}


def test_names_that_are_remembered_are_bounded() -> None:
    """Keys that are made up as a program goes, such as ids, do not fill the memory."""
    filled = Redactor()
    for number in range(10_000):
        assert filled.mapping({f"key{number}": number}) == {f"key{number}": number}
    assert len(filled._names._known) <= 4096 and len(filled._names.plain) <= 4096
    assert filled.mapping({"password": 1, "key7": 1}) == {"password": MASK, "key7": 1}


def test_cycles_shared_parts_and_depth_are_bounded() -> None:
    """What contains itself is noted; what doubles at each level is looked at once."""
    cycle: list[Any] = [1]
    cycle.append({"again": cycle})
    assert redactor.value(cycle) == [1, {"again": "<cycle>"}]
    doubled: Any = ["a@b.example"]
    for _ in range(50):
        doubled = [doubled, doubled]
    masked = redactor.value(doubled)
    while masked != [MASK]:
        assert masked[0] is masked[1]
        masked = masked[0]
    deep: Any = "a@b.example"
    for _ in range(10_000):
        deep = [deep]
    shown = str(redactor.value(deep))
    assert "<depth>" in shown
    assert "@" not in shown


def test_other_objects_are_returned_as_they_are() -> None:
    """Turning them into data is the business of `capture`."""
    thing = object()
    values = [thing, 1j, range(3)]
    assert redactor.value(values) is values


def test_what_cannot_be_masked_is_replaced_and_counted() -> None:
    """A container whose own code raises is masked as a whole: nothing of it comes through."""

    class Broken(dict[str, str]):
        def items(self) -> Any:
            raise RuntimeError("no items")

    assert redactor.value(Broken(a="a@b.example")) == MASK
    assert redactor.mapping(None) == {MASK: MASK}  # type: ignore[arg-type]
    assert redactor.text(None) == MASK  # type: ignore[arg-type]
    assert redactor.is_sensitive(None) is True  # type: ignore[arg-type]
    assert health.dropped() == {("internal", "redaction"): 4}


def test_mapping_takes_any_mapping_and_keeps_values_that_need_no_mask() -> None:
    """A span's attributes are a mapping proxy."""
    tags = ("a", "b")
    masked = redactor.mapping(type("T", (), {"tags": tags, "user_email": "x"}).__dict__)
    assert masked["tags"] is tags
    assert masked["user_email"] == MASK


PIECES = (
    "a", " ", "=", ":", "@", ".", "-", "1", "4111", "'", '"', "\\", "password", "Bearer ", "://", "[redacted]", "]",
    "x.example", "+49 30 ", ",", "{", "token", "eyJabcdefgh", "\n",
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_masking_twice_is_masking_once(value: str) -> None:
    """A text that was masked at capture is not changed again at the exit."""
    once = redactor.text(value)
    assert redactor.text(once) == once


@given(st.text())
def test_any_text_is_masked_to_a_text(value: str) -> None:
    """Lone surrogates, control characters and whatever else there is."""
    assert isinstance(redactor.text(value), str)
    assert health.dropped() == {}


@given(st.text("abcdefghijklmnopqrstuvwxyz ABC,.!?()", max_size=200))
def test_plain_words_stay(value: str) -> None:
    """Prose without digits and signs is returned itself."""
    assert redactor.text(value) is value


@given(st.sampled_from(CANARIES), st.integers(0, 60))
def test_a_text_is_cut_where_no_half_of_a_secret_remains(canary: str, before_cut: int) -> None:
    """A credential that the cut goes through is left out with the text around it."""
    value = "x" * (LONGEST_TEXT - before_cut - 1) + " " + canary + " tail " * 1000
    masked = redactor.text(value)
    assert len(masked) <= LONGEST_TEXT
    assert masked.endswith(f"... [cut, {len(value)} characters]")
    assert set(masked.partition("...")[0]) == {"x"}


def test_own_keys_patterns_and_mask_are_added_to_the_defaults() -> None:
    """Keys by words, patterns as written, the mask literally."""
    own = Redactor(Redaction(keys=("client_name",), patterns=(r"CASE-\d+", "z*"), mask=r"\1***"))
    assert own.value({"clientName": "Bob", "the_client_name": 1, "name": "x"}) == {
        "clientName": r"\1***",
        "the_client_name": r"\1***",
        "name": "x",
    }
    assert own.is_sensitive("clientname")
    assert own.text("see CASE-123 of a@b.example, zz") == r"see \1*** of \1***, \1***"
    assert own.text("nothing here") == "nothing here"


def test_a_callback_sees_what_is_masked_and_has_the_last_word() -> None:
    """It gets the key where there is one, and never a secret."""
    seen: list[tuple[str, object]] = []

    def callback(key: str, value: object) -> object:
        seen.append((key, value))
        return "hidden" if key == "salary" else value

    own = Redactor(Redaction(callback=callback))
    assert own.value({"salary": 1.5, "password": "x", "tags": ["a@b.example", 2]}) == {
        "salary": "hidden",
        "password": MASK,
        "tags": [MASK, 2],
    }
    assert own.text("mail a@b.example") == f"mail {MASK}"
    assert seen == [("salary", 1.5), ("password", MASK), ("tags", MASK), ("tags", 2), ("", f"mail {MASK}")]


def test_a_callback_that_raises_masks_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the caller sees the exception, nor anyone the value."""

    def callback(key: str, value: object) -> object:
        raise LookupError(key)

    own = Redactor(Redaction(callback=callback))
    assert own.value({"a": 1, "b": "x"}) == {"a": MASK, "b": MASK}
    assert own.text("x") == MASK
    assert [record.getMessage() for record in caplog.records] == [
        "Redaction.callback raised; its values are masked: LookupError('a')"
    ]


def test_a_redactor_that_is_off_changes_nothing() -> None:
    """`redaction=False` means so."""
    off = Redactor.off()
    secrets = {"password": "x", "mail": "a@b.example"}
    assert off.value(secrets) is secrets
    assert off.mapping(secrets) == secrets
    assert off.text("a@b.example") == "a@b.example"
    assert not off.is_sensitive("password")


def test_one_redactor_is_current_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults, until another one is used."""
    monkeypatch.setattr(redaction, "_current", redaction.current())
    assert redaction.current().text("a@b.example") == MASK
    own = Redactor(Redaction(mask="#"))
    redaction.use(own)
    assert redaction.current() is own


ATTACKS = (
    "a", "1", "1 ", "a@", "a@b.", "://", "a://b:", "=", "a='", 'a="\\', "password=", "password='", "password=(",
    "sk-a", "eyJ", "-----BEGIN PRIVATE KEY", "Bearer ", "AB12 ABCD ", "+1 2", "4111 ", "4111-", "01 ", "123-45-",
    "api ", "a.b-", "--a ", "\\", "- ", "GB82 WEST ", "password=a,", "x=[", "4111 4111 1 85 05 ",
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_time_grows_linearly_with_hostile_text(attack: str) -> None:
    """Ten times the text takes far less than the hundredfold that one quadratic pattern would cost."""

    def seconds(length: int) -> float:
        text = ("@=:1 " + attack * length)[: length - 1] + "!"  # what every pattern waits for, then the attack
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            redactor.text(text)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(LONGEST_TEXT) < 40 * max(seconds(LONGEST_TEXT // 10), 0.0005)


def repeats(parsed: Any, inside: bool = False) -> Iterator[str]:
    """Yield the repetitions that can give back characters and stand inside an unbounded repetition."""
    for operation, argument in parsed:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            _, most, body = argument
            is_unbounded = most == re._parser.MAXREPEAT  # type: ignore[attr-defined]
            if inside and is_unbounded and name != "POSSESSIVE_REPEAT":
                yield name
            yield from repeats(body, inside or is_unbounded)
        elif name == "BRANCH":
            for branch in argument[1]:
                yield from repeats(branch, inside)
        elif name in ("SUBPATTERN", "ASSERT", "ASSERT_NOT"):
            yield from repeats(argument[-1], inside)


def test_no_built_in_pattern_nests_repetitions_that_can_give_back() -> None:
    """This is what makes a pattern exponential; the check sees one when there is one."""
    patterns = [
        pattern
        for module in (credentials, personal_data, redaction)
        for pattern in vars(module).values()
        if isinstance(pattern, re.Pattern)
    ]
    assert len(patterns) > 20
    for pattern in patterns:
        parsed = re._parser.parse(pattern.pattern, pattern.flags)  # type: ignore[attr-defined]
        assert list(repeats(parsed)) == [], pattern.pattern
    assert list(repeats(re._parser.parse("(?:a+)+b"))) == ["MAX_REPEAT"]  # type: ignore[attr-defined]
