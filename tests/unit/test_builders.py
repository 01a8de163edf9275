"""The builders of Stripe's payloads: the shape of each API version, updates, and what goes over the wire."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import stripe

from billing_stripe.testing import API_VERSIONS, BASIL, adjustments, builders, encode, event, make_id, objects, sign
from billing_stripe.testing.fields import misplaced_fields
from billing_stripe.testing.samples import SAMPLES, sample_event

START = datetime(2026, 1, 1, tzinfo=UTC)
MONTH = objects.Span(START, START + timedelta(days=31))
SEAT = objects.Price(price_id="price_seat", product_id="prod_team", unit_amount=1200, lookup_key="team_seat")
CALLS = objects.Price(
    price_id="price_calls", product_id="prod_api", unit_amount=None, unit_amount_decimal="0.02", metered=True
)
SUBSCRIPTION = objects.Subscription(
    subscription_id="sub_1",
    customer_id="cus_1",
    status="active",
    created_at=START,
    items=(
        objects.Item(item_id="si_seats", price=SEAT, period=MONTH, quantity=5),
        objects.Item(item_id="si_calls", price=CALLS, period=MONTH),
    ),
    metadata={"tenant_id": "acme"},
    latest_invoice_id="in_1",
)
INVOICE = objects.Invoice(
    invoice_id="in_1",
    customer_id="cus_1",
    status="paid",
    created_at=START,
    period=objects.Span(START, START),
    subscription_id="sub_1",
    subscription_metadata={"tenant_id": "acme"},
    number="ACME-0001",
    amount_paid=6600,
    finalized_at=START,
    paid_at=START,
    lines=(
        objects.InvoiceLine(
            line_id="il_1",
            amount=6000,
            tax=600,
            quantity=5,
            price=SEAT,
            period=MONTH,
            subscription_id="sub_1",
            item_id="si_seats",
            metadata={"tenant_id": "acme"},
        ),
    ),
)
PRORATION = objects.InvoiceLine(
    line_id="il_2",
    amount=-350,
    price=SEAT,
    period=MONTH,
    subscription_id="sub_1",
    invoice_item_id="ii_1",
    proration=True,
)
OLD = [version for version in API_VERSIONS if version < BASIL]
NEW = [version for version in API_VERSIONS if version >= BASIL]


def overlay(after: Mapping[str, Any], previous: Mapping[str, Any]) -> dict[str, Any]:
    """The object as it was before the update that says `previous`."""
    return {
        key: overlay(value, previous[key])
        if isinstance(value, dict) and isinstance(previous.get(key), dict)
        else previous.get(key, value)
        for key, value in after.items()
    }


@pytest.mark.parametrize("version", OLD)
def test_before_basil_everything_is_at_the_top(version: str) -> None:
    """Older versions have the period on the subscription, and subscription, tax and prices directly on the invoice."""
    subscription = builders.subscription(SUBSCRIPTION, version)
    assert subscription["current_period_end"] == int(MONTH.end.timestamp())
    assert "current_period_end" not in subscription["items"]["data"][0]
    invoice = builders.invoice(INVOICE, version)
    line = invoice["lines"]["data"][0]
    assert (invoice["subscription"], invoice["tax"], invoice["paid"]) == ("sub_1", 600, True)
    assert line["price"]["recurring"]["usage_type"] == "licensed"
    assert line["tax_amounts"][0]["amount"] == 600
    assert not {"parent", "total_taxes"} & invoice.keys()
    assert not {"parent", "pricing", "taxes"} & line.keys()


@pytest.mark.parametrize("version", NEW)
def test_since_basil_everything_is_in_its_part(version: str) -> None:
    """Newer versions have the period on the items, the origin in `parent` and only the id of a line's price."""
    subscription = builders.subscription(SUBSCRIPTION, version)
    assert "current_period_end" not in subscription
    assert {item["current_period_end"] for item in subscription["items"]["data"]} == {int(MONTH.end.timestamp())}
    invoice = builders.invoice(INVOICE, version)
    line = invoice["lines"]["data"][0]
    assert invoice["parent"]["subscription_details"] == {"metadata": {"tenant_id": "acme"}, "subscription": "sub_1"}
    assert invoice["total_taxes"][0]["amount"] == 600
    assert line["parent"]["subscription_item_details"]["subscription_item"] == "si_seats"
    assert line["pricing"]["price_details"] == {"price": "price_seat", "product": "prod_team"}
    assert not {"subscription", "tax", "paid", "charge", "payment_intent", "discount"} & invoice.keys()
    assert not {"price", "plan", "proration", "subscription_item", "type"} & line.keys()


def test_a_transitional_payload_says_everything_twice() -> None:
    """An old version rendered since basil carries both places, with the same content."""
    subscription = builders.subscription(SUBSCRIPTION, "2024-06-20", transitional=True)
    invoice = builders.invoice(INVOICE, "2024-06-20", transitional=True)
    assert subscription["current_period_end"] == subscription["items"]["data"][0]["current_period_end"]
    assert invoice["subscription"] == invoice["parent"]["subscription_details"]["subscription"]
    assert invoice["tax"] == invoice["total_taxes"][0]["amount"]


@pytest.mark.parametrize(
    ("version", "present"),
    [
        ("2020-08-27", frozenset[str]()),
        ("2022-11-15", {"currency", "cancellation_details", "discounts"}),
        ("2024-06-20", {"currency", "cancellation_details", "discounts"}),
        ("2025-09-30.clover", {"currency", "cancellation_details", "discounts", "billing_mode"}),
        (
            "2026-10-28.endive",
            {
                "currency",
                "cancellation_details",
                "discounts",
                "billing_mode",
                "customer_account",
                "billing_schedules",
                "status_details",
            },
        ),
    ],
)
def test_fields_appear_with_the_version_that_added_them(version: str, present: set[str]) -> None:
    """Each version shows exactly the additions of its time."""
    additions = {
        *("currency", "cancellation_details", "discounts", "billing_mode"),
        *("customer_account", "billing_schedules", "status_details"),
    }
    assert builders.subscription(SUBSCRIPTION, version).keys() & additions == present


@pytest.mark.parametrize(
    ("version", "holds"),
    [("2020-08-27", False), ("2022-11-15", False), ("2024-06-20", True), ("2025-02-24.acacia", True)],
)
def test_an_old_invoice_names_the_subscriptions_metadata_since_mid_2023(version: str, holds: bool) -> None:
    """Before that only the lines' metadata tells whose subscription it is."""
    invoice = builders.invoice(INVOICE, version)
    assert ("subscription_details" in invoice) is holds
    assert invoice["lines"]["data"][0]["metadata"] == {"tenant_id": "acme"}


def test_the_newest_shape_has_only_fields_that_the_sdk_knows() -> None:
    """Nothing is invented: the SDK's resource classes list every field of the newest version."""
    version = API_VERSIONS[-1]
    subscription = builders.subscription(attrs.evolve(SUBSCRIPTION, coupon_id="co_1", paused_at=START), version)
    invoice = builders.invoice(attrs.evolve(INVOICE, lines=(*INVOICE.lines, PRORATION)), version)
    session = objects.CheckoutSession(session_id="cs_1", created_at=START, customer_id="cus_1", subscription_id="sub_1")
    rendered: list[tuple[dict[str, Any], type, set[str]]] = [
        (subscription, stripe.Subscription, {"plan", "quantity"}),  # sent, though no longer documented
        (subscription["items"]["data"][0], stripe.SubscriptionItem, set()),
        (subscription["items"]["data"][0]["price"], stripe.Price, set()),
        (subscription["items"]["data"][0]["plan"], stripe.Plan, set()),
        (invoice, stripe.Invoice, set()),
        *((line, stripe.InvoiceLineItem, set()) for line in invoice["lines"]["data"]),
        (builders.customer(objects.Customer(customer_id="cus_1", created_at=START), version), stripe.Customer, set()),
        (builders.checkout_session(session, version), stripe.checkout.Session, set()),
    ]
    for thing, resource, undocumented in rendered:
        assert thing.keys() - undocumented <= resource.__annotations__.keys()


@pytest.mark.parametrize(
    ("type", "resource"),
    [
        ("invoice_payment.paid", stripe.InvoicePayment),
        ("charge.refunded", stripe.Charge),
        ("refund.failed", stripe.Refund),
        ("charge.dispute.created", stripe.Dispute),
        ("credit_note.voided", stripe.CreditNote),
        ("entitlements.active_entitlement_summary.updated", stripe.entitlements.ActiveEntitlementSummary),
        ("subscription_schedule.released", stripe.SubscriptionSchedule),
        ("billing.alert.triggered", stripe.billing.AlertTriggered),
        ("billing.credit_grant.created", stripe.billing.CreditGrant),
        ("price.created", stripe.Price),
        ("plan.created", stripe.Plan),
        ("product.created", stripe.Product),
    ],
)
def test_the_other_objects_have_only_fields_that_the_sdk_knows(type: str, resource: type) -> None:
    """In the newest version, for the SDK knows that one."""
    sample = sample_event(type, API_VERSIONS[-1])
    assert sample is not None
    assert sample["data"]["object"].keys() <= resource.__annotations__.keys()


@pytest.mark.parametrize("version", API_VERSIONS)
def test_no_object_has_a_field_of_another_time(version: str) -> None:
    """The samples of a version hold what it has."""
    events = [sample_event(type_, version) for type_ in SAMPLES]
    assert [field for sample in events for field in misplaced_fields(sample, version)] == []


def test_versions_without_invoice_payments_make_none() -> None:
    """Before 2025-03-31 there were none."""
    payment = objects.InvoicePayment(
        invoice_payment_id="inpay_1", invoice_id="in_1", payment_id="pi_1", amount_paid=1, created_at=START
    )
    with pytest.raises(ValueError, match="has no invoice payments"):
        adjustments.invoice_payment(payment, OLD[0])


@pytest.mark.parametrize("version", API_VERSIONS)
def test_metered_items_have_no_quantity(version: str) -> None:
    """Usage is no setting of the item, in no version."""
    seats, calls = builders.subscription(SUBSCRIPTION, version)["items"]["data"]
    assert (seats["quantity"], calls.get("quantity")) == (5, None)
    assert calls["price"]["recurring"]["usage_type"] == calls["plan"]["usage_type"] == "metered"
    assert (calls["price"]["unit_amount"], calls["price"]["unit_amount_decimal"]) == (None, "0.02")


@pytest.mark.parametrize("version", API_VERSIONS)
def test_a_proration_names_its_invoice_item(version: str) -> None:
    """A line that stems from an invoice item says so, in the place of the version."""
    line = builders.invoice(attrs.evolve(INVOICE, lines=(PRORATION,)), version)["lines"]["data"][0]
    details = line if version < BASIL else line["parent"]["invoice_item_details"]
    assert (details["invoice_item"], details["proration"], details["subscription"]) == ("ii_1", True, "sub_1")


@pytest.mark.parametrize("version", API_VERSIONS)
def test_the_amounts_of_an_invoice_follow_from_its_lines(version: str) -> None:
    """The amount due is the lines and their tax less the credit; a credit larger than the total leaves nothing due."""
    due = builders.invoice(attrs.evolve(INVOICE, status="open", amount_paid=0, credited=600), version)
    assert (due["subtotal"], due["total"], due["amount_due"], due["amount_remaining"]) == (6000, 6600, 6000, 6000)
    credit = builders.invoice(attrs.evolve(INVOICE, lines=(PRORATION,), amount_paid=0), version)
    assert (credit["total"], credit["amount_due"], credit["amount_remaining"]) == (-350, 0, 0)


@pytest.mark.parametrize("version", API_VERSIONS)
def test_previous_attributes_lead_back_to_the_object_before(version: str) -> None:
    """Overlaying them on the object after the update gives the object before it."""
    more_seats = attrs.evolve(SUBSCRIPTION.items[0], quantity=8)
    changed = attrs.evolve(
        SUBSCRIPTION,
        status="past_due",
        items=(more_seats, SUBSCRIPTION.items[1]),
        pause_collection="void",
        metadata={"tenant_id": "acme", "note": "new"},
    )
    before, after = builders.subscription(SUBSCRIPTION, version), builders.subscription(changed, version)
    previous = builders.previous_attributes(before, after)
    assert previous.keys() == {"status", "items", "pause_collection", "metadata"}
    assert previous["metadata"] == {"note": None}
    assert len(previous["items"]["data"]) == 2
    before["metadata"]["note"] = None
    assert overlay(after, previous) == before


def test_a_renewal_shows_in_the_place_of_the_period() -> None:
    """Before basil the subscription's own period changes, since then the items'."""
    later = objects.Span(MONTH.end, MONTH.end + timedelta(days=30))
    items = tuple(attrs.evolve(item, period=later) for item in SUBSCRIPTION.items)
    renewed = attrs.evolve(SUBSCRIPTION, items=items)

    def changes(version: str) -> set[str]:
        before, after = builders.subscription(SUBSCRIPTION, version), builders.subscription(renewed, version)
        return set(builders.previous_attributes(before, after))

    assert "current_period_end" in changes("2024-06-20")
    assert changes("2025-09-30.clover") == {"items"}


def test_a_preview_has_no_id_and_a_deleted_customer_only_its_id() -> None:
    """Objects that Stripe sends incomplete are incomplete here too."""
    assert "id" not in builders.invoice(attrs.evolve(INVOICE, invoice_id=None), BASIL)
    gone = objects.Customer(customer_id="cus_1", created_at=START, deleted=True)
    assert builders.customer(gone, BASIL) == {"id": "cus_1", "object": "customer", "deleted": True}


def test_naive_datetimes_are_refused() -> None:
    """A time without a zone would depend on the machine that renders it."""
    naive = attrs.evolve(SUBSCRIPTION, created_at=START.replace(tzinfo=None))
    with pytest.raises(ValueError, match="no time zone"):
        builders.subscription(naive, BASIL)


def test_the_signature_is_one_that_stripes_own_code_accepts() -> None:
    """The SDK verifies our signature, and rejects it with another secret."""
    body = encode(
        event(
            "customer.subscription.updated",
            builders.subscription(SUBSCRIPTION, BASIL),
            created=START,
            api_version=BASIL,
            event_id="evt_1",
            previous_attributes={"status": "incomplete"},
        )
    )
    now = datetime.now(UTC)
    parsed = stripe.Webhook.construct_event(body, sign(body, "whsec_test", now), "whsec_test")
    assert (parsed.id, parsed.type) == ("evt_1", "customer.subscription.updated")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, sign(body, "whsec_other", now), "whsec_test")


def test_a_body_is_laid_out_as_stripe_lays_it_out() -> None:
    """Two spaces of indent, text unescaped, and the event's mode on its object."""
    customer = builders.customer(objects.Customer(customer_id="cus_1", created_at=START, name="Müller"), BASIL)
    envelope = event(
        "customer.created",
        customer,
        created=START,
        api_version=BASIL,
        event_id="evt_1",
        livemode=True,
        account="acct_1",
    )
    body = encode(envelope)
    assert body.startswith(b'{\n  "id": "evt_1",\n  "object": "event",\n  "account": "acct_1"')
    assert "Müller".encode() in body
    assert json.loads(body) == envelope
    assert envelope["data"]["object"]["livemode"] is True
    assert customer["livemode"] is False


def test_ids_follow_from_their_parts() -> None:
    """The same parts give the same id, others another."""
    assert make_id("evt", 7, 1) == make_id("evt", 7, 1)
    assert len({make_id("evt", seed, number) for seed in range(20) for number in range(20)}) == 400
    assert len(make_id("sub", 1)) == len("sub_") + 24
