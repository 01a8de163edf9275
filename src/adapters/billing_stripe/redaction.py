"""Bodies of events for display: personal data and secrets are hidden, unless an operator asks for all of it.

What is shown is listed, so that a field that Stripe adds tomorrow is hidden: numbers and switches, ids of Stripe's
objects, and words of closed lists such as a status. All other texts are hidden, and everything inside an object that
describes a person, an address or a means of payment.
"""

import math
import re
from collections.abc import Mapping
from typing import Final

from billing_stripe.parsing import parse_json

HIDDEN: Final = "$hidden"
"""The one key of the object that replaces a hidden value; its own is the number of characters, null for no text."""

_ID: Final = re.compile(
    r"(?:acct|bpc|card|ch|clock|cn|cs|cus|di|dp|du|evt|file|ii|il|in|inpay|mtr|pi|plan|plink|pm|po|price|prod|promo|"
    r"prv|py|pyr|qt|re|req|seti|si|src|sub|sub_sched|tr|txcd|txi|txn|txr|we)_(?:test_|live_)?[A-Za-z0-9]{3,255}"
).fullmatch
"""Tokens, keys and client secrets begin otherwise, or have another underscore."""
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}").fullmatch
_WORDS: Final = frozenset(
    {
        *("aggregate_usage", "api_version", "behavior", "billing_mode", "billing_reason", "billing_scheme", "event"),
        *("cancellation_method", "capture_method", "collection_method", "currency", "decline_code", "end_behavior"),
        *("feedback", "interval", "lookup_key", "missing_payment_method", "mode"),
        *("object", "outcome", "payment_status", "proration_behavior", "reason", "save_default_payment_method"),
        *("status", "submit_type", "tax_behavior", "tiers_mode", "type", "ui_mode", "usage_type"),
        *("code", "failure_code", "id", "tax_exempt", "taxability_reason"),
    }
)
"""Keys with values of closed lists; `id` and `lookup_key` are chosen by the merchant for plans and coupons."""
_PERSONAL: Final = frozenset(
    {
        *("address", "bank_account", "billing_details", "card", "custom_fields", "customer_address"),
        *("customer_details", "customer_shipping", "customer_tax_ids", "dob", "evidence", "individual", "owner"),
        *("payment_method_details", "payment_method_options", "person", "preferred_locales", "receipt_email"),
        *("recipient", "sepa_debit", "shipping", "shipping_details", "tax_ids", "us_bank_account", "fingerprint"),
    }
)
"""Keys of objects in which everything is hidden."""
_FREE: Final = frozenset({"description", "name", "nickname"})
"""Keys of texts that people write: one that looks like an id is none."""
_METADATA: Final = "metadata"
_TENANT: Final = "tenant_id"
"""The key of metadata that links a customer to a tenant."""
_TENANT_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}").fullmatch
_INT64: Final = 2**63


def read_body(body: bytes, *, redacted: bool) -> object:
    """Return the JSON of an event's body, in a form that any encoder accepts.

    With `redacted`, each hidden value is `{"$hidden": 19}`, with its number of characters. Raises ValueError for bytes
    that are no JSON.
    """
    content = parse_json(body)
    return _redacted(content, key="", personal=False) if redacted else _encodable(content)


def _redacted(value: object, *, key: str, personal: bool) -> object:
    match value:
        case dict():
            if key == _METADATA:
                return _redacted_metadata(value)
            return {
                _text(name): _redacted(each, key=name, personal=personal or name in _PERSONAL)
                for name, each in value.items()
            }
        case list():
            return [_redacted(each, key=key, personal=personal) for each in value]
        case None:
            return None
        case str():
            known = _ID(value) or (key in _WORDS and _WORD(value))
            shown = known and not personal and key not in _FREE
            return value if shown else _hidden(value)
        case _:
            return {HIDDEN: None} if personal else _encodable(value)


def _redacted_metadata(metadata: Mapping[str, object]) -> object:
    return {
        _text(name): value
        if name == _TENANT and isinstance(value, str) and _TENANT_ID(value)
        else _redacted(value, key="", personal=True)
        for name, value in metadata.items()
    }


def _hidden(text: str) -> object:
    return {HIDDEN: len(text)}


def _encodable(value: object) -> object:
    """Replace what Python parses and JSON's encoders refuse: lone surrogates, infinity, and integers beyond 64 bits."""
    match value:
        case dict():
            return {_text(name): _encodable(each) for name, each in value.items()}
        case list():
            return [_encodable(each) for each in value]
        case str():
            return _text(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case int():
            return value if -_INT64 <= value < _INT64 else str(value)
        case _:
            return value


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
