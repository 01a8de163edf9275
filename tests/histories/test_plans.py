"""The plans of subscriptions, and prices that no plan names."""

from collections.abc import Mapping
from typing import Final

import pytest
from tests.histories.deployment import deployed, every_order
from tests.histories.stripe import (
    CALLS,
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

from billing_stripe.testing import builders
from billing_stripe.testing.objects import Price

BESPOKE = price("price_acme_2026", 990000, lookup_key="pro_acme", plan_code="pro")


async def test_a_bespoke_price_of_a_known_product_is_followed() -> None:
    """Sales makes a price in the dashboard: the subscription keeps its plan and goes on to follow Stripe."""
    listed = subscription("active", item(period=OCTOBER, quantity=40))
    bespoke = subscription("active", item(BESPOKE, OCTOBER, quantity=40))
    unpaid = subscription("unpaid", item(BESPOKE, quantity=40))
    events = (
        sent("price.created", builders.price(BESPOKE, "2026-10-28.endive"), "2026-10-01"),
        sent("customer.subscription.created", listed, "2026-10-01"),
        sent("customer.subscription.updated", bespoke, "2026-10-02", before=listed),
        sent("customer.subscription.updated", unpaid, "2026-11-21", before={**unpaid, "status": "past_due"}),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-22"), plans="pro=price_pro") as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.subscriptions["sub_1"]["status"] == "unpaid"
            assert acme.subscriptions["sub_1"]["plan_code"] == "pro"
            assert acme.access["state"] == "read_only"
            assert [(await deployment.outcome(event))[0] for event in events[1:]] == ["applied"] * 3


async def test_the_plan_among_items_that_the_event_leaves_out_blocks_no_tenant() -> None:
    """Stripe shows ten items of twelve; the plan is among the others, and access goes by status until it is fetched."""
    add_ons = [item(price(f"price_addon_{n}", 100), item_id=f"si_{n:02}") for n in range(10)]
    seen = subscription("active", *add_ons)
    seen["items"] |= {"has_more": True, "total_count": 12}
    events = (sent("customer.subscription.updated", seen, "2026-11-01"),)
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02"), plans="pro=price_pro") as deployment:
            await deployment.receive(*arrivals)
            assert (await deployment.outcome(events[0]))[0] == "applied"
            acme = await deployment.tenant()
            assert acme.access["state"] == "full"
            assert acme.subscriptions["sub_1"]["plan_code"] is None


async def test_another_product_of_the_account_is_out_of_scope() -> None:
    """A newsletter of the same company gives no access, is in no message, and disturbs no operator."""
    news = price("price_newsletter", 300, product_id="prod_news")
    newsletter = subscription("active", item(news, item_id="si_2"), subscription_id="sub_2", metadata={})
    bill = invoice(
        "paid",
        line("il_9", 300, news, subscription_id="sub_2", item_id="si_2"),
        invoice_id="in_9",
        subscription_id="sub_2",
        subscription_metadata={},
        amount_paid=300,
        paid_at=NOVEMBER.start,
    )
    events = (
        sent("customer.subscription.created", subscription(created_at=NOVEMBER.start), "2026-11-01"),
        sent("customer.subscription.created", newsletter, "2026-11-01 00:00:05"),
        sent("invoice.paid", bill, "2026-11-01 00:00:06"),
    )
    rules = (
        '[scope]\nignore = { products = ["prod_news"] }\n\n[plans.pro]\nprices = [{ role = "base", id = "price_pro" }]'
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02"), rules=rules) as deployment:
            await deployment.receive(*arrivals)
            for event in events[1:]:
                assert await deployment.outcome(event) == ("ignored", "out_of_scope")
            acme = await deployment.tenant()
            assert acme.access["state"] == "full"
            assert list(acme.subscriptions) == ["sub_1"]
            assert not acme.invoices
            assert "invoice.paid" not in acme.message_types


async def test_another_app_is_told_apart_by_the_metadata_of_its_prices() -> None:
    """Lines of invoices show no metadata: the invoice, which may come first, is its subscription's."""
    other = price("price_other", 4900, plan_code="other")
    theirs = subscription(
        "active", item(other, item_id="si_2"), subscription_id="sub_2", metadata={"tenant_id": "x-42"}
    )
    bill = invoice(
        "open", line("il_9", 4900, other), invoice_id="in_9", subscription_id="sub_2", subscription_metadata={}
    )
    events = (
        sent("customer.subscription.created", subscription(created_at=NOVEMBER.start), "2026-11-01"),
        sent("customer.subscription.created", theirs, "2026-11-01 00:00:05"),
        sent("invoice.finalized", bill, "2026-11-01 00:00:06"),
    )
    rules = '[scope]\nignore = { metadata = { plan_code = "other" } }'
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02"), plans="pro=price_pro", rules=rules) as deployment:
            await deployment.receive(*arrivals)
            assert await deployment.outcome(events[1]) == ("ignored", "out_of_scope")
            acme = await deployment.tenant()
            assert acme.access["state"] == "full"
            assert list(acme.subscriptions) == ["sub_1"]
            assert not acme.invoices


async def test_a_subscription_that_moves_to_another_product_is_no_longer_shown() -> None:
    """In any order of arrival: the older event does not bring it back."""
    news = price("price_newsletter", 300, product_id="prod_news")
    before = subscription("active", item(period=OCTOBER))
    after = subscription("active", item(news, OCTOBER))
    events = (
        sent("customer.subscription.created", before, "2026-10-01"),
        sent("customer.subscription.updated", after, "2026-10-02", before=before),
    )
    rules = '[scope]\nignore = { products = ["prod_news"] }'
    for arrivals in every_order(events):
        async with deployed(now=day("2026-10-03"), plans="pro=price_pro", rules=rules) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert (acme.access["state"], acme.access["reason"]) == ("blocked", "no_subscription")
            assert not acme.subscriptions


async def test_monthly_and_yearly_prices_are_one_plan() -> None:
    """The interval is no part of the plan's name."""
    yearly = price("price_yr", 120000, interval="year")
    monthly = subscription("active", item(period=OCTOBER))
    changed = subscription("active", item(yearly, Span(day("2026-10-10"), day("2027-10-10"))))
    events = (
        sent("customer.subscription.created", monthly, "2026-10-01"),
        sent("customer.subscription.updated", changed, "2026-10-10", before=monthly),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-01"), plans="pro=price_pro,pro=price_yr") as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.subscriptions["sub_1"]["plan_code"] == "pro"
            assert acme.subscriptions["sub_1"]["price_id"] == "price_yr"


RULES: Final = """\
[plans.pro]
prices = [{ id = "price_pro" }, { id = "price_api", role = "metered", feature = "calls" }]
match = { products = ["prod_app"] }

[plans.team]
match = { lookup_keys = ["team_*"], metadata = { tier = "team" } }

[plans.support]
grants_access = false
prices = [{ lookup_key = "support_monthly" }]

[access]
unmapped_price = "read_only"
"""


@pytest.mark.parametrize(
    ("sold", "metadata", "plan_code", "access"),
    [
        (price(), {}, "pro", "full"),
        (price("price_for_acme"), {}, "pro", "full"),
        (price("price_1", product_id="prod_team", lookup_key="team_yearly"), {}, "team", "full"),
        (price("price_1", product_id="prod_team"), {"tier": "team"}, "team", "full"),
        (price("price_1", product_id="prod_team"), {"plan_code": "team"}, "team", "full"),
        (price("price_1", product_id="prod_help", lookup_key="support_monthly"), {}, "support", "blocked"),
        (price("price_1", product_id="prod_team"), {"tier": "gold"}, None, "read_only"),
    ],
    ids=["price", "product", "lookup key", "metadata", "code in metadata", "add-on", "none"],
)
async def test_a_plan_is_what_the_file_says(
    sold: Price, metadata: Mapping[str, str], plan_code: str | None, access: str
) -> None:
    """By price, product, lookup key or metadata; access follows from the plan."""
    seen = subscription("active", item(sold))
    seen["items"]["data"][0]["price"]["metadata"] = metadata
    events = (sent("customer.subscription.created", seen, "2026-11-01"),)
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02"), rules=RULES) as deployment:
            await deployment.receive(*arrivals)
            acme = await deployment.tenant()
            assert acme.subscriptions["sub_1"]["plan_code"] == plan_code
            assert acme.access["state"] == access


async def test_a_metered_price_bills_the_feature_that_the_file_names() -> None:
    """Not its own lookup key."""
    both = subscription("active", item(), item(CALLS))
    async with deployed(now=day("2026-11-02"), rules=RULES) as deployment:
        await deployment.receive(sent("customer.subscription.created", both, "2026-11-01"))
        items = (await deployment.tenant()).subscriptions["sub_1"]["items"]
        assert [each["feature_key"] for each in items if each["usage_type"] == "metered"] == ["calls"]
