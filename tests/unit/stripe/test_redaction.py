"""Bodies for display: nothing personal or secret is shown, and what an operator needs is."""

import json
from pathlib import Path
from typing import Any

import pytest

from billing_stripe.redaction import HIDDEN, read_body

FIXTURES = Path(__file__).parents[2] / "fixtures" / "stripe"


def shown(value: object) -> Any:
    """Return how an object with one value of each kind is shown."""
    return read_body(json.dumps(value).encode(), redacted=True)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("id", "sub_1SLwPdJ8mZr4Qa7x"),
        ("customer", "cus_TQ4bVxN7eYkD2r"),
        ("schedule", "sub_sched_1SYk2PJ8mZr4Hn3v"),
        ("status", "past_due"),
        ("type", "customer.subscription.updated"),
        ("api_version", "2025-09-30.clover"),
        ("currency", "usd"),
    ],
)
def test_ids_and_words_are_shown(key: str, text: str) -> None:
    """They say what the event is about."""
    assert shown({key: text}) == {key: text}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("email", "ann@example.com"),
        ("name", "Ann"),
        ("name", "cus_Ann"),
        ("phone", "+4917012345"),
        ("description", "for Ann"),
        ("client_secret", "pi_abc_secret_def"),
        ("client_secret", "seti_1abc_secret_def"),
        ("secret", "whsec_abcdef"),
        ("key", "sk_live_abcdef"),
        ("key", "rk_test_abcdef"),
        ("hosted_invoice_url", "https://invoice.stripe.com/i/acct_1/test_1"),
        ("account_number", "DE893704"),
        ("status", "Ann Miller"),
        ("a_field_of_tomorrow", "active"),
    ],
)
def test_other_texts_are_hidden(key: str, text: str) -> None:
    """With their length, and whatever they stand in."""
    hidden = {HIDDEN: len(text)}
    assert shown({"data": [{key: text}]}) == {"data": [{key: hidden}]}


def test_a_name_that_looks_like_an_id_is_hidden() -> None:
    """A person may be called anything."""
    assert shown({"name": "cus_Ann123"}) == {"name": {HIDDEN: 10}}


def test_numbers_are_shown_except_those_about_a_person_or_a_card() -> None:
    """Amounts and times are the point of most events; null reveals nothing."""
    body = {"amount": 1900, "paid": True, "card": {"exp_month": 8, "last4": "4242", "brand": "visa", "checks": None}}
    assert shown(body) == {
        "amount": 1900,
        "paid": True,
        "card": {"exp_month": {HIDDEN: None}, "last4": {HIDDEN: 4}, "brand": {HIDDEN: 4}, "checks": None},
    }


def test_of_metadata_only_the_tenant_is_shown() -> None:
    """Its keys are, too: merchants choose them, their customers do not."""
    body = {"metadata": {"tenant_id": "acme", "contact": "Ann", "type": "active", "id": "cus_12345"}}
    expected = {"tenant_id": "acme", "contact": {HIDDEN: 3}, "type": {HIDDEN: 6}, "id": {HIDDEN: 9}}
    assert shown(body) == {"metadata": expected}
    assert shown({"metadata": {"tenant_id": "Ann Miller"}}) == {"metadata": {"tenant_id": {HIDDEN: 10}}}
    assert shown({"metadata": {"tenant_id": {"name": 1}}}) == {"metadata": {"tenant_id": {"name": {HIDDEN: None}}}}


@pytest.mark.parametrize("path", sorted(FIXTURES.rglob("*.json"))[::7], ids=lambda path: path.stem)
def test_no_text_of_a_real_event_is_shown_that_is_not_an_id_or_a_word(path: Path) -> None:
    """No address, sentence or link, in any version."""
    texts = [text for text in _texts(read_body(path.read_bytes(), redacted=True)) if not text.startswith("$")]
    assert texts
    assert not [text for text in texts if "@" in text or " " in text or "/" in text or "secret" in text]


@pytest.mark.parametrize("redacted", [True, False])
@pytest.mark.parametrize("text", [rb'{"\ud800": "\ud800"}', b'{"n": 99999999999999999999999999}', b'{"n": 1e999}'])
def test_anything_that_parses_can_be_encoded(text: bytes, redacted: bool) -> None:
    """Lone surrogates and huge numbers are valid JSON."""
    json.dumps(read_body(text, redacted=redacted), allow_nan=False, ensure_ascii=False).encode()


def test_what_is_no_json_is_refused() -> None:
    """As a ValueError."""
    for raw in (b"", b"{", b"\xff", b"[" * 2000):
        with pytest.raises(ValueError, match=r".*"):
            read_body(raw, redacted=True)


def _texts(value: object) -> list[str]:
    match value:
        case dict():
            return [text for each in value.values() for text in _texts(each)]
        case list():
            return [text for each in value for text in _texts(each)]
        case str():
            return [value]
        case _:
            return []
