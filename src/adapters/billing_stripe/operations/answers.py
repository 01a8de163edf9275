"""Stripe's answers as results. Objects are read by the translator that reads them in events, so that both are equal."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import attrs

from billing_core.model import (
    CustomerSnapshot,
    InvoiceSnapshot,
    Phase,
    ScheduleSnapshot,
    Snapshot,
    SubscriptionSnapshot,
)
from billing_core.operations.results import OperationResult, Performed
from billing_stripe.client import Json, StripeAnswer
from billing_stripe.translate import translate_object

S = TypeVar("S", bound=Snapshot)

CONFIRMATION = ["latest_invoice.confirmation_secret", "pending_setup_intent"]
"""Fields to expand in a subscription, for its client secret."""


def subscription_in(shown: Json) -> SubscriptionSnapshot | None:
    """Read a subscription, with the coming phases of its schedule if that is expanded."""
    snapshot = _snapshot(shown, SubscriptionSnapshot)
    schedule = shown.get("schedule")
    if snapshot is None or not isinstance(schedule, Mapping):
        return snapshot
    return attrs.evolve(snapshot, planned=phases_in(schedule))


def phases_in(schedule: Json) -> tuple[Phase, ...]:
    """Read the coming phases of a schedule."""
    snapshot = _snapshot(schedule, ScheduleSnapshot)
    return () if snapshot is None else snapshot.phases


def invoice_in(shown: Json) -> InvoiceSnapshot | None:
    """Read an invoice."""
    return _snapshot(shown, InvoiceSnapshot)


def customer_in(shown: Json) -> CustomerSnapshot | None:
    """Read a customer."""
    return _snapshot(shown, CustomerSnapshot)


def about_subscription(answer: StripeAnswer, shown: Json | None = None) -> Performed:
    """Return the outcome of a change of a subscription.

    Args:
        answer: the last answer.
        shown: the subscription, if it is a part of the answer.
    """
    subscription = answer.data if shown is None else shown
    snapshot = subscription_in(subscription)
    return performed(answer, subscription_result(subscription), snapshot)


def performed(
    answer: StripeAnswer,
    result: OperationResult,
    snapshot: SubscriptionSnapshot | InvoiceSnapshot | CustomerSnapshot | None = None,
) -> Performed:
    """Return an outcome with the facts of the answer that it is from."""
    return Performed(
        result=result,
        snapshot=snapshot,
        answered_at=None if snapshot is None else answer.answered_at,
        request_id=answer.request_id,
    )


def subscription_result(shown: Json) -> OperationResult:
    """Return the result of a change of a subscription.

    A change that waits for its payment is pending; a subscription that waits for its first one requires an action.
    """
    confirms, secret = _confirmation(shown)
    status = "done"
    if shown.get("status") == "incomplete":
        status = "requires_action"
    elif isinstance(shown.get("pending_update"), Mapping):
        status = "pending"
    return OperationResult(
        status=status,  # type: ignore[arg-type]
        object_id=text_in(shown, "id"),
        object_status=text_in(shown, "status"),
        confirms=confirms,  # type: ignore[arg-type]
        client_secret=secret,
    )


def _confirmation(shown: Json) -> tuple[str | None, str | None]:
    """Return what has to be confirmed in the browser, and the client secret of it."""
    invoice = shown.get("latest_invoice")
    if isinstance(invoice, Mapping) and invoice.get("status") == "open":
        secret = _text(invoice, "confirmation_secret", "client_secret")
        if secret is not None:
            return "payment", secret
    secret = _text(shown, "pending_setup_intent", "client_secret")
    return (None, None) if secret is None else ("setup", secret)


def text_in(shown: Json, name: str) -> str | None:
    """Return a text of an object."""
    value = shown.get(name)
    return value if isinstance(value, str) else None


def reference_in(shown: Json, name: str) -> str | None:
    """Return the id in a field that holds it, or the expanded object."""
    value = shown.get(name)
    return text_in(value, "id") if isinstance(value, Mapping) else value if isinstance(value, str) else None


def instant_in(shown: Json, name: str) -> datetime | None:
    """Return an instant of an object."""
    value = shown.get(name)
    return datetime.fromtimestamp(value, UTC) if type(value) is int else None


def rows_in(shown: Json, name: str = "data") -> list[Json]:
    """Return the objects of a list, or of a field that holds one."""
    value: Any = shown.get(name)
    if isinstance(value, Mapping):
        value = value.get("data")
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _text(shown: Json, name: str, inner: str) -> str | None:
    value = shown.get(name)
    return text_in(value, inner) if isinstance(value, Mapping) else None


def _snapshot(shown: Json, kind: type[S]) -> S | None:
    return next((found for found in translate_object(shown).snapshots if isinstance(found, kind)), None)
