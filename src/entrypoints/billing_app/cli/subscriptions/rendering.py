"""Subscriptions, previews and outcomes as text and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from billing_app.cli.lists import Column, Listing, Part
from billing_app.cli.terminal import moment, plain, print_json

if TYPE_CHECKING:
    from billing_core.model import SubscriptionSnapshot
    from billing_core.operations.previews import ChangePreview
    from billing_core.operations.results import InvoicePreview
    from billing_core.operations.runner import OperationOutcome


def subscription_json(seen: SubscriptionSnapshot) -> dict[str, Any]:
    """Return what `list --json` shows of a subscription."""
    return {
        "subscription_id": seen.subscription_id,
        "plan_code": seen.plan_code,
        "status": seen.status,
        "seat_count": seen.seat_count,
        "current_period_end": seen.current_period_end,
        "collection_paused": seen.collection_paused,
        "scheduled_changes": seen.scheduled_changes,
    }


def _scheduled(seen: SubscriptionSnapshot) -> Sequence[Part]:
    parts: list[Part] = ["payments are not collected"] if seen.collection_paused else []
    for change in seen.scheduled_changes:
        to = "" if change.plan_code is None else f" to {change.plan_code}"
        parts.append(f"{change.kind.replace('_', ' ')}{to}")
        parts.append("once it is paid" if change.effective_at is None else change.effective_at)
    return parts


SUBSCRIPTIONS: Final = Listing["SubscriptionSnapshot"](
    "subscriptions",
    [
        Column("subscription", lambda seen: seen.subscription_id),
        Column("plan", lambda seen: seen.plan_code),
        Column("status", lambda seen: seen.status),
        Column("seats", lambda seen: seen.seat_count),
        Column("period-end", lambda seen: None if seen.ended else seen.current_period_end),
        Column("scheduled", _scheduled),
    ],
    subscription_json,
)


def preview_lines(preview: ChangePreview) -> Iterator[str]:
    """Yield the lines about a change before it is confirmed."""
    when = "now" if preview.effective_at is None else f"at {moment(preview.effective_at)}"
    to = "" if preview.plan_code is None else f" to {preview.plan_code}"
    yield plain(f"{preview.subscription_id} changes {when}{to}.")
    if preview.now is not None:
        yield from _invoice_lines("due now", preview.now)
    if preview.upcoming is not None:
        yield from _invoice_lines(f"next invoice, {moment(preview.upcoming.due_at)}", preview.upcoming)
    for change in preview.replaces:
        yield plain(f"  replaces the scheduled change to {change.plan_code}")


def _invoice_lines(title: str, invoice: InvoicePreview) -> Iterator[str]:
    from billing_core.model import Money

    yield f"  {title}: {Money(amount=invoice.amount_due, currency=invoice.currency)}"
    parts = [(line.amount, line.description or "") for line in invoice.lines]
    parts += [
        (amount, title)
        for amount, title in (
            (-invoice.discount, "discount"),
            (invoice.tax, "tax"),
            (-invoice.credit_applied, "credit" if invoice.credit_applied > 0 else "earlier debt"),
        )
        if amount
    ]
    for amount, text in parts:
        yield plain(f"    {Money(amount=amount, currency=invoice.currency)}  {text}".rstrip())
    if invoice.credit_left:
        yield f"    {Money(amount=invoice.credit_left, currency=invoice.currency)} of credit are left"


def show_outcome(outcome: OperationOutcome, *, as_json: bool) -> None:
    """Print an outcome. Client secrets and URLs are no part of it."""
    result = outcome.result.without_secrets()
    if as_json:
        print_json({"key": outcome.key, "repeated": outcome.repeated, "result": result})
        return
    status = f" ({plain(result.object_status)})" if result.object_status else ""
    click.echo(f"{result.status.replace('_', ' ')}: {plain(result.object_id or outcome.key)}{status}")
    if result.effective_at is not None:
        click.echo(f"  takes effect at {moment(result.effective_at)}")
    if result.status == "requires_action":
        click.echo("  the customer has to confirm the payment in the browser")
