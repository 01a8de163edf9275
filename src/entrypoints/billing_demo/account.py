"""Stripe's view of one tenant: its objects, and the events that Stripe sends when they change.

Methods change the account and return the events in the order in which they happened. Events of one call mostly share a
second, as they do at Stripe.
"""

import calendar
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import count

import attrs

from billing_demo.catalog import PRICE_ROLES, DemoPlan
from billing_stripe.testing import make_id, objects

Subject = objects.Customer | objects.Subscription | objects.Invoice | objects.CheckoutSession


@attrs.frozen(kw_only=True)
class AccountEvent:
    """One event, independent of the API version that it is rendered in."""

    tenant_id: str
    type: str
    at: datetime
    subject: Subject
    before: Subject | None = None
    """The object before an update."""


@attrs.frozen(kw_only=True)
class Profile:
    """A tenant and how it signed up."""

    tenant_id: str
    currency: str = "usd"
    tax_percent: int = 0
    via_checkout: bool = False
    """Only the Checkout session names the tenant, after the first events about its customer."""


class CustomerAccount:
    """A tenant's customer, its current subscription and the invoices of that subscription."""

    def __init__(self, profile: Profile, *, seed: str, opened_at: datetime) -> None:
        self.profile = profile
        self._seed = seed
        self._numbers = count(1)
        self._invoice_numbers = count(1)
        self._pending: list[objects.InvoiceLine] = []
        self.customer = objects.Customer(
            customer_id=self._id("cus"),
            created_at=opened_at,
            email=f"billing+{profile.tenant_id}@example.com",
            name=f"{profile.tenant_id.replace('-', ' ').title()} Ltd",
            currency=profile.currency,
            metadata={} if profile.via_checkout else {"tenant_id": profile.tenant_id},
        )
        self._subscription: objects.Subscription | None = None

    @property
    def subscription(self) -> objects.Subscription:
        """The current subscription. Raises LookupError before the first one."""
        if self._subscription is None:
            raise LookupError(f"{self.profile.tenant_id} has not subscribed yet")
        return self._subscription

    def open(self) -> list[AccountEvent]:
        """Create the customer."""
        return [self._event("customer.created", self.customer.created_at, self.customer)]

    def rename(self, name: str, at: datetime) -> list[AccountEvent]:
        """Rename the customer."""
        before, self.customer = self.customer, attrs.evolve(self.customer, name=name)
        return [self._event("customer.updated", at, self.customer, before)]

    def subscribe(
        self, plan: DemoPlan, *, seats: int, at: datetime, status: str, trial: timedelta | None = None
    ) -> list[AccountEvent]:
        """Create a subscription, and the Checkout session it comes from if the tenant signed up that way."""
        span = objects.Span(at, at + trial if trial else month_later(at, at))
        metadata = {} if self.profile.via_checkout else {"tenant_id": self.profile.tenant_id}
        subscription_id = self._id("sub")
        self._pending.clear()
        self._subscription = objects.Subscription(
            subscription_id=subscription_id,
            customer_id=self.customer.customer_id,
            status=status,
            created_at=at,
            items=self._items(plan, seats, span),
            metadata=metadata,
            trial=span if trial else None,
        )
        events = [self._event("customer.subscription.created", at, self._subscription)]
        if self.profile.via_checkout:
            session = objects.CheckoutSession(
                session_id=self._id("cs_test"),
                created_at=at,
                customer_id=self.customer.customer_id,
                subscription_id=subscription_id,
                client_reference_id=self.profile.tenant_id,
                currency=self.profile.currency,
                payment_status="no_payment_required" if trial else "paid",
                customer_email=self.customer.email,
            )
            events.append(self._event("checkout.session.completed", at, session))
        return events

    def update(self, changed: objects.Subscription, at: datetime) -> AccountEvent:
        """Replace the subscription with `changed`."""
        before, self._subscription = self.subscription, changed
        return self._event("customer.subscription.updated", at, changed, before)

    def announce(self, type: str, at: datetime) -> AccountEvent:
        """Return an event about the unchanged subscription, such as `customer.subscription.paused`."""
        return self._event(type, at, self.subscription)

    def end(self, at: datetime) -> AccountEvent:
        """End the subscription."""
        current = self.subscription
        self._subscription = attrs.evolve(
            current, status="canceled", ended_at=at, canceled_at=current.canceled_at or at, pause_collection=None
        )
        return self._event("customer.subscription.deleted", at, self._subscription)

    def change_items(self, items: Sequence[objects.Item], at: datetime) -> AccountEvent:
        """Change prices or quantities; the proration for the rest of the period is billed later."""
        old, new = _monthly_amount(self.subscription.items), _monthly_amount(items)
        span = objects.Span(at, self.subscription.span.end)
        whole = self.subscription.span
        share = (span.end - span.start) / (whole.end - whole.start)
        self._pending += [
            self._proration(-round(old * share), "Unused time", span),
            self._proration(round(new * share), "Remaining time", span),
        ]
        return self.update(attrs.evolve(self.subscription, items=tuple(items)), at)

    def switched(self, plan: DemoPlan, seats: int) -> tuple[objects.Item, ...]:
        """Return the current subscription's items on another plan; items that stay keep their ids."""
        ids = {PRICE_ROLES[item.price.price_id].role: item.item_id for item in self.subscription.items}
        return self._items(plan, seats, self.subscription.span, ids)

    def draft(self, at: datetime, *, reason: str, lines: Iterable[objects.InvoiceLine]) -> objects.Invoice:
        """Create a draft invoice of these lines and all pending prorations, without an event."""
        pending, self._pending = self._pending, []
        subscription = self.subscription
        return objects.Invoice(
            invoice_id=self._id("in"),
            customer_id=self.customer.customer_id,
            status="draft",
            created_at=at,
            lines=(*lines, *pending),
            period=objects.Span(at, at),
            currency=self.profile.currency,
            subscription_id=subscription.subscription_id,
            subscription_metadata=subscription.metadata,
            billing_reason=reason,
            customer_email=self.customer.email,
            customer_name=self.customer.name,
        )

    def preview(self, at: datetime) -> AccountEvent:
        """Return `invoice.upcoming` about the next invoice, which does not exist yet and has no id."""
        pending = list(self._pending)
        preview = attrs.evolve(self.draft(at, reason="upcoming", lines=self.advance_lines()), invoice_id=None)
        self._pending = pending
        return self._event("invoice.upcoming", at, preview)

    def advance_lines(self) -> list[objects.InvoiceLine]:
        """Return the lines of the current period that are paid in advance: base and seats."""
        return [
            self._line(item, item.quantity or 0, (item.price.unit_amount or 0) * (item.quantity or 0), item.period)
            for item in self.subscription.items
            if not item.price.metered
        ]

    def arrears_lines(self, used: dict[str, int], period: objects.Span) -> list[objects.InvoiceLine]:
        """Return the lines for the usage of the past period; `used` maps item ids to quantities."""
        return [
            self._line(item, used[item.item_id], (item.price.unit_amount or 0) * used[item.item_id], period)
            for item in self.subscription.items
            if item.item_id in used
        ]

    def trial_line(self) -> objects.InvoiceLine:
        """Return the free line of the invoice at the start of a trial."""
        item = self.subscription.items[0]
        return self._line(item, 1, 0, item.period)

    def created(self, invoice: objects.Invoice) -> AccountEvent:
        """Return `invoice.created`."""
        return self._event("invoice.created", invoice.created_at, invoice)

    def finalize(self, invoice: objects.Invoice, at: datetime) -> tuple[objects.Invoice, list[AccountEvent]]:
        """Finalize a draft: it gets a number and is owed."""
        tail = self.customer.customer_id[-6:].upper()
        opened = attrs.evolve(
            invoice, status="open", number=f"{tail}-{next(self._invoice_numbers):04d}", finalized_at=at
        )
        return opened, [self._event("invoice.finalized", at, opened)]

    def pay(self, invoice: objects.Invoice, at: datetime) -> tuple[objects.Invoice, list[AccountEvent]]:
        """Pay an invoice, which causes three events."""
        paid = attrs.evolve(
            invoice,
            status="paid",
            amount_paid=invoice.amount_due,
            attempt_count=invoice.attempt_count + (1 if invoice.amount_due else 0),
            next_payment_attempt_at=None,
            paid_at=at,
        )
        return paid, [
            self._event("invoice.updated", at, paid, invoice),
            self._event("invoice.paid", at, paid),
            self._event("invoice.payment_succeeded", at, paid),
        ]

    def fail(
        self, invoice: objects.Invoice, at: datetime, next_attempt_at: datetime | None
    ) -> tuple[objects.Invoice, list[AccountEvent]]:
        """Fail a payment attempt."""
        failed = attrs.evolve(invoice, attempt_count=invoice.attempt_count + 1, next_payment_attempt_at=next_attempt_at)
        return failed, [
            self._event("invoice.updated", at, failed, invoice),
            self._event("invoice.payment_failed", at, failed),
        ]

    def void(self, invoice: objects.Invoice, at: datetime) -> list[AccountEvent]:
        """Void an invoice: it is no longer owed."""
        voided = attrs.evolve(invoice, status="void", voided_at=at, next_payment_attempt_at=None)
        return [self._event("invoice.voided", at, voided)]

    def write_off(self, invoice: objects.Invoice, at: datetime) -> list[AccountEvent]:
        """Mark an invoice as uncollectible."""
        lost = attrs.evolve(invoice, status="uncollectible", marked_uncollectible_at=at, next_payment_attempt_at=None)
        return [self._event("invoice.marked_uncollectible", at, lost)]

    def _items(
        self, plan: DemoPlan, seats: int, span: objects.Span, ids: dict[str, str] | None = None
    ) -> tuple[objects.Item, ...]:
        known = ids or {}

        def item(role: str, price: objects.Price, quantity: int | None) -> objects.Item:
            return objects.Item(item_id=known.get(role) or self._id("si"), price=price, period=span, quantity=quantity)

        items = [item("base", plan.base[self.profile.currency], 1)]
        if plan.seat is not None:
            items.append(item("seat", plan.seat, seats))
        return (*items, *(item(feature, price, None) for feature, price in plan.metered.items()))

    def _line(self, item: objects.Item, quantity: int, amount: int, period: objects.Span) -> objects.InvoiceLine:
        return objects.InvoiceLine(
            line_id=self._id("il"),
            amount=amount,
            quantity=quantity,
            price=item.price,
            period=period,
            subscription_id=self.subscription.subscription_id,
            item_id=item.item_id,
            description=f"{quantity} × {item.price.nickname}",
            tax=self._tax(amount),
            metadata=self.subscription.metadata,
        )

    def _proration(self, amount: int, description: str, period: objects.Span) -> objects.InvoiceLine:
        base = self.subscription.items[0]
        return objects.InvoiceLine(
            line_id=self._id("il"),
            amount=amount,
            price=base.price,
            period=period,
            subscription_id=self.subscription.subscription_id,
            invoice_item_id=self._id("ii"),
            proration=True,
            description=description,
            tax=self._tax(amount),
            metadata=self.subscription.metadata,
        )

    def _tax(self, amount: int) -> int:
        return amount * self.profile.tax_percent // 100

    def _event(self, type: str, at: datetime, subject: Subject, before: Subject | None = None) -> AccountEvent:
        return AccountEvent(tenant_id=self.profile.tenant_id, type=type, at=at, subject=subject, before=before)

    def _id(self, prefix: str) -> str:
        return make_id(prefix, self._seed, self.profile.tenant_id, next(self._numbers))


def month_later(instant: datetime, anchor: datetime) -> datetime:
    """Return the anchor's day in the next month, or its last day, so that a cycle of the 31st does not drift."""
    year, month = divmod(instant.year * 12 + instant.month, 12)
    day = min(anchor.day, calendar.monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day)


def _monthly_amount(items: Iterable[objects.Item]) -> int:
    return sum((item.price.unit_amount or 0) * (item.quantity or 0) for item in items if not item.price.metered)
