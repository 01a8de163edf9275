"""Records: everything tracked beside customers, subscriptions and invoices, stored in one form whatever its kind."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, get_args

import attrs

from billing_core.model.adjustments import (
    ChargeSnapshot,
    CreditNoteSnapshot,
    DisputeSnapshot,
    PaymentSnapshot,
    RefundSnapshot,
    payment_object_id,
)
from billing_core.model.catalog import CatalogSnapshot, PriceSnapshot, ProductSnapshot
from billing_core.model.clock import ClockSnapshot
from billing_core.model.entitlements import EntitlementsSnapshot
from billing_core.model.identifiers import InvoiceId, TenantId
from billing_core.model.ordering import Provenance
from billing_core.model.payment_method import PaymentMethodSnapshot
from billing_core.model.schedule import ScheduleSnapshot

RecordSnapshot = (
    PaymentSnapshot
    | ChargeSnapshot
    | RefundSnapshot
    | DisputeSnapshot
    | CreditNoteSnapshot
    | EntitlementsSnapshot
    | ScheduleSnapshot
    | PaymentMethodSnapshot
    | PriceSnapshot
    | ProductSnapshot
    | ClockSnapshot
)
RECORD_KINDS: Final[Mapping[str, type[RecordSnapshot]]] = MappingProxyType(
    {record.kind: record for record in get_args(RecordSnapshot)}
)
UnownedSnapshot = CatalogSnapshot | ClockSnapshot
"""A record that belongs to no tenant."""


@attrs.frozen(kw_only=True)
class TenantRecord:
    """A record of one tenant: the deciding snapshot and the events it rests on. Some kinds have no tenant."""

    tenant_id: TenantId | None
    snapshot: RecordSnapshot
    provenance: Provenance

    @property
    def kind(self) -> str:
        """The kind of record."""
        return self.snapshot.kind

    @property
    def object_id(self) -> str:
        """The id it is stored under."""
        return self.snapshot.object_id

    @property
    def named_as(self) -> str:
        """The id by which other objects' events name it."""
        seen = self.snapshot
        return seen.payment_id if isinstance(seen, PaymentSnapshot) else seen.object_id


def any_open(disputes: Iterable[TenantRecord]) -> bool:
    """Return whether any of these records is a dispute that is not decided."""
    return any(isinstance(each.snapshot, DisputeSnapshot) and not each.snapshot.closed for each in disputes)


def clock_times(records: Iterable[TenantRecord]) -> Mapping[str, datetime]:
    """Return where the test clocks among these records stand, by id."""
    shown = (each.snapshot for each in records)
    return {seen.clock_id: seen.frozen_at for seen in shown if isinstance(seen, ClockSnapshot)}


def leads_to(snapshot: RecordSnapshot) -> tuple[str, ...]:
    """Return the object ids of the records that may say which invoice this one concerns."""
    match snapshot:
        case ChargeSnapshot() | RefundSnapshot() | DisputeSnapshot():
            named = [id_ for id_ in (snapshot.payment_id, snapshot.charge_id) if id_ is not None]
            charges = () if snapshot.charge_id is None else (snapshot.charge_id,)
            return (*map(payment_object_id, named), *charges)
        case _:
            return ()


def invoice_of(snapshot: RecordSnapshot, find: Callable[[str], RecordSnapshot | None]) -> InvoiceId | None:
    """Return the invoice a record concerns, if the record itself or what it leads to names one.

    Args:
        snapshot: the record.
        find: looks up what is known under an object id.
    """
    match snapshot:
        case PaymentSnapshot() | CreditNoteSnapshot():
            return snapshot.invoice_id
        case ChargeSnapshot() if snapshot.invoice_id is not None:
            return snapshot.invoice_id
    linked = [found for id_ in leads_to(snapshot) if (found := find(id_)) is not None]
    linked += [found for each in linked for id_ in leads_to(each) if (found := find(id_)) is not None]
    named = (each.invoice_id for each in linked if isinstance(each, PaymentSnapshot | ChargeSnapshot))
    return next((invoice_id for invoice_id in named if invoice_id is not None), None)
