"""One-off payments, refunds, disputes, credit notes, invoices by hand and plans, through Stripe's SDK."""

from typing import Any

import pytest
import stripe
from tests.unit.fake_stripe.conftest import Shop


async def pay(shop: Shop, card: str = "pm_card_visa", amount: int = 5000) -> Any:
    """Charge a card once."""
    return await shop.api.payment_intents.create_async(
        {"amount": amount, "currency": "usd", "payment_method": card, "confirm": True}
    )


async def bill(shop: Shop, *amounts: int, card: str | None = "pm_card_visa") -> Any:
    """Invoice a customer for amounts, up to its finalization."""
    customer = await shop.customer(card)
    for amount in amounts:
        await shop.api.invoice_items.create_async({"customer": customer.id, "amount": amount, "currency": "usd"})
    draft = await shop.api.invoices.create_async({"customer": customer.id, "pending_invoice_items_behavior": "include"})
    return await shop.api.invoices.finalize_invoice_async(draft.id)


# --- payments and refunds ---------------------------------------------------------------------------------------


async def test_a_payment_without_an_invoice_charges_the_card(shop: Shop) -> None:
    """Intent and charge name each other, and each has its event."""
    intent = await pay(shop)
    charge = await shop.api.charges.retrieve_async(intent.latest_charge)
    assert (intent.status, intent.amount_received) == ("succeeded", 5000)
    assert (charge.payment_intent, charge.status) == (intent.id, "succeeded")
    assert shop.events() == ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]


async def test_a_declined_payment_stays_and_can_be_tried_again(shop: Shop) -> None:
    """The error holds the intent, which another card pays; only what is paid or canceled is final."""
    with pytest.raises(stripe.CardError) as declined:
        await pay(shop, "pm_card_chargeDeclinedInsufficientFunds")
    assert declined.value.code == "card_declined"
    intent_id = declined.value.error.payment_intent["id"]
    paid = await shop.api.payment_intents.confirm_async(intent_id, {"payment_method": "pm_card_visa"})
    assert paid.status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="status of succeeded"):
        await shop.api.payment_intents.cancel_async(intent_id)


async def test_refunds_give_back_no_more_than_was_paid(shop: Shop) -> None:
    """Parts add up to the charge; the rest is the default."""
    intent = await pay(shop)
    part = await shop.api.refunds.create_async({"payment_intent": intent.id, "amount": 2000})
    assert (part.amount, part.status, part.charge) == (2000, "succeeded", intent.latest_charge)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        await shop.api.refunds.create_async({"payment_intent": intent.id, "amount": 3001})
    rest = await shop.api.refunds.create_async({"charge": intent.latest_charge})
    charge = await shop.api.charges.retrieve_async(intent.latest_charge)
    assert (rest.amount, charge.amount_refunded, charge.refunded) == (3000, 5000, True)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.api.refunds.create_async({"payment_intent": intent.id})
    assert refused.value.code == "charge_already_refunded"


@pytest.mark.parametrize(
    ("card", "status", "events"),
    [
        ("pm_card_visa", "succeeded", ["refund.created", "charge.refunded"]),
        (
            "pm_card_refundFail",
            "failed",
            ["refund.created", "charge.refunded", "refund.updated", "charge.refund.updated", "refund.failed"],
        ),
        (
            "pm_card_pendingRefund",
            "pending",
            ["refund.created", "charge.refunded", "refund.updated", "charge.refund.updated"],
        ),
    ],
)
async def test_the_bank_decides_on_refunds(shop: Shop, card: str, status: str, events: list[str]) -> None:
    """Cards for tests let a refund fail, or stay pending; a change has events of both names."""
    intent = await pay(shop, card)
    shop.forget_events()
    refund = await shop.api.refunds.create_async({"payment_intent": intent.id})
    assert refund.status == status
    assert shop.events() == events


@pytest.mark.parametrize(
    ("card", "status", "closed", "events"),
    [
        (
            "pm_card_createDispute",
            "needs_response",
            "lost",
            ["charge.dispute.created", "charge.dispute.funds_withdrawn"],
        ),
        ("pm_card_createDisputeInquiry", "warning_needs_response", "warning_closed", ["charge.dispute.created"]),
    ],
)
async def test_some_cards_dispute_what_they_paid(
    shop: Shop, card: str, status: str, closed: str, events: list[str]
) -> None:
    """A dispute takes the money, an inquiry does not; both can be answered and accepted, once."""
    intent = await pay(shop, card)
    assert shop.events("charge.dispute") == events
    (dispute,) = (await shop.api.disputes.list_async({"payment_intent": intent.id})).data
    assert (dispute.status, dispute.amount) == (status, 5000)
    answered = await shop.api.disputes.update_async(dispute.id, {"evidence": {"uncategorized_text": "It was you."}})
    assert answered.status == status.replace("needs_response", "under_review")
    assert (await shop.api.disputes.close_async(dispute.id)).status == closed
    with pytest.raises(stripe.InvalidRequestError, match="already closed"):
        await shop.api.disputes.close_async(dispute.id)


# --- invoices by hand -------------------------------------------------------------------------------------------


async def test_an_invoice_takes_up_pending_items_if_told_to(shop: Shop) -> None:
    """Without the parameter it is empty; an item is on one invoice only, and is then fixed."""
    customer = await shop.customer()
    item = await shop.api.invoice_items.create_async({"customer": customer.id, "amount": 700, "currency": "usd"})
    empty = await shop.api.invoices.create_async({"customer": customer.id})
    full = await shop.api.invoices.create_async({"customer": customer.id, "pending_invoice_items_behavior": "include"})
    assert (empty.total, full.total, full.billing_reason) == (0, 700, "manual")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.api.invoice_items.delete_async(item.id)
    assert refused.value.code == "invoice_not_editable"


async def test_an_invoice_to_send_has_a_due_date(shop: Shop) -> None:
    """Days until then, or the date itself, have to be given."""
    customer = await shop.customer()
    with pytest.raises(stripe.InvalidRequestError, match="days_until_due"):
        await shop.api.invoices.create_async({"customer": customer.id, "collection_method": "send_invoice"})
    draft = await shop.api.invoices.create_async(
        {"customer": customer.id, "collection_method": "send_invoice", "days_until_due": 7}
    )
    assert draft.due_date == draft.created + 7 * 86400


# --- credit notes -----------------------------------------------------------------------------------------------


async def test_a_credit_note_reduces_what_is_due(shop: Shop) -> None:
    """While the invoice is open; voiding the note makes it due again."""
    invoice = await bill(shop, 3000, 1000)
    note = await shop.api.credit_notes.create_async(
        {"invoice": invoice.id, "lines": [{"type": "custom_line_item", "unit_amount": 500, "quantity": 2}]}
    )
    assert (note.type, note.amount, note.pre_payment_amount) == ("pre_payment", 1000, 1000)
    reduced = await shop.api.invoices.retrieve_async(invoice.id)
    assert (reduced.amount_due, reduced.amount_remaining, reduced.pre_payment_credit_notes_amount) == (3000, 3000, 1000)
    assert (await shop.api.credit_notes.void_credit_note_async(note.id)).status == "void"
    assert (await shop.api.invoices.retrieve_async(invoice.id)).amount_due == 4000


async def test_an_invoice_that_is_credited_completely_is_paid(shop: Shop) -> None:
    """Nothing is left to collect, and such a note can no longer be voided."""
    invoice = await bill(shop, 3000)
    note = await shop.api.credit_notes.create_async({"invoice": invoice.id, "amount": 3000})
    paid = await shop.api.invoices.retrieve_async(invoice.id)
    assert (paid.status, paid.amount_due, paid.amount_paid) == ("paid", 0, 0)
    with pytest.raises(stripe.InvalidRequestError, match="open invoices"):
        await shop.api.credit_notes.void_credit_note_async(note.id)


async def test_what_was_paid_is_given_back_as_the_request_says(shop: Shop) -> None:
    """The parts have to add up to what is credited after the payment; credit lowers the customer's balance."""
    invoice = await bill(shop, 3000)
    await shop.api.invoices.pay_async(invoice.id)
    with pytest.raises(stripe.InvalidRequestError, match="must equal the post payment amount"):
        await shop.api.credit_notes.create_async({"invoice": invoice.id, "amount": 1000})
    note = await shop.api.credit_notes.create_async({"invoice": invoice.id, "amount": 1000, "credit_amount": 1000})
    assert (note.type, note.post_payment_amount) == ("post_payment", 1000)
    assert (await shop.api.customers.retrieve_async(str(note.customer))).balance == -1000


# --- trials and plans -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("behavior", "status"), [("pause", "paused"), ("cancel", "canceled")])
async def test_ending_a_trial_early_follows_its_settings(shop: Shop, behavior: str, status: str) -> None:
    """Without a payment method it ends as it would at its time."""
    customer = await shop.customer(card=None)
    settings = {"end_behavior": {"missing_payment_method": behavior}}
    trial = await shop.subscribe(customer.id, trial_period_days=7, trial_settings=settings)
    ended = await shop.api.subscriptions.update_async(trial.id, {"trial_end": "now"})
    assert ended.status == status


async def test_a_plan_is_a_price(shop: Shop) -> None:
    """Both names show one object, and both have events."""
    plan = await shop.api.plans.create_async(
        {"currency": "usd", "interval": "month", "amount": 900, "product": {"name": "Basic"}}
    )
    price = await shop.api.prices.retrieve_async(plan.id)
    assert (price.unit_amount, price.product) == (900, plan.product)
    await shop.api.plans.update_async(plan.id, {"metadata": {"plan_code": "basic"}})
    assert (await shop.api.prices.retrieve_async(plan.id)).metadata.to_dict() == {"plan_code": "basic"}
    await shop.api.plans.delete_async(plan.id)
    assert shop.events("plan", "price") == [
        "price.created",
        "plan.created",
        "price.updated",
        "plan.updated",
        "plan.deleted",
        "price.deleted",
    ]
    assert [each.id for each in (await shop.api.plans.list_async({"product": str(plan.product)})).data] == []
