"""The state of the provider in process, and the ids it gives."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, TypeVar

import attrs

from billing_core.errors import (
    GatewayCardDeclinedError,
    GatewayError,
    GatewayInvalidRequestError,
    GatewayNotFoundError,
)
from billing_core.model import (
    CustomerId,
    InvoiceId,
    InvoiceSnapshot,
    ItemId,
    ItemSnapshot,
    Period,
    Phase,
    PlannedItem,
    PriceId,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantId,
)
from billing_core.operations.commands import NewItem, PriceChoice
from billing_core.operations.results import PromotionCode
from billing_core.state.ports import Clock
from billing_memory.operations.provider.objects import (
    Behavior,
    FakeCheckout,
    FakeCustomer,
    FakePaymentMethod,
    FakePrice,
    FakeSchedule,
)

K = TypeVar("K", bound=str)
V = TypeVar("V")

_LENGTHS: Final = {
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
}
"""Months of 30 days: dates that a test can tell in advance."""


class ProviderState:
    """All objects, by id. A change replaces an object, so that one a test has kept stays as it was."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.prices: dict[str, FakePrice] = {}
        """By id, and by lookup key."""
        self.unknown_prices: set[str] = set()
        """Ids and lookup keys that the provider refuses."""
        self.customers: dict[CustomerId, FakeCustomer] = {}
        self.payment_methods: dict[str, FakePaymentMethod] = {}
        self.subscriptions: dict[SubscriptionId, SubscriptionSnapshot] = {}
        self.tenants: dict[SubscriptionId, TenantId] = {}
        """The tenants that the metadata of subscriptions names."""
        self.schedules: dict[str, FakeSchedule] = {}
        """Schedules that are not over."""
        self.discounts: dict[SubscriptionId, tuple[str, ...]] = {}
        """The promotion codes of each subscription."""
        self.waiting: dict[SubscriptionId, tuple[ItemSnapshot, ...]] = {}
        """The items of pending updates."""
        self.invoices: dict[InvoiceId, InvoiceSnapshot] = {}
        self.checkouts: dict[str, FakeCheckout] = {}
        self.promotion_codes: dict[str, PromotionCode] = {}
        """By code."""
        self._issued = 0

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Take back every change within the block if it is refused."""
        kept = {name: dict(value) for name, value in vars(self).items() if isinstance(value, dict)}
        try:
            yield
        except GatewayError:
            vars(self).update(kept)
            raise

    def now(self) -> datetime:
        """Return the provider's time, in whole seconds."""
        return self.clock.now().replace(microsecond=0)

    def new_id(self, prefix: str) -> str:
        """Return an id that no other object has; later ones sort behind earlier ones."""
        self._issued += 1
        return f"{prefix}_fake{self._issued:06}"

    def customer(self, customer_id: CustomerId) -> FakeCustomer:
        """Return a customer. Raises: GatewayNotFoundError."""
        return _existing(self.customers, customer_id)

    def live(self, subscription_id: SubscriptionId) -> SubscriptionSnapshot:
        """Return a subscription that has not ended. Raises: GatewayNotFoundError, GatewayInvalidRequestError."""
        found = _existing(self.subscriptions, subscription_id)
        if found.ended:
            raise GatewayInvalidRequestError(f"{subscription_id} is canceled")
        return found

    def invoice(self, invoice_id: InvoiceId) -> InvoiceSnapshot:
        """Return an invoice. Raises: GatewayNotFoundError."""
        return _existing(self.invoices, invoice_id)

    def checkout(self, session_id: str) -> FakeCheckout:
        """Return a checkout session. Raises: GatewayNotFoundError."""
        return _existing(self.checkouts, session_id)

    def price(self, choice: PriceChoice) -> FakePrice:
        """Return the price that a choice names; a price that was not added costs nothing.

        Raises: GatewayInvalidRequestError for one that a test declared unknown.
        """
        name = choice.price_id or str(choice.lookup_key)
        if name in self.unknown_prices:
            raise GatewayInvalidRequestError(f"no price {name}", parameter="items[0][price]")
        known = self.prices.get(name)
        if known is not None:
            return known
        price_id = choice.price_id or f"price_{choice.lookup_key}"
        return FakePrice(
            price_id=price_id,
            currency=choice.currency or "usd",
            interval=choice.interval or "month",
            metered=choice.role == "metered",
        )

    def put(self, subscription: SubscriptionSnapshot) -> SubscriptionSnapshot:
        """Store a subscription and return it."""
        self.subscriptions[subscription.subscription_id] = subscription
        return subscription

    def new_item(self, item: NewItem, period: Period | None = None) -> ItemSnapshot:
        """Return an item of a subscription; without a period it has one that begins now."""
        price = self.price(item.price)
        start = self.now()
        return ItemSnapshot(
            item_id=ItemId(self.new_id("si")),
            price_id=PriceId(price.price_id),
            lookup_key=item.price.lookup_key,
            usage_type="metered" if price.metered else "licensed",
            quantity=None if price.metered else (1 if item.quantity is None else item.quantity),
            interval=price.interval,
            interval_count=item.price.interval_count,
            unit_amount=price.unit_amount,
            period=period or Period(start=start, end=start + _LENGTHS[price.interval] * item.price.interval_count),
        )

    def phase(self, items: Iterable[NewItem], starts_at: datetime | None) -> Phase:
        """Return a coming phase with these items."""
        planned = [(self.price(item.price), item.quantity) for item in items]
        read = [PlannedItem(price_id=PriceId(price.price_id), quantity=quantity) for price, quantity in planned]
        return Phase(starts_at=starts_at, items=tuple(sorted(read, key=lambda item: item.price_id)))

    def behavior(self, customer_id: CustomerId, own: str | None = None) -> Behavior:
        """Return what happens when a customer is charged; one without a payment method declines.

        Args:
            customer_id: the customer.
            own: a payment method that outranks the customer's.
        """
        method = self.payment_methods.get(own or self.customer(customer_id).default_payment_method or "")
        return "declines" if method is None else method.behavior

    def charge(self, customer_id: CustomerId, amount: int, own: str | None = None) -> bool:
        """Charge an amount; False if it waits for the customer. Nothing is always paid.

        Raises: GatewayCardDeclinedError.
        """
        if amount <= 0:
            return True
        behavior = self.behavior(customer_id, own)
        if behavior == "declines":
            raise GatewayCardDeclinedError("the card was declined", decline_code="generic_decline")
        return behavior == "pays"

    def bill(self, subscription: SubscriptionSnapshot, amount: int, *, paid: bool, reason: str) -> InvoiceSnapshot:
        """Create an invoice of a subscription."""
        now = self.now()
        invoice = InvoiceSnapshot(
            invoice_id=InvoiceId(self.new_id("in")),
            customer_id=subscription.customer_id,
            subscription_id=subscription.subscription_id,
            status="paid" if paid else "open",
            currency=subscription.currency or "usd",
            amount_due=amount,
            amount_paid=amount if paid else 0,
            amount_remaining=0 if paid else amount,
            subtotal=amount,
            total=amount,
            billing_reason=reason,
            collection_method="charge_automatically",
            created_at=now,
            finalized_at=now,
            paid_at=now if paid else None,
            attempt_count=1 if paid else 0,
        )
        self.invoices[invoice.invoice_id] = invoice
        return invoice

    def paid(self, invoice: InvoiceSnapshot) -> InvoiceSnapshot:
        """Note that an invoice was paid: its subscription is active, with the change that waited for the payment."""
        amount = invoice.amount_due
        invoice = attrs.evolve(
            invoice, status="paid", amount_paid=amount, amount_remaining=0, paid_at=self.now(), attempt_count=1
        )
        self.invoices[invoice.invoice_id] = invoice
        subscription = self.subscriptions.get(invoice.subscription_id or SubscriptionId(""))
        if subscription is not None and not subscription.ended:
            self.put(_after_payment(subscription, self.waiting.pop(subscription.subscription_id, None)))
        return invoice

    def latest_invoice(self, subscription_id: SubscriptionId) -> InvoiceSnapshot | None:
        """Return the last invoice of a subscription."""
        own = [invoice for invoice in self.invoices.values() if invoice.subscription_id == subscription_id]
        return own[-1] if own else None


def amount_of(items: Iterable[ItemSnapshot]) -> int:
    """Return what these items cost for one period, without usage."""
    return sum((item.unit_amount or 0) * (item.quantity or 0) for item in items)


def with_items(subscription: SubscriptionSnapshot, items: Iterable[ItemSnapshot]) -> SubscriptionSnapshot:
    """Return a subscription with other items, in the order that snapshots have."""
    return attrs.evolve(subscription, items=tuple(sorted(items, key=lambda item: item.item_id)))


def _after_payment(subscription: SubscriptionSnapshot, items: tuple[ItemSnapshot, ...] | None) -> SubscriptionSnapshot:
    waits = subscription.status in ("incomplete", "past_due", "paused")
    paid = attrs.evolve(subscription, status="active" if waits else subscription.status, pending_change=None)
    return paid if items is None else with_items(paid, items)


def _existing(objects: dict[K, V], name: K) -> V:
    found = objects.get(name)
    if found is None:
        raise GatewayNotFoundError(f"no {name}")
    return found
