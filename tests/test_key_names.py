"""Names are judged by their words: secrets are found however they are spelled, features stay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import key_names

SECRETS = ("password", "api_key", "client_secret", "access_token", "card_number", "email", "phone", "session_id")


@pytest.mark.parametrize(
    "name",
    [
        "password", "user_password", "userPassword", "PASSWORD_2", "db.password", "PGPASSWORD", "passwd", "pwd", "pass",
        "apiKey", "API-KEY", "x-api-key", "apikey", "APIKeys", "AWSSecretAccessKey", "aws_secret_access_key", "secrets",
        "Authorization", "Proxy-Authorization", "auth", "basic_auth", "Cookie", "Set-Cookie", "csrfmiddlewaretoken",
        "token", "access_token", "authToken", "authtoken", "id_token", "jwt", "sessionId", "PHPSESSID", "otp",
        "private_key", "account-key", "X-Amz-Signature", "email", "e-mail", "userEmail", "emails", "email_address",
        "phone", "phoneNumber", "mobile_number", "msisdn", "ssn", "social_security_number", "nationalId", "passport_no",
        "iban", "credit_card", "creditCard", "cardNumber", "card_no", "cvv2", "pan", "pin", "tax_id",
    ],
)  # fmt: skip
def test_names_of_credentials_and_personal_data_are_sensitive(name: str) -> None:
    """Case, separators, digits and glued words do not hide one."""
    assert key_names.is_sensitive(name)


@pytest.mark.parametrize(
    "name",
    [
        "author_session_len", "tokens_total", "max_tokens", "prompt_tokens", "token_count", "eos_token", "token_ids",
        "tokenizer", "password_length", "password_strength", "has_phone", "hasCrCard", "is_email_verified", "n_emails",
        "email_domain", "phone_model", "PhoneService", "credit_card_balance", "auth_latency_ms", "author", "authors",
        "secretary", "passenger_class", "compass", "first_pass", "spinning", "pancreas", "panel", "key", "keys",
        "primary_key", "foreign_key", "monkey", "keyboard", "cardinality", "card_type", "age", "session", "pinned",
        "company", "hotel", "mailing_list_size", "", "___", "123",
    ],
)  # fmt: skip
def test_ordinary_names_are_not_sensitive(name: str) -> None:
    """A word is not found inside another one, and what is only counted or asked about is kept."""
    assert not key_names.is_sensitive(name)


@given(st.sampled_from(SECRETS), st.sampled_from(["snake", "camel", "kebab", "upper", "dotted", "spaced"]))
def test_spelling_does_not_matter(name: str, style: str) -> None:
    """The words of a name are the same in every convention."""
    words = name.split("_")
    spelled = {
        "snake": name,
        "camel": words[0] + "".join(word.title() for word in words[1:]),
        "kebab": "-".join(words).title(),
        "upper": name.upper(),
        "dotted": ".".join(words),
        "spaced": " ".join(words),
    }[style]
    assert key_names.words_of(spelled) == tuple(words)
    assert key_names.is_sensitive(f"customer_{spelled}")


def test_further_words_know_no_exceptions() -> None:
    """A key that the user named is masked also where it seems to be counted, but only when all its words follow."""
    further = {("client", "name"), ("straße",)}
    assert key_names.is_sensitive("clientName", further)
    assert key_names.is_sensitive("the_client_name_len", further)
    assert key_names.is_sensitive("Straße", further)
    assert not key_names.is_sensitive("client_first_name", further)


@given(st.text())
def test_any_text_is_judged(name: str) -> None:
    """No name is too strange."""
    assert key_names.is_sensitive(name) in (True, False)
