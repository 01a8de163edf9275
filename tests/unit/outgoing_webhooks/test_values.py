"""URLs and secrets of outgoing webhooks, and the body that is sent."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest
from tests.unit.outgoing_webhooks.receiver import NOW, secret, webhook

from billing_core.outgoing.values import SigningSecret, fault_of_secret, fault_of_url


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://crm.example.com/hooks?team=7", None),
        ("http://10.0.0.8:8080/", None),
        ("https://[2606:4700::1111]/", None),
        ("ftp://crm.example.com/", "must begin with https://"),
        ("crm.example.com/hooks", "must begin with https://"),
        ("https:///hooks", "has no host"),
        ("https://crm.example.com:0/", "must not have the port 0"),
        ("https://crm.example.com:99999/", "is not a URL"),
        ("https://[::1/", "is not a URL"),
        ("https://user:hunter2@crm.example.com/", "must not contain a user or a password"),
        ("https://@crm.example.com/", "must not contain a user or a password"),
        ("https://crm.example.com/#part", "must not contain a fragment"),
        ("https://crm.example.com/a b", "must be percent-encoded"),
        ("https://crm.example.com/\r\nHost: x", "must be percent-encoded"),
        ("https://bücher.example/", "must be percent-encoded"),
        (f"https://crm.example.com/{'a' * 2000}", "is longer than 2000 characters"),
    ],
)
def test_urls_that_cannot_be_used_are_refused_with_a_reason(url: str, fault: str | None) -> None:
    """The reason never repeats the URL, which may contain a password."""
    found = fault_of_url(url)
    assert found is None if fault is None else found is not None and fault in found
    assert "hunter2" not in (found or "")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("whsec_" + base64.b64encode(bytes(24)).decode(), None),
        ("whsec_" + base64.b64encode(bytes(64)).decode(), None),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "has 23 bytes"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "has 65 bytes"),
        ("whsec_päss", "is not base64"),
        ("sk_live_hunter2", "does not begin with whsec_"),
    ],
)
def test_secrets_have_the_form_of_standard_webhooks(text: str, fault: str | None) -> None:
    """The reason never repeats the secret."""
    found = fault_of_secret(text)
    assert found is None if fault is None else found is not None and fault in found
    assert "hunter2" not in (found or "")


def test_a_secret_is_not_shown() -> None:
    """Neither by its representation nor by the error about a wrong one."""
    generated = secret()
    assert generated.text not in repr(generated)
    with pytest.raises(ValueError, match="the secret is not base64") as refused:
        SigningSecret(text="whsec_hunter2!", created_at=NOW)
    assert "hunter2" not in str(refused.value)


def test_the_content_of_a_message_is_not_shown() -> None:
    """It names a tenant's money; logs and errors show the id."""
    shown = repr(webhook())
    assert webhook().message_id in shown
    assert webhook().payload not in shown


def test_a_generated_secret_is_valid_and_new() -> None:
    """Two are never equal, and neither are their fingerprints."""
    first, second = secret(), secret()
    assert fault_of_secret(first.text) is None
    assert first.text != second.text
    assert first.fingerprint != second.fingerprint


def test_a_secret_signs_until_it_expires() -> None:
    """The current one has no end."""
    replaced = SigningSecret(text=secret().text, created_at=NOW, expires_at=NOW + timedelta(hours=1))
    assert replaced.signs(NOW)
    assert not replaced.signs(NOW + timedelta(hours=1))
    assert secret().signs(NOW + timedelta(days=10_000))


def test_the_body_holds_the_payload_as_it_was_published() -> None:
    """Byte for byte, in the envelope that the specification recommends."""
    body = webhook().body
    assert '"data":{"sequence":7}}' in body
    assert json.loads(body) == {
        "type": "subscription.activated",
        "timestamp": "2026-11-29T12:00:00Z",
        "data": {"sequence": 7},
    }


@pytest.mark.parametrize(
    ("message_id", "header"),
    [
        ("first:acme:7", "first:acme:7"),
        ("first:Müller & Söhne:7", "first:M%C3%BCller%20%26%20S%C3%B6hne:7"),
        ("first:a%20b:7", "first:a%2520b:7"),
    ],
)
def test_an_id_fits_into_a_header(message_id: str, header: str) -> None:
    """Tenant ids may have any printable characters, and different ids stay different."""
    assert webhook(message_id).header_id == header
