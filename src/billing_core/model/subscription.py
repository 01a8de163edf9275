"""A tenant's subscription, as the provider last described it."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Literal

import attrs

from billing_core.frozen import frozen
from billing_core.model.identifiers import CustomerId, ItemId, PriceId, SubscriptionId, TenantId
from billing_core.model.ordering import Ordered, Provenance
from billing_core.model.payment_method import PaymentMethodSnapshot
from billing_core.model.schedule import Phase, ScheduledChange
from billing_core.model.time import Period, aware

UsageType = Literal["licensed", "metered"]
Metadata = tuple[tuple[str, str], ...]
"""Keys and values that the merchant attached to an object, by key; a tuple, since snapshots are hashed."""

ENDED = frozenset({"canceled", "incomplete_expired"})
"""Statuses no subscription leaves. Source: https://docs.stripe.com/api/subscriptions/object#subscription_object-status"""
BY_MAIL = "send_invoice"
"""The collection method of invoices that the customer pays without being charged."""


@frozen(kw_only=True)
class ItemSnapshot:
    """One price a subscription bills: the base fee, seats, or a metered feature."""

    item_id: ItemId
    price_id: PriceId
    product_id: str | None = None
    lookup_key: str | None = None
    usage_type: UsageType = "licensed"
    quantity: int | None = None
    """None for metered items: their quantity is usage, not a setting."""
    feature_key: str | None = None
    """Our name of a metered feature. The translator leaves it empty; the plan catalog fills it in."""
    interval: str | None = None
    """The unit of its billing interval: `day`, `week`, `month` or `year`."""
    interval_count: int | None = None
    """The number of these units between two invoices."""
    unit_amount: int | None = None
    """In the minor unit; None for a price with tiers or with digits below the minor unit."""
    unit_amount_decimal: Decimal | None = None
    """The exact unit amount if it has digits below the minor unit."""
    price_metadata: Metadata = ()
    period: Period | None = None


@frozen(kw_only=True)
class SubscriptionSnapshot(Ordered):
    """A subscription as one event shows it. Status words are the provider's, verbatim: unknown ones are kept."""

    kind: ClassVar[str] = "subscription"
    refetchable: ClassVar[bool] = True

    subscription_id: SubscriptionId
    customer_id: CustomerId
    status: str
    items: tuple[ItemSnapshot, ...] = ()
    """Ordered by item id, so that equal content is equal."""
    items_complete: bool = True
    """False while the provider's payload holds only the first page of items."""
    currency: str | None = None
    cancel_at_period_end: bool = False
    cancel_at: datetime | None = attrs.field(default=None, validator=aware)
    canceled_at: datetime | None = attrs.field(default=None, validator=aware)
    ended_at: datetime | None = attrs.field(default=None, validator=aware)
    trial_ends_at: datetime | None = attrs.field(default=None, validator=aware)
    """Stays set after the trial, as the provider keeps it."""
    collection_paused: bool = False
    """The subscription runs, but the provider does not collect payments; not the same as status `paused`."""
    pause_behavior: str | None = None
    """The fate of invoices while collection is paused, in the provider's word; None also where it was not kept."""
    collection_method: str | None = None
    cancellation_reason: str | None = None
    cancellation_feedback: str | None = None
    """The reason that the customer chose. API versions before 2022-11 show neither."""
    schedule_id: str | None = None
    pending_change: Phase | None = None
    """A change that takes effect once it is paid."""
    test_clock: str | None = None
    """The test clock by which it lives, in test mode."""
    payment_method_id: str | None = None
    """Its own default; where it has none, the customer's is charged."""
    payment_method: PaymentMethodSnapshot | None = None
    """The payment method that is charged, which has events of its own: copied here like the next field."""
    planned: tuple[Phase, ...] = ()
    """The coming phases of its schedule. The schedule's own events show them, and the ledger copies them here."""
    plan_code: str | None = None
    price_id: PriceId | None = None
    seat_count: int | None = None
    out_of_scope: bool = False
    """It is for another product of the account: it gives no access and is not shown to the tenant.

    The last four are our reading of the items, filled in by the plan catalog.
    """

    @property
    def ended(self) -> bool:
        """Whether it is over for good."""
        return self.status in ENDED

    @property
    def charged(self) -> bool:
        """Whether a payment method is charged for it: not once it has ended, nor where invoices are sent to be paid."""
        return not self.ended and self.collection_method != BY_MAIL

    @property
    def object_id(self) -> str:
        """The provider's id."""
        return self.subscription_id

    @property
    def precedence(self) -> int:
        """An ended subscription stays ended, whatever arrives later."""
        return 1 if self.ended else 0

    @property
    def partial(self) -> bool:
        """Items are missing; those of an ended subscription no longer matter."""
        return not self.items_complete and not self.ended

    @property
    def cancellation_scheduled(self) -> bool:
        """Whether an end is scheduled, in either of the provider's two ways."""
        return not self.ended and (self.cancel_at_period_end or self.cancel_at is not None)

    @property
    def auto_renew(self) -> bool:
        """Whether it continues after the current period unless it is canceled."""
        return not self.ended and not self.cancellation_scheduled

    @property
    def scheduled_changes(self) -> tuple[ScheduledChange, ...]:
        """The known coming changes: a pending update first, the rest by time."""
        if self.ended or not (self.pending_change or self.planned or self.cancellation_scheduled):
            return ()
        changes = [_change("pending_update", phase) for phase in (self.pending_change,) if phase is not None]
        begun = self.current_period_start
        coming = [phase for phase in self.planned if phase.starts_at and (begun is None or phase.starts_at > begun)]
        changes += [_change("plan_change", phase) for phase in coming if phase.items]
        ends = [phase.starts_at for phase in coming if not phase.items]
        end = self.cancel_at or (self.current_period_end if self.cancel_at_period_end else next(iter(ends), None))
        if end is not None or self.cancel_at_period_end:
            changes.append(ScheduledChange(kind="cancellation", effective_at=end))
        return tuple(changes)

    @property
    def metered_prices(self) -> Mapping[PriceId, str]:
        """The metered prices among its items, each with the feature it bills."""
        return {item.price_id: item.feature_key or item.price_id for item in self.items if item.usage_type == "metered"}

    @property
    def plan_item(self) -> ItemSnapshot | None:
        """The item that decides the plan; None while the plan is unknown."""
        for item in self.items:
            if item.price_id == self.price_id:
                return item
        return None

    @property
    def current_period_start(self) -> datetime | None:
        """Latest start of the items. Source: Stripe's definition in the subscription list filters."""
        starts = [item.period.start for item in self.items if item.period]
        return max(starts) if starts else None

    @property
    def current_period_end(self) -> datetime | None:
        """Earliest end of the items. Source: as for the start."""
        ends = [item.period.end for item in self.items if item.period]
        return min(ends) if ends else None

    def completed_by(self, known: "SubscriptionSnapshot | None") -> "SubscriptionSnapshot":
        """Return this with the known items that it leaves out, the known plan where it shows none, and the known scope.

        It stays incomplete, since some of them may be gone. Without this each event of a long subscription would end
        its plan until the next refetch.
        """
        if self.items_complete or known is None:
            return self
        shown = {item.item_id for item in self.items}
        others = tuple(item for item in known.items if item.item_id not in shown)
        plan = self if self.plan_code is not None else known
        return self.read_as(
            items=tuple(sorted((*self.items, *others), key=lambda item: item.item_id)),
            plan_code=plan.plan_code,
            price_id=plan.price_id,
            seat_count=plan.seat_count,
            out_of_scope=known.out_of_scope,
        )

    def read_as(
        self,
        *,
        items: tuple[ItemSnapshot, ...],
        plan_code: str | None,
        price_id: PriceId | None,
        seat_count: int | None,
        out_of_scope: bool,
        pending_change: Phase | None = None,
        planned: tuple[Phase, ...] | None = None,
    ) -> "SubscriptionSnapshot":
        """Return the same with our reading of the items. Spelled out, as `Translation.showing` is."""
        return SubscriptionSnapshot(
            subscription_id=self.subscription_id,
            customer_id=self.customer_id,
            status=self.status,
            items=items,
            items_complete=self.items_complete,
            currency=self.currency,
            cancel_at_period_end=self.cancel_at_period_end,
            cancel_at=self.cancel_at,
            canceled_at=self.canceled_at,
            ended_at=self.ended_at,
            trial_ends_at=self.trial_ends_at,
            collection_paused=self.collection_paused,
            pause_behavior=self.pause_behavior,
            collection_method=self.collection_method,
            cancellation_reason=self.cancellation_reason,
            cancellation_feedback=self.cancellation_feedback,
            schedule_id=self.schedule_id,
            test_clock=self.test_clock,
            pending_change=pending_change or self.pending_change,
            payment_method_id=self.payment_method_id,
            payment_method=self.payment_method,
            planned=self.planned if planned is None else planned,
            plan_code=plan_code,
            price_id=price_id,
            seat_count=seat_count,
            out_of_scope=out_of_scope,
        )


def _change(kind: Literal["plan_change", "pending_update"], phase: Phase) -> ScheduledChange:
    return ScheduledChange(
        kind=kind,
        effective_at=phase.starts_at,
        plan_code=phase.plan_code,
        price_id=phase.price_id,
        quantity=phase.seat_count,
    )


@frozen(kw_only=True)
class TenantSubscription:
    """A subscription of one tenant: the deciding snapshot and the events it rests on."""

    kind: ClassVar[str] = SubscriptionSnapshot.kind

    tenant_id: TenantId
    snapshot: SubscriptionSnapshot
    provenance: Provenance
    metered_prices: Mapping[PriceId, str] = attrs.field(factory=dict)
    """Every metered price any of its events ever showed, with the feature it bills.

    It only grows: an invoice bills the usage of items that are gone by the time it arrives.
    """

    @property
    def object_id(self) -> str:
        """The id it is stored under."""
        return self.snapshot.subscription_id


def merge_metered_prices(known: Mapping[PriceId, str], seen: Mapping[PriceId, str]) -> Mapping[PriceId, str]:
    """Merge both, the same whichever came first: of two features a name wins over the price's own id."""
    if seen.items() <= known.items():
        return known
    merged = dict(known)
    for price_id, feature_key in seen.items():
        candidates = (merged.get(price_id, feature_key), feature_key)
        merged[price_id] = min(candidates, key=lambda key: (key == price_id, key))
    return merged
