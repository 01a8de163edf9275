"""The tenants of objects."""

import pytest
from tests.histories.deployment import deployed, every_order
from tests.histories.stripe import ACME, OCTOBER, Span, checkout, day, invoice, item, line, sent, subscription

from billing_core.model import CustomerId, TenantId

SHARED_PAYER = '[tenants]\nlink = "subscription"\n'


async def test_one_payer_can_have_two_tenants() -> None:
    """One customer, two subscriptions, each with a tenant in its own metadata."""
    events = tuple(
        sent(
            "customer.subscription.created",
            subscription("active", subscription_id=subscription_id, metadata={"tenant_id": tenant_id}),
            "2026-11-01",
        )
        for subscription_id, tenant_id in (("sub_1", "org_a"), ("sub_2", "org_b"))
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02"), rules=SHARED_PAYER) as deployment:
            await deployment.receive(*arrivals)
            for tenant_id, subscription_id in (("org_a", "sub_1"), ("org_b", "sub_2")):
                tenant = await deployment.tenant(tenant_id)
                assert tenant.access["state"] == "full"
                assert list(tenant.subscriptions) == [subscription_id]


async def test_an_order_number_is_no_tenant() -> None:
    """`client_reference_id` of a one-off payment is anything the shop likes."""
    month = Span(day("2026-10-02"), day("2026-11-02"))
    book = checkout("cs_1", client_reference_id="order_4711", changes={"mode": "payment"})
    plan = checkout("cs_2", subscription_id="sub_1", metadata=ACME)
    events = (
        sent("checkout.session.completed", book, OCTOBER.start),
        sent("checkout.session.completed", plan, "2026-10-02"),
        sent("customer.subscription.created", subscription("active", item(period=month)), "2026-10-02"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-10-03")) as deployment:
            await deployment.receive(*arrivals)
            assert (await deployment.outcome(events[2]))[0] == "applied"
            acme = await deployment.tenant()
            assert acme.access["state"] == "full"
            assert acme.subscriptions["sub_1"]["status"] == "active"
            assert not (await deployment.tenant("order_4711")).messages


@pytest.mark.parametrize("typo", [" acme", "acme ", "\u200bacme", "ac\nme", "   "])
async def test_a_tenant_id_with_a_blank_links_nothing_and_can_be_corrected(typo: str) -> None:
    """The correction a minute later counts; the event with the typo waits for it and is then applied, too."""
    wrong = subscription(metadata={"tenant_id": typo})
    events = (
        sent("customer.subscription.created", wrong, "2026-11-01"),
        sent("customer.subscription.updated", subscription(), "2026-11-01 00:01", before=wrong),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02")) as deployment:
            await deployment.receive(*arrivals)
            assert [(await deployment.outcome(event))[0] for event in events] == ["applied"] * 2
            acme = await deployment.tenant()
            assert acme.access["state"] == "full"
            assert acme.subscriptions["sub_1"]["status"] == "active"


async def test_an_event_whose_hint_cannot_be_a_tenant_id_waits_visibly() -> None:
    """Without a correction no tenant gets the subscription."""
    event = sent("customer.subscription.created", subscription(metadata={"tenant_id": " acme"}), "2026-11-01")
    async with deployed(now=day("2026-11-02")) as deployment:
        await deployment.receive(event)
        assert (await deployment.outcome(event))[0] == "parked"
        assert not (await deployment.tenant("acme")).subscriptions


async def test_an_invoice_before_its_subscription_goes_to_the_tenant_that_the_subscription_names() -> None:
    """One payer of two tenants: the invoice of the second one carries the metadata of its subscription."""
    bill = invoice(
        "open",
        line(subscription_id="sub_2"),
        subscription_id="sub_2",
        subscription_metadata={"tenant_id": "org_b"},
    )
    first, second = (
        subscription("active", subscription_id=subscription_id, metadata={"tenant_id": tenant_id})
        for subscription_id, tenant_id in (("sub_1", "org_a"), ("sub_2", "org_b"))
    )
    events = (
        sent("customer.subscription.created", first, "2026-11-01"),
        sent("customer.subscription.created", second, "2026-11-01 00:01"),
        sent("invoice.finalized", bill, "2026-11-01 00:01"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02"), rules=SHARED_PAYER) as deployment:
            await deployment.receive(*arrivals)
            assert (await deployment.tenant("org_b")).owed == ["in_1"]
            assert not (await deployment.tenant("org_a")).invoices


@pytest.mark.parametrize("mode", ["subscription", "setup"])
async def test_the_reference_of_a_checkout_that_keeps_a_customer_is_its_tenant(mode: str) -> None:
    """A session that subscribes, or that saves a payment method, is about the customer."""
    session = checkout("cs_1", client_reference_id="acme", changes={"mode": mode})
    events = (
        sent("checkout.session.completed", session, "2026-10-01"),
        sent("customer.subscription.created", subscription(metadata={}), "2026-11-01"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02")) as deployment:
            await deployment.receive(*arrivals)
            assert (await deployment.tenant()).access["state"] == "full"


async def test_a_payment_beside_a_subscription_does_not_move_it() -> None:
    """The order number arrives after the link: neither the link nor the access of the tenant changes."""
    order = checkout("cs_9", client_reference_id="order_4712", changes={"mode": "payment"})
    events = (
        sent("customer.subscription.created", subscription(), "2026-11-01"),
        sent("checkout.session.completed", order, "2026-11-02"),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-03")) as deployment:
            await deployment.receive(*arrivals)
            assert (await deployment.outcome(events[1]))[0] != "dead"
            assert (await deployment.tenant()).access["state"] == "full"


async def test_a_form_of_tenant_ids_keeps_other_texts_out() -> None:
    """A cart number does not look like the UUIDs of this team, so the correction still links the customer."""
    right = "6f1d3c1e-0b7a-4c52-9b52-0a6d4f2f7a11"
    wrong, corrected = (subscription(metadata={"tenant_id": hint}) for hint in ("cart-17", right))
    events = (
        sent("customer.subscription.created", wrong, "2026-11-01"),
        sent("customer.subscription.updated", corrected, "2026-11-01 00:01", before=wrong),
    )
    rules = '[tenants]\nid_pattern = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"\n'
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-02"), rules=rules) as deployment:
            await deployment.receive(*arrivals)
            assert (await deployment.tenant(right)).access["state"] == "full"
            assert not (await deployment.tenant("cart-17")).subscriptions


@pytest.mark.parametrize("position", [0, 1, 2, 3])
@pytest.mark.parametrize("decided", ["moved", "unlinked and linked"])
async def test_a_pasted_wrong_tenant_can_be_corrected_whenever_it_is_noticed(decided: str, position: int) -> None:
    """Everything is the right tenant's, although Stripe goes on naming the wrong one; that one is left with nothing."""
    month = Span(day("2026-10-02"), day("2026-11-02"))
    first = subscription("active", item(period=month))
    events = (
        sent("customer.subscription.created", first, "2026-10-02"),
        sent("invoice.paid", invoice("paid", line(), subscription_metadata={"tenant_id": "acme"}), "2026-10-02 00:01"),
        sent("customer.subscription.updated", subscription("past_due", item(period=month)), "2026-11-02", before=first),
    )
    for arrivals in every_order(events):
        async with deployed(now=day("2026-11-03")) as deployment:
            await deployment.receive(*arrivals[:position])
            service = deployment.container.service()
            if decided == "moved":
                await service.move("cus_1", TenantId("globex"), actor="zoë", reason="a pasted id")
            else:
                await service.unlink("cus_1", TenantId("acme"), actor="zoë", reason="a pasted id")
                await deployment.work()
                await service.link(CustomerId("cus_1"), TenantId("globex"), actor="zoë")
            await deployment.work()
            await deployment.receive(*arrivals[position:])
            right, wrong = await deployment.tenant("globex"), await deployment.tenant("acme")
            assert right.subscriptions["sub_1"]["status"] == "past_due"
            assert list(right.invoices) == ["in_1"]
            assert (wrong.subscriptions, wrong.invoices, wrong.usage) == ({}, {}, {})
            assert {(await deployment.outcome(event))[0] for event in events} == {"applied"}
            assert not any(message["subscription"] or message["invoice"] for message in wrong.messages)
            assert [message["sequence"] for message in wrong.messages] == list(range(1, len(wrong.messages) + 1))


async def test_one_of_two_subscriptions_of_a_payer_can_be_moved() -> None:
    """Each names its own tenant; the metadata of the moved one is outdated from then on."""
    named = [
        subscription("active", subscription_id=subscription_id, metadata={"tenant_id": tenant_id})
        for subscription_id, tenant_id in (("sub_1", "org_a"), ("sub_2", "org_a"))
    ]
    late = subscription("past_due", subscription_id="sub_2", metadata={"tenant_id": "org_a"})
    async with deployed(now=day("2026-11-03"), rules=SHARED_PAYER) as deployment:
        await deployment.receive(*(sent("customer.subscription.created", each, "2026-11-01") for each in named))
        await deployment.container.service().move("sub_2", TenantId("org_b"), actor="zoë", reason="a pasted id")
        await deployment.receive(sent("customer.subscription.updated", late, "2026-11-02", before=named[1]))
        first, second = await deployment.tenant("org_a"), await deployment.tenant("org_b")
        assert {id_: seen["status"] for id_, seen in first.subscriptions.items()} == {"sub_1": "active"}
        assert {id_: seen["status"] for id_, seen in second.subscriptions.items()} == {"sub_2": "past_due"}
        assert first.message_types == ["subscription.created", "withdrawn", "subscription.unlinked"]
        assert second.message_types[:2] == ["subscription.linked", "subscription.past_due"]
