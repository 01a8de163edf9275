"""The simulated lifecycle of one customer: its decisions, its payments, and the resulting events.

The order of events and their groups within one second are Stripe's: a renewal drafts the invoice and moves the period,
and an hour later finalizes and charges; a failed charge marks the subscription past due in the same second.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Final

import attrs

from billing_demo.account import AccountEvent, CustomerAccount, month_later
from billing_demo.catalog import BUSINESS, PLANS, STARTER, TEAM, DemoPlan
from billing_stripe.testing import objects

TRIAL: Final = timedelta(days=14)
_DRAFT_LASTS: Final = timedelta(hours=1)
_RETRY_WAITS: Final = (timedelta(days=3), timedelta(days=5), timedelta(days=7))
_FIRST_PAYMENT_EXPIRES: Final = timedelta(hours=23)
_DAY: Final = timedelta(days=1)


class Lifecycle:
    """Simulates one account step by step. Every choice comes from `rng`, so a seed repeats the whole lifecycle."""

    def __init__(self, account: CustomerAccount, rng: Random) -> None:
        self._account = account
        self._rng = rng
        self._now = account.customer.created_at
        self._anchor = self._now
        """Periods start on its day of the month; a resumption or the end of a trial sets a new anchor."""
        self._plan: DemoPlan = STARTER
        self._seats = 1
        self._overdue_invoice: objects.Invoice | None = None
        """The invoice that is still owed while the subscription is unpaid."""

    def events(self) -> Iterator[AccountEvent]:
        """Yield the events in chronological order, without end: a customer that cancels subscribes again later."""
        yield from self._account.open()
        while True:
            self._advance(timedelta(minutes=self._rng.randint(2, 600)))
            yield from self._start()
            while self._alive:
                yield from self._month()
            self._advance(timedelta(days=self._rng.randint(10, 60)))

    @property
    def _alive(self) -> bool:
        return self._account.subscription.status not in ("canceled", "incomplete_expired")

    @property
    def _canceling(self) -> bool:
        """Whether a cancellation is scheduled."""
        subscription = self._account.subscription
        return subscription.cancel_at_period_end or subscription.cancel_at is not None

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _advance(self, duration: timedelta) -> None:
        """Advance the clock. Stripe's events have whole seconds."""
        self._now = (self._now + duration).replace(microsecond=0)

    # Start of a subscription.

    def _start(self) -> Iterator[AccountEvent]:
        dollars = self._account.profile.currency == "usd"
        self._plan = self._rng.choice((STARTER, TEAM, TEAM, BUSINESS)) if dollars else STARTER
        self._seats = self._rng.randint(2, 12) if self._plan.seat else 1
        if self._chance(0.5):
            yield from self._start_with_trial()
        else:
            yield from self._start_with_payment()

    def _start_with_trial(self) -> Iterator[AccountEvent]:
        account = self._account
        yield from account.subscribe(self._plan, seats=self._seats, at=self._now, status="trialing", trial=TRIAL)
        invoice = account.draft(self._now, reason="subscription_create", lines=[account.trial_line()])
        yield account.created(invoice)
        yield from self._finalize_and_pay(invoice)
        self._advance(TRIAL - 3 * _DAY)
        yield account.announce("customer.subscription.trial_will_end", self._now)
        self._advance(3 * _DAY)
        if self._chance(0.2):
            yield from self._pause_for(timedelta(days=self._rng.randint(2, 20)))
        else:
            yield from self._activate()

    def _start_with_payment(self) -> Iterator[AccountEvent]:
        """Start incomplete; the subscription becomes active when its first invoice is paid, usually at once."""
        account = self._account
        self._anchor = self._now
        yield from account.subscribe(self._plan, seats=self._seats, at=self._now, status="incomplete")
        draft = account.draft(self._now, reason="subscription_create", lines=account.advance_lines())
        yield account.created(draft)
        invoice, events = account.finalize(draft, self._now)
        yield from events
        if self._chance(0.85):
            yield from account.pay(invoice, self._now)[1]
            yield self._become("active")
            return
        invoice, events = account.fail(invoice, self._now, None)
        yield from events
        self._advance(_FIRST_PAYMENT_EXPIRES)
        yield from account.void(invoice, self._now)
        yield self._become("incomplete_expired", ended_at=self._now)

    # A month of a current subscription.

    def _month(self) -> Iterator[AccountEvent]:
        """Continue to just after the next renewal, or to the end of the subscription."""
        account = self._account
        end = account.subscription.span.end
        room = end - self._now - 4 * _DAY
        for share in sorted(self._rng.random() for _ in range(self._rng.choice((0, 1, 1, 2)))):
            moment = end - 4 * _DAY - room * (1 - share)
            if room > _DAY and moment > self._now:
                self._advance(moment - self._now)
                yield from self._random_change()
            if not self._alive or account.subscription.span.end != end:
                return
        if end - self._now > 3 * _DAY and not self._canceling and self._chance(0.5):
            self._advance(end - self._now - 3 * _DAY)
            yield account.preview(self._now)
        self._advance(end - self._now)
        if self._canceling:
            yield account.end(self._now)
            return
        yield from self._renew()

    def _random_change(self) -> Iterator[AccountEvent]:
        subscription = self._account.subscription
        if subscription.status == "unpaid":
            yield from self._settle_or_end()
            return
        choice = self._rng.choices(
            (
                self._change_seats,
                self._change_plan,
                self._toggle_collection,
                self._pause,
                self._schedule_cancellation,
                self._cancel_now,
                self._rename,
            ),
            weights=(38, 18, 10, 6, 14, 3, 8),
        )[0]
        yield from choice()

    def _change_seats(self) -> Iterator[AccountEvent]:
        if self._plan.seat is None:
            return
        self._seats = max(1, self._seats + self._rng.choice((-2, -1, 1, 1, 2, 3, 5)))
        if self._seats != self._seats_now():
            yield self._account.change_items(self._account.switched(self._plan, self._seats), self._now)

    def _change_plan(self) -> Iterator[AccountEvent]:
        """Change the plan: an upgrade is billed immediately, a downgrade is credited on the next invoice."""
        account = self._account
        if account.profile.currency != "usd":
            return
        before = self._plan
        self._plan = self._rng.choice([plan for plan in PLANS if plan is not before])
        self._seats = max(self._seats, 2) if self._plan.seat else 1
        yield account.change_items(account.switched(self._plan, self._seats), self._now)
        if PLANS.index(self._plan) > PLANS.index(before):
            invoice = account.draft(self._now, reason="subscription_update", lines=[])
            yield account.created(invoice)
            yield from self._finalize_and_pay(invoice)

    def _toggle_collection(self) -> Iterator[AccountEvent]:
        subscription = self._account.subscription
        paused = None if subscription.pause_collection else "void"
        yield self._account.update(attrs.evolve(subscription, pause_collection=paused), self._now)

    def _pause(self) -> Iterator[AccountEvent]:
        if self._account.subscription.status == "active" and not self._canceling:
            yield from self._pause_for(timedelta(days=self._rng.randint(3, 40)))

    def _pause_for(self, duration: timedelta) -> Iterator[AccountEvent]:
        """Pause the subscription: its period ends now, and a new one starts and is billed when it resumes."""
        account = self._account
        subscription = account.subscription
        cut = tuple(
            attrs.evolve(item, period=objects.Span(item.period.start, self._now)) for item in subscription.items
        )
        yield account.update(attrs.evolve(subscription, status="paused", items=cut, paused_at=self._now), self._now)
        yield account.announce("customer.subscription.paused", self._now)
        self._advance(duration)
        if self._chance(0.2):
            yield account.end(self._now)
            return
        yield from self._activate("customer.subscription.resumed")

    def _schedule_cancellation(self) -> Iterator[AccountEvent]:
        """Schedule a cancellation at the end of the period, in one of Stripe's two forms, or revoke a scheduled one."""
        subscription = self._account.subscription
        if self._canceling:
            changed = attrs.evolve(subscription, cancel_at_period_end=False, cancel_at=None, canceled_at=None)
        elif self._chance(0.5):
            changed = attrs.evolve(
                subscription, cancel_at_period_end=True, cancel_at=subscription.span.end, canceled_at=self._now
            )
        else:
            changed = attrs.evolve(subscription, cancel_at=subscription.span.end, canceled_at=self._now)
        yield self._account.update(changed, self._now)

    def _cancel_now(self) -> Iterator[AccountEvent]:
        yield self._account.end(self._now)

    def _rename(self) -> Iterator[AccountEvent]:
        name = (self._account.customer.name or "").removesuffix(" Ltd").removesuffix(" Group")
        yield from self._account.rename(f"{name} {self._rng.choice(('Ltd', 'Group'))}", self._now)

    # Renewal and payment.

    def _activate(self, notice: str | None = None) -> Iterator[AccountEvent]:
        """Start the first paid period, or the first after a pause; it sets the day of all later periods."""
        self._anchor = self._now
        yield from self._renew(status="active", notice=notice)

    def _renew(self, status: str | None = None, notice: str | None = None) -> Iterator[AccountEvent]:
        """Start the next period: draft the invoice and move the period now, and charge an hour later."""
        account = self._account
        subscription = account.subscription
        over = subscription.span
        used = self._usage() if subscription.status in ("active", "past_due") else {}
        span = objects.Span(self._now, month_later(self._now, self._anchor))
        renewed = attrs.evolve(
            subscription,
            items=tuple(attrs.evolve(item, period=span) for item in subscription.items),
            status=status or subscription.status,
            paused_at=None,
        )
        moved = account.update(renewed, self._now)
        lines = [*account.advance_lines(), *account.arrears_lines(used, over)]
        invoice = account.draft(self._now, reason="subscription_cycle", lines=lines)
        yield account.created(invoice)
        yield moved
        if notice is not None:
            yield account.announce(notice, self._now)
        if renewed.status == "unpaid":
            return  # invoices of an unpaid subscription stay drafts
        self._advance(_DRAFT_LASTS)
        if renewed.pause_collection:
            opened, events = account.finalize(invoice, self._now)
            yield from events
            yield from account.void(opened, self._now)
        elif self._chance(0.85):
            yield from self._finalize_and_pay(invoice)
        else:
            yield from self._fall_behind(invoice)

    def _finalize_and_pay(self, draft: objects.Invoice) -> Iterator[AccountEvent]:
        opened, events = self._account.finalize(draft, self._now)
        yield from events
        yield from self._account.pay(opened, self._now)[1]

    def _fall_behind(self, draft: objects.Invoice) -> Iterator[AccountEvent]:
        """Fail the charge and retry it, until it succeeds or Stripe gives up."""
        account = self._account
        invoice, events = account.finalize(draft, self._now)
        yield from events
        if invoice.amount_due == 0:
            yield from account.pay(invoice, self._now)[1]
            return
        invoice, events = account.fail(invoice, self._now, self._now + _RETRY_WAITS[0])
        yield from events
        yield self._become("past_due")
        for wait, following in zip(_RETRY_WAITS, (*_RETRY_WAITS[1:], None), strict=True):
            self._advance(wait)
            if self._chance(0.55):
                yield from account.pay(invoice, self._now)[1]
                yield self._become("active")
                return
            invoice, events = account.fail(invoice, self._now, self._now + following if following else None)
            yield from events
        yield from self._give_up(invoice)

    def _give_up(self, invoice: objects.Invoice) -> Iterator[AccountEvent]:
        if self._chance(0.5):
            self._overdue_invoice = invoice
            yield self._become("unpaid")
            return
        yield self._account.end(self._now)
        yield from self._account.write_off(invoice, self._now)

    def _settle_or_end(self) -> Iterator[AccountEvent]:
        """Pay the old invoice of an unpaid subscription and reactivate it, or end it."""
        invoice, self._overdue_invoice = self._overdue_invoice, None
        if invoice is None or self._chance(0.4):
            yield self._account.end(self._now)
            if invoice is not None:
                yield from self._account.void(invoice, self._now)
            return
        yield from self._account.pay(invoice, self._now)[1]
        yield self._become("active")

    def _become(self, status: str, *, ended_at: datetime | None = None) -> AccountEvent:
        changed = attrs.evolve(self._account.subscription, status=status, ended_at=ended_at)
        return self._account.update(changed, self._now)

    def _usage(self) -> dict[str, int]:
        """Return the quantity of each metered item in the past period."""
        metered = [item for item in self._account.subscription.items if item.price.metered]
        return {item.item_id: self._rng.randint(0, 40_000) for item in metered}

    def _seats_now(self) -> int | None:
        items = self._account.subscription.items
        return next((item.quantity for item in items if item.price == self._plan.seat), None)
