"""API versions that added or removed fields of Stripe's objects. Other fields exist in all supported versions.

Source: https://docs.stripe.com/changelog and the resource classes of the SDK releases that pin each version.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from billing_stripe.versions import BASIL


@attrs.frozen
class Life:
    """The API versions that have a field: from `since` on, and before `until`."""

    since: str = ""
    until: str = "9999"

    def __contains__(self, api_version: str) -> bool:
        return self.since <= api_version < self.until


_GONE: Final = Life(until=BASIL)
_NEW: Final = Life(since=BASIL)
_ACCOUNT: Final = Life(since="2025-12-15")

LIVES: Final[Mapping[str, Mapping[str, Life]]] = {
    "charge": {"invoice": _GONE, "refunds": Life(until="2022-11-15")},
    "credit_note": {
        "customer_account": _ACCOUNT,
        "post_payment_amount": _NEW,
        "pre_payment_amount": _NEW,
        "refund": _GONE,
        "refunds": _NEW,
        "tax_amounts": _GONE,
        "total_taxes": _NEW,
    },
    "customer": {"customer_account": _ACCOUNT},
    "dispute": {"enhanced_eligibility_types": Life(since="2024-11-20")},
    "invoice": {
        "amount_overpaid": _NEW,
        "amount_paid_off_stripe": Life(since="2026-05-27"),
        "charge": _GONE,
        "customer_account": _ACCOUNT,
        "discount": _GONE,
        "paid": _GONE,
        "paid_out_of_band": _GONE,
        "parent": _NEW,
        "payment_intent": _GONE,
        "status_details": Life(since="2026-09-30"),
        "subscription": _GONE,
        "subscription_details": Life(since="2023-06-29", until=BASIL),
        "tax": _GONE,
        "total_tax_amounts": _GONE,
        "total_taxes": _NEW,
    },
    "invoice_payment": {"id": _NEW},
    "line_item": {
        "invoice_item": _GONE,
        "parent": _NEW,
        "plan": _GONE,
        "price": _GONE,
        "pricing": _NEW,
        "proration": _GONE,
        "proration_details": _GONE,
        "quantity_decimal": Life(since="2026-03-25"),
        "subscription": _GONE,
        "subscription_item": _GONE,
        "subtotal": _ACCOUNT,
        "tax_amounts": _GONE,
        "tax_rates": _GONE,
        "taxes": _NEW,
        "type": _GONE,
    },
    "plan": {"aggregate_usage": _GONE},
    "product": {"features": Life(until="2024-04-10"), "marketing_features": Life(since="2024-04-10")},
    "refund": {"customer": Life(since="2026-07-29"), "customer_account": Life(since="2026-07-29")},
    "subscription": {
        "billing_mode": Life(since="2025-06-30"),
        "billing_schedules": Life(since="2026-05-27"),
        "cancellation_details": Life(since="2022-11-15"),
        "currency": Life(since="2022-08-01"),
        "current_period_end": _GONE,
        "current_period_start": _GONE,
        "customer_account": _ACCOUNT,
        "discount": _GONE,
        "discounts": Life(since="2022-11-15"),
        "status_details": Life(since="2026-09-30"),
    },
    "subscription_item": {
        "billed_until": Life(since="2026-05-27"),
        "current_period_end": _NEW,
        "current_period_start": _NEW,
        "current_trial": Life(since="2026-09-30"),
    },
    "subscription_schedule": {
        "billing_mode": Life(since="2025-06-30"),
        "customer_account": _ACCOUNT,
        "pause_schedules": Life(since="2026-09-30"),
    },
}


def misplaced_fields(shown: object, api_version: str) -> Iterator[str]:
    """Yield the fields in a JSON value that its API version does not have, such as `invoice.parent`."""
    if isinstance(shown, list):
        for member in shown:
            yield from misplaced_fields(member, api_version)
    elif isinstance(shown, dict):
        yield from _misplaced(shown, api_version)
        for member in shown.values():
            yield from misplaced_fields(member, api_version)


def _misplaced(shown: Mapping[str, Any], api_version: str) -> Iterator[str]:
    kind = shown.get("object")
    if isinstance(kind, str):
        for field, life in LIVES.get(kind, {}).items():
            if field in shown and api_version not in life:
                yield f"{kind}.{field}"
