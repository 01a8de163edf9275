"""Commands about customers, their payment methods, their credit, and the pages that they are sent to."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from billing_core.errors import GatewayCardDeclinedError, GatewayInvalidRequestError, GatewayNotFoundError
from billing_core.model import CustomerId, CustomerSnapshot
from billing_core.operations.commands import (
    CreateCheckoutSession,
    CreateCustomer,
    CreatePortalSession,
    CreateSetupIntent,
    DetachPaymentMethod,
    ExpireCheckoutSession,
    GiveCredit,
    PayInvoice,
    SetBillingContact,
    SetDefaultPaymentMethod,
)
from billing_core.operations.results import CreditGrant, OperationResult, Performed, StoredTaxId
from billing_memory.operations.provider.objects import FakeCheckout, FakeCustomer, FakePaymentMethod
from billing_memory.operations.provider.state import ProviderState

_PAGE: Final = "https://provider.example"


def create_customer(state: ProviderState, command: CreateCustomer) -> Performed:
    """Create a customer without a payment method."""
    customer_id = CustomerId(state.new_id("cus"))
    snapshot = CustomerSnapshot(customer_id=customer_id, email=command.email, name=command.name)
    return _put(state, FakeCustomer(snapshot=snapshot, tenant_id=command.tenant_id))


def set_contact(state: ProviderState, command: SetBillingContact) -> Performed:
    """Change what is given, and clear what is given as an empty text."""
    customer = state.customer(command.customer_id)
    tax_ids = [tax_id for tax_id in customer.tax_ids if tax_id.tax_id not in command.remove_tax_ids]
    for added in command.add_tax_ids:
        if not added.value:
            raise GatewayInvalidRequestError("an empty tax id", parameter="value")
        tax_ids.append(StoredTaxId(tax_id=state.new_id("txi"), type=added.type, value=added.value))
    snapshot = attrs.evolve(
        customer.snapshot,
        email=_changed(customer.snapshot.email, command.email),
        name=_changed(customer.snapshot.name, command.name),
    )
    address = customer.address if command.address is None else attrs.asdict(command.address)
    changed = attrs.evolve(
        customer,
        snapshot=snapshot,
        phone=_changed(customer.phone, command.phone),
        address=address,
        tax_ids=tuple(tax_ids),
    )
    return _put(state, changed)


def create_setup_intent(state: ProviderState, command: CreateSetupIntent) -> Performed:
    """Prepare that a payment method is added."""
    state.customer(command.customer_id)
    name = state.new_id("seti")
    result = OperationResult(
        status="requires_action", object_id=name, confirms="setup", client_secret=f"{name}_secret_fake"
    )
    return Performed(result=result)


def set_default(state: ProviderState, command: SetDefaultPaymentMethod) -> Performed:
    """Set the customer's default, and clear those of subscriptions."""
    customer = state.customer(command.customer_id)
    if _attached(state, command.payment_method_id).customer_id != command.customer_id:
        raise GatewayInvalidRequestError("another customer's", parameter="invoice_settings[default_payment_method]")
    for own in command.outranking:
        subscription = state.subscriptions.get(own.subscription_id)
        if subscription is not None and not subscription.ended:
            state.put(attrs.evolve(subscription, payment_method_id=None))
    outcome = _put(state, attrs.evolve(customer, default_payment_method=command.payment_method_id))
    return attrs.evolve(outcome, result=OperationResult(object_id=command.payment_method_id))


def detach(state: ProviderState, command: DetachPaymentMethod) -> Performed:
    """Take a payment method from its customer, unless that was done before."""
    method = state.payment_methods.get(command.payment_method_id)
    if method is None:
        raise GatewayNotFoundError(f"no payment method {command.payment_method_id}")
    state.payment_methods[method.payment_method_id] = attrs.evolve(method, customer_id=None)
    for customer_id, customer in list(state.customers.items()):
        if customer.default_payment_method == method.payment_method_id:
            state.customers[customer_id] = attrs.evolve(customer, default_payment_method=None)
    return Performed(result=OperationResult(object_id=method.payment_method_id))


def give_credit(state: ProviderState, command: GiveCredit) -> Performed:
    """Add a grant."""
    customer = state.customer(command.customer_id)
    grant = CreditGrant(
        grant_id=state.new_id("credgr"),
        amount=command.amount,
        currency=command.currency,
        category=command.terms.category,
        name=command.terms.name,
        expires_at=command.terms.expires_at,
    )
    state.customers[command.customer_id] = attrs.evolve(customer, grants=(grant, *customer.grants))
    return Performed(result=OperationResult(object_id=grant.grant_id))


def create_checkout(state: ProviderState, command: CreateCheckoutSession) -> Performed:
    """Open a checkout session, after earlier ones were expired."""
    state.customer(command.customer_id)
    expire_earlier(state, command.expire)
    for item in command.items:
        state.price(item.price)
    session = FakeCheckout(
        session_id=state.new_id("cs"),
        tenant_id=command.tenant_id,
        customer_id=command.customer_id,
        items=command.items,
        trial=command.trial,
        expires_at=command.expires_at,
        embedded=command.returns.embedded,
    )
    state.checkouts[session.session_id] = session
    return _session(session)


def expire_earlier(state: ProviderState, session_ids: Sequence[str]) -> None:
    """Expire sessions before a subscription is started in another way; refuse that if one was completed."""
    for session_id in session_ids:
        if _expired(state, session_id).status == "complete":
            raise GatewayInvalidRequestError(f"{session_id} was completed", parameter="expire")


def expire_checkout(state: ProviderState, command: ExpireCheckoutSession) -> Performed:
    """Expire a session that is open."""
    session = _expired(state, command.session_id)
    return Performed(result=OperationResult(object_id=session.session_id, object_status=session.status))


def create_portal_session(state: ProviderState, command: CreatePortalSession) -> Performed:
    """Open the portal."""
    state.customer(command.customer_id)
    name = state.new_id("bps")
    return Performed(result=OperationResult(object_id=name, url=f"{_PAGE}/portal/{name}"))


def pay_invoice(state: ProviderState, command: PayInvoice) -> Performed:
    """Pay an open invoice; its subscription continues, with the change that waited for it."""
    invoice = state.invoice(command.invoice_id)
    if invoice.status != "paid":
        if invoice.status != "open" or invoice.customer_id is None:
            raise GatewayInvalidRequestError(f"{command.invoice_id} is {invoice.status}")
        if not command.out_of_band and not state.charge(
            invoice.customer_id, invoice.amount_remaining, command.payment_method_id
        ):
            if command.off_session:
                raise GatewayCardDeclinedError("to confirm", decline_code="authentication_required")
            secret = f"{invoice.invoice_id}_secret_fake"
            waiting = OperationResult(
                status="requires_action",
                object_id=invoice.invoice_id,
                object_status=invoice.status,
                confirms="payment",
                client_secret=secret,
            )
            return Performed(result=waiting, snapshot=invoice, answered_at=state.now())
        invoice = state.paid(invoice)
    result = OperationResult(object_id=invoice.invoice_id, object_status=invoice.status)
    return Performed(result=result, snapshot=invoice, answered_at=state.now())


def _put(state: ProviderState, customer: FakeCustomer) -> Performed:
    snapshot = customer.snapshot
    state.customers[snapshot.customer_id] = customer
    return Performed(result=OperationResult(object_id=snapshot.customer_id), snapshot=snapshot, answered_at=state.now())


def _changed(before: str | None, given: str | None) -> str | None:
    return before if given is None else given or None


def _attached(state: ProviderState, payment_method_id: str) -> FakePaymentMethod:
    method = state.payment_methods.get(payment_method_id)
    if method is None or method.customer_id is None:
        raise GatewayInvalidRequestError(f"no payment method {payment_method_id}", parameter="payment_method")
    return method


def _expired(state: ProviderState, session_id: str) -> FakeCheckout:
    session = state.checkout(session_id)
    if session.status == "open":
        session = state.checkouts[session_id] = attrs.evolve(session, status="expired")
    return session


def _session(session: FakeCheckout) -> Performed:
    result = OperationResult(
        status="requires_action",
        object_id=session.session_id,
        object_status=session.status,
        expires_at=session.expires_at,
        client_secret=f"{session.session_id}_secret_fake" if session.embedded else None,
        url=None if session.embedded else f"{_PAGE}/checkout/{session.session_id}",
    )
    return Performed(result=result)


HANDLERS: Final[dict[type, Callable[[ProviderState, Any], Performed]]] = {
    CreateCustomer: create_customer,
    SetBillingContact: set_contact,
    CreateSetupIntent: create_setup_intent,
    SetDefaultPaymentMethod: set_default,
    DetachPaymentMethod: detach,
    GiveCredit: give_credit,
    CreateCheckoutSession: create_checkout,
    ExpireCheckoutSession: expire_checkout,
    CreatePortalSession: create_portal_session,
    PayInvoice: pay_invoice,
}
