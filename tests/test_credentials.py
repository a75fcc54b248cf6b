"""Credentials are found in text by their shape or by the key before them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml.redaction import Redactor

text = Redactor().text


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("password=hUnter2-9xQ", "password=[redacted]"),
        ("password: hUnter2-9xQ, user: bob", "password: [redacted], user: bob"),
        ("PASSWORD => hUnter2-9xQ", "PASSWORD => [redacted]"),
        ("if pwd == 'hUnter2-9xQ':", "if pwd == '[redacted]':"),
        ("?a=1&token=hUnter2-9xQ&b=2", "?a=1&token=[redacted]&b=2"),
        ("token=hUnter2-9xQ,and,more rest", "token=[redacted] rest"),
        ("token=hUnter2-9xQ,a=1", "token=[redacted],a=1"),
        ("(secret=hUnter2-9xQ)", "(secret=[redacted])"),
        ("secret=hUnter)2-9xQ;", "secret=[redacted];"),
        ("train.py --api-key hUnter2-9xQ --epochs 3", "train.py --api-key [redacted] --epochs 3"),
        ("train.py --api-key=hUnter2-9xQ", "train.py --api-key=[redacted]"),
        ("train.py --token --epochs 3", "train.py --token --epochs 3"),
        ("api key: hUnter2-9xQ", "api key: [redacted]"),
        ('{"password": "hUnter2-9xQ", "n": 1}', '{"password": "[redacted]", "n": 1}'),
        ('{"pin": 1234, "n": 1}', '{"pin": [redacted], "n": 1}'),
        ('{"a": {"pin":1234}}', '{"a": {"pin":[redacted]}}'),
        ("{'password': 'it\\'s hUnter2-9xQ', 'n': 1}", "{'password': '[redacted]', 'n': 1}"),
        ("{'password': b'hUnter2-9xQ'}", "{'password': b'[redacted]'}"),
        ('{"b": "{\\"token\\": \\"hUnter2 x\\", \\"n\\": 1}"}', '{"b": "{\\"token\\": \\"[redacted]\\", \\"n\\": 1}"}'),
        ('"{\\\\\\"token\\\\\\": \\\\\\"hUnter2-9xQ\\\\\\"}"', '"{\\\\\\"token\\\\\\": \\\\\\"[redacted]\\\\\\"}"'),
        ("secrets: {'a': ['hUnter2-9xQ', {'b': 1}]} rest", "secrets: [redacted] rest"),
        ("secrets: {'a': ['hUnter2-9xQ'", "secrets: [redacted]"),
        ('password="hUnter2-9xQ', 'password="[redacted]'),
        ("h['X-API-Key'] = 'hUnter2-9xQ'", "h['X-API-Key'] = '[redacted]'"),
        ("note=password=hUnter2-9xQ", "note=password=[redacted]"),
        ("Server=db;Uid=sa;Pwd=hUnter2-9xQ;", "Server=db;Uid=sa;Pwd=[redacted];"),
        ("Authorization: Basic aHVudGVyOjI=", "Authorization: [redacted]"),
        ("authorization: AWS4-HMAC-SHA256 Credential=A, Signature=b\nnext", "authorization: [redacted]\nnext"),
        ("curl -H 'Authorization: Token hUnter2-9xQ' -v", "curl -H 'Authorization: [redacted]' -v"),
        ("Cookie: a=1; sid=hUnter2-9xQ", "Cookie: [redacted]"),
        ("x-auth-token: Bearer hUnter2-9xQ", "x-auth-token: [redacted]"),
    ],
)  # fmt: skip
def test_the_value_of_a_sensitive_key_is_masked_and_the_rest_stays(given_text: str, expected: str) -> None:
    """In every notation that puts a key before a value, also when it is cut off or nested."""
    assert text(given_text) == expected


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("postgres://app:hUnter2@db/x", "postgres://app:[redacted]@db/x"),
        ("postgres://app:hU:nt@er2@db:5432/x", "postgres://app:[redacted]@db:5432/x"),
        ("postgres://app:hUn/ter2@db/x", "postgres://app:[redacted]@db/x"),
        ("postgres://app:12#hUnter2@db/x", "postgres://app:[redacted]@db/x"),
        ("redis://:hUnter2@a:1,redis://:hUnter2@b:2", "redis://:[redacted]@a:1,redis://:[redacted]@b:2"),
        ("https://hUnter2@github.com/a", "https://[redacted]@github.com/a"),
        ("https://a:hUnter2@h/p?q=x&n=1", "https://a:[redacted]@h/p?q=x&n=1"),
        ("app:hUnter2@tcp(db:3306)/x", "app:[redacted]@tcp(db:3306)/x"),
        ("abfss://container@account.dfs.core.windows.net/x", "abfss://container@account.dfs.core.windows.net/x"),
        ("ssh://git@host.example/x.git", "ssh://git@host.example/x.git"),
        ("http://host:8080/path@2x/y", "http://host:8080/path@2x/y"),
        ("https://host/a:b@c", "https://host/a:b@c"),
    ],
)
def test_a_login_in_a_url_is_masked_and_the_host_stays(given_text: str, expected: str) -> None:
    """The user name stays when a password tells who it is; container names, ports and paths are no logins."""
    assert text(given_text) == expected


@pytest.mark.parametrize(
    "secret",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAABCDEFGHIJKLMNOP",
        "AIza" + "Sy" + "a" * 33,
        "ya29.a0AfH6SMBx-aaaaaaaaaaaaaa",
        "sk-proj-abcdefghij0123456789",
        "sk-ant-api03-abcdefghij0123456789",
        "sk_live_abcdefghij0123",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "github_pat_11ABCDEFG0abcdefghij",
        "glpat-abcdefghij0123456789",
        "xoxb-123456789012-abcdef",
        "hooks.slack.com/services/T00000000/B00000000/abc",
        "hf_abcdefghijklmnopqrstuvwxyz",
        "npm_abcdefghijklmnopqrst0123",
        "dapi" + "0123456789abcdef" * 2,
        "SG." + "a" * 22 + "." + "b" * 43,
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA",
    ],
)
def test_a_token_of_a_known_shape_is_masked_wherever_it_stands(secret: str) -> None:
    """No key is needed before it."""
    assert text(secret) == "[redacted]"
    assert text(f"failed with ({secret}") == "failed with ([redacted]"
    assert text(f"{secret.splitlines()[0]} tail").startswith("[redacted]")


def test_a_shared_access_signature_in_a_url_is_masked() -> None:
    """Azure puts it under `sig`, which elsewhere is a name like any other."""
    assert text("https://x/y?sv=1&sig=abcdefgh%2Bij%3D&n=1") == "https://x/y?sv=1&[redacted]&n=1"
    assert text("sig=abcdefghijklm") == "sig=abcdefghijklm"


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_basic_credentials_are_known_by_their_base64(user: str, password: str) -> None:
    """What decodes to user:password is masked; it never appears in the result."""
    encoded = base64.b64encode(f"{user}:{password}".encode("utf-8", "replace")).decode()
    assert text(f"sent Basic {encoded} to x") == "sent Basic [redacted] to x"


@pytest.mark.parametrize(
    "ordinary",
    [
        "Basic training", "basic information is here", "Bearer of bad news", "bearer Authentication", "bearer",
        "Basic a.b-c", "sk-learn-pipeline-of-many-steps", "risk-1234567890123456789", "std::token::foo", "x = y",
        "Unexpected token: ", "rows: 3, columns: 4", "12:30:05", "C:\\data\\x", "image@sha256:0123abcd",
        "numpy@1.26.4", "keys=[1, 2]", "tokens_total=5", "max_tokens: 5", "lambda x: x",
        "https://example.com/a?b=c#d", "s3://bucket/key/x.parquet",
    ],
)  # fmt: skip
def test_ordinary_text_stays(ordinary: str) -> None:
    """Nothing is masked that only resembles a credential."""
    assert text(ordinary) == ordinary


@given(
    st.sampled_from(
        ["password=%s", '{"token": "%s"}', "api_key: '%s'", "--secret %s", "x://u:%s@h/", '\\"pwd\\": \\"%s\\"']
    ),
    st.from_regex(r"[A-Za-z0-9!#$%*+._~^-]{4,40}", fullmatch=True),
    st.sampled_from(["", " and more", ", n=1", "\nnext line"]),
)
def test_a_secret_behind_a_key_never_comes_through(form: str, secret: str, tail: str) -> None:
    """Whatever letters and signs it consists of."""
    masked = text(f"start {form % secret}{tail}")
    before, after = f"start {form}".split("%s")
    assert masked == f"{before}[redacted]{after}{tail}"
