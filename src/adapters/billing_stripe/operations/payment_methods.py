"""Payment methods: collected, made the default, detached."""

from typing import Any, Final

from billing_core.errors import GatewayInvalidRequestError, GatewayNotFoundError
from billing_core.model.subscription import ENDED
from billing_core.operations.commands import CreateSetupIntent, DetachPaymentMethod, OwnDefault, SetDefaultPaymentMethod
from billing_core.operations.results import OperationResult, Performed
from billing_stripe.client import CLEAR, Json, StripeAnswer
from billing_stripe.operations.answers import customer_in, performed, reference_in, text_in
from billing_stripe.operations.steps import OPERATION, Handler, Steps


async def create_setup_intent(steps: Steps, command: CreateSetupIntent) -> Performed:
    """Create the set-up intent that the browser confirms."""
    params = {
        "customer": command.customer_id,
        "usage": "off_session",
        "automatic_payment_methods": {"enabled": True},
        "metadata": {OPERATION: steps.key},
    }
    return _collecting(await steps.write("create_setup_intent", params=params))


async def find_setup_intent(steps: Steps, command: CreateSetupIntent) -> Performed | None:
    """Look among the set-up intents of the customer."""
    made = await steps.made("list_setup_intents", params={"customer": command.customer_id})
    return None if made is None else _collecting(await steps.read("fetch_setup_intent", made["id"]))


async def set_default(steps: Steps, command: SetDefaultPaymentMethod) -> Performed:
    """Set the customer's default, and clear those of subscriptions, which would outrank it."""
    answer = await _set_default(steps, command.customer_id, command.payment_method_id)
    steps.undo_by(lambda: _set_default(steps, command.customer_id, command.former))
    for own in command.outranking:
        await _clear_default(steps, own)
    return performed(answer, _about(command.payment_method_id), customer_in(answer.data))


async def find_default(steps: Steps, command: SetDefaultPaymentMethod) -> Performed | None:
    """Compare the customer's default, and look that no subscription has one of its own."""
    answer = await _with_default(steps, command.customer_id, command.payment_method_id)
    if answer is None:
        return None
    for own in command.outranking:
        if await _without_default(steps, own.subscription_id) is None:
            return None
    return performed(answer, _about(command.payment_method_id), customer_in(answer.data))


async def detach(steps: Steps, command: DetachPaymentMethod) -> Performed:
    """Detach the payment method. One that has no customer any more was detached before."""
    try:
        answer = await steps.write("detach_payment_method", command.payment_method_id)
    except GatewayInvalidRequestError:
        found = await find_detached(steps, command)
        if found is None:
            raise
        return found
    return performed(answer, _about(command.payment_method_id))


async def find_detached(steps: Steps, command: DetachPaymentMethod) -> Performed | None:
    """Look whether the payment method has a customer."""
    answer = await steps.read("fetch_payment_method", command.payment_method_id)
    if answer.data.get("customer") is not None:
        return None
    return performed(answer, _about(command.payment_method_id))


async def _clear_default(steps: Steps, own: OwnDefault) -> None:
    """Clear the default of a subscription; one that has ended in the meantime charges nothing and may keep it."""
    name = own.subscription_id
    try:
        await steps.write(
            "update_subscription",
            name,
            params={"default_payment_method": CLEAR},
            settled_by=lambda: _without_default(steps, name),
        )
    except (GatewayInvalidRequestError, GatewayNotFoundError):
        if await _without_default(steps, name) is None:
            raise
        return
    params = {"default_payment_method": own.payment_method_id}
    steps.undo_by(lambda: steps.write("update_subscription", name, params=params))


async def _set_default(steps: Steps, customer_id: str, payment_method_id: str | None) -> StripeAnswer:
    return await steps.write(
        "update_customer",
        customer_id,
        params={"invoice_settings": {"default_payment_method": payment_method_id or CLEAR}},
        settled_by=lambda: _with_default(steps, customer_id, payment_method_id),
    )


async def _with_default(steps: Steps, customer_id: str, payment_method_id: str | None) -> StripeAnswer | None:
    """Return the customer if the payment method is its default."""
    answer = await steps.read("fetch_customer", customer_id)
    return answer if _default_of(answer.data) == payment_method_id else None


async def _without_default(steps: Steps, subscription_id: str) -> StripeAnswer | None:
    """Return the subscription if it charges no payment method of its own."""
    answer = await steps.read("fetch_subscription", subscription_id)
    over = answer.data.get("status") in ENDED
    return answer if over or reference_in(answer.data, "default_payment_method") is None else None


def _default_of(customer: Json) -> str | None:
    return reference_in(customer.get("invoice_settings") or {}, "default_payment_method")


def _about(payment_method_id: str) -> OperationResult:
    return OperationResult(object_id=payment_method_id)


def _collecting(answer: StripeAnswer) -> Performed:
    """Return the outcome for a set-up intent; one that was confirmed in the meantime needs nothing more."""
    status = text_in(answer.data, "status")
    confirmed = status == "succeeded"
    result = OperationResult(
        status="done" if confirmed else "requires_action",
        object_id=text_in(answer.data, "id"),
        object_status=status,
        confirms="setup",
        client_secret=text_in(answer.data, "client_secret"),
    )
    return performed(answer, result)


HANDLERS: Final[dict[type, Handler[Any]]] = {
    CreateSetupIntent: Handler(create_setup_intent, find_setup_intent),
    SetDefaultPaymentMethod: Handler(set_default, find_default),
    DetachPaymentMethod: Handler(detach, find_detached),
}
