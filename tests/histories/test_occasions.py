"""Occasions: each is told once, whatever the order and number of the events that report it, unless it is over."""

from collections import Counter

import pytest
from tests.histories.deployment import Deployment, Event, deployed, every_order
from tests.histories.stripe import (
    CALLS,
    DECEMBER,
    NOVEMBER,
    OCTOBER,
    Span,
    day,
    invoice,
    item,
    line,
    price,
    sent,
    subscription,
)

YEAR = Span(day("2026-10-01"), day("2027-10-01"))
YEARLY = price("price_yr", 120000, interval="year")
ADD_ON = price("price_add", 500)
SUBSCRIBED = sent("customer.subscription.created", subscription("active", item(period=OCTOBER)), "2026-10-01")
RENEWING = sent(
    "customer.subscription.updated",
    subscription(),
    "2026-11-01",
    before=subscription("active", item(period=OCTOBER)),
)
PAID = sent("invoice.paid", invoice("paid", amount_paid=2000, attempt_count=1), "2026-11-01 01:01")


async def counts(deployment: Deployment) -> Counter[str]:
    return Counter((await deployment.tenant()).message_types)


async def renewals(deployment: Deployment) -> list[tuple[str, str]]:
    """Return the start and end of each period that was told as a renewal."""
    messages = (await deployment.tenant()).messages
    assert all((each["period"] is None) == (each["event_type"] != "subscription.renewed") for each in messages)
    return [(each["period"]["start"][:10], each["period"]["end"][:10]) for each in messages if each["period"]]


async def test_a_renewal_follows_the_payment() -> None:
    """Stripe moves the period first and finalizes the invoice an hour later."""
    async with deployed(now=day("2026-11-02")) as deployment:
        await deployment.receive(SUBSCRIBED, RENEWING)
        assert await renewals(deployment) == []
        await deployment.receive(PAID)
        assert await renewals(deployment) == [("2026-11-01", "2026-12-01")]
        *_, message = (await deployment.tenant()).messages
        assert message["summary"] == "Plan price_pro was renewed from 2026-11-01 until 2026-12-01."
        assert (message["source"]["id"], message["subscription"]["subscription_id"]) == (PAID["id"], "sub_1")


@pytest.mark.parametrize("plans", ["", "pro=price_pro"])
async def test_a_renewal_is_told_once_in_any_order(plans: str) -> None:
    """Also where the payment arrives before anything is known of the subscription."""
    for arrivals in every_order((SUBSCRIBED, RENEWING, PAID)):
        async with deployed(now=day("2026-11-02"), plans=plans) as deployment:
            await deployment.receive(*arrivals)
            assert await renewals(deployment) == [("2026-11-01", "2026-12-01")]


async def test_a_renewal_is_told_beside_a_change_of_plan() -> None:
    """Both come with one update."""
    max_ = price("price_max", 5000)
    changed = sent(
        "customer.subscription.updated",
        subscription("active", item(max_, item_id="si_price_pro")),
        "2026-11-01",
        before=subscription("active", item(period=OCTOBER)),
    )
    paid = invoice("paid", line(of=max_, amount=5000, item_id="si_price_pro"), amount_paid=5000, attempt_count=1)
    events = (SUBSCRIBED, changed, sent("invoice.paid", paid, "2026-11-01 01:01"))
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02"), plans="pro=price_pro,max=price_max") as deployment:
            await deployment.receive(*arrivals)
            assert await renewals(deployment) == [("2026-11-01", "2026-12-01")]


@pytest.mark.parametrize("plans", ["", "pro=price_yr"])
async def test_the_first_period_and_a_meter_s_month_are_no_renewals(plans: str) -> None:
    """A yearly plan is renewed once a year, whatever its meters and add-ons bill."""
    calls, add_on = item(CALLS, OCTOBER), item(ADD_ON, OCTOBER)
    yearly = item(YEARLY, YEAR, item_id="si_0")
    first = invoice(
        "paid",
        line(of=YEARLY, amount=120000, period=YEAR, item_id="si_0"),
        amount_paid=120000,
        billing_reason="subscription_create",
        invoice_id="in_0",
    )
    month = invoice(
        "paid", line(of=CALLS, period=OCTOBER), line("il_2", 500, ADD_ON, NOVEMBER), amount_paid=2500, attempt_count=1
    )
    begun = subscription("active", yearly, calls, add_on)
    rolled = subscription("active", yearly, item(CALLS), item(ADD_ON))
    events = (
        sent("customer.subscription.created", begun, "2026-10-01"),
        sent("invoice.paid", first, "2026-10-01 00:01"),
        sent("customer.subscription.updated", rolled, "2026-11-01", before=begun),
        sent("invoice.paid", month, "2026-11-01 01:01"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02"), plans=plans) as deployment:
            await deployment.receive(*arrivals)
            assert await renewals(deployment) == []


async def test_the_end_of_a_trial_is_no_renewal() -> None:
    """The first paid period is told as `subscription.activated`."""
    trial = Span(OCTOBER.start, NOVEMBER.start)
    before, after = subscription("trialing", item(period=trial), trial=trial), subscription(trial=trial)
    events = (
        sent("customer.subscription.created", before, "2026-10-01"),
        sent("customer.subscription.updated", after, "2026-11-01", before=before),
        PAID,
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02")) as deployment:
            await deployment.receive(*arrivals)
            assert await renewals(deployment) == []


async def test_by_mail_the_period_is_the_renewal() -> None:
    """The invoice is paid weeks later, and that is not told as a renewal again."""
    by_mail = {"collection_method": "send_invoice"}
    before, after = subscription("active", item(period=OCTOBER), **by_mail), subscription(**by_mail)
    paid = invoice("paid", amount_paid=2000, due_at=DECEMBER.start, **by_mail)
    events = (
        sent("customer.subscription.created", before, "2026-10-01"),
        sent("customer.subscription.updated", after, "2026-11-01", before=before),
        sent("invoice.paid", paid, "2026-11-20"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-21")) as deployment:
            await deployment.receive(*arrivals)
            assert await renewals(deployment) == [("2026-11-01", "2026-12-01")]


async def test_a_plan_that_bills_usage_only_is_renewed_where_the_billed_period_ends() -> None:
    """Its line bills the past."""
    before, after = subscription("active", item(CALLS, OCTOBER)), subscription("active", item(CALLS))
    paid = invoice("paid", line(of=CALLS, period=OCTOBER), amount_paid=2000, attempt_count=1)
    async with deployed(now=day("2026-11-02")) as deployment:
        await deployment.receive(
            sent("customer.subscription.created", before, "2026-10-01"),
            sent("customer.subscription.updated", after, "2026-11-01", before=before),
            sent("invoice.paid", paid, "2026-11-01 01:01"),
        )
        assert await renewals(deployment) == [("2026-11-01", "2026-12-01")]


async def test_a_failure_is_told_beside_the_invoice_that_it_is_the_first_to_show() -> None:
    """The invoice is due, and its payment failed: both are true."""
    failed = sent("invoice.payment_failed", invoice(attempt_count=1), "2026-11-01 01:00:01")
    events: tuple[Event, ...] = (RENEWING, sent("invoice.finalized", invoice(), "2026-11-01 01:00"), failed)
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02")) as deployment:
            await deployment.receive(*arrivals)
            counted = await counts(deployment)
            assert (counted["invoice.finalized"], counted["invoice.payment_failed"]) == (1, 1)


async def test_a_second_failure_is_told_again() -> None:
    """Also one that the customer caused: it does not raise the count of attempts."""
    events = (
        RENEWING,
        sent("invoice.payment_failed", invoice(attempt_count=1), "2026-11-01 01:00"),
        sent("invoice.payment_failed", invoice(attempt_count=1), "2026-11-01 09:00"),
        sent("invoice.payment_failed", invoice(attempt_count=2), "2026-11-04 01:00"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-05")) as deployment:
            await deployment.receive(*arrivals)
            assert (await counts(deployment))["invoice.payment_failed"] == 3


async def test_a_failure_of_a_settled_invoice_is_over() -> None:
    """It arrives late, and would send the tenant after money that was paid."""
    failed = sent("invoice.payment_failed", invoice(attempt_count=1), "2026-11-01 01:00")
    async with deployed(now=day("2026-11-02")) as deployment:
        await deployment.receive(RENEWING, PAID, failed)
        assert (await counts(deployment))["invoice.payment_failed"] == 0


async def test_the_end_of_a_trial_is_told_once() -> None:
    """Two events may warn of one end; another end is another occasion, and one that was moved is over."""
    trial, longer = Span(day("2026-10-01"), day("2026-10-15")), Span(day("2026-10-01"), day("2026-10-29"))
    before = subscription("trialing", item(period=trial), trial=trial)
    after = subscription("trialing", item(period=longer), trial=longer)
    warned = sent("customer.subscription.trial_will_end", before, "2026-10-12")
    again = sent("customer.subscription.trial_will_end", before, "2026-10-12 00:00:05")
    extended = sent("customer.subscription.updated", after, "2026-10-13", before=before)
    last = sent("customer.subscription.trial_will_end", after, "2026-10-26")
    for arrivals in every_order((warned, again, extended, last)):
        async with deployed(now=day("2026-10-27")) as deployment:
            await deployment.receive(*arrivals)
            current = arrivals.index(extended) if extended in arrivals else 0
            in_time = min(arrivals.index(warned), arrivals.index(again)) < min(current, arrivals.index(last))
            assert (await counts(deployment))["subscription.trial_ending"] == 1 + in_time
