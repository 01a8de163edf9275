"""The access of tenants, and its end."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.histories.deployment import deployed, every_order
from tests.histories.stripe import NOVEMBER, OCTOBER, Span, day, invoice, item, line, sent, subscription


async def test_a_debit_that_bounces_after_twelve_days_has_its_whole_grace() -> None:
    """Bank debits take long to fail: until then the subscription stays active, and grace has not begun."""
    running, failed = subscription(), subscription("past_due")
    events = (
        sent("customer.subscription.updated", running, "2026-11-01"),
        sent("invoice.payment_failed", invoice(attempt_count=1), "2026-11-13"),
        sent("customer.subscription.updated", failed, "2026-11-13", before=running),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-13 00:01")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.access == {"state": "grace", "reason": "past_due", "until": "2026-11-20T00:00:00Z"}


async def test_an_invoice_by_mail_has_its_grace_after_its_due_date() -> None:
    """With net 30 the period is nearly over when payment is late."""
    terms = {"collection_method": "send_invoice", "days_until_due": 30}
    running = subscription("active", item(period=OCTOBER), **terms)
    late = subscription("past_due", item(period=OCTOBER), **terms)
    bill = invoice(
        "open",
        line(period=OCTOBER),
        created_at=OCTOBER.start,
        finalized_at=OCTOBER.start,
        due_at=day("2026-10-31"),
        billing_reason="subscription_create",
        collection_method="send_invoice",
    )
    events = (
        sent("customer.subscription.created", running, "2026-10-01"),
        sent("invoice.finalized", bill, "2026-10-01 01:00"),
        sent("invoice.overdue", bill, "2026-10-31 00:01"),
        sent("customer.subscription.updated", late, "2026-10-31 00:01", before=running),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-10-31 01:00")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.access["state"] == "grace"
            assert acme.access["until"] == "2026-11-07T00:00:00Z"
            assert acme.owed == ["in_1"]


async def test_a_scheduled_end_that_has_passed_gives_no_access() -> None:
    """The verdict named the end: it keeps it, even if the event of the end is never delivered."""
    ending = subscription(cancel_at_period_end=True, cancel_at=NOVEMBER.end, canceled_at=day("2026-11-02"))
    events = (sent("customer.subscription.updated", ending, "2026-11-02"),)
    for arrivals in every_order(events):
        async with deployed(now=day("2026-12-21")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.access["state"] == "blocked"


async def test_a_trial_that_is_long_over_gives_no_access() -> None:
    """No word came from Stripe after the trial: a day's allowance later the tenant is blocked."""
    trial = Span(day("2026-10-01"), day("2026-10-15"))
    events = (
        sent("customer.subscription.created", subscription("trialing", item(period=trial), trial=trial), "2026-10-01"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-30")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.access["state"] == "blocked"


async def test_paused_collection_is_told_from_paying() -> None:
    """Nothing is charged while collection is paused: the reason says so, and teams can decide about it."""
    running = subscription()
    paused = subscription(changes={"pause_collection": {"behavior": "void", "resumes_at": 1801440000}})
    events = (
        sent("customer.subscription.updated", running, "2026-11-01"),
        sent("customer.subscription.updated", paused, "2026-11-02", before=running),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-03")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.access["state"] == "full"
            assert acme.access["reason"] != "active"


async def test_pausing_collection_is_told() -> None:
    """In the order of events, as the first event then shows a running subscription."""
    running = subscription()
    paused = subscription(pause_collection="void")
    async with deployed(now=day("2026-11-03")) as deployment:
        await deployment.receive(
            sent("customer.subscription.updated", running, "2026-11-01"),
            sent("customer.subscription.updated", paused, "2026-11-02", before=running),
        )
        assert "subscription.paused" in (await deployment.tenant()).message_types


@pytest.mark.parametrize(
    ("rules", "access"),
    [
        ("", {"state": "grace", "reason": "past_due", "until": "2026-11-14T00:00:00Z"}),
        ("past_due = { days = 2 }", {"state": "read_only", "reason": "past_due_grace_over", "until": None}),
        (
            'past_due = { days = 2, then = "blocked" }',
            {"state": "blocked", "reason": "past_due_grace_over", "until": None},
        ),
        (
            'by_mail = { past_due = "blocked" }',
            {"state": "grace", "reason": "past_due", "until": "2026-11-14T00:00:00Z"},
        ),
        ('past_due = "full"', {"state": "full", "reason": "past_due", "until": None}),
    ],
)
async def test_a_team_decides_on_the_access_of_a_missed_payment(rules: str, access: Mapping[str, Any]) -> None:
    """In billing.toml, whatever the order in which the events arrive."""
    running, failed = subscription(), subscription("past_due")
    events = (
        sent("customer.subscription.updated", running, "2026-11-01"),
        sent("invoice.payment_failed", invoice(attempt_count=1), "2026-11-07"),
        sent("customer.subscription.updated", failed, "2026-11-07", before=running),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-10"), rules=f"[access]\n{rules}\n") as deployment:
            await deployment.receive(*arrivals)
            assert (await deployment.tenant()).access == access
