"""Stripe's side of one tenant: what Stripe holds, and the events it sends when that changes.

Methods change the account and return the events in the order in which they happened. Events of one call mostly share a
second, as they do at Stripe.
"""

import calendar
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import count

import attrs

from billing_demo.catalog import PLACES, DemoPlan
from billing_stripe.testing import make_id, objects

Subject = objects.Customer | objects.Subscription | objects.Invoice | objects.CheckoutSession


@attrs.frozen(kw_only=True)
class Happening:
    """One event, before any API version has given it a shape."""

    tenant_id: str
    type: str
    at: datetime
    subject: Subject
    before: Subject | None = None
    """What an update overwrote."""


@attrs.frozen(kw_only=True)
class Profile:
    """Who a tenant is, and how it came to be one."""

    tenant_id: str
    currency: str = "usd"
    tax_percent: int = 0
    via_checkout: bool = False
    """The tenant is named by the Checkout session only, which comes after the first events about its customer."""


class Account:
    """One tenant's customer, its running subscription and that one's invoices, as Stripe holds them."""

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
        """The running subscription. Raises LookupError before the first one."""
        if self._subscription is None:
            raise LookupError(f"{self.profile.tenant_id} has not subscribed yet")
        return self._subscription

    def open(self) -> list[Happening]:
        """The customer comes into being."""
        return [self._happening("customer.created", self.customer.created_at, self.customer)]

    def rename(self, name: str, at: datetime) -> list[Happening]:
        """The customer changes its name."""
        before, self.customer = self.customer, attrs.evolve(self.customer, name=name)
        return [self._happening("customer.updated", at, self.customer, before)]

    def subscribe(
        self, plan: DemoPlan, *, seats: int, at: datetime, status: str, trial: timedelta | None = None
    ) -> list[Happening]:
        """A new subscription, and the Checkout session it stems from if the tenant came that way."""
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
        happenings = [self._happening("customer.subscription.created", at, self._subscription)]
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
            happenings.append(self._happening("checkout.session.completed", at, session))
        return happenings

    def update(self, changed: objects.Subscription, at: datetime) -> Happening:
        """The subscription becomes `changed`."""
        before, self._subscription = self.subscription, changed
        return self._happening("customer.subscription.updated", at, changed, before)

    def announce(self, type: str, at: datetime) -> Happening:
        """An event about the subscription as it stands, such as `customer.subscription.paused`."""
        return self._happening(type, at, self.subscription)

    def end(self, at: datetime) -> Happening:
        """The subscription is over."""
        current = self.subscription
        self._subscription = attrs.evolve(
            current, status="canceled", ended_at=at, canceled_at=current.canceled_at or at, pause_collection=None
        )
        return self._happening("customer.subscription.deleted", at, self._subscription)

    def change_items(self, items: Sequence[objects.Item], at: datetime) -> Happening:
        """Other prices or quantities from now on; what they cost for the rest of the period is billed later."""
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
        """The running subscription's items on another plan: items that stay keep their ids."""
        ids = {PLACES[item.price.price_id].role: item.item_id for item in self.subscription.items}
        return self._items(plan, seats, self.subscription.span, ids)

    def draft(self, at: datetime, *, reason: str, lines: Iterable[objects.InvoiceLine]) -> objects.Invoice:
        """A new invoice of these lines and all pending prorations, in draft; no event yet."""
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

    def preview(self, at: datetime) -> Happening:
        """`invoice.upcoming`: the next invoice, which does not exist yet and has no id."""
        pending = list(self._pending)
        preview = attrs.evolve(self.draft(at, reason="upcoming", lines=self.advance_lines()), invoice_id=None)
        self._pending = pending
        return self._happening("invoice.upcoming", at, preview)

    def advance_lines(self) -> list[objects.InvoiceLine]:
        """What the running period costs: base and seats, paid in advance."""
        return [
            self._line(item, item.quantity or 0, (item.price.unit_amount or 0) * (item.quantity or 0), item.period)
            for item in self.subscription.items
            if not item.price.metered
        ]

    def arrears_lines(self, used: dict[str, int], period: objects.Span) -> list[objects.InvoiceLine]:
        """What was used during the period that is over: item id → quantity."""
        return [
            self._line(item, used[item.item_id], (item.price.unit_amount or 0) * used[item.item_id], period)
            for item in self.subscription.items
            if item.item_id in used
        ]

    def trial_line(self) -> objects.InvoiceLine:
        """The free line of the invoice that a trial starts with."""
        item = self.subscription.items[0]
        return self._line(item, 1, 0, item.period)

    def created(self, invoice: objects.Invoice) -> Happening:
        """`invoice.created`."""
        return self._happening("invoice.created", invoice.created_at, invoice)

    def finalize(self, invoice: objects.Invoice, at: datetime) -> tuple[objects.Invoice, list[Happening]]:
        """The draft gets its number and is owed from now on."""
        tail = self.customer.customer_id[-6:].upper()
        opened = attrs.evolve(
            invoice, status="open", number=f"{tail}-{next(self._invoice_numbers):04d}", finalized_at=at
        )
        return opened, [self._happening("invoice.finalized", at, opened)]

    def pay(self, invoice: objects.Invoice, at: datetime) -> tuple[objects.Invoice, list[Happening]]:
        """The invoice is paid: three events tell of it."""
        paid = attrs.evolve(
            invoice,
            status="paid",
            amount_paid=invoice.amount_due,
            attempt_count=invoice.attempt_count + (1 if invoice.amount_due else 0),
            next_payment_attempt_at=None,
            paid_at=at,
        )
        return paid, [
            self._happening("invoice.updated", at, paid, invoice),
            self._happening("invoice.paid", at, paid),
            self._happening("invoice.payment_succeeded", at, paid),
        ]

    def fail(
        self, invoice: objects.Invoice, at: datetime, next_attempt_at: datetime | None
    ) -> tuple[objects.Invoice, list[Happening]]:
        """A payment attempt fails."""
        failed = attrs.evolve(invoice, attempt_count=invoice.attempt_count + 1, next_payment_attempt_at=next_attempt_at)
        return failed, [
            self._happening("invoice.updated", at, failed, invoice),
            self._happening("invoice.payment_failed", at, failed),
        ]

    def void(self, invoice: objects.Invoice, at: datetime) -> list[Happening]:
        """The invoice is not owed any more, as if it had never been."""
        voided = attrs.evolve(invoice, status="void", voided_at=at, next_payment_attempt_at=None)
        return [self._happening("invoice.voided", at, voided)]

    def write_off(self, invoice: objects.Invoice, at: datetime) -> list[Happening]:
        """Nobody expects the invoice to be paid."""
        lost = attrs.evolve(invoice, status="uncollectible", marked_uncollectible_at=at, next_payment_attempt_at=None)
        return [self._happening("invoice.marked_uncollectible", at, lost)]

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

    def _happening(self, type: str, at: datetime, subject: Subject, before: Subject | None = None) -> Happening:
        return Happening(tenant_id=self.profile.tenant_id, type=type, at=at, subject=subject, before=before)

    def _id(self, prefix: str) -> str:
        return make_id(prefix, self._seed, self.profile.tenant_id, next(self._numbers))


def month_later(instant: datetime, anchor: datetime) -> datetime:
    """The same day of the next month as `anchor`'s, or that month's last day: a cycle of the 31st does not drift."""
    year, month = divmod(instant.year * 12 + instant.month, 12)
    day = min(anchor.day, calendar.monthrange(year, month + 1)[1])
    return instant.replace(year=year, month=month + 1, day=day)


def _monthly_amount(items: Iterable[objects.Item]) -> int:
    return sum((item.price.unit_amount or 0) * (item.quantity or 0) for item in items if not item.price.metered)
