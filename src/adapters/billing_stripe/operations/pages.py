"""Stripe's own pages: checkout and the customer portal."""

from collections.abc import Sequence
from typing import Any, Final

from billing_core.errors import GatewayInvalidRequestError
from billing_core.operations.commands import CreateCheckoutSession, CreatePortalSession, ExpireCheckoutSession
from billing_core.operations.results import OperationResult, Performed
from billing_stripe.client import StripeAnswer
from billing_stripe.operations.answers import instant_in, performed, rows_in, text_in
from billing_stripe.operations.items import new_items
from billing_stripe.operations.steps import OPERATION, Handler, Steps, timestamp


async def create_checkout(steps: Steps, command: CreateCheckoutSession) -> Performed:
    """Open a session, after earlier ones were expired: two open ones would make two subscriptions.

    Raises: GatewayInvalidRequestError if an earlier one was completed in the meantime; none is opened then.
    """
    await expire_earlier(steps, command.expire)
    metadata = {"tenant_id": command.tenant_id, OPERATION: steps.key}
    params: dict[str, Any] = {
        "mode": "subscription",
        "customer": command.customer_id,
        "client_reference_id": command.tenant_id,
        "line_items": await new_items(steps.prices, command.items),
        "metadata": metadata,
        "subscription_data": {
            "metadata": metadata,
            "billing_mode": {"type": command.billing_mode},
            **_trial(command),
        },
        "payment_method_collection": command.payment_method,
        "expires_at": timestamp(command.expires_at),
        **_returns(command),
        **_options(command),
    }
    answer = await steps.write(
        "create_checkout_session", params=params, settled_by=lambda: _made(steps, command.customer_id)
    )
    return _open(answer)


async def find_checkout(steps: Steps, command: CreateCheckoutSession) -> Performed | None:
    """Look among all sessions of the customer."""
    made = await _made(steps, command.customer_id)
    return None if made is None else _open(made)


async def expire_checkout(steps: Steps, command: ExpireCheckoutSession) -> Performed:
    """Expire a session; one that is complete or expired stays as it is."""
    return _closed(await _expire(steps, command.session_id))


async def find_expired(steps: Steps, command: ExpireCheckoutSession) -> Performed | None:
    """Look whether the session is still open."""
    answer = await _ended(steps, command.session_id)
    return None if answer is None else _closed(answer)


async def create_portal_session(steps: Steps, command: CreatePortalSession) -> Performed:
    """Open the portal, on the page of a flow if one is named.

    Raises: GatewayInvalidRequestError for `configuration` if the account has none: set-up makes one.
    """
    params: dict[str, Any] = {"customer": command.customer_id, "return_url": command.return_url}
    if command.configuration is not None:
        params["configuration"] = command.configuration
    if command.flow is not None:
        params["flow_data"] = _flow(command.flow, command)
    try:
        answer = await steps.write("create_portal_session", params=params)
    except GatewayInvalidRequestError as error:
        if command.configuration is None and not await _has_configuration(steps):
            text = "create_portal_session: no configuration of the portal"
            raise GatewayInvalidRequestError(text, parameter="configuration") from error
        raise
    result = OperationResult(object_id=text_in(answer.data, "id"), url=text_in(answer.data, "url"))
    return performed(answer, result)


async def find_portal_session(_steps: Steps, _command: CreatePortalSession) -> Performed | None:
    """Report that it was not done: Stripe never shows a portal session again, and a second one is harmless."""
    return None


async def _has_configuration(steps: Steps) -> bool:
    params = {"is_default": True, "active": True, "limit": 1}
    return bool(rows_in((await steps.read("list_portal_configurations", params=params)).data))


async def expire_earlier(steps: Steps, session_ids: Sequence[str]) -> None:
    """Expire sessions before a subscription is started in another way.

    Raises: GatewayInvalidRequestError for `expire` if one was completed in the meantime.
    """
    for session_id in session_ids:
        if (await _expire(steps, session_id)).data.get("status") == "complete":
            raise GatewayInvalidRequestError(f"{session_id} was completed", parameter="expire")


async def _expire(steps: Steps, session_id: str) -> StripeAnswer:
    """Expire a session if it is open, and return how it ended."""
    try:
        return await steps.write("expire_checkout_session", session_id, settled_by=lambda: _ended(steps, session_id))
    except GatewayInvalidRequestError:
        answer = await _ended(steps, session_id)
        if answer is None:
            raise
        return answer


async def _ended(steps: Steps, session_id: str) -> StripeAnswer | None:
    """Return a session that is not open any more."""
    answer = await steps.read("fetch_checkout_session", session_id)
    return None if answer.data.get("status") == "open" else answer


async def _made(steps: Steps, customer_id: str) -> StripeAnswer | None:
    """Return the session that this operation opened."""
    made = await steps.made("list_checkout_sessions", params={"customer": customer_id})
    return None if made is None else await steps.read("fetch_checkout_session", made["id"])


def _trial(command: CreateCheckoutSession) -> dict[str, Any]:
    if command.trial is None:
        return {}
    end = {"end_behavior": {"missing_payment_method": command.trial.without_payment_method}}
    return {"trial_period_days": command.trial.days, "trial_settings": end}


def _returns(command: CreateCheckoutSession) -> dict[str, Any]:
    """Return the parameters of the page: an embedded one has a `return_url` and neither of the other two."""
    returns = command.returns
    if returns.return_url is not None:
        return {"ui_mode": "embedded_page", "return_url": returns.return_url}
    urls = {"success_url": returns.success_url, "cancel_url": returns.cancel_url}
    return {name: url for name, url in urls.items() if url is not None}


def _options(command: CreateCheckoutSession) -> dict[str, Any]:
    params: dict[str, Any] = {}
    if command.promotion_code_id is not None:
        params["discounts"] = [{"promotion_code": command.promotion_code_id}]
    elif command.allow_promotion_codes:
        params["allow_promotion_codes"] = True
    if command.automatic_tax:
        params["automatic_tax"] = {"enabled": True}
        params["customer_update"] = {"address": "auto"}
    if command.collect_tax_id:
        params["tax_id_collection"] = {"enabled": True}
        params["customer_update"] = {**params.get("customer_update", {}), "name": "auto"}
    if command.locale is not None:
        params["locale"] = command.locale
    return params


def _flow(flow: str, command: CreatePortalSession) -> dict[str, Any]:
    """Return the parameters of a flow; those about a subscription name it in a field of the flow's name."""
    data: dict[str, Any] = {"type": flow}
    if command.subscription_id is not None and flow.startswith("subscription_"):
        data[flow] = {"subscription": command.subscription_id}
    return data


def _open(answer: StripeAnswer) -> Performed:
    """Return the outcome for a session: the customer acts on its page, or in the embedded one with its secret."""
    shown = answer.data
    is_open = text_in(shown, "status") == "open"
    result = OperationResult(
        status="requires_action" if is_open else "done",
        object_id=text_in(shown, "id"),
        object_status=text_in(shown, "status"),
        expires_at=instant_in(shown, "expires_at"),
        client_secret=text_in(shown, "client_secret") if is_open else None,
        url=text_in(shown, "url") if is_open else None,
    )
    return performed(answer, result)


def _closed(answer: StripeAnswer) -> Performed:
    result = OperationResult(object_id=text_in(answer.data, "id"), object_status=text_in(answer.data, "status"))
    return performed(answer, result)


HANDLERS: Final[dict[type, Handler[Any]]] = {
    CreateCheckoutSession: Handler(create_checkout, find_checkout),
    ExpireCheckoutSession: Handler(expire_checkout, find_expired),
    CreatePortalSession: Handler(create_portal_session, find_portal_session),
}
