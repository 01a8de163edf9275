"""Between rows and the domain's values. Written out by hand: every applied event passes here several times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import asyncpg

from billing_core.converters import record_from_json, record_to_json
from billing_core.events import BillingEvent, EventKey, Outcome, ProviderEvent
from billing_core.model import (
    CustomerSnapshot,
    InvoiceLine,
    InvoiceSnapshot,
    ItemSnapshot,
    Period,
    Provenance,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantRecord,
    TenantSubscription,
    Uncertainty,
    UsageRecord,
)
from billing_core.model.time import end_of, start_of
from billing_core.stream.ports import OutboxEntry

try:  # the `speed` extra
    import orjson

    def _dumps(value: object) -> str:
        return orjson.dumps(value).decode()

    _loads: Callable[[str], Any] = orjson.loads
except ImportError:
    import json

    def _dumps(value: object) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    _loads = json.loads

Row = tuple[Any, ...]
T = TypeVar("T")

_SEPARATOR: Final = "\x1f"
"""Between the event ids of one row: an array of arrays cannot be passed as rows."""
_TEXT_LIMIT: Final = 2000


def columns(rows: Iterable[Row], width: int) -> Sequence[Sequence[Any]]:
    """One array per column, as `unnest` takes them; `width` of them also when there are no rows."""
    return list(zip(*rows, strict=True)) or [()] * width


def storable(text: str | None) -> str | None:
    """An error's text as Postgres takes it: bounded, without NUL and lone surrogates, whatever a payload put in."""
    if text is None:
        return None
    return text[:_TEXT_LIMIT].replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _period(start: datetime | None, end: datetime | None) -> Period | None:
    return None if start is None or end is None else Period(start=start, end=end)


def _provenance(observed_at: datetime, event_ids: Sequence[Any], ambiguous: bool) -> Provenance:
    return Provenance(observed_at=observed_at, event_ids=tuple(event_ids), ambiguous=ambiguous)


# --- events -----------------------------------------------------------------------------------------------------


def event_from_row(row: asyncpg.Record) -> ProviderEvent:
    """A stored provider event with its body."""
    return ProviderEvent(
        key=EventKey(event_id=row["event_id"], livemode=row["livemode"], account=row["account"]),
        type=row["type"],
        api_version=row["api_version"],
        created_at=row["created_at"],
        received_at=row["received_at"],
        body=row["body"],
        secret_slot=row["secret_slot"],
    )


def message_from_row(row: asyncpg.Record) -> BillingEvent:
    """A numbered message."""
    tenant_id, sequence, event_type, event_id, occurred_at, payload = row
    return BillingEvent(
        tenant_id=tenant_id,
        sequence=sequence,
        event_type=event_type,
        event_id=event_id,
        occurred_at=occurred_at,
        payload=payload,
    )


def outbox_entry_from_row(row: asyncpg.Record) -> OutboxEntry:
    """A message that waits for the bus."""
    committed_at, tenant_id, sequence, event_type, event_id, occurred_at, payload = row
    message = BillingEvent(
        tenant_id=tenant_id,
        sequence=sequence,
        event_type=event_type,
        event_id=event_id,
        occurred_at=occurred_at,
        payload=payload,
    )
    return OutboxEntry(event=message, committed_at=committed_at)


def row_from_message(event: BillingEvent) -> Row:
    """The arguments of `save_messages` for one message."""
    return (event.tenant_id, event.sequence, event.event_type, event.event_id, event.occurred_at, event.payload)


def row_from_outcome(outcome: Outcome) -> Row:
    """The arguments of `settle_events` for one outcome."""
    return (
        outcome.claim.dispatch_id,
        outcome.claim.attempt,
        outcome.disposition.value,
        None if outcome.effect is None else outcome.effect.value,
        outcome.reason,
        storable(outcome.error),
        outcome.parked_on,
        outcome.tenant_id,
        outcome.customer_id,
        outcome.sequence,
    )


# --- doubts -----------------------------------------------------------------------------------------------------


def uncertainty_from_row(row: asyncpg.Record) -> Uncertainty:
    """An object whose state may be wrong."""
    kind, object_id, observed_at, event_ids, ambiguous = row
    return Uncertainty(kind=kind, object_id=object_id, basis=_provenance(observed_at, event_ids, ambiguous))


# --- customers --------------------------------------------------------------------------------------------------


def customer_from_row(row: asyncpg.Record) -> TenantCustomer:
    """A customer; without a snapshot while only its id is known."""
    customer_id, tenant_id, email, name, delinquent, deleted, observed_at, event_ids, ambiguous = row
    if observed_at is None:
        return TenantCustomer(customer_id=customer_id, tenant_id=tenant_id)
    return TenantCustomer(
        customer_id=customer_id,
        tenant_id=tenant_id,
        snapshot=CustomerSnapshot(
            customer_id=customer_id, email=email, name=name, delinquent=delinquent, deleted=deleted
        ),
        provenance=_provenance(observed_at, event_ids, ambiguous),
    )


def row_from_customer(customer: TenantCustomer) -> Row:
    """The arguments of `save_customers` for one customer."""
    seen = customer.snapshot or CustomerSnapshot(customer_id=customer.customer_id)
    basis = customer.provenance
    return (
        customer.customer_id,
        customer.tenant_id,
        seen.email,
        seen.name,
        seen.delinquent,
        seen.deleted,
        None if basis is None else basis.observed_at,
        "" if basis is None else _SEPARATOR.join(basis.event_ids),
        basis is not None and basis.ambiguous,
    )


# --- subscriptions ----------------------------------------------------------------------------------------------


def items_by_subscription(rows: Iterable[asyncpg.Record]) -> Mapping[str, list[ItemSnapshot]]:
    """The items of each subscription, in the order of the rows."""
    items: defaultdict[str, list[ItemSnapshot]] = defaultdict(list)
    for (
        subscription_id,
        item_id,
        price_id,
        product_id,
        lookup_key,
        usage_type,
        quantity,
        feature_key,
        start,
        end,
    ) in rows:
        items[subscription_id].append(
            ItemSnapshot(
                item_id=item_id,
                price_id=price_id,
                product_id=product_id,
                lookup_key=lookup_key,
                usage_type=usage_type,
                quantity=quantity,
                feature_key=feature_key,
                period=_period(start, end),
            )
        )
    return items


def subscription_from_row(row: asyncpg.Record, items: Sequence[ItemSnapshot]) -> TenantSubscription:
    """A subscription with its items."""
    (
        subscription_id,
        tenant_id,
        customer_id,
        status,
        plan_code,
        price_id,
        seat_count,
        currency,
        cancel_at_period_end,
        cancel_at,
        canceled_at,
        ended_at,
        trial_ends_at,
        collection_paused,
        collection_method,
        metered_prices,
        observed_at,
        event_ids,
        ambiguous,
    ) = row
    return TenantSubscription(
        tenant_id=tenant_id,
        snapshot=SubscriptionSnapshot(
            subscription_id=subscription_id,
            customer_id=customer_id,
            status=status,
            items=tuple(items),
            currency=currency,
            cancel_at_period_end=cancel_at_period_end,
            cancel_at=cancel_at,
            canceled_at=canceled_at,
            ended_at=ended_at,
            trial_ends_at=trial_ends_at,
            collection_paused=collection_paused,
            collection_method=collection_method,
            plan_code=plan_code,
            price_id=price_id,
            seat_count=seat_count,
        ),
        provenance=_provenance(observed_at, event_ids, ambiguous),
        metered_prices=_loads(metered_prices),
    )


def row_from_subscription(subscription: TenantSubscription) -> Row:
    """The arguments of `save_subscriptions` for one subscription."""
    seen, basis = subscription.snapshot, subscription.provenance
    return (
        seen.subscription_id,
        subscription.tenant_id,
        seen.customer_id,
        seen.status,
        seen.ended,
        seen.plan_code,
        seen.price_id,
        seen.seat_count,
        seen.currency,
        seen.cancel_at_period_end,
        seen.cancel_at,
        seen.canceled_at,
        seen.ended_at,
        seen.trial_ends_at,
        seen.collection_paused,
        seen.collection_method,
        seen.current_period_start,
        seen.current_period_end,
        _dumps(subscription.metered_prices),
        basis.observed_at,
        _SEPARATOR.join(basis.event_ids),
        basis.ambiguous,
    )


def rows_from_items(seen: SubscriptionSnapshot) -> Iterable[Row]:
    """The arguments of `save_items` for each item of one subscription."""
    for item in seen.items:
        yield (
            seen.subscription_id,
            item.item_id,
            item.price_id,
            item.product_id,
            item.lookup_key,
            item.usage_type,
            item.quantity,
            item.feature_key,
            start_of(item.period),
            end_of(item.period),
        )


# --- invoices ---------------------------------------------------------------------------------------------------


def invoice_from_row(row: asyncpg.Record) -> SubscriptionInvoice:
    """An invoice with its lines."""
    (
        invoice_id,
        tenant_id,
        subscription_id,
        customer_id,
        number,
        status,
        currency,
        amount_due,
        amount_paid,
        amount_remaining,
        total,
        tax,
        billing_reason,
        collection_method,
        hosted_invoice_url,
        period_start,
        period_end,
        due_at,
        paid_at,
        attempt_count,
        next_payment_attempt_at,
        lines,
        lines_complete,
        observed_at,
        event_ids,
        ambiguous,
    ) = row
    return SubscriptionInvoice(
        tenant_id=tenant_id,
        snapshot=InvoiceSnapshot(
            invoice_id=invoice_id,
            customer_id=customer_id,
            status=status,
            currency=currency,
            subscription_id=subscription_id,
            number=number,
            amount_due=amount_due,
            amount_paid=amount_paid,
            amount_remaining=amount_remaining,
            total=total,
            tax=tax,
            billing_reason=billing_reason,
            collection_method=collection_method,
            hosted_invoice_url=hosted_invoice_url,
            period=_period(period_start, period_end),
            due_at=due_at,
            paid_at=paid_at,
            attempt_count=attempt_count,
            next_payment_attempt_at=next_payment_attempt_at,
            lines=tuple(_line_from_json(line) for line in _loads(lines)),
            lines_complete=lines_complete,
        ),
        provenance=_provenance(observed_at, event_ids, ambiguous),
    )


def row_from_invoice(invoice: SubscriptionInvoice) -> Row:
    """The arguments of `save_invoices` for one invoice."""
    seen, basis = invoice.snapshot, invoice.provenance
    return (
        seen.invoice_id,
        invoice.tenant_id,
        seen.subscription_id,
        seen.customer_id,
        seen.number,
        seen.status,
        seen.currency,
        seen.amount_due,
        seen.amount_paid,
        seen.amount_remaining,
        seen.total,
        seen.tax,
        seen.billing_reason,
        seen.collection_method,
        seen.hosted_invoice_url,
        start_of(seen.period),
        end_of(seen.period),
        seen.due_at,
        seen.paid_at,
        seen.attempt_count,
        seen.next_payment_attempt_at,
        _dumps([_json_from_line(line) for line in seen.lines]),
        seen.lines_complete,
        basis.observed_at,
        _SEPARATOR.join(basis.event_ids),
        basis.ambiguous,
    )


def _json_from_line(line: InvoiceLine) -> Mapping[str, object]:
    return {
        "line_id": line.line_id,
        "amount": line.amount,
        "quantity": line.quantity,
        "price_id": line.price_id,
        "subscription_item_id": line.subscription_item_id,
        "usage_type": line.usage_type,
        "feature_key": line.feature_key,
        "proration": line.proration,
        "description": line.description,
        "period_start": None if line.period is None else line.period.start.isoformat(),
        "period_end": None if line.period is None else line.period.end.isoformat(),
    }


def _line_from_json(line: Mapping[str, Any]) -> InvoiceLine:
    start, end = line["period_start"], line["period_end"]
    return InvoiceLine(
        line_id=line["line_id"],
        amount=line["amount"],
        quantity=line["quantity"],
        price_id=line["price_id"],
        subscription_item_id=line["subscription_item_id"],
        usage_type=line["usage_type"],
        feature_key=line["feature_key"],
        proration=line["proration"],
        description=line["description"],
        period=None if start is None else Period(start=datetime.fromisoformat(start), end=datetime.fromisoformat(end)),
    )


# --- usage ------------------------------------------------------------------------------------------------------


def usage_from_row(row: asyncpg.Record) -> UsageRecord:
    """The billed usage of one invoice line."""
    invoice_id, line_id, tenant_id, subscription_id, feature_key, quantity, amount, currency, start, end = row
    return UsageRecord(
        tenant_id=tenant_id,
        invoice_id=invoice_id,
        line_id=line_id,
        subscription_id=subscription_id,
        feature_key=feature_key,
        quantity=quantity,
        amount=amount,
        currency=currency,
        period=_period(start, end),
    )


def row_from_usage(record: UsageRecord) -> Row:
    """The arguments of `save_usage` for one record."""
    return (
        record.invoice_id,
        record.line_id,
        record.tenant_id,
        record.subscription_id,
        record.feature_key,
        record.quantity,
        record.amount,
        record.currency,
        start_of(record.period),
        end_of(record.period),
    )


# --- records ----------------------------------------------------------------------------------------------------


def record_from_row(row: asyncpg.Record) -> TenantRecord:
    """A fact beside subscription and invoice."""
    kind, tenant_id, data, observed_at, event_ids, ambiguous = row
    return TenantRecord(
        tenant_id=tenant_id,
        snapshot=record_from_json(kind, data),
        provenance=_provenance(observed_at, event_ids, ambiguous),
    )


def row_from_record(record: TenantRecord) -> Row:
    """The arguments of `save_records` for one record."""
    seen, basis = record.snapshot, record.provenance
    return (
        seen.object_id,
        record.named_as,
        seen.kind,
        record.tenant_id,
        getattr(seen, "invoice_id", None),
        getattr(seen, "payment_id", None),
        record_to_json(seen),
        basis.observed_at,
        _SEPARATOR.join(basis.event_ids),
        basis.ambiguous,
    )
