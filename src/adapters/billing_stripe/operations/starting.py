"""Starting a subscription."""

from typing import Any, Final

from billing_core.operations.commands import StartSubscription
from billing_core.operations.results import Performed
from billing_stripe.operations.answers import CONFIRMATION, about_subscription
from billing_stripe.operations.items import new_items
from billing_stripe.operations.pages import expire_earlier
from billing_stripe.operations.steps import OPERATION, Handler, Steps

_PAYMENT: Final[dict[str, dict[str, Any]]] = {
    "on_file": {"payment_behavior": "allow_incomplete"},
    "confirm": {
        "payment_behavior": "default_incomplete",
        "payment_settings": {"save_default_payment_method": "on_subscription"},
    },
    "off_session": {"payment_behavior": "error_if_incomplete", "off_session": True},
}
"""The parameters for each way to pay the first invoice."""


async def start(steps: Steps, command: StartSubscription) -> Performed:
    """Create the subscription, with the client secret where the customer has to confirm.

    Raises: GatewayInvalidRequestError for `expire` if an open checkout was completed in the meantime.
    """
    await expire_earlier(steps, command.expire)
    params = {
        "customer": command.customer_id,
        "items": await new_items(steps.prices, command.items),
        "billing_mode": {"type": command.billing_mode},
        "metadata": {"tenant_id": command.tenant_id, OPERATION: steps.key},
        "expand": CONFIRMATION,
        **_PAYMENT[command.payment],
        **_options(command),
    }
    return about_subscription(await steps.write("create_subscription", params=params))


async def find_started(steps: Steps, command: StartSubscription) -> Performed | None:
    """Look among all subscriptions of the customer, ended ones too."""
    made = await steps.made("list_subscriptions", params={"customer": command.customer_id, "status": "all"})
    if made is None:
        return None
    return about_subscription(await steps.read("fetch_subscription", made["id"], params={"expand": CONFIRMATION}))


def _options(command: StartSubscription) -> dict[str, Any]:
    params: dict[str, Any] = {}
    if command.trial is not None:
        params["trial_period_days"] = command.trial.days
        params["trial_settings"] = {"end_behavior": {"missing_payment_method": command.trial.without_payment_method}}
    if command.promotion_code_id is not None:
        params["discounts"] = [{"promotion_code": command.promotion_code_id}]
    if command.currency is not None:
        params["currency"] = command.currency
    return params


HANDLERS: Final[dict[type, Handler[Any]]] = {StartSubscription: Handler(start, find_started)}
