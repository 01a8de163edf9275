"""Rows of tenants' state. Each table's columns are declared here once; see docs/adr/0017-columns-declared-once.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeVar

import asyncpg
import attrs

from billing_core.converters import decode, dumps, encode, loads, record_from_json, record_to_json
from billing_core.model import (
    AccessGrant,
    AccessReason,
    AccessState,
    AccessVerdict,
    AnnouncedAccess,
    Answer,
    CustomerSnapshot,
    InvoiceLine,
    InvoiceSnapshot,
    ItemSnapshot,
    LinkAction,
    LinkDecision,
    Metadata,
    PaymentMethodSnapshot,
    Period,
    Phase,
    Provenance,
    ProvisionalView,
    SubscriptionId,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantId,
    TenantOccasion,
    TenantRecord,
    TenantSubscription,
    Uncertainty,
    UsageRecord,
)
from billing_core.state.ports import LockedTenants
from billing_postgres.columns import Column, Columns, Fields, period_columns, read_period
from billing_postgres.text import text_array

T = TypeVar("T")

_TENANT: Final = Column[Any]("tenant_id", "text", attrgetter("tenant_id"))
_PROVENANCE: Final = (
    Column[Any]("observed_at", "timestamptz", lambda row: row.provenance and row.provenance.observed_at),
    Column[Any](
        "event_ids",
        "text[]",
        lambda row: "{}" if row.provenance is None else text_array(row.provenance.event_ids),
        sent_as="text",
    ),
    Column[Any]("ambiguous", "boolean", lambda row: row.provenance is not None and row.provenance.ambiguous),
)


def _provenance(row: asyncpg.Record) -> Provenance:
    return Provenance(observed_at=row["observed_at"], event_ids=tuple(row["event_ids"]), ambiguous=row["ambiguous"])


def uncertainty_from_row(row: asyncpg.Record) -> Uncertainty:
    """Return an object whose state may be wrong."""
    return Uncertainty(
        kind=row["kind"],
        object_id=row["object_id"],
        basis=_provenance(row),
        complete=row["complete"],
        view=row["view"],
    )


# --- tenants ----------------------------------------------------------------------------------------------------


def locked_tenants(found: Sequence[asyncpg.Record], seen: Mapping[TenantId, int]) -> LockedTenants:
    """Return locked tenants; the last row was read under all of the locks. `seen` are departures counted before."""
    tenants = [row for row in found if row["tenant_id"] is not None]
    # Rules that came into force during the wait for a lock are seen only in the rows that were read by them already.
    generation = max([found[-1]["generation"], *(row["rules_generation"] for row in tenants)])
    return LockedTenants(
        counters={row["tenant_id"]: row["sequence"] for row in tenants},
        announced={row["tenant_id"]: known for row in tenants if (known := _announced(row)) is not None},
        now=found[-1]["now"],
        generation=generation,
        behind=frozenset(row["tenant_id"] for row in tenants if row["rules_generation"] < generation),
        overtaken=any(seen.get(row["tenant_id"], row["departures"]) != row["departures"] for row in tenants),
    )


class TenantAccess(NamedTuple):
    """A tenant, and the access that it knows of."""

    tenant_id: TenantId
    known: AnnouncedAccess


ACCESS: Final = Columns[TenantAccess](
    [
        *Fields(tenant_id="text").columns,
        Column("access_state", "text", lambda row: row.known.verdict.state.value),
        Column("access_reason", "text", lambda row: row.known.verdict.reason.value),
        Column("access_until", "timestamptz", lambda row: row.known.verdict.until),
        Column("access_due_at", "timestamptz", lambda row: row.known.due_at),
        Column("access_policy", "text", lambda row: row.known.policy),
    ]
)
_STATES: Final = {state.value: state for state in AccessState}
_REASONS: Final = {reason.value: reason for reason in AccessReason}


def _announced(row: asyncpg.Record) -> AnnouncedAccess | None:
    """Return the access that a tenant was told; None if none, or by a release whose reasons are not known here."""
    reason = _REASONS.get(row["access_reason"])
    if reason is None:
        return None
    verdict = AccessVerdict(state=_STATES[row["access_state"]], reason=reason, until=row["access_until"])
    return AnnouncedAccess(verdict=verdict, due_at=row["access_due_at"], policy=row["access_policy"])


_GRANT: Final = Fields(
    grant_id="text",
    tenant_id="text",
    plan_code="text",
    until="timestamptz",
    actor="text",
    reason="text",
    granted_at="timestamptz",
    revoked_at="timestamptz",
    revoked_by="text",
    revoked_reason="text",
)
GRANTS: Final = Columns[AccessGrant](_GRANT.columns, fixed=("grant_id", "tenant_id"))


def grant_from_row(row: asyncpg.Record) -> AccessGrant:
    """Return a grant."""
    return AccessGrant(**_GRANT.read(row))


# --- customers --------------------------------------------------------------------------------------------------

_CUSTOMER: Final = Fields(
    "snapshot",
    customer_id="text",
    email="text",
    name="text",
    delinquent="boolean",
    payment_method_id="text",
    deleted="boolean",
)
CUSTOMERS: Final = Columns[TenantCustomer](
    [*_CUSTOMER.columns, _TENANT, *_PROVENANCE], fixed=("customer_id", "tenant_id")
)


def customer_from_row(row: asyncpg.Record) -> TenantCustomer:
    """Return a customer; without a snapshot while only its id is known."""
    if row["observed_at"] is None:
        return TenantCustomer(customer_id=row["customer_id"], tenant_id=row["tenant_id"])
    return TenantCustomer(
        customer_id=row["customer_id"],
        tenant_id=row["tenant_id"],
        snapshot=CustomerSnapshot(**_CUSTOMER.read(row)),
        provenance=_provenance(row),
    )


def with_snapshot(customer: TenantCustomer) -> TenantCustomer:
    """Return a customer as it is written: with an empty snapshot while only its id is known."""
    if customer.snapshot is not None:
        return customer
    return attrs.evolve(customer, snapshot=CustomerSnapshot(customer_id=customer.customer_id))


# --- subscriptions ----------------------------------------------------------------------------------------------

_SUBSCRIPTION: Final = Fields(
    "snapshot",
    subscription_id="text",
    customer_id="text",
    status="text",
    plan_code="text",
    price_id="text",
    seat_count="bigint",
    out_of_scope="boolean",
    items_complete="boolean",
    currency="text",
    cancel_at_period_end="boolean",
    cancel_at="timestamptz",
    canceled_at="timestamptz",
    ended_at="timestamptz",
    trial_ends_at="timestamptz",
    collection_paused="boolean",
    pause_behavior="text",
    collection_method="text",
    cancellation_reason="text",
    cancellation_feedback="text",
    schedule_id="text",
    test_clock="text",
    payment_method_id="text",
)
_DERIVED: Final = Fields(
    "snapshot", ended="boolean", current_period_start="timestamptz", current_period_end="timestamptz"
)
"""The columns that statements search and sort by; the snapshot computes them."""
SUBSCRIPTIONS: Final = Columns[TenantSubscription](
    [
        *_SUBSCRIPTION.columns,
        *_DERIVED.columns,
        _TENANT,
        Column("metered_prices", "jsonb", lambda row: encode(row.metered_prices) if row.metered_prices else "{}"),
        Column("pending_change", "jsonb", lambda row: _dumped(row.snapshot.pending_change)),
        Column("payment_method", "jsonb", lambda row: _dumped(row.snapshot.payment_method)),
        Column("planned", "jsonb", lambda row: dumps(row.snapshot.planned) if row.snapshot.planned else "[]"),
        *_PROVENANCE,
    ],
    fixed=("subscription_id", "tenant_id"),
    usual={
        "out_of_scope": False,
        "items_complete": True,
        "cancel_at_period_end": False,
        "collection_paused": False,
        "ended": False,
        "metered_prices": "{}",
        "pending_change": "null",
        "payment_method": "null",
        "planned": "[]",
        "ambiguous": False,
    },
)


def subscription_from_row(row: asyncpg.Record) -> TenantSubscription:
    """Return a subscription with its items."""
    return TenantSubscription(
        tenant_id=row["tenant_id"],
        snapshot=SubscriptionSnapshot(
            items=tuple(map(_item, row["items"])),
            pending_change=_optional(row["pending_change"], Phase),
            payment_method=_optional(row["payment_method"], PaymentMethodSnapshot),
            planned=() if row["planned"] == "[]" else loads(row["planned"], tuple[Phase, ...]),
            **_SUBSCRIPTION.read(row),
        ),
        provenance=_provenance(row),
        metered_prices=decode(row["metered_prices"]),
    )


def _dumped(value: object) -> str:
    return "null" if value is None else dumps(value)


def _optional(text: str, cls: type[T]) -> T | None:
    return None if text == "null" else loads(text, cls)


class SubscriptionItem(NamedTuple):
    """An item, and the subscription it belongs to."""

    subscription_id: SubscriptionId
    item: ItemSnapshot


_ITEM: Final = Fields(
    "item",
    item_id="text",
    price_id="text",
    product_id="text",
    lookup_key="text",
    usage_type="text",
    quantity="bigint",
    feature_key="text",
    interval="text",
    interval_count="bigint",
    unit_amount="bigint",
    unit_amount_decimal="numeric",
)
ITEMS: Final = Columns[SubscriptionItem](
    [
        *Fields(subscription_id="text").columns,
        *_ITEM.columns,
        Column(
            "price_metadata",
            "jsonb",
            lambda row: encode(dict(row.item.price_metadata)) if row.item.price_metadata else "{}",
        ),
        *period_columns("item.period", start="current_period_start", end="current_period_end"),
    ],
    fixed=("subscription_id", "item_id"),
    usual={"price_metadata": "{}"},
)


def _item(values: Iterable[Any]) -> ItemSnapshot:
    """Return an item from a row of its columns, which come without names."""
    _, *fields, price_metadata, start, end = values
    return ItemSnapshot(
        period=read_period(start, end), price_metadata=_metadata(price_metadata), **_ITEM.by_name(fields)
    )


def _metadata(text: str) -> Metadata:
    return () if text == "{}" else tuple(sorted(decode(text).items()))


# --- invoices ---------------------------------------------------------------------------------------------------

_INVOICE: Final = Fields(
    "snapshot",
    invoice_id="text",
    subscription_id="text",
    customer_id="text",
    number="text",
    status="text",
    currency="text",
    amount_due="bigint",
    amount_paid="bigint",
    amount_remaining="bigint",
    subtotal="bigint",
    total="bigint",
    tax="bigint",
    billing_reason="text",
    collection_method="text",
    hosted_invoice_url="text",
    invoice_pdf="text",
    finalized_at="timestamptz",
    due_at="timestamptz",
    paid_at="timestamptz",
    attempt_count="bigint",
    next_payment_attempt_at="timestamptz",
    lines_complete="boolean",
    out_of_scope="boolean",
)
INVOICES: Final = Columns[SubscriptionInvoice](
    [
        *_INVOICE.columns,
        Column("invoice_created_at", "timestamptz", attrgetter("snapshot.created_at")),
        *period_columns("snapshot.period", start="period_start", end="period_end"),
        _TENANT,
        Column("lines", "jsonb", lambda row: encode([_json_from_line(line) for line in row.snapshot.lines])),
        Column("failed_at", "jsonb", lambda row: encode([at.isoformat() for at in row.failed_at])),
        *_PROVENANCE,
    ],
    fixed=("invoice_id", "tenant_id"),
)
_LINE: Final = tuple(
    field.name for field in attrs.fields(InvoiceLine) if field.name not in ("period", "quantity_decimal")
)
_LINE_VALUES: Final = attrgetter(*_LINE)


def invoice_from_row(row: asyncpg.Record) -> SubscriptionInvoice:
    """Return an invoice with its lines."""
    return SubscriptionInvoice(
        tenant_id=row["tenant_id"],
        snapshot=InvoiceSnapshot(
            created_at=row["invoice_created_at"],
            period=read_period(row["period_start"], row["period_end"]),
            lines=tuple(map(_line_from_json, decode(row["lines"]))),
            **_INVOICE.read(row),
        ),
        provenance=_provenance(row),
        failed_at=tuple(datetime.fromisoformat(at) for at in decode(row["failed_at"])),
    )


def _json_from_line(line: InvoiceLine) -> Mapping[str, object]:
    period = line.period
    return {
        **dict(zip(_LINE, _LINE_VALUES(line), strict=True)),
        "quantity_decimal": None if line.quantity_decimal is None else str(line.quantity_decimal),
        "period_start": None if period is None else period.start.isoformat(),
        "period_end": None if period is None else period.end.isoformat(),
    }


def _line_from_json(line: Mapping[str, Any]) -> InvoiceLine:
    start, end, exact = line["period_start"], line["period_end"], line.get("quantity_decimal")
    return InvoiceLine(
        quantity_decimal=None if exact is None else Decimal(exact),
        period=None if start is None else Period(start=datetime.fromisoformat(start), end=datetime.fromisoformat(end)),
        **{name: value for name, value in line.items() if name in _LINE},
    )


# --- usage ------------------------------------------------------------------------------------------------------

_USAGE: Final = Fields(
    invoice_id="text",
    line_id="text",
    tenant_id="text",
    subscription_id="text",
    feature_key="text",
    amount="bigint",
    currency="text",
)
USAGE: Final = Columns[UsageRecord](
    [
        *_USAGE.columns,
        Column("quantity", "bigint", attrgetter("whole_quantity")),
        Column("quantity_decimal", "numeric", attrgetter("quantity")),
        *period_columns("period", start="period_start", end="period_end"),
    ],
    fixed=("invoice_id", "line_id", "tenant_id"),
)


def usage_from_row(row: asyncpg.Record) -> UsageRecord:
    """Return the billed usage of one invoice line."""
    return UsageRecord(
        quantity=_quantity(row["quantity"], row["quantity_decimal"]),
        period=read_period(row["period_start"], row["period_end"]),
        **_USAGE.read(row),
    )


def _quantity(whole: int, exact: Decimal | None) -> Decimal:
    """Return the exact quantity. A process of an earlier release writes the integer alone: then that is newer."""
    return exact if exact is not None and exact.to_integral_value(ROUND_HALF_EVEN) == whole else Decimal(whole)


# --- records ----------------------------------------------------------------------------------------------------

RECORDS: Final = Columns[TenantRecord](
    [
        *Fields("snapshot", object_id="text", kind="text").columns,
        _TENANT,
        Column("invoice_id", "text", lambda row: getattr(row.snapshot, "invoice_id", None)),
        Column("payment_id", "text", lambda row: getattr(row.snapshot, "payment_id", None)),
        Column("data", "jsonb", lambda row: record_to_json(row.snapshot)),
        *_PROVENANCE,
    ],
    fixed=("object_id", "kind", "tenant_id"),
)


def record_from_row(row: asyncpg.Record) -> TenantRecord:
    """Return an object other than customer, subscription and invoice."""
    return TenantRecord(
        tenant_id=row["tenant_id"], snapshot=record_from_json(row["kind"], row["data"]), provenance=_provenance(row)
    )


# --- provisional views ------------------------------------------------------------------------------------------

_VIEW: Final = Fields(
    object_id="text",
    tenant_id="text",
    kind="text",
    operation_key="text",
    answered_at="timestamptz",
    refetch_due_at="timestamptz",
    confirmed="boolean",
)
VIEWS: Final = Columns[ProvisionalView](
    [
        *_VIEW.columns,
        Column("snapshot", "jsonb", lambda view: None if view.snapshot is None else dumps(view.snapshot)),
    ],
    fixed=("object_id", "tenant_id"),
)
_ANSWERS: Final[Mapping[str, type[Answer]]] = {
    SubscriptionSnapshot.kind: SubscriptionSnapshot,
    InvoiceSnapshot.kind: InvoiceSnapshot,
}


def view_from_row(row: asyncpg.Record) -> ProvisionalView:
    """Return a provisional view."""
    text = row["snapshot"]
    return ProvisionalView(snapshot=None if text is None else loads(text, _ANSWERS[row["kind"]]), **_VIEW.read(row))


# --- decisions --------------------------------------------------------------------------------------------------

_DECISION: Final = Fields(object_id="text", from_tenant="text", to_tenant="text", actor="text", reason="text")
DECISIONS: Final = Columns[LinkDecision]([Column("action", "text", attrgetter("action.value")), *_DECISION.columns])


def decision_from_row(row: asyncpg.Record) -> LinkDecision:
    """Return an operator's decision about a link."""
    return LinkDecision(action=LinkAction(row["action"]), **_DECISION.read(row))


OCCASIONS: Final = Columns[TenantOccasion](
    Fields(tenant_id="text", key="text", sequence="bigint").columns,
    fixed=("tenant_id", "key", "sequence"),
)


DECLARED: Final[Mapping[str, Columns[Any]]] = {
    "access": ACCESS,
    "grants": GRANTS,
    "customers": CUSTOMERS,
    "subscriptions": SUBSCRIPTIONS,
    "items": ITEMS,
    "invoices": INVOICES,
    "usage": USAGE,
    "records": RECORDS,
    "views": VIEWS,
    "decisions": DECISIONS,
    "occasions": OCCASIONS,
}
"""By the name that statements use."""
