"""Invoices that are paid again, and credit that is given."""

from typing import Any, Final

from billing_core.errors import GatewayCardDeclinedError, GatewayInvalidRequestError
from billing_core.operations.commands import GiveCredit, PayInvoice
from billing_core.operations.results import OperationResult, Performed
from billing_stripe.client import StripeAnswer
from billing_stripe.operations.answers import invoice_in, performed, text_in
from billing_stripe.operations.steps import OPERATION, Handler, Steps, timestamp

_ALREADY_PAID: Final = "invoice_already_paid"
_TO_CONFIRM: Final = "invoice_payment_intent_requires_action"
_EXPAND: Final = {"expand": ["confirmation_secret"]}


async def pay(steps: Steps, command: PayInvoice) -> Performed:
    """Pay the invoice. One that Stripe's own retry has paid in the meantime counts as done.

    A payment that the customer has to confirm is refused, but not over: the invoice then has the secret to confirm it.
    """
    params: dict[str, Any] = dict(_EXPAND)
    if command.out_of_band:
        params["paid_out_of_band"] = True
    else:
        params["off_session"] = command.off_session
        if command.payment_method_id is not None:
            params["payment_method"] = command.payment_method_id
    try:
        return _about(await steps.write("pay_invoice", command.invoice_id, params=params))
    except (GatewayInvalidRequestError, GatewayCardDeclinedError) as error:
        answer = await steps.read("fetch_invoice", command.invoice_id, params=_EXPAND)
        paid = error.provider_code == _ALREADY_PAID or answer.data.get("status") == "paid"
        if paid or error.provider_code == _TO_CONFIRM:
            return _about(answer)
        raise


async def find_paid(steps: Steps, command: PayInvoice) -> Performed | None:
    """Look whether the invoice is paid."""
    answer = await steps.read("fetch_invoice", command.invoice_id, params=_EXPAND)
    return _about(answer) if answer.data.get("status") == "paid" else None


async def give_credit(steps: Steps, command: GiveCredit) -> Performed:
    """Create a credit grant for all metered prices."""
    params: dict[str, Any] = {
        "customer": command.customer_id,
        "amount": {"type": "monetary", "monetary": {"value": command.amount, "currency": command.currency}},
        "applicability_config": {"scope": {"price_type": "metered"}},
        "category": command.terms.category,
        "metadata": {OPERATION: steps.key},
    }
    if command.terms.name is not None:
        params["name"] = command.terms.name
    if command.terms.expires_at is not None:
        params["expires_at"] = timestamp(command.terms.expires_at)
    return _given(await steps.write("create_credit_grant", params=params))


async def find_credit(steps: Steps, command: GiveCredit) -> Performed | None:
    """Look among the customer's grants."""
    made = await steps.made("list_credit_grants", params={"customer": command.customer_id})
    return None if made is None else _given(await steps.read("fetch_credit_grant", made["id"]))


def _about(answer: StripeAnswer) -> Performed:
    """Return the outcome for an invoice; an open one waits for the customer to confirm."""
    shown = answer.data
    secret = text_in(shown.get("confirmation_secret") or {}, "client_secret")
    waits = text_in(shown, "status") == "open"
    result = OperationResult(
        status="requires_action" if waits else "done",
        object_id=text_in(shown, "id"),
        object_status=text_in(shown, "status"),
        confirms="payment" if waits and secret else None,
        client_secret=secret if waits else None,
        url=text_in(shown, "hosted_invoice_url") if waits else None,
    )
    return performed(answer, result, invoice_in(shown))


def _given(answer: StripeAnswer) -> Performed:
    return performed(answer, OperationResult(object_id=text_in(answer.data, "id")))


HANDLERS: Final[dict[type, Handler[Any]]] = {
    PayInvoice: Handler(pay, find_paid),
    GiveCredit: Handler(give_credit, find_credit),
}
