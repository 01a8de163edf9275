"""Facts of Stripe's objects that the API shows."""

from typing import Any

import attrs
import pytest
from tests.histories.deployment import deployed, every_order
from tests.histories.stripe import CALLS, NOVEMBER, OCTOBER, VERSION, day, invoice, item, line, sent, subscription

from billing_stripe.testing import accounts, builders
from billing_stripe.testing.objects import Customer, PaymentMethod


async def test_usage_in_fractions_is_not_rounded_away() -> None:
    """Meters sum decimals; Stripe truncates `quantity` and says the whole of it in `quantity_decimal`."""
    bill = invoice(
        "paid",
        line(),
        line("il_2", 3, CALLS, OCTOBER, quantity=0),
        line("il_3", 121, CALLS, OCTOBER, quantity=12),
        amount_paid=2124,
        paid_at=NOVEMBER.start,
    )
    for rendered, decimal in zip(bill["lines"]["data"][1:], ("0.6", "12.1"), strict=True):
        rendered["quantity_decimal"] = decimal
    events = (
        sent("customer.subscription.updated", subscription("active", item(), item(CALLS)), "2026-11-01"),
        sent("invoice.paid", bill, "2026-11-01"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02")) as deployment:
            await deployment.receive(*arrivals)
            used = (await deployment.tenant()).usage
            assert {each: used[each]["quantity_decimal"] for each in used} == {"il_2": "0.6", "il_3": "12.1"}
            assert {each: (used[each]["quantity"], used[each]["amount"]) for each in used} == {
                "il_2": (1, 3),
                "il_3": (12, 121),
            }


async def test_a_half_is_rounded_to_the_even_integer_and_shown_exactly() -> None:
    """The integer is for readers that know no fractions; every process rounds it alike."""
    lines = [line(f"il_{n}", 1, CALLS, OCTOBER, quantity=int(float(n))) for n in ("0.5", "1.5", "2.5", "3")]
    bill = invoice("paid", *lines, amount_paid=4, paid_at=NOVEMBER.start)
    for rendered in bill["lines"]["data"]:
        rendered["quantity_decimal"] = rendered["id"].removeprefix("il_") + "00" * ("." in rendered["id"])
    events = (
        sent("customer.subscription.updated", subscription("active", item(), item(CALLS)), "2026-11-01"),
        sent("invoice.paid", bill, "2026-11-01"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02")) as deployment:
            await deployment.receive(*arrivals)
            used = (await deployment.tenant()).usage.values()
            assert {each["quantity_decimal"]: each["quantity"] for each in used} == {
                "0.5": 0,
                "1.5": 2,
                "2.5": 2,
                "3": 3,
            }


async def test_a_line_whose_fraction_is_corrected_bills_the_last_one() -> None:
    """Rounded to integers the two are equal, so that only the exact quantity tells them apart."""
    bills = []
    for decimal in ("0.6", "0.75"):
        bills.append(invoice("open", line("il_1", 3, CALLS, OCTOBER, quantity=0)))
        bills[-1]["lines"]["data"][0]["quantity_decimal"] = decimal
    events = (
        sent("customer.subscription.updated", subscription("active", item(), item(CALLS)), "2026-11-01"),
        sent("invoice.finalized", bills[0], "2026-11-01"),
        sent("invoice.updated", bills[1], "2026-11-01 00:01", before=bills[0]),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02")) as deployment:
            await deployment.receive(*arrivals)
            assert (await deployment.tenant()).usage["il_1"]["quantity_decimal"] == "0.75"


CARD = PaymentMethod(payment_method_id="pm_1", customer_id="cus_1", created_at=OCTOBER.start)
SHOWN = {"type": "card", "brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2031}


def card(**changes: Any) -> dict[str, Any]:
    """Render the card that the subscription is charged to."""
    return accounts.payment_method(attrs.evolve(CARD, **changes), VERSION)


async def test_the_default_payment_method_is_shown_once_an_event_showed_it() -> None:
    """Events of the subscription only name it."""
    events = (
        sent("customer.subscription.updated", subscription(), "2026-11-01"),
        sent("payment_method.attached", card(), "2026-11-02"),
        sent("payment_method.attached", card(payment_method_id="pm_9", last4="4444"), "2026-11-02"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-03")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.subscriptions["sub_1"]["default_payment_method"] == SHOWN
            if [*arrivals] == [*events]:
                charged = "Plan price_pro is charged to the visa ending in 4242, which expires in 12/2031."
                assert acme.summaries("subscription.updated") == [charged]


async def test_a_card_that_its_bank_replaced_is_shown_as_it_is_now() -> None:
    """In any order of the events of card and subscription."""
    events = (
        sent("payment_method.attached", card(), "2026-10-01"),
        sent("customer.subscription.updated", subscription(), "2026-11-01"),
        sent("payment_method.automatically_updated", card(exp_year=2034), "2026-11-02", before=card()),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-03")) as deployment:
            await deployment.receive(*arrivals)
            shown = (await deployment.tenant()).subscriptions["sub_1"]["default_payment_method"]
            assert shown == {**SHOWN, "exp_year": 2034}


async def test_a_card_that_was_removed_is_no_longer_shown() -> None:
    """It names no customer any more; its owner is the one that had it."""
    before, after = subscription(), subscription(changes={"default_payment_method": "pm_2"})
    events = (
        sent("customer.subscription.updated", before, "2026-11-01"),
        sent("payment_method.attached", card(), "2026-11-01"),
        sent("payment_method.detached", card(customer_id=None), "2026-11-02"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-03")) as deployment:
            await deployment.receive(*arrivals)
            assert (await deployment.tenant()).subscriptions["sub_1"]["default_payment_method"] is None
    async with deployed(now=day("2026-11-03")) as deployment:
        await deployment.receive(*events[:2], sent("customer.subscription.updated", after, "2026-11-02", before=before))
        assert (await deployment.tenant()).subscriptions["sub_1"]["default_payment_method"] is None


PAYER = Customer(
    customer_id="cus_1", created_at=OCTOBER.start, default_payment_method_id="pm_1", metadata={"tenant_id": "acme"}
)
WITHOUT = {"default_payment_method": None}
"""A subscription that its customer's default payment method is charged for."""


def payer(**changes: Any) -> dict[str, Any]:
    """Render the customer."""
    return builders.customer(attrs.evolve(PAYER, **changes), VERSION)


async def test_a_subscription_without_a_default_of_its_own_shows_its_customers() -> None:
    """The events of customer, card and subscription arrive in any order, and the last of them is told."""
    events = (
        sent("customer.created", payer(), "2026-10-01"),
        sent("payment_method.attached", card(), "2026-10-01"),
        sent("customer.subscription.created", subscription(changes=WITHOUT), "2026-11-01"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-03")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.subscriptions["sub_1"]["default_payment_method"] == SHOWN
            assert acme.messages[-1]["subscription"]["default_payment_method"] == SHOWN


async def test_the_default_of_the_subscription_outranks_its_customers() -> None:
    """A new default of the customer is no news for it, until its own is cleared."""
    own, cleared = subscription(), subscription(changes=WITHOUT)
    changed = payer(default_payment_method_id="pm_2")
    events = (
        sent("customer.created", payer(), "2026-10-01"),
        sent("payment_method.attached", card(), "2026-10-01"),
        sent("payment_method.attached", card(payment_method_id="pm_2", last4="4444"), "2026-10-01"),
        sent("customer.subscription.created", own, "2026-11-01"),
        sent("customer.updated", changed, "2026-11-02", before=payer()),
    )
    clearing = sent("customer.subscription.updated", cleared, "2026-11-03", before=own)
    async with deployed(now=day("2026-11-03")) as deployment:
        await deployment.receive(*events)
        acme = await deployment.tenant()
        assert acme.subscriptions["sub_1"]["default_payment_method"] == SHOWN
        assert acme.summaries("subscription.updated") == []
        await deployment.receive(clearing)
        acme = await deployment.tenant()
        assert acme.subscriptions["sub_1"]["default_payment_method"] == {**SHOWN, "last4": "4444"}
        charged = "Plan price_pro is charged to the visa ending in 4444, which expires in 12/2031."
        assert acme.summaries("subscription.updated") == [charged]


async def test_each_subscription_that_a_new_default_pays_for_has_one_message() -> None:
    """One event of the customer changes what several subscriptions are charged to."""
    own = subscription(subscription_id="sub_2", items=(item(item_id="si_2"),))
    both = [
        subscription(subscription_id=id_, items=(item(item_id=f"si_{id_}"),), changes=WITHOUT)
        for id_ in ("sub_1", "sub_3")
    ]
    async with deployed(now=day("2026-11-03")) as deployment:
        await deployment.receive(
            sent("customer.created", payer(default_payment_method_id=None), "2026-10-01"),
            sent("payment_method.attached", card(), "2026-10-01"),
            *(sent("customer.subscription.created", each, "2026-11-01") for each in (*both, own)),
        )
        change = sent("customer.updated", payer(), "2026-11-02", before=payer(default_payment_method_id=None))
        await deployment.receive(change, change)
        acme = await deployment.tenant()
        announced = [each for each in acme.messages if each["event_type"] == "subscription.updated"]
        assert [each["subscription"]["subscription_id"] for each in announced] == ["sub_1", "sub_3"]
        assert all(each["subscription"]["default_payment_method"] == SHOWN for each in announced)
        assert {each["stripe_event_id"] for each in announced} == {change["id"]}


async def test_a_new_default_that_looks_like_the_one_before_is_not_told() -> None:
    """The same card was entered again: another id for what people see as the same. Its removal changes nothing then."""
    again = payer(default_payment_method_id="pm_2")
    async with deployed(now=day("2026-11-03")) as deployment:
        await deployment.receive(
            sent("customer.created", payer(), "2026-10-01"),
            sent("payment_method.attached", card(), "2026-10-01"),
            sent("payment_method.attached", card(payment_method_id="pm_2"), "2026-10-01"),
            sent("customer.subscription.created", subscription(changes=WITHOUT), "2026-11-01"),
            sent("customer.updated", again, "2026-11-02", before=payer()),
            sent("payment_method.detached", card(customer_id=None), "2026-11-03"),
        )
        acme = await deployment.tenant()
        assert acme.summaries("subscription.updated") == []
        assert acme.subscriptions["sub_1"]["default_payment_method"] == SHOWN


@pytest.mark.parametrize(
    "changes", [{"status": "canceled", "ended_at": day("2026-11-02")}, {"collection_method": "send_invoice"}]
)
async def test_what_is_not_charged_shows_no_payment_method(changes: dict[str, Any]) -> None:
    """A subscription that ended, and one whose invoices are sent to be paid."""
    events = (
        sent("customer.created", payer(), "2026-10-01"),
        sent("payment_method.attached", card(), "2026-10-01"),
        sent("customer.subscription.updated", subscription(changes=WITHOUT, **changes), "2026-11-02"),
        sent("payment_method.updated", card(exp_year=2034), "2026-11-03", before=card()),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-03")) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.subscriptions["sub_1"]["default_payment_method"] is None
            assert acme.summaries("subscription.updated") == []
