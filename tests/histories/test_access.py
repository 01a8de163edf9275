"""The access of tenants, and its end."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.histories.deployment import deployed, every_order
from tests.histories.stripe import NOVEMBER, OCTOBER, Span, clock, day, invoice, item, line, sent, subscription


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


# --- test clocks ------------------------------------------------------------------------------------------------------

ON_CLOCK = {"test_clock": "clock_1"}
YEAR = Span(day("2027-10-01"), day("2028-10-01"))
"""A period of a clock that is a year ahead."""


async def test_a_trial_on_a_test_clock_ends_when_its_clock_says_so() -> None:
    """Its events arrive in any order, on one real day; one message says that it is over."""
    trial = Span(YEAR.start, day("2027-10-15"))
    trialing = subscription("trialing", item(period=trial), trial=trial, **ON_CLOCK)
    events = (
        sent("test_helpers.test_clock.created", clock("2027-10-01"), "2026-11-01 10:00"),
        sent("customer.subscription.created", trialing, "2026-11-01 10:01"),
        sent(
            "test_helpers.test_clock.advancing",
            clock("2027-10-01", "advancing", target_at=day("2027-10-16")),
            "2026-11-01 10:02",
        ),
        sent("test_helpers.test_clock.ready", clock("2027-10-16"), "2026-11-01 10:03"),
    )
    over = {"state": "blocked", "reason": "trial_overdue", "until": None}
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-01 10:04")) as deployment:
            for event in arrivals:
                await deployment.receive(event)
                await deployment.review()
            acme = await deployment.tenant()
            assert acme.access == over
            assert acme.messages[-1]["access"] == over
            assert acme.message_types in (
                ["subscription.created"],  # the clock had been there
                ["subscription.created", "access.changed"],
            )
            assert await deployment.outcome(events[-1]) == ("applied", None)


async def test_an_advancing_clock_takes_no_access_away_before_its_objects_follow() -> None:
    """The trial ends and is paid for while the clock advances past its end."""
    trial = Span(YEAR.start, day("2027-10-15"))
    trialing = subscription("trialing", item(period=trial), trial=trial, **ON_CLOCK)
    active = subscription("active", item(period=YEAR), trial=trial, **ON_CLOCK)
    async with deployed(now=day("2026-11-01 10:04")) as deployment:
        await deployment.receive(sent("test_helpers.test_clock.created", clock("2027-10-01"), "2026-11-01 10:00"))
        for event in (
            sent("customer.subscription.created", trialing, "2026-11-01 10:01"),
            sent(
                "test_helpers.test_clock.advancing",
                clock("2027-10-01", "advancing", target_at=day("2027-11-01")),
                "2026-11-01 10:02",
            ),
            sent("customer.subscription.updated", active, "2026-11-01 10:02", before=trialing),
            sent("test_helpers.test_clock.ready", clock("2027-11-01"), "2026-11-01 10:03"),
        ):
            await deployment.receive(event)
            await deployment.review()
            assert (await deployment.tenant()).access["state"] == "full"
        assert "access.changed" not in (await deployment.tenant()).message_types


async def test_grace_on_a_test_clock_has_its_whole_week() -> None:
    """Stripe dates the failure in real time, a year before the clock."""
    bill = {
        "created_at": YEAR.start,
        "finalized_at": day("2027-10-01 01:00"),
        "attempt_count": 1,
        "period": Span(YEAR.start, YEAR.start),
        **ON_CLOCK,
    }
    late = subscription("past_due", item(period=YEAR), **ON_CLOCK)
    events = (
        sent("customer.subscription.updated", late, "2026-11-01 10:00"),
        sent("invoice.payment_failed", invoice("open", line(period=YEAR), **bill), "2026-11-01 10:00"),
        sent("test_helpers.test_clock.ready", clock("2027-10-03"), "2026-11-01 10:01"),
    )
    later = sent("test_helpers.test_clock.ready", clock("2027-10-09"), "2026-11-01 10:02")
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-01 10:04")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.access == {"state": "grace", "reason": "past_due", "until": "2027-10-08T01:00:00Z"}
            await deployment.receive(later)
            await deployment.review()
            await deployment.review()
            acme = await deployment.tenant()
            assert acme.access["reason"] == "past_due_grace_over"
            assert acme.message_types.count("access.changed") <= 2
            assert acme.messages[-1]["access"] == acme.access


async def test_real_time_decides_until_an_event_of_the_clock_arrives() -> None:
    """Nothing else says where the clock stands."""
    ending = subscription("active", cancel_at=day("2027-10-01"), **ON_CLOCK)
    async with deployed(now=day("2026-11-02")) as deployment:
        await deployment.receive(sent("customer.subscription.created", ending, "2026-11-01"))
        assert (await deployment.tenant()).access["state"] == "full"
        await deployment.receive(sent("test_helpers.test_clock.ready", clock("2027-10-01"), "2026-11-01 01:00"))
        assert (await deployment.tenant()).access["reason"] == "scheduled_end_passed"
