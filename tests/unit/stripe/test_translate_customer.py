"""Translation of customers and Checkout sessions, including the tenant that they name."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from billing_core.events import ProviderEvent, Translation
from billing_core.model import CustomerId, CustomerSnapshot, TenantId
from billing_stripe.testing import API_VERSIONS, builders, objects
from billing_stripe.translate import StripeTranslator

pytestmark = pytest.mark.stripe

MakeEvent = Callable[..., ProviderEvent]
Said = Callable[[str, dict[str, Any]], Translation]

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
CUS_1, ACME = CustomerId("cus_1"), TenantId("acme")
CUSTOMER = objects.Customer(
    customer_id=CUS_1,
    created_at=AT,
    email="zoe@example.com",
    name="Zoë",
    delinquent=True,
    default_payment_method_id="pm_1",
    metadata={"tenant_id": "acme"},
)
SEEN = CustomerSnapshot(
    customer_id=CUS_1, email="zoe@example.com", name="Zoë", delinquent=True, payment_method_id="pm_1"
)
SESSION = objects.CheckoutSession(session_id="cs_1", created_at=AT, customer_id=CUS_1, subscription_id="sub_1")


@pytest.fixture
def said(make_event: MakeEvent) -> Said:
    def translate(type: str, object: dict[str, Any]) -> Translation:
        return StripeTranslator().translate(make_event(type, object))

    return translate


@pytest.mark.parametrize("version", API_VERSIONS)
@pytest.mark.parametrize(("type", "creation"), [("customer.created", True), ("customer.updated", False)])
def test_a_customer_is_read(said: Said, version: str, type: str, creation: bool) -> None:
    """Email, name, delinquency and tenant, in every version."""
    assert said(type, builders.customer(CUSTOMER, version)) == Translation(
        customer_id=CUS_1, tenant_hint=ACME, snapshots=(SEEN,), creation=creation
    )


def test_email_name_and_delinquency_are_optional(said: Said) -> None:
    """They are optional: a customer may be just an id."""
    shown = {"id": "cus_1", "object": "customer", "email": None, "name": None, "delinquent": None}
    assert said("customer.updated", shown) == Translation(
        customer_id=CUS_1, snapshots=(CustomerSnapshot(customer_id=CUS_1),)
    )


@pytest.mark.parametrize(
    ("method", "source", "charged"),
    [("pm_1", "card_1", "pm_1"), (None, "card_1", "card_1"), (None, {"id": "src_1"}, "src_1"), (None, None, None)],
)
def test_the_default_payment_method_for_invoices_outranks_the_source(
    said: Said, method: str | None, source: object, charged: str | None
) -> None:
    """Customers of before 2018 may have cards as sources; either may be expanded."""
    shown = {**builders.customer(CUSTOMER, API_VERSIONS[-1]), "default_source": source}
    shown["invoice_settings"] = {"default_payment_method": method}
    (seen,) = said("customer.updated", shown).snapshots
    assert seen == attrs.evolve(SEEN, payment_method_id=charged)


@pytest.mark.parametrize("shown", [{"id": "cus_1", "object": "customer", "deleted": True}, {"id": "cus_1"}])
def test_a_deleted_customer_may_be_just_an_id(said: Said, shown: dict[str, Any]) -> None:
    """The event type is decisive, and nothing is reported as missing."""
    gone = CustomerSnapshot(customer_id=CUS_1, deleted=True)
    assert said("customer.deleted", shown) == Translation(customer_id=CUS_1, snapshots=(gone,))


def test_a_deleted_flag_in_an_update_is_a_deleted_customer(said: Said) -> None:
    """A fetched customer has the flag itself."""
    gone = CustomerSnapshot(customer_id=CUS_1, deleted=True)
    assert said("customer.updated", {"id": "cus_1", "deleted": True}).snapshots == (gone,)


def test_a_customer_without_an_id_is_ignored(said: Said) -> None:
    """Without an id there is no customer to record."""
    assert said("customer.updated", {"object": "customer"}).ignored == "unreadable_object"


@pytest.mark.parametrize("version", API_VERSIONS)
@pytest.mark.parametrize("type", ["checkout.session.completed", "checkout.session.async_payment_succeeded"])
@pytest.mark.parametrize(
    ("reference", "metadata", "hint"),
    [
        (None, {}, None),
        ("acme", {}, "acme"),
        (None, {"tenant_id": "acme"}, "acme"),
        ("globex", {"tenant_id": "acme"}, "acme"),
    ],
)
def test_a_checkout_links_its_customer(
    said: Said, version: str, type: str, reference: str | None, metadata: dict[str, str], hint: str | None
) -> None:
    """The server's metadata takes precedence over the reference that a visitor can set in a link."""
    session = objects.CheckoutSession(
        session_id="cs_1",
        created_at=AT,
        customer_id=CUS_1,
        subscription_id="sub_1",
        client_reference_id=reference,
        metadata=metadata,
    )
    assert said(type, builders.checkout_session(session, version)) == Translation(
        customer_id=CUS_1, about=("sub_1",), tenant_hint=None if hint is None else TenantId(hint)
    )


@pytest.mark.parametrize(
    ("mode", "hint"), [("subscription", "order_4711"), ("setup", "order_4711"), ("payment", None), ("new", None)]
)
def test_the_reference_of_a_one_off_payment_names_no_tenant(said: Said, mode: str, hint: str | None) -> None:
    """There it is an order or a cart."""
    session = attrs.evolve(SESSION, mode=mode, client_reference_id="order_4711", metadata={})
    translation = said("checkout.session.completed", builders.checkout_session(session, API_VERSIONS[-1]))
    assert (translation.customer_id, translation.tenant_hint) == (SESSION.customer_id, hint)


def test_metadata_names_the_tenant_of_a_one_off_payment(said: Said) -> None:
    """It is set by the server, whatever the session is about."""
    session = attrs.evolve(SESSION, mode="payment", client_reference_id="order_4711", metadata={"tenant_id": "acme"})
    assert said("checkout.session.completed", builders.checkout_session(session, API_VERSIONS[-1])).tenant_hint == ACME


def test_a_guest_checkout_has_no_customer(said: Said) -> None:
    """A one-off payment does not need a customer."""
    shown = builders.checkout_session(SESSION, API_VERSIONS[-1]) | {"customer": None}
    assert said("checkout.session.completed", shown) == Translation(ignored="no_customer")
