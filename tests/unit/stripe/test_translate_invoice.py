"""Translation of invoices, in every shape."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from billing_core.events import Notice, ProviderEvent, Translation
from billing_core.model import (
    CustomerId,
    InvoiceId,
    InvoiceLine,
    InvoiceSnapshot,
    ItemId,
    LineId,
    Period,
    PriceId,
    SubscriptionId,
    TenantId,
)
from billing_stripe.testing import API_VERSIONS, builders, objects
from billing_stripe.translate import StripeTranslator

pytestmark = pytest.mark.stripe

MakeEvent = Callable[..., ProviderEvent]
Said = Callable[..., Translation]
Json = dict[str, Any]

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
MONTH = Period(start=AT, end=AT + timedelta(days=31))
LAST_MONTH = Period(start=AT - timedelta(days=28), end=AT)
SHAPES = [(version, False) for version in API_VERSIONS] + [("2020-08-27", True), ("2024-06-20", True)]
CUSTOMER, INVOICE, SUBSCRIPTION = CustomerId("cus_1"), InvoiceId("in_1"), SubscriptionId("sub_1")
ACME = TenantId("acme")
ACACIA, ENDIVE = "2025-02-24.acacia", API_VERSIONS[-1]

SEEN = InvoiceSnapshot(
    invoice_id=INVOICE,
    customer_id=CUSTOMER,
    status="paid",
    currency="usd",
    subscription_id=SUBSCRIPTION,
    number="ACME-0007",
    amount_due=9780,
    amount_paid=9780,
    amount_remaining=0,
    subtotal=9500,
    total=9780,
    tax=280,
    billing_reason="subscription_cycle",
    collection_method="charge_automatically",
    hosted_invoice_url="https://invoice.stripe.com/i/acct_1ExampleAccount00/test_in_1",
    invoice_pdf="https://pay.stripe.com/invoice/acct_1ExampleAccount00/test_in_1/pdf",
    period=LAST_MONTH,
    created_at=AT,
    finalized_at=AT + timedelta(hours=1),
    paid_at=AT + timedelta(hours=2),
    attempt_count=1,
    lines=(
        InvoiceLine(
            line_id=LineId("il_1"),
            amount=-200,
            quantity=1,
            price_id=PriceId("price_seats"),
            product_id="prod_app",
            proration=True,
            description="Unused time on 1 × Team",
            period=MONTH,
        ),
        InvoiceLine(
            line_id=LineId("il_2"),
            amount=200,
            quantity=100,
            price_id=PriceId("price_calls"),
            product_id="prod_api",
            subscription_item_id=ItemId("si_2"),
            description="100 × Calls",
            period=LAST_MONTH,
        ),
        InvoiceLine(
            line_id=LineId("il_3"),
            amount=9500,
            quantity=5,
            price_id=PriceId("price_seats"),
            product_id="prod_app",
            subscription_item_id=ItemId("si_1"),
            description="5 × Team",
            period=MONTH,
        ),
    ),
)


@pytest.fixture
def said(make_event: MakeEvent) -> Said:
    def translate(object: Json, type: str = "invoice.updated") -> Translation:
        return StripeTranslator().translate(make_event(type, object))

    return translate


@pytest.fixture
def shown(invoice: objects.Invoice) -> Json:
    """The invoice in the newest version, to be damaged."""
    return builders.invoice(invoice, ENDIVE)


@pytest.fixture
def shown_before(invoice: objects.Invoice) -> Json:
    """The invoice in the last version of the old shape."""
    return builders.invoice(invoice, ACACIA)


def only(translation: Translation) -> InvoiceSnapshot:
    (snapshot,) = translation.snapshots
    assert isinstance(snapshot, InvoiceSnapshot)
    return snapshot


@pytest.mark.parametrize(("version", "transitional"), SHAPES)
def test_all_api_versions_translate_to_the_same(
    said: Said, invoice: objects.Invoice, version: str, transitional: bool
) -> None:
    """Subscription, tax, price, proration and metadata moved; the snapshot did not. Nothing is missing.

    Only older versions say that a line's price is metered, so it is not read from the line at all.
    """
    translation = said(builders.invoice(invoice, version, transitional=transitional))
    assert (translation.customer_id, translation.tenant_hint, translation.missing) == ("cus_1", "acme", ())
    assert only(translation) == SEEN


@pytest.mark.parametrize(
    ("type", "creation", "notice"),
    [
        ("invoice.created", True, None),
        ("invoice.updated", False, None),
        ("invoice.finalized", False, None),
        ("invoice.finalization_failed", False, None),
        ("invoice.sent", False, None),
        ("invoice.paid", False, None),
        ("invoice.payment_succeeded", False, None),
        ("invoice.payment_failed", False, None),
        ("invoice.payment_action_required", False, Notice.ACTION_REQUIRED),
        ("invoice.payment_attempt_required", False, None),
        ("invoice.will_be_due", False, None),
        ("invoice.overdue", False, Notice.OVERDUE),
        ("invoice.overpaid", False, None),
        ("invoice.marked_uncollectible", False, None),
        ("invoice.voided", False, None),
    ],
)
def test_every_invoice_event_has_the_invoice(
    said: Said, shown: Json, type: str, creation: bool, notice: Notice | None
) -> None:
    """All events have the invoice; some types add a notice."""
    assert said(shown, type) == Translation(
        customer_id=CUSTOMER,
        tenant_hint=ACME,
        snapshots=(SEEN,),
        creation=creation,
        notice=notice,
        payment_failed=type == "invoice.payment_failed",
    )


@pytest.mark.parametrize(
    ("changed", "field", "expected"),
    [
        ({"status": "open"}, "status", "open"),
        ({"status": "some_later_invention"}, "status", "some_later_invention"),
        ({"amount_due": 2**40}, "amount_due", 2**40),
        ({"total": -500}, "total", -500),
        ({"currency": "idr"}, "currency", "idr"),
        ({"number": None}, "number", None),
        ({"due_date": 1772357400}, "due_at", AT),
        ({"next_payment_attempt": 1772357400}, "next_payment_attempt_at", AT),
        ({"attempt_count": 3}, "attempt_count", 3),
        ({"billing_reason": "manual"}, "billing_reason", "manual"),
        ({"collection_method": "send_invoice"}, "collection_method", "send_invoice"),
        ({"hosted_invoice_url": None}, "hosted_invoice_url", None),
        ({"status_transitions": {"paid_at": None}}, "paid_at", None),
        ({"customer": {"id": "cus_9"}}, "customer_id", "cus_9"),
        ({"parent": None}, "subscription_id", None),
        ({"total_taxes": None}, "tax", 0),
        ({"total_taxes": [{"amount": 3}, {"amount": 4}]}, "tax", 7),
    ],
)
def test_a_field_is_translated(said: Said, shown: Json, changed: Json, field: str, expected: object) -> None:
    """One field at a time, with nothing missing."""
    translation = said(shown | changed)
    assert getattr(only(translation), field) == expected
    assert translation.missing == ()


@pytest.mark.parametrize(
    ("taxes", "expected"),
    [
        ({"total_taxes": [{"amount": 7}], "tax": 7, "total_tax_amounts": [{"amount": 7}]}, 7),
        ({"total_taxes": None, "tax": 7, "total_tax_amounts": [{"amount": 7}]}, 7),
        ({"total_taxes": None, "tax": None, "total_tax_amounts": [{"amount": 3}, {"amount": 4}]}, 7),
        ({"total_taxes": None, "tax": None, "total_tax_amounts": None}, 0),
    ],
)
def test_tax_is_read_from_one_place_only(said: Said, shown: Json, taxes: Json, expected: int) -> None:
    """Since March 2025 payloads have both places, with the same values."""
    assert only(said(shown | taxes)).tax == expected


def test_the_new_places_win(said: Said, shown: Json) -> None:
    """The old places exist for old versions and may be outdated or removed."""
    for line in shown["lines"]["data"]:
        line |= {"price": {"id": "price_old"}, "plan": {"id": "price_old"}, "proration": not line["amount"] < 0}
    old_places = {"subscription": "sub_old", "tax": 1, "subscription_details": {"metadata": {"tenant_id": "globex"}}}
    translation = said(shown | old_places)
    assert (only(translation), translation.tenant_hint) == (SEEN, "acme")


def test_an_expanded_subscription_is_its_id(said: Said, shown_before: Json) -> None:
    """Expanded objects are read like plain ids."""
    shown_before["subscription"] = {"id": "sub_1", "object": "subscription"}
    assert only(said(shown_before)).subscription_id == "sub_1"


def test_a_proration_names_no_item(said: Said, shown: Json, shown_before: Json) -> None:
    """Older versions always name it and newer ones rarely; it is left out, so that they agree."""
    details = shown["lines"]["data"][2]["parent"]["subscription_item_details"]
    shown["lines"]["data"][2]["parent"] = {
        "invoice_item_details": {key: value for key, value in details.items() if key != "subscription_item"},
        "type": "invoice_item_details",
    }
    assert only(said(shown)) == only(said(shown_before)) == SEEN


def test_a_line_without_a_price_is_an_amount(said: Said, shown: Json) -> None:
    """A one-off item has no price."""
    shown["lines"]["data"][0] |= {"pricing": None, "quantity": None}
    translation = said(shown)
    line = only(translation).lines[2]
    assert (line.price_id, line.quantity, line.amount, translation.missing) == (None, None, 9500, ())


def test_an_expanded_price_of_a_line_is_its_id(said: Said, shown: Json) -> None:
    """It can be expanded since 2025-12-15."""
    shown["lines"]["data"][0]["pricing"]["price_details"]["price"] = {"id": "price_seats", "object": "price"}
    assert only(said(shown)) == SEEN


@pytest.mark.parametrize(("has_more", "complete"), [(False, True), (True, False)])
def test_a_first_page_of_lines_is_marked(said: Said, shown: Json, has_more: bool, complete: bool) -> None:
    """An event contains at most ten lines."""
    shown["lines"]["has_more"] = has_more
    assert only(said(shown)).lines_complete is complete


@pytest.mark.parametrize(
    "url",
    [
        "https://invoice.stripe.com/i/acct_1/test_YWNjd?s=ap#x",
        "https://pay.stripe.com/invoice/acct_1/x",
        "https://stripe.com",
    ],
)
def test_a_link_to_stripe_is_kept(said: Said, shown: Json, url: str) -> None:
    """On any of Stripe's hosts."""
    assert only(said(shown | {"hosted_invoice_url": url})).hosted_invoice_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://invoice.stripe.com/i/1",
        "HTTPS://invoice.stripe.com/i/1",
        "javascript:alert(1)//https://stripe.com",
        "//invoice.stripe.com/i/1",
        "https://stripe.com.evil.example/i/1",
        "https://evilstripe.com/i/1",
        "https://evil.example/.stripe.com",
        "https://evil.example\\.stripe.com/",
        "https://evil.example?.stripe.com",
        "https://evil.example#.stripe.com",
        "https://user@stripe.com/i/1",
        "https://invoice.stripe.com:8443/i/1",
        "https://invoice.stripe.com/i/1\n",
        "https://invoice.stripe.com/i/ü",
        "https://invoice.stripe.com/" + "x" * 6000,
        7,
    ],
)
def test_a_link_to_anywhere_else_is_dropped_and_counted(said: Said, shown: Json, url: object) -> None:
    """It would become a link in a tenant's browser."""
    translation = said(shown | {"hosted_invoice_url": url})
    assert only(translation).hosted_invoice_url is None
    assert translation.missing == ("invoice.hosted_invoice_url",)


@pytest.mark.parametrize(
    ("path", "damage", "missing"),
    [
        (("amount_due",), None, "invoice.amount_due"),
        (("amount_paid",), "9780", "invoice.amount_paid"),
        (("amount_remaining",), 1.0, "invoice.amount_remaining"),
        (("total",), 2**63, "invoice.total"),
        (("attempt_count",), None, "invoice.attempt_count"),
        (("due_date",), "soon", "invoice.due_date"),
        (("period_end",), 1, "invoice.period_end"),
        (("total_taxes",), [{"amount": None}], "invoice.total_taxes.amount"),
        (("total_taxes",), [7], "invoice.total_taxes"),
        (("parent",), "sub_1", "invoice.parent"),
        (("lines",), None, "invoice.lines"),
        (("lines", "data"), 7, "invoice.lines.data"),
        (("lines", "data", 0), None, "invoice.lines.data"),
        (("lines", "data", 0, "id"), "", "invoice.lines.data.id"),
        (("lines", "data", 0, "amount"), None, "invoice.lines.data.amount"),
        (("lines", "data", 0, "period", "end"), [], "invoice.lines.data.period.end"),
        (("lines", "data", 0, "pricing"), 7, "invoice.lines.data.pricing"),
    ],
)
def test_an_unreadable_field_is_absent_and_reported(
    said: Said, shown: Json, path: tuple[str | int, ...], damage: object, missing: str
) -> None:
    """By its path in the schema, never by its content; the rest of the invoice is used."""
    *way, last = path
    place: Any = shown
    for step in way:
        place = place[step]
    place[last] = damage
    translation = said(shown)
    assert only(translation).number == "ACME-0007"
    assert missing in translation.missing


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"id": None}, "unreadable_object"),
        ({"status": None}, "unreadable_object"),
        ({"currency": None}, "unreadable_object"),
        ({"currency": "dollars"}, "unreadable_object"),
        ({"customer": None}, "no_customer"),
        ({"object": "invoice_payment"}, "unexpected_object"),
    ],
)
def test_an_invoice_without_required_fields_is_ignored(said: Said, shown: Json, damage: Json, reason: str) -> None:
    """With a reason for the metrics."""
    translation = said(shown | damage)
    assert (translation.ignored, translation.snapshots) == (reason, ())


def test_text_is_made_storable(said: Said, shown: Json) -> None:
    """No NUL, no lone surrogate, no endless description; line breaks stay."""
    lines = shown["lines"]["data"]
    lines[0]["description"], lines[1]["description"] = "a\x00b\ud800c\nd", "x" * 100_000
    texts = {line.line_id: line.description for line in only(said(shown)).lines}
    assert texts == {"il_1": "Unused time on 1 × Team", "il_2": "x" * 5_000, "il_3": "a\ufffdb\ufffdc\nd"}


# --- tenants ----------------------------------------------------------------------------------------------------


def test_the_oldest_shape_names_the_tenant_in_its_lines(said: Said, invoice: objects.Invoice) -> None:
    """Before 2023-06 an invoice had no copy of its subscription's metadata."""
    shown = builders.invoice(invoice, "2020-08-27")
    assert "subscription_details" not in shown
    assert said(shown).tenant_hint == "acme"


def test_lines_that_name_two_tenants_name_none(said: Said, invoice: objects.Invoice) -> None:
    """If lines disagree, no tenant is taken."""
    first, second, third = invoice.lines
    rival = attrs.evolve(second, metadata={"tenant_id": "globex"})
    shown = builders.invoice(attrs.evolve(invoice, lines=(first, rival, third)), "2020-08-27")
    assert said(shown).tenant_hint is None


def test_metadata_of_an_invoice_item_is_not_used(said: Said, invoice: objects.Invoice) -> None:
    """It belongs to the item, not to the subscription."""
    line = attrs.evolve(invoice.lines[2], metadata={"tenant_id": "globex"})
    assert said(builders.invoice(attrs.evolve(invoice, lines=(line,)), "2020-08-27")).tenant_hint is None


def test_an_invoices_own_metadata_is_not_used(said: Said, shown: Json) -> None:
    """A note on one invoice does not determine the customer's tenant."""
    shown |= {"metadata": {"tenant_id": "globex"}}
    assert said(shown).tenant_hint == "acme"
    assert said(shown | {"parent": None, "lines": {"data": []}}).tenant_hint is None


# --- drafts that go, invoices that are none ---------------------------------------------------------------------


def test_a_deleted_draft_may_be_just_an_id(said: Said) -> None:
    """The id is enough: the owner is looked up, and nothing is reported as missing."""
    gone = InvoiceSnapshot(invoice_id=INVOICE, customer_id=None, status="deleted", currency="xxx")
    assert said({"id": "in_1"}, "invoice.deleted") == Translation(about=("in_1",), snapshots=(gone,))


def test_a_complete_deleted_draft_names_its_customer(said: Said, shown: Json) -> None:
    """Its amounts no longer matter."""
    translation = said(shown, "invoice.deleted")
    gone = InvoiceSnapshot(
        invoice_id=INVOICE, customer_id=CUSTOMER, status="deleted", currency="usd", subscription_id=SUBSCRIPTION
    )
    assert translation == Translation(customer_id=CUSTOMER, tenant_hint=ACME, snapshots=(gone,))


def test_a_deleted_draft_without_an_id_is_ignored(said: Said) -> None:
    """Without an id there is no invoice to delete."""
    assert said({"object": "invoice"}, "invoice.deleted").ignored == "unreadable_object"


@pytest.mark.parametrize("identity", [{"id": None}, {"id": "upcoming_in_1"}, {}])
def test_an_upcoming_invoice_is_only_announced(said: Said, shown: Json, identity: Json) -> None:
    """It never becomes a snapshot, with or without an id."""
    shown.pop("id")
    assert said(shown | identity, "invoice.upcoming") == Translation(
        customer_id=CUSTOMER,
        about=("sub_1",),
        tenant_hint=ACME,
        notice=Notice.UPCOMING,
        notice_of="sub_1:2026-03-01T09:30",
    )


def test_an_upcoming_invoice_without_a_customer_is_ignored(said: Said, shown: Json) -> None:
    """It announces nothing."""
    translation = said(shown | {"customer": None}, "invoice.upcoming")
    assert (translation.ignored, translation.notice) == ("no_customer", None)


def test_taxes_beyond_64_bits_are_dropped(said: Said, shown: Json) -> None:
    """Each may fit into a column while their sum does not."""
    taxes = [{"amount": 2**63 - 1}, {"amount": 1}]
    translation = said(shown | {"total_taxes": taxes})
    assert (only(translation).tax, translation.missing) == (0, ("invoice.total_taxes",))


@pytest.mark.parametrize(
    ("quantity", "decimal", "expected", "missing"),
    [
        (0, "0.6", Decimal("0.6"), ()),
        (12, "12.100", Decimal("12.1"), ()),
        (-1, "-1.5", Decimal("-1.5"), ()),
        (0, "0.00000000000000000001", Decimal("1E-20"), ()),
        (5, "5", Decimal(5), ()),
        (5, "5.000", Decimal(5), ()),
        (5, None, Decimal(5), ()),
        (None, None, Decimal(0), ()),
        (5, 5.5, Decimal(5), ("invoice.lines.data.quantity_decimal",)),
        (5, "5,5", Decimal(5), ("invoice.lines.data.quantity_decimal",)),
        (5, "NaN", Decimal(5), ("invoice.lines.data.quantity_decimal",)),
        (5, "1e5", Decimal(5), ("invoice.lines.data.quantity_decimal",)),
        (5, str(2**63) + ".5", Decimal(5), ("invoice.lines.data.quantity_decimal",)),
    ],
)
def test_a_quantity_keeps_its_fraction(
    said: Said, shown: Json, quantity: object, decimal: object, expected: Decimal, missing: object
) -> None:
    """Equal numbers are equal texts, and a quantity without a fraction reads the same in every version."""
    shown["lines"]["data"][0] |= {"quantity": quantity, "quantity_decimal": decimal}
    translation = said(shown)
    line = next(line for line in only(translation).lines if line.line_id == "il_3")
    assert (line.exact_quantity, str(line.exact_quantity)) == (expected, str(expected))
    assert (line.quantity_decimal is None) == (expected == expected.to_integral_value())
    assert translation.missing == missing


@pytest.mark.parametrize(
    ("type", "expected"),
    [("subscription_details", SUBSCRIPTION), (None, SUBSCRIPTION), ("quote_details", None), ("some_new_details", None)],
)
def test_the_type_of_a_parent_decides_which_is_read(
    said: Said, shown: Json, type: str | None, expected: object
) -> None:
    """Details of another kind may stand beside those that count."""
    shown["parent"] |= {"type": type, "quote_details": {"quote": "qt_1"}}
    for line in shown["lines"]["data"]:
        line["metadata"] = {}
    translation = said(shown)
    assert only(translation).subscription_id == expected
    assert translation.tenant_hint == (ACME if expected else None)


@pytest.mark.parametrize(
    ("type", "item_id", "proration"),
    [("subscription_item_details", "si_1", False), (None, "si_1", False), ("invoice_item_details", None, True)],
)
def test_the_type_of_a_line_s_parent_decides_which_is_read(
    said: Said, shown: Json, type: str | None, item_id: str | None, proration: bool
) -> None:
    """As for the invoice."""
    line = shown["lines"]["data"][0]
    line["parent"] |= {"type": type, "invoice_item_details": {"invoice_item": "ii_1", "proration": True}}
    seen = next(each for each in only(said(shown)).lines if each.line_id == line["id"])
    assert (seen.subscription_item_id, seen.proration) == (item_id, proration)


def test_metadata_beside_the_parent_that_counts_names_no_tenant(said: Said, shown: Json) -> None:
    """An invoice item has metadata of its own, even if details of a subscription's item stand beside it."""
    shown["parent"] = None
    for line in shown["lines"]["data"]:
        line["parent"] = {"type": "invoice_item_details", "subscription_item_details": {"subscription": "sub_9"}}
        line["metadata"] = {"tenant_id": "globex"}
    assert said(shown).tenant_hint is None
