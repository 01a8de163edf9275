"""The messages to tenants."""

from typing import Any

from tests.histories.deployment import deployed, every_order
from tests.histories.stripe import (
    DECEMBER,
    NOVEMBER,
    OCTOBER,
    PRO,
    VERSION,
    Span,
    day,
    invoice,
    item,
    line,
    price,
    sent,
    subscription,
)

from billing_stripe.testing import accounts
from billing_stripe.testing.objects import SchedulePhase, SubscriptionSchedule

JANUARY = Span(DECEMBER.end, day("2027-02-01"))
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
        announced = (await deployment.tenant()).summaries("invoice.updated")
        assert announced == ["20.00 USD of invoice A-1 was paid; 30.00 USD remains to be paid."]


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


TEAM = price("price_team", 5000)
RUNNING = subscription("active", item(TEAM))
SCHEDULED = subscription("active", item(TEAM), schedule_id="sub_sched_1")
TWO_PLANS = "pro=price_pro,team=price_team"


def schedule(*prices: str, **fields: Any) -> dict[str, Any]:
    """Render the schedule of the subscription, one month for each price from November on."""
    months = (NOVEMBER, DECEMBER, JANUARY)
    phases = tuple(SchedulePhase(period=month, prices={id_: 1}) for month, id_ in zip(months, prices, strict=False))
    given = {
        "schedule_id": "sub_sched_1",
        "customer_id": "cus_1",
        "subscription_id": "sub_1",
        "created_at": day("2026-11-02"),
    }
    return accounts.subscription_schedule(SubscriptionSchedule(**{**given, "phases": phases, **fields}), VERSION)


async def test_a_scheduled_downgrade_is_told_and_shown() -> None:
    """The portal schedules it for the end of the period."""
    events = (
        sent("customer.subscription.updated", RUNNING, "2026-11-01"),
        sent("subscription_schedule.created", schedule("price_team", "price_pro"), "2026-11-02"),
        sent("customer.subscription.updated", SCHEDULED, "2026-11-02", before=RUNNING),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-03"), plans=TWO_PLANS) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.subscriptions["sub_1"]["plan_code"] == "team"
            assert acme.subscriptions["sub_1"]["scheduled_changes"] == [
                {
                    "kind": "plan_change",
                    "effective_at": "2026-12-01T00:00:00Z",
                    "plan_code": "pro",
                    "price_id": "price_pro",
                    "quantity": 1,
                }
            ]
            if [*arrivals[:3]] == [*events]:
                announced = acme.summaries("subscription.plan_change_scheduled")
                assert announced == ["Plan team will change to pro on 2026-12-01."]


async def test_a_scheduled_change_that_is_withdrawn_is_no_longer_shown() -> None:
    """The schedule is released before its second phase: the subscription goes on as it is."""
    released = schedule("price_team", "price_pro", status="released")
    events = (
        sent("customer.subscription.updated", SCHEDULED, "2026-11-01"),
        sent("subscription_schedule.created", schedule("price_team", "price_pro"), "2026-11-02"),
        sent("subscription_schedule.released", released, "2026-11-03"),
        sent("customer.subscription.updated", RUNNING, "2026-11-03", before=SCHEDULED),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-04"), plans=TWO_PLANS) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.subscriptions["sub_1"]["scheduled_changes"] == []
            if [*arrivals] == [*events]:
                assert acme.message_types.count("subscription.plan_change_scheduled") == 1
                assert acme.summaries("subscription.updated") == ["A scheduled change of plan team was withdrawn."]


async def test_a_scheduled_change_that_took_effect_is_no_longer_coming() -> None:
    """The plan changes with the period; the schedule's own event may come later, or never."""
    changed = subscription("active", item(PRO, DECEMBER, item_id="si_price_team"), schedule_id="sub_sched_1")
    events = (
        sent("customer.subscription.updated", SCHEDULED, "2026-11-01"),
        sent("subscription_schedule.created", schedule("price_team", "price_pro", "price_team"), "2026-11-02"),
        sent("customer.subscription.updated", changed, "2026-12-01", before=SCHEDULED),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-12-01 01:00"), plans=TWO_PLANS) as deployment:
            await deployment.receive(*arrivals)
            (left,) = (await deployment.tenant()).subscriptions["sub_1"]["scheduled_changes"]
            assert (left["plan_code"], left["effective_at"]) == ("team", "2027-01-01T00:00:00Z")


async def test_what_happens_next_is_one_list() -> None:
    """An upgrade that waits for its payment, a schedule that ends the subscription, and a set cancellation."""
    pending = {"subscription_items": [{"id": "si_price_team", "price": {"id": "price_pro"}, "quantity": 3}]}
    waiting = subscription("active", item(TEAM), schedule_id="sub_sched_1", changes={"pending_update": pending})
    leaving = subscription("active", item(TEAM), cancel_at_period_end=True, canceled_at=day("2026-11-04"))
    upgrade = {
        "kind": "pending_update",
        "effective_at": None,
        "plan_code": "pro",
        "price_id": "price_pro",
        "quantity": 3,
    }
    end = {"kind": "cancellation", "plan_code": None, "price_id": None, "quantity": None}
    ending = schedule("price_team", "price_team", end_behavior="cancel")
    events = (
        sent("customer.subscription.updated", RUNNING, "2026-11-01"),
        sent("customer.subscription.updated", waiting, "2026-11-02", before=RUNNING),
        sent("subscription_schedule.created", ending, "2026-11-02"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-04"), plans=TWO_PLANS) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            shown = acme.subscriptions["sub_1"]["scheduled_changes"]
            assert shown == [upgrade, {**end, "effective_at": "2027-01-01T00:00:00Z"}]
            if [*arrivals] == [*events]:
                announced = acme.summaries("subscription.plan_change_scheduled")
                assert announced == ["Plan team will change to pro once the change is paid."]
            await deployment.receive(sent("customer.subscription.updated", leaving, "2026-11-04"))
            shown = (await deployment.tenant()).subscriptions["sub_1"]["scheduled_changes"]
            assert shown == [{**end, "effective_at": "2026-12-01T00:00:00Z"}]
