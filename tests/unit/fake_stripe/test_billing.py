"""The fake Stripe's billing: starts, changes, ends, payments and previews of subscriptions, as the SDK sees them."""

from datetime import timedelta
from typing import Any

import aiohttp
import pytest
import stripe
from tests.unit.fake_stripe.conftest import CALLS, JANUARY, PRO, SEAT, TEAM, YEARLY, Shop

from billing_stripe.testing import API_VERSIONS, objects
from billing_stripe.testing.fake_stripe import BillingSettings, Clock, FakeStripe, fake_stripe
from billing_stripe.testing.fake_stripe.billing.usage import read_usage_with

FEBRUARY = JANUARY.replace(month=2)
MARCH = JANUARY.replace(month=3)


def items_of(subscription: Any) -> dict[str, int | None]:
    """Return the quantity of each price."""
    return {item.price.id: getattr(item, "quantity", None) for item in subscription["items"].data}


def item_id(subscription: Any, position: int = 0) -> str:
    found: str = subscription["items"].data[position].id
    return found


# --- start ------------------------------------------------------------------------------------------------------


async def test_a_card_on_file_starts_a_subscription_at_once(shop: Shop) -> None:
    """With one paid invoice for the first period, and the events about all of it."""
    customer = await shop.customer()
    shop.forget_events()
    subscription = await shop.subscribe(customer.id, metadata={"tenant_id": "acme"})
    assert subscription.status == "active"
    (invoice,) = await shop.invoices(subscription.id)
    assert (invoice.status, invoice.total, invoice.billing_reason) == ("paid", 2000, "subscription_create")
    assert invoice.parent.subscription_details.metadata.to_dict() == {"tenant_id": "acme"}
    assert subscription.latest_invoice == invoice.id
    assert shop.events("customer.subscription", "invoice.") == [
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]
    assert {entry.cause.request_id for entry in shop.fake.account.journal.entries} != {None}


async def test_a_subscription_waits_for_the_browser(shop: Shop) -> None:
    """`default_incomplete` charges nothing; the client secret of the invoice pays it."""
    customer = await shop.customer(card=None)
    expand = ["latest_invoice.confirmation_secret"]
    subscription = await shop.subscribe(customer.id, payment_behavior="default_incomplete", expand=expand)
    secret = subscription.latest_invoice.confirmation_secret.client_secret
    assert subscription.status == "incomplete"
    intent_id = secret.partition("_secret_")[0]
    await shop.api.payment_intents.confirm_async(intent_id, {"payment_method": "pm_card_visa"})
    assert (await shop.subscription(subscription.id)).status == "active"
    assert shop.events("customer.subscription")[-1] == "customer.subscription.updated"


async def test_a_payment_that_never_comes_ends_it(shop: Shop) -> None:
    """After 23 hours, with an update rather than a deletion; its invoice is void."""
    customer = await shop.customer(card=None)
    subscription = await shop.subscribe(customer.id, payment_behavior="default_incomplete")
    shop.fake.advance(timedelta(hours=23))
    assert (await shop.subscription(subscription.id)).status == "incomplete_expired"
    (invoice,) = await shop.invoices(subscription.id)
    assert invoice.status == "void"
    assert "customer.subscription.deleted" not in shop.events()


async def test_a_declined_card_leaves_it_incomplete_or_makes_nothing(shop: Shop) -> None:
    """By the payment behavior."""
    customer = await shop.customer("pm_card_chargeCustomerFail")
    subscription = await shop.subscribe(customer.id)
    assert subscription.status == "incomplete"
    (invoice,) = await shop.invoices(subscription.id)
    assert (invoice.status, invoice.attempt_count) == ("open", 1)
    with pytest.raises(stripe.CardError) as raised:
        await shop.subscribe(customer.id, TEAM, payment_behavior="error_if_incomplete")
    assert (raised.value.code, raised.value.http_status) == ("card_declined", 402)
    listed = await shop.api.subscriptions.list_async({"customer": customer.id, "status": "all"})
    assert [each.id for each in listed.data] == [subscription.id]
    assert len(await shop.invoices(subscription.id)) == 1


async def test_a_card_that_asks_for_its_owner_leaves_it_incomplete(shop: Shop, fake: FakeStripe) -> None:
    """Until the owner has authenticated the payment."""
    customer = await shop.customer("pm_card_authenticationRequired")
    subscription = await shop.subscribe(customer.id, expand=["latest_invoice.payments"])
    assert subscription.status == "incomplete"
    assert "invoice.payment_action_required" in shop.events()
    (payment,) = subscription.latest_invoice.payments.data
    fake.authenticate(payment.payment.payment_intent)
    assert (await shop.subscription(subscription.id)).status == "active"


async def test_without_a_payment_method_there_is_nothing_to_charge(shop: Shop) -> None:
    """Stripe refuses it, unless the payment may come later."""
    customer = await shop.customer(card=None)
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        await shop.subscribe(customer.id)


async def test_a_trial_costs_nothing_until_it_ends(shop: Shop) -> None:
    """It is announced three days before; the first paid period begins with its end."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id, trial_period_days=14)
    trial_end = JANUARY + timedelta(days=14)
    assert (subscription.status, subscription.trial_end) == ("trialing", int(trial_end.timestamp()))
    (invoice,) = await shop.invoices(subscription.id)
    assert (invoice.status, invoice.total) == ("paid", 0)
    shop.forget_events()
    shop.fake.advance(timedelta(days=11))
    assert shop.events() == ["customer.subscription.trial_will_end"]
    shop.fake.advance(timedelta(days=3, hours=1))
    subscription = await shop.subscription(subscription.id)
    assert subscription.status == "active"
    assert subscription["items"].data[0].current_period_start == int(trial_end.timestamp())
    assert [each.total for each in await shop.invoices(subscription.id)] == [2000, 0]


@pytest.mark.parametrize(
    ("behavior", "status", "event"),
    [
        ("pause", "paused", "customer.subscription.paused"),
        ("cancel", "canceled", "customer.subscription.deleted"),
        ("create_invoice", "past_due", "invoice.payment_failed"),
    ],
)
async def test_a_trial_without_a_payment_method_ends_as_its_settings_say(
    behavior: str, status: str, event: str, shop: Shop
) -> None:
    """All three ways."""
    customer = await shop.customer(card=None)
    settings = {"end_behavior": {"missing_payment_method": behavior}}
    subscription = await shop.subscribe(customer.id, trial_period_days=7, trial_settings=settings)
    shop.fake.advance(timedelta(days=7, hours=1))
    assert (await shop.subscription(subscription.id)).status == status
    assert event in shop.events()


# --- the item rules ---------------------------------------------------------------------------------------------


async def test_another_price_resets_the_quantity(shop: Shop) -> None:
    """A plan change of a team of 25 bills one seat, unless the quantity is sent again."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    item: Any = {"id": item_id(subscription), "quantity": 25}
    subscription = await shop.api.subscriptions.update_async(subscription.id, {"items": [item]})
    assert items_of(subscription) == {"price_pro": 25}
    item = {"id": item_id(subscription), "price": "price_team"}
    subscription = await shop.api.subscriptions.update_async(subscription.id, {"items": [item]})
    assert items_of(subscription) == {"price_team": 1}
    item = {"id": item_id(subscription), "price": "price_pro", "quantity": 25}
    subscription = await shop.api.subscriptions.update_async(subscription.id, {"items": [item]})
    assert items_of(subscription) == {"price_pro": 25}


async def test_an_item_without_an_id_is_a_new_one(shop: Shop) -> None:
    """The old price keeps running beside it."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    changed = await shop.api.subscriptions.update_async(subscription.id, {"items": [{"price": "price_team"}]})
    assert items_of(changed) == {"price_pro": 1, "price_team": 1}
    with pytest.raises(stripe.InvalidRequestError, match="Cannot add multiple subscription items"):
        await shop.api.subscriptions.update_async(subscription.id, {"items": [{"price": "price_team"}]})


async def test_an_item_goes_only_if_it_is_deleted(shop: Shop) -> None:
    """The last one cannot go, and an unknown one is refused."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id, PRO, SEAT, CALLS)
    gone: Any = {"id": item_id(subscription, 1), "deleted": True}
    changed = await shop.api.subscriptions.update_async(subscription.id, {"items": [gone]})
    assert items_of(changed) == {"price_pro": 1, "price_calls": None}
    rest: Any = [{"id": item.id, "deleted": True} for item in changed["items"].data]
    with pytest.raises(stripe.InvalidRequestError, match="at least one"):
        await shop.api.subscriptions.update_async(subscription.id, {"items": rest})
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription_item"):
        await shop.api.subscriptions.update_async(subscription.id, {"items": [{"id": "si_other", "quantity": 2}]})


# --- prorations and previews ------------------------------------------------------------------------------------


async def test_a_preview_says_what_the_change_costs(shop: Shop) -> None:
    """With the same proration date the invoice has the previewed amount, later too."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    shop.fake.advance(timedelta(days=10))
    at = int((JANUARY + timedelta(days=10)).timestamp())
    item: Any = {"id": item_id(subscription), "price": "price_team", "quantity": 3}
    change: Any = {"items": [item], "proration_behavior": "always_invoice", "proration_date": at}
    preview = await shop.api.invoices.create_preview_async(
        {"subscription": subscription.id, "subscription_details": change}
    )
    share = 21 / 31
    assert [line.amount for line in preview.lines.data] == [-round(2000 * share), round(15000 * share)]
    assert len(await shop.invoices(subscription.id)) == 1
    shop.fake.advance(timedelta(days=1))
    changed = await shop.api.subscriptions.update_async(subscription.id, change)
    invoice = (await shop.invoices(subscription.id))[0]
    assert (invoice.total, invoice.status, invoice.billing_reason) == (preview.total, "paid", "subscription_update")
    assert changed.latest_invoice == invoice.id
    assert items_of(changed) == {"price_team": 3}


async def test_prorations_wait_for_the_next_invoice(shop: Shop) -> None:
    """By default, and the next invoice of a preview contains them."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    shop.fake.advance(timedelta(days=10))
    item: Any = {"id": item_id(subscription), "price": "price_team", "quantity": 1}
    preview = await shop.api.invoices.create_preview_async(
        {"subscription": subscription.id, "subscription_details": {"items": [item]}}
    )
    await shop.api.subscriptions.update_async(subscription.id, {"items": [item]})
    assert len(await shop.invoices(subscription.id)) == 1
    shop.fake.advance(timedelta(days=22))
    renewal = (await shop.invoices(subscription.id))[0]
    assert renewal.total == preview.total
    assert [line.amount for line in renewal.lines.data] == [line.amount for line in preview.lines.data]
    assert len(renewal.lines.data) == 3


async def test_another_interval_begins_a_new_period(shop: Shop) -> None:
    """It is invoiced at once, less what is unused of the old one."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    shop.fake.advance(timedelta(days=10))
    item: Any = {"id": item_id(subscription), "price": YEARLY.price_id, "quantity": 1}
    changed = await shop.api.subscriptions.update_async(subscription.id, {"items": [item]})
    now = JANUARY + timedelta(days=10)
    period = changed["items"].data[0]
    assert period.current_period_start == changed.billing_cycle_anchor == int(now.timestamp())
    assert period.current_period_end == int(now.replace(year=2027).timestamp())
    invoice = (await shop.invoices(subscription.id))[0]
    assert (invoice.status, invoice.total) == ("paid", 20000 - round(2000 * 21 / 31))


async def test_a_downgrade_leaves_credit_for_later_invoices(shop: Shop) -> None:
    """Nothing is paid back; the customer's balance covers a part of the next invoice."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id, TEAM)
    item: Any = {"id": item_id(subscription), "price": "price_pro", "quantity": 1}
    await shop.api.subscriptions.update_async(
        subscription.id, {"items": [item], "proration_behavior": "always_invoice"}
    )
    credit = (await shop.invoices(subscription.id))[0]
    assert (credit.status, credit.total, credit.amount_due) == ("paid", -3000, 0)
    assert (await shop.api.customers.retrieve_async(customer.id)).balance == -3000
    shop.fake.advance(timedelta(days=32))
    renewal = (await shop.invoices(subscription.id))[0]
    assert (renewal.total, renewal.amount_due, renewal.status) == (2000, 0, "paid")
    assert (await shop.api.customers.retrieve_async(customer.id)).balance == -1000


# --- changes that have to be paid -------------------------------------------------------------------------------

UPGRADE: dict[str, Any] = {"proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"}


async def test_an_upgrade_that_is_not_paid_waits(shop: Shop) -> None:
    """Items stay; once the invoice is paid the change takes effect."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    await shop.use_card(customer.id, "pm_card_chargeCustomerFail")
    item: Any = {"id": item_id(subscription), "price": "price_team", "quantity": 2}
    waiting = await shop.api.subscriptions.update_async(subscription.id, {"items": [item], **UPGRADE})
    assert items_of(waiting) == {"price_pro": 1}
    assert (waiting.status, waiting.pending_update.subscription_items[0].quantity) == ("active", 2)
    method = await shop.use_card(customer.id, "pm_card_visa")
    await shop.api.invoices.pay_async(waiting.latest_invoice, {"payment_method": method})
    applied = await shop.subscription(subscription.id)
    assert items_of(applied) == {"price_team": 2}
    assert applied.pending_update is None
    assert "customer.subscription.pending_update_applied" in shop.events()


async def test_an_upgrade_that_is_never_paid_is_withdrawn(shop: Shop) -> None:
    """After 23 hours; its invoice is void and the subscription as before."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    await shop.use_card(customer.id, "pm_card_chargeCustomerFail")
    item: Any = {"id": item_id(subscription), "price": "price_team", "quantity": 2}
    waiting = await shop.api.subscriptions.update_async(subscription.id, {"items": [item], **UPGRADE})
    shop.fake.advance(timedelta(hours=23))
    expired = await shop.subscription(subscription.id)
    assert (expired.status, expired.pending_update, items_of(expired)) == ("active", None, {"price_pro": 1})
    assert (await shop.api.invoices.retrieve_async(waiting.latest_invoice)).status == "void"
    assert "customer.subscription.pending_update_expired" in shop.events()


async def test_an_upgrade_that_is_paid_takes_effect_at_once(shop: Shop) -> None:
    """Nothing is pending then."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    item: Any = {"id": item_id(subscription), "price": "price_team", "quantity": 2}
    changed = await shop.api.subscriptions.update_async(subscription.id, {"items": [item], **UPGRADE})
    assert items_of(changed) == {"price_team": 2}
    assert changed.pending_update is None


async def test_a_change_that_demands_its_payment_makes_nothing_without_it(shop: Shop) -> None:
    """`error_if_incomplete` answers 402, and the key keeps that answer."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    await shop.use_card(customer.id, "pm_card_chargeCustomerFail")
    shop.forget_events()
    item: Any = {"id": item_id(subscription), "price": "price_team", "quantity": 2}
    demand: Any = {"items": [item], "proration_behavior": "always_invoice", "payment_behavior": "error_if_incomplete"}
    for _ in range(2):
        with pytest.raises(stripe.CardError) as raised:
            await shop.api.subscriptions.update_async(subscription.id, demand, {"idempotency_key": "k1"})
    assert raised.value.headers is not None
    assert raised.value.headers["Idempotent-Replayed"] == "true"
    assert items_of(await shop.subscription(subscription.id)) == {"price_pro": 1}
    assert shop.events() == []


async def test_what_cannot_wait_is_refused(shop: Shop) -> None:
    """Only some parameters go with `pending_if_incomplete`."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    params: Any = {"payment_behavior": "pending_if_incomplete", "description": "x"}
    with pytest.raises(stripe.InvalidRequestError, match="not supported") as raised:
        await shop.api.subscriptions.update_async(subscription.id, params)
    assert raised.value.param == "description"


# --- ends -------------------------------------------------------------------------------------------------------


async def test_a_scheduled_end_can_be_withdrawn(shop: Shop) -> None:
    """Reason and feedback are kept; clearing either form withdraws it."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    details: Any = {"comment": "Too slow", "feedback": "low_quality"}
    params: Any = {"cancel_at_period_end": True, "cancellation_details": details}
    ending = await shop.api.subscriptions.update_async(subscription.id, params)
    assert (ending.cancel_at_period_end, ending.cancel_at) == (True, int(FEBRUARY.timestamp()))
    assert ending.cancellation_details.to_dict() == {**details, "reason": "cancellation_requested"}
    kept = await shop.api.subscriptions.update_async(subscription.id, {"cancel_at": ""})
    assert (kept.cancel_at_period_end, kept.cancel_at, kept.canceled_at) == (False, None, None)
    shop.fake.advance(timedelta(days=32))
    assert (await shop.subscription(subscription.id)).status == "active"


async def test_it_ends_with_its_period(shop: Shop) -> None:
    """Without a renewal, and with the event about its end."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    await shop.api.subscriptions.update_async(subscription.id, {"cancel_at": "max_period_end"})
    shop.forget_events()
    shop.fake.advance(timedelta(days=40))
    ended = await shop.subscription(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", int(FEBRUARY.timestamp()))
    assert shop.events() == ["customer.subscription.deleted"]
    assert len(await shop.invoices(subscription.id)) == 1


async def test_it_can_end_at_once(shop: Shop) -> None:
    """With credit for unused time if that is asked for; it cannot be changed or ended again."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    params: Any = {"prorate": True, "invoice_now": True, "cancellation_details": {"feedback": "unused"}}
    ended = await shop.api.subscriptions.cancel_async(subscription.id, params)
    assert (ended.status, ended.cancellation_details.feedback) == ("canceled", "unused")
    assert (await shop.invoices(subscription.id))[0].total == -2000
    with pytest.raises(stripe.InvalidRequestError):
        await shop.api.subscriptions.cancel_async(subscription.id)
    with pytest.raises(stripe.InvalidRequestError):
        await shop.api.subscriptions.update_async(subscription.id, {"description": "x"})
    await shop.api.subscriptions.update_async(subscription.id, {"metadata": {"reason": "x"}})


# --- pauses -----------------------------------------------------------------------------------------------------


async def test_a_pause_stops_periods_and_a_resumption_begins_one(shop: Shop) -> None:
    """Unused time is credited to the next invoice, that of the resumption."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    shop.fake.advance(timedelta(days=10))
    paused = await shop.api.subscriptions.pause_async(subscription.id)
    assert paused.status == "paused"
    assert paused["items"].data[0].current_period_end == int((JANUARY + timedelta(days=10)).timestamp())
    shop.fake.advance(timedelta(days=60))
    assert len(await shop.invoices(subscription.id)) == 1
    resumed = await shop.api.subscriptions.resume_async(subscription.id, {"billing_cycle_anchor": {"type": "now"}})
    now = JANUARY + timedelta(days=70)
    assert (resumed.status, resumed.billing_cycle_anchor) == ("active", int(now.timestamp()))
    invoice = (await shop.invoices(subscription.id))[0]
    assert (invoice.status, invoice.total) == ("paid", 2000 - round(2000 * 21 / 31))
    assert shop.events("customer.subscription")[-3:].count("customer.subscription.resumed") == 1


async def test_usage_before_a_pause_is_billed_with_it(shop: Shop) -> None:
    """Or not, if that is asked for; later usage is not billed until the resumption."""
    read_usage_with(shop.fake.account, lambda account, customer_id, price, period: 100)
    customer = await shop.customer()
    first = await shop.subscribe(customer.id, PRO, CALLS)
    shop.fake.advance(timedelta(days=10))
    params: Any = {"bill_for": {"unused_time_from": {"type": "none"}}, "invoicing_behavior": "invoice"}
    await shop.api.subscriptions.pause_async(first.id, params)
    assert [invoice.total for invoice in await shop.invoices(first.id)] == [500, 2000]
    second = await shop.subscribe(customer.id, TEAM, CALLS)
    params["bill_for"]["outstanding_usage_through"] = {"type": "none"}
    await shop.api.subscriptions.pause_async(second.id, params)
    assert [invoice.total for invoice in await shop.invoices(second.id)] == [5000]


async def test_metered_usage_is_billed_in_arrears(shop: Shop) -> None:
    """For the period that has ended, beside the next period of the plan; the last one with the end."""
    read_usage_with(shop.fake.account, lambda account, customer_id, price, period: period.start.day * 10)
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id, PRO, CALLS)
    shop.fake.advance(timedelta(days=32))
    renewal = (await shop.invoices(subscription.id))[0]
    usage, plan = renewal.lines.data
    assert (usage.quantity, usage.amount, usage.period.start) == (10, 50, int(JANUARY.timestamp()))
    assert (plan.amount, plan.period.start) == (2000, int(FEBRUARY.timestamp()))
    await shop.api.subscriptions.update_async(subscription.id, {"cancel_at_period_end": True})
    shop.fake.advance(timedelta(days=28))
    assert (await shop.subscription(subscription.id)).status == "canceled"
    assert (await shop.invoices(subscription.id))[0].total == 50


async def test_a_resumption_may_depend_on_its_payment(shop: Shop) -> None:
    """It stays paused until then."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    await shop.api.subscriptions.pause_async(subscription.id, {"bill_for": {"unused_time_from": {"type": "none"}}})
    await shop.use_card(customer.id, "pm_card_chargeCustomerFail")
    shop.fake.advance(timedelta(days=40))
    params: Any = {"payment_behavior": "resume_on_payment_success"}
    waiting = await shop.api.subscriptions.resume_async(subscription.id, params)
    assert waiting.status == "paused"
    method = await shop.use_card(customer.id, "pm_card_visa")
    await shop.api.invoices.pay_async(waiting.latest_invoice, {"payment_method": method})
    assert (await shop.subscription(subscription.id)).status == "active"
    assert "customer.subscription.resumed" in shop.events()


async def test_classic_subscriptions_cannot_be_paused(shop: Shop) -> None:
    """Only flexible ones, which are the default of this version."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id, billing_mode={"type": "classic"})
    assert subscription.billing_mode.type == "classic"
    with pytest.raises(stripe.InvalidRequestError, match="flexible"):
        await shop.api.subscriptions.pause_async(subscription.id)


@pytest.mark.parametrize(
    ("behavior", "status"), [("keep_as_draft", "draft"), ("void", "void"), ("mark_uncollectible", "uncollectible")]
)
async def test_a_pause_of_collection_leaves_the_status(behavior: str, status: str, shop: Shop) -> None:
    """Invoices go on, without payments, until it is over."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    pause: Any = {"behavior": behavior, "resumes_at": int(MARCH.timestamp()) - 60}
    await shop.api.subscriptions.update_async(subscription.id, {"pause_collection": pause})
    shop.fake.advance(timedelta(days=32))
    paused = await shop.subscription(subscription.id)
    assert (paused.status, paused.pause_collection.behavior) == ("active", behavior)
    assert (await shop.invoices(subscription.id))[0].status == status
    shop.fake.advance(timedelta(days=31))
    assert (await shop.subscription(subscription.id)).pause_collection is None
    assert (await shop.invoices(subscription.id))[0].status == "paid"


# --- payments ---------------------------------------------------------------------------------------------------


async def test_a_renewal_is_tried_again_and_given_up(shop: Shop, fake: FakeStripe) -> None:
    """Past due at first; with the last attempt the subscription ends for the payment."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    await shop.use_card(customer.id, "pm_card_chargeCustomerFail")
    fake.advance(timedelta(days=31, hours=2))
    assert (await shop.subscription(subscription.id)).status == "past_due"
    assert (await shop.api.customers.retrieve_async(customer.id)).delinquent
    invoice = (await shop.invoices(subscription.id))[0]
    assert (invoice.attempt_count, invoice.next_payment_attempt) == (
        1,
        int((FEBRUARY + timedelta(hours=1, days=3)).timestamp()),
    )
    fake.advance(timedelta(days=15))
    ended = await shop.subscription(subscription.id)
    assert (ended.status, ended.cancellation_details.reason) == ("canceled", "payment_failed")
    assert (await shop.invoices(subscription.id))[0].attempt_count == 4
    assert shop.events("invoice.payment_failed") == ["invoice.payment_failed"] * 4


async def test_a_retry_with_another_card_pays_it(shop: Shop) -> None:
    """The subscription is active again, and paying once more is an error of its own."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    await shop.use_card(customer.id, "pm_card_chargeCustomerFail")
    shop.fake.advance(timedelta(days=31, hours=2))
    invoice = (await shop.invoices(subscription.id))[0]
    with pytest.raises(stripe.CardError) as declined:
        await shop.api.invoices.pay_async(invoice.id)
    assert declined.value.error is not None
    assert declined.value.error.decline_code == "generic_decline"
    assert (await shop.api.invoices.retrieve_async(invoice.id)).attempt_count == 2
    await shop.use_card(customer.id, "pm_card_visa")
    assert (await shop.api.invoices.pay_async(invoice.id)).status == "paid"
    assert (await shop.subscription(subscription.id)).status == "active"
    assert not (await shop.api.customers.retrieve_async(customer.id)).delinquent
    with pytest.raises(stripe.InvalidRequestError) as raised:
        await shop.api.invoices.pay_async(invoice.id)
    assert raised.value.code == "invoice_already_paid"
    payments = await shop.api.invoice_payments.list_async({"invoice": invoice.id})
    assert [(payment.status, payment.amount_paid) for payment in payments.data] == [("paid", 2000)]


async def test_an_invoice_by_mail_is_due_later(shop: Shop) -> None:
    """The subscription is active at once, and past due once the invoice is overdue."""
    customer = await shop.customer(card=None)
    subscription = await shop.subscribe(customer.id, collection_method="send_invoice", days_until_due=14)
    assert subscription.status == "active"
    shop.fake.advance(timedelta(hours=1))
    (invoice,) = await shop.invoices(subscription.id)
    due_at = JANUARY + timedelta(hours=1, days=14)
    assert (invoice.status, invoice.due_date) == ("open", int(due_at.timestamp()))
    assert "invoice.sent" in shop.events()
    shop.fake.advance(timedelta(days=14))
    assert (await shop.subscription(subscription.id)).status == "past_due"
    assert "invoice.overdue" in shop.events()
    await shop.api.invoices.pay_async(invoice.id, {"paid_out_of_band": True})
    assert (await shop.subscription(subscription.id)).status == "active"


async def test_open_invoices_can_be_ended_otherwise(shop: Shop) -> None:
    """Voided or written off; neither can be finalized again."""
    customer = await shop.customer("pm_card_chargeCustomerFail")
    first = await shop.subscribe(customer.id)
    voided = await shop.api.invoices.void_invoice_async(first.latest_invoice)
    assert voided.status == "void"
    second = await shop.subscribe(customer.id, TEAM)
    written_off = await shop.api.invoices.mark_uncollectible_async(second.latest_invoice)
    assert written_off.status == "uncollectible"
    with pytest.raises(stripe.InvalidRequestError):
        await shop.api.invoices.finalize_invoice_async(first.latest_invoice)
    assert {"invoice.voided", "invoice.marked_uncollectible", "payment_intent.canceled"} <= set(shop.events())


async def test_a_discount_reduces_every_invoice(shop: Shop) -> None:
    """By a coupon that a promotion code names."""
    customer = await shop.customer()
    coupon = await shop.api.coupons.create_async({"percent_off": 25, "duration": "forever"})
    promotion: Any = {"type": "coupon", "coupon": coupon.id}
    code = await shop.api.promotion_codes.create_async({"promotion": promotion, "code": "NEW25"})
    discounts = [{"promotion_code": code.id}]
    subscription = await shop.subscribe(customer.id, discounts=discounts)
    shop.fake.advance(timedelta(days=32))
    assert [invoice.total for invoice in await shop.invoices(subscription.id)] == [1500, 1500]
    found = await shop.api.promotion_codes.list_async({"code": "new25"})
    assert [each.id for each in found.data] == [code.id]


# --- catalog and customers --------------------------------------------------------------------------------------


async def test_a_lookup_key_moves_from_price_to_price(shop: Shop) -> None:
    """Only if that is asked for."""
    params: Any = {
        "product": "prod_app",
        "currency": "usd",
        "unit_amount": 2500,
        "recurring": {"interval": "month"},
        "lookup_key": "pro_monthly",
    }
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        await shop.api.prices.create_async(params)
    price = await shop.api.prices.create_async({**params, "transfer_lookup_key": True})
    found = await shop.api.prices.list_async({"lookup_keys": ["pro_monthly"]})
    assert [each.id for each in found.data] == [price.id]
    assert (await shop.api.prices.retrieve_async("price_pro")).lookup_key is None


async def test_a_payment_method_that_goes_is_no_default_any_more(shop: Shop) -> None:
    """Neither the customer's nor a subscription's."""
    customer = await shop.customer()
    method = (await shop.api.payment_methods.list_async({"customer": customer.id})).data[0]
    subscription = await shop.subscribe(customer.id, default_payment_method=method.id)
    assert subscription.default_payment_method == method.id
    await shop.api.payment_methods.detach_async(method.id)
    assert (await shop.subscription(subscription.id)).default_payment_method is None
    assert (await shop.api.customers.retrieve_async(customer.id)).invoice_settings.default_payment_method is None
    with pytest.raises(stripe.CardError):
        await shop.api.payment_methods.attach_async("pm_card_chargeDeclined", {"customer": customer.id})


async def test_a_payment_method_is_set_up_for_later(shop: Shop, fake: FakeStripe) -> None:
    """A card that asks for its owner once can be charged without him afterwards."""
    customer = await shop.customer(card=None)
    intent = await shop.api.setup_intents.create_async({"customer": customer.id, "usage": "off_session"})
    params: Any = {"payment_method": "pm_card_authenticationRequiredOnSetup"}
    waiting = await shop.api.setup_intents.confirm_async(intent.id, params)
    assert waiting.status == "requires_action"
    fake.authenticate(intent.id)
    done = await shop.api.setup_intents.retrieve_async(intent.id)
    assert done.status == "succeeded"
    subscription = await shop.subscribe(customer.id, default_payment_method=done.payment_method)
    assert subscription.status == "active"


async def test_metadata_is_merged_and_cleared(shop: Shop) -> None:
    """A key is emptied by an empty text, all of them by emptying the whole."""
    customer = await shop.customer(card=None)
    update = shop.api.customers.update_async
    changed = await update(customer.id, {"metadata": {"plan": "pro", "tenant_id": ""}})
    assert changed.metadata.to_dict() == {"plan": "pro"}
    cleared = await update(customer.id, {"metadata": ""})
    assert cleared.metadata.to_dict() == {}


async def test_a_deleted_customer_takes_its_subscriptions_along(shop: Shop) -> None:
    """It can be fetched as deleted, is not listed, and cannot be used."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    assert (await shop.api.customers.delete_async(customer.id)).deleted
    assert (await shop.subscription(subscription.id)).status == "canceled"
    assert (await shop.api.customers.retrieve_async(customer.id)).deleted
    assert (await shop.api.customers.list_async()).data == []
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        await shop.subscribe(customer.id)


async def test_lists_of_subscriptions_hide_what_stripe_hides(shop: Shop) -> None:
    """Canceled ones, and those on test clocks."""
    clock = await shop.clock()
    hidden = await shop.subscribe((await shop.customer(clock=clock.id)).id)
    ended = await shop.subscribe((await shop.customer()).id)
    await shop.api.subscriptions.cancel_async(ended.id)
    shown = await shop.subscribe((await shop.customer()).id)

    async def ids(**params: Any) -> list[str]:
        return [each.id for each in (await shop.api.subscriptions.list_async(params)).data]

    assert await ids() == [shown.id]
    assert await ids(status="all") == [shown.id, ended.id]
    assert await ids(test_clock=clock.id) == [hidden.id]
    assert await ids(status="canceled") == [ended.id]


async def test_tax_ids_belong_to_a_customer(shop: Shop) -> None:
    """They are added and removed, never changed."""
    customer = await shop.customer(card=None)
    tax_id = await shop.api.customers.tax_ids.create_async(customer.id, {"type": "eu_vat", "value": "DE123456789"})
    with pytest.raises(stripe.InvalidRequestError) as raised:
        await shop.api.customers.tax_ids.create_async(customer.id, {"type": "eu_vat", "value": "123"})
    assert raised.value.code == "tax_id_invalid"
    listed = await shop.api.customers.tax_ids.list_async(customer.id)
    assert [each.value for each in listed.data] == ["DE123456789"]
    assert (await shop.api.customers.tax_ids.delete_async(customer.id, tax_id.id)).deleted
    assert (await shop.api.customers.tax_ids.list_async(customer.id)).data == []


@pytest.mark.parametrize(
    ("coupon", "totals"),
    [
        ({"percent_off": 50, "duration": "once"}, [1000, 2000, 2000]),
        ({"amount_off": 500, "currency": "usd", "duration": "repeating", "duration_in_months": 2}, [1500, 1500, 2000]),
    ],
)
async def test_a_discount_lasts_as_long_as_its_coupon(coupon: Any, totals: list[int], shop: Shop) -> None:
    """Then the subscription has none any more."""
    customer = await shop.customer()
    coupon = await shop.api.coupons.create_async(coupon)
    subscription = await shop.subscribe(customer.id, discounts=[{"coupon": coupon.id}])
    assert len(subscription.discounts) == 1
    shop.fake.advance(timedelta(days=60))
    assert [invoice.total for invoice in reversed(await shop.invoices(subscription.id))] == totals
    assert (await shop.subscription(subscription.id)).discounts == []


async def test_only_flexible_subscriptions_mix_intervals(shop: Shop) -> None:
    """A classic one is migrated first."""
    customer = await shop.customer()
    with pytest.raises(stripe.InvalidRequestError, match="same billing interval"):
        await shop.subscribe(customer.id, PRO, YEARLY, billing_mode={"type": "classic"})
    classic = await shop.subscribe(customer.id, PRO, billing_mode={"type": "classic"})
    mixed: Any = {"items": [{"price": YEARLY.price_id}]}
    with pytest.raises(stripe.InvalidRequestError, match="same billing interval"):
        await shop.api.subscriptions.update_async(classic.id, mixed)
    await shop.api.subscriptions.migrate_async(classic.id, {"billing_mode": {"type": "flexible"}})
    changed = await shop.api.subscriptions.update_async(classic.id, mixed)
    ends = [item.current_period_end for item in changed["items"].data]
    assert ends == [int(FEBRUARY.timestamp()), int(JANUARY.replace(year=2027).timestamp())]
    shop.fake.advance(timedelta(days=32))
    renewal = (await shop.invoices(classic.id))[0]
    assert [line.amount for line in renewal.lines.data if line.amount > 0][-1] == 2000
    assert renewal.lines.data[-1].pricing.price_details.price == "price_pro"


@pytest.mark.parametrize("fate", ["unpaid", "past_due"])
async def test_the_account_says_what_follows_the_last_attempt(fate: Any, shop: Shop) -> None:
    """Later invoices of an unpaid subscription stay drafts; the latest one, once paid, makes it active."""
    shop.fake.bill_with(BillingSettings(retry_after=(timedelta(days=1),), after_retries=fate))
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    await shop.use_card(customer.id, "pm_card_chargeCustomerFail")
    shop.fake.advance(timedelta(days=33))
    assert (await shop.subscription(subscription.id)).status == fate
    shop.fake.advance(timedelta(days=28))
    latest = (await shop.invoices(subscription.id))[0]
    assert latest.status == ("draft" if fate == "unpaid" else "open")
    method = await shop.use_card(customer.id, "pm_card_visa")
    await shop.api.invoices.pay_async(latest.id, {"payment_method": method})
    assert (await shop.subscription(subscription.id)).status == "active"


async def test_a_preview_of_a_start_makes_nothing(shop: Shop) -> None:
    """Neither a subscription nor a use of the promotion code; the customer's credit covers its part."""
    customer = await shop.customer(card=None)
    await shop.api.customers.update_async(customer.id, {"balance": -500})
    coupon = await shop.api.coupons.create_async({"percent_off": 25, "duration": "once"})
    promotion: Any = {"type": "coupon", "coupon": coupon.id}
    code = await shop.api.promotion_codes.create_async({"promotion": promotion})
    params: Any = {
        "customer": customer.id,
        "subscription_details": {"items": [{"price": "price_pro", "quantity": 2}]},
        "discounts": [{"promotion_code": code.id}],
    }
    preview = await shop.api.invoices.create_preview_async(params)
    assert (preview.subtotal, preview.total, preview.amount_due) == (4000, 3000, 2500)
    assert (preview.starting_balance, preview.ending_balance) == (-500, 0)
    params["subscription_details"]["trial_end"] = int(FEBRUARY.timestamp())
    assert (await shop.api.invoices.create_preview_async(params)).total == 0
    assert (await shop.api.invoices.create_preview_async({**params, "preview_mode": "recurring"})).total == 3000
    assert (await shop.api.promotion_codes.retrieve_async(code.id)).times_redeemed == 0
    assert (await shop.api.subscriptions.list_async({"customer": customer.id})).data == []


async def test_a_regular_invoice_is_previewed_without_prorations(shop: Shop) -> None:
    """Without pending ones, and without those of the change."""
    customer = await shop.customer()
    subscription = await shop.subscribe(customer.id)
    item: Any = {"id": item_id(subscription), "quantity": 2}
    shop.fake.advance(timedelta(days=10))
    await shop.api.subscriptions.update_async(subscription.id, {"items": [item]})
    change: Any = {"items": [{**item, "price": "price_team", "quantity": 3}]}
    params: Any = {"subscription": subscription.id, "subscription_details": change}
    regular = await shop.api.invoices.create_preview_async({**params, "preview_mode": "recurring"})
    assert regular.total == 15000
    following = await shop.api.invoices.create_preview_async(params)
    assert len(following.lines.data) == 5


async def test_a_parameter_that_the_fake_lacks_is_refused_by_name(shop: Shop) -> None:
    """Ignoring it would make a test pass that fails at Stripe."""
    customer = await shop.customer()
    with pytest.raises(stripe.InvalidRequestError, match="FakeStripe does not support") as raised:
        await shop.subscribe(customer.id, billing_thresholds={"amount_gte": 1000})
    assert raised.value.param == "billing_thresholds"


async def test_events_name_their_request_and_its_key(shop: Shop) -> None:
    """A renewal, which Stripe does by itself, has neither."""
    customer = await shop.customer()
    shop.forget_events()
    params: Any = {"customer": customer.id, "items": [{"price": "price_pro"}]}
    created = await shop.api.subscriptions.create_async(params, {"idempotency_key": "start-1"})
    shop.fake.advance(timedelta(days=32))
    causes = [
        (event["request"]["id"], event["request"]["idempotency_key"])
        for event in (entry.render(API_VERSIONS[-1]) for entry in shop.fake.account.journal.entries)
        if event["type"] == "invoice.paid"
    ]
    assert causes == [(created.last_response.request_id, "start-1"), (None, None)]


async def test_accounts_and_endpoints_of_old_versions_are_billed_as_well() -> None:
    """Without the events that their version does not have."""
    oldest = API_VERSIONS[0]
    async with fake_stripe(api_version=oldest, clock=Clock(JANUARY)) as fake, aiohttp.ClientSession() as session:
        fake.put(objects.Product(product_id="prod_app", name="App"), PRO)
        client = stripe.StripeClient(
            fake.secret_key,
            stripe_version=oldest,
            base_addresses={"api": fake.url},
            http_client=stripe.AIOHTTPClient(session=session),
        )
        fake.add_webhook_endpoint("http://127.0.0.1:9/", api_version="2024-06-20")
        shop = Shop(fake, client)
        subscription = await shop.subscribe((await shop.customer()).id)
        assert subscription.status == "active"
        listed = await client.v1.events.list_async({"limit": 100})
        types = {event.type for event in listed.data}
        assert "invoice.paid" in types
        assert "invoice_payment.paid" not in types
        assert "invoice_payment.paid" in shop.events()
