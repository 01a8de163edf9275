"""The messages to tenants."""

import pytest
from tests.histories.deployment import deployed, every_order
from tests.histories.stripe import (
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

TRIAL = Span(day("2026-10-01"), day("2026-10-15"))


async def test_a_confirmation_that_is_needed_is_told_beside_the_failure() -> None:
    """Both come in one second; the payer has to hear of both, whichever arrives first."""
    events = (
        sent("customer.subscription.updated", subscription(), "2026-11-01"),
        sent("invoice.finalized", invoice(), "2026-11-01 01:00"),
        sent("invoice.payment_failed", invoice(attempt_count=1), "2026-11-01 01:00:01"),
        sent("invoice.payment_action_required", invoice(attempt_count=1), "2026-11-01 01:00:01"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.message_types.count("invoice.payment_failed") == 1
            assert acme.message_types.count("invoice.payment_action_required") == 1


async def test_the_end_of_a_short_trial_is_told_beside_its_beginning() -> None:
    """Stripe warns of a trial of two days in the second of its creation."""
    trial = Span(day("2026-10-01"), day("2026-10-03"))
    seen = subscription("trialing", item(period=trial), trial=trial)
    events = (
        sent("customer.subscription.created", seen, "2026-10-01"),
        sent("customer.subscription.trial_will_end", seen, "2026-10-01"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-10-01 00:01")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert sorted(acme.message_types) == ["subscription.created", "subscription.trial_ending"]


async def test_a_partial_payment_is_no_failure() -> None:
    """It raises `attempt_count`, as a failure does."""
    before, after = invoice(), invoice(attempt_count=1, amount_paid=800)
    events = (
        sent("customer.subscription.updated", subscription(), "2026-11-01"),
        sent("invoice.finalized", before, "2026-11-01 01:00"),
        sent("invoice.updated", after, "2026-11-01 02:00", before=before),
    )
    for arrivals in (events, [event for event in events for _ in range(2)]):
        async with deployed(now=day("2026-11-02")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.invoices["in_1"]["status"] == "open"
            assert acme.invoices["in_1"]["amount_paid"] == 800
            assert acme.owed == ["in_1"]
            assert "invoice.payment_failed" not in acme.message_types
            assert "invoice.updated" in acme.message_types


async def test_an_extended_trial_is_no_renewal() -> None:
    """Nothing was paid: hosts grant allowances on a renewal."""
    longer = Span(TRIAL.start, day("2026-10-29"))
    before = subscription("trialing", item(period=TRIAL), trial=TRIAL)
    after = subscription("trialing", item(period=longer), trial=longer)
    events = (
        sent("customer.subscription.created", before, "2026-10-01"),
        sent("customer.subscription.updated", after, "2026-10-11", before=before),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-10-12")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.subscriptions["sub_1"]["trial_ends_at"] == "2026-10-29T00:00:00Z"
            assert "subscription.renewed" not in acme.message_types


async def test_a_period_that_stays_unpaid_is_no_renewal() -> None:
    """Stripe leaves the invoices of an unpaid subscription as drafts."""
    november, december = subscription("unpaid"), subscription("unpaid", item(period=DECEMBER))
    draft = invoice("draft", line("il_2", period=DECEMBER), invoice_id="in_2", created_at=DECEMBER.start)
    events = (
        sent("customer.subscription.updated", november, "2026-11-21", before={**november, "status": "past_due"}),
        sent("invoice.created", draft, "2026-12-01"),
        sent("customer.subscription.updated", december, "2026-12-01", before=november),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-12-02")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.access["state"] == "read_only"
            assert "subscription.renewed" not in acme.message_types


async def test_a_change_from_monthly_to_yearly_names_the_intervals() -> None:
    """ "Plan pro replaces pro" says nothing."""
    yearly = price("price_yr", 120000, interval="year")
    monthly = subscription("active", item(period=OCTOBER))
    changed = subscription("active", item(yearly, Span(day("2026-10-10"), day("2027-10-10"))))
    async with deployed(now=day("2026-11-01"), plans="pro=price_pro,pro=price_yr") as deployment:
        await deployment.receive(
            sent("customer.subscription.created", monthly, "2026-10-01"),
            sent("customer.subscription.updated", changed, "2026-10-10", before=monthly),
        )
        (sentence,) = (await deployment.tenant()).summaries("subscription.plan_changed")
        assert "monthly" in sentence
        assert "yearly" in sentence


async def test_a_new_price_of_the_same_interval_names_the_amounts() -> None:
    """No interval changed, so none is named."""
    raised = price("price_2027", 2500)
    before, after = subscription(), subscription("active", item(raised))
    events = (
        sent("customer.subscription.created", before, "2026-11-01"),
        sent("customer.subscription.updated", after, "2026-11-02", before=before),
    )
    async with deployed(now=day("2026-11-03"), plans="pro=price_pro,pro=price_2027") as deployment:
        await deployment.receive(*events)
        acme = await deployment.tenant()
        changed = ["The price of plan pro changed from 20.00 USD to 25.00 USD."]
        assert acme.summaries("subscription.plan_changed") == changed
        assert acme.subscriptions["sub_1"]["unit_amount"] == 2500


async def test_another_plan_in_another_interval_names_both() -> None:
    """And the state shows the terms that apply now, whatever the order of arrival."""
    team = price("price_team_yr", 120000, interval="year")
    before = subscription()
    after = subscription("active", item(team, Span(day("2026-11-02"), day("2027-11-02"))))
    events = (
        sent("customer.subscription.created", before, "2026-11-01"),
        sent("customer.subscription.updated", after, "2026-11-02", before=before),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-03"), plans="pro=price_pro,team=price_team_yr") as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            seen = acme.subscriptions["sub_1"]
            assert (seen["interval"], seen["interval_count"], seen["unit_amount"]) == ("year", 1, 120000)
            changed = acme.summaries("subscription.plan_changed")
            assert changed in ([], ["The plan changed from pro (monthly) to team (yearly)."])


async def test_sentences_name_what_a_partial_payment_leaves() -> None:
    """The invoice stays open, and its total says neither what was paid nor what is owed."""
    opened = invoice("open", line(amount=5000))
    partly = invoice("open", line(amount=5000), amount_paid=2000)
    async with deployed(now=day("2026-11-02")) as deployment:
        await deployment.receive(
            sent("invoice.finalized", opened, "2026-11-01"),
            sent("invoice.updated", partly, "2026-11-01 01:00", before=opened),
        )
        told = (await deployment.tenant()).summaries("invoice.updated")
        assert told == ["20.00 USD of invoice A-1 was paid; 30.00 USD remains to be paid."]


async def test_sentences_name_what_is_due_not_the_total() -> None:
    """A credit balance covers one invoice wholly and the next one in part."""
    covered = invoice("open", line(amount=5000), credited=5000)
    tried = invoice("open", line("il_2", 5000), invoice_id="in_2", number="A-2", credited=3500, attempt_count=1)
    async with deployed(now=day("2026-11-02")) as deployment:
        await deployment.receive(
            sent("invoice.finalized", covered, "2026-11-01"), sent("invoice.payment_failed", tried, "2026-11-01 01:00")
        )
        acme = await deployment.tenant()
        assert (acme.invoices["in_1"]["amount_due"], acme.invoices["in_2"]["amount_due"]) == (0, 1500)
        assert "50.00" not in " ".join(acme.summaries("invoice.finalized"))
        assert "15.00 USD" in " ".join(acme.summaries("invoice.payment_failed"))


@pytest.mark.xfail(reason="a scheduled change is told and shown")
async def test_a_scheduled_downgrade_is_told_and_shown() -> None:
    """The portal schedules it for the end of the period."""
    team = price("price_team", 5000)
    running = subscription("active", item(team))
    scheduled = subscription("active", item(team), changes={"schedule": "sub_sched_1"})
    phases = [
        {
            "start_date": int(period.start.timestamp()),
            "end_date": int(period.end.timestamp()),
            "items": [{"price": price_id, "quantity": 1}],
        }
        for period, price_id in ((NOVEMBER, "price_team"), (DECEMBER, "price_pro"))
    ]
    schedule = {
        "id": "sub_sched_1",
        "object": "subscription_schedule",
        "customer": "cus_1",
        "subscription": "sub_1",
        "status": "active",
        "current_phase": {key: phases[0][key] for key in ("start_date", "end_date")},
        "end_behavior": "release",
        "phases": phases,
        "livemode": False,
    }
    events = (
        sent("customer.subscription.updated", running, "2026-11-01"),
        sent("subscription_schedule.created", schedule, "2026-11-02"),
        sent("customer.subscription.updated", scheduled, "2026-11-02", before=running),
    )
    async with deployed(now=day("2026-11-03"), plans="pro=price_pro,team=price_team") as deployment:
        await deployment.receive(*events)
        acme = await deployment.tenant()
        assert acme.message_types.count("subscription.plan_change_scheduled") == 1
        (change,) = acme.subscriptions["sub_1"]["scheduled_changes"]
        assert change["plan_code"] == "pro"
