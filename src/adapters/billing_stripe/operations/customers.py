"""Customers and their billing contact."""

from datetime import datetime, timedelta
from typing import Any, Final

from billing_core.errors import GatewayNotFoundError
from billing_core.operations.commands import CreateCustomer, SetBillingContact, TaxId
from billing_core.operations.results import OperationResult, Performed
from billing_stripe.client import CLEAR, Json, StripeAnswer, is_id
from billing_stripe.operations.answers import customer_in, instant_in, performed, text_in
from billing_stripe.operations.steps import OPERATION, Handler, Steps

_FINDABLE: Final = timedelta(days=30)
"""The age up to which a customer is looked for: operations are settled long before."""
_ADDRESS: Final = ("line1", "line2", "postal_code", "city", "state", "country")


async def create_customer(steps: Steps, command: CreateCustomer) -> Performed:
    """Create the customer."""
    params: dict[str, Any] = {"metadata": {"tenant_id": command.tenant_id, OPERATION: steps.key}}
    params |= _given(email=command.email, name=command.name)
    return _about(await steps.write("create_customer", params=params))


async def find_customer(steps: Steps, command: CreateCustomer) -> Performed | None:
    """Look among the customers with its e-mail address, else among all new ones: Stripe's search lags behind.

    Stripe lists the newest first; the age of the others is counted from it, so that no local clock is compared.
    """
    newest: datetime | None = None
    async for row in steps.each("list_customers", params=_given(email=command.email)):
        if (row.get("metadata") or {}).get(OPERATION) == steps.key:
            return _about(await steps.read("fetch_customer", row["id"]))
        created = instant_in(row, "created")
        newest = newest or created
        if created is not None and newest is not None and newest - created > _FINDABLE:
            return None
    return None


async def set_contact(steps: Steps, command: SetBillingContact) -> Performed:
    """Add tax ids, change the customer, remove tax ids: first what Stripe may refuse, so that it can be undone."""
    for tax_id in command.add_tax_ids:
        await _add_tax_id(steps, command, tax_id)
    answer = await _change_contact(steps, command)
    for name in command.remove_tax_ids:
        if not is_id("tax_id", name):
            continue  # as little of the customer as one that was removed before
        try:
            await steps.write("delete_tax_id", command.customer_id, name)
        except GatewayNotFoundError:
            continue  # removed before
    return _about(answer)


async def find_contact(steps: Steps, command: SetBillingContact) -> Performed | None:
    """Compare the customer and its tax ids with what was wanted."""
    answer = await _with_contact(steps, command)
    if answer is None:
        return None
    rows = [row async for row in steps.each("list_tax_ids", command.customer_id)]
    shown = {(row.get("type"), row.get("value")) for row in rows}
    added = all((tax_id.type, tax_id.value) in shown for tax_id in command.add_tax_ids)
    removed = not {row.get("id") for row in rows} & set(command.remove_tax_ids)
    return _about(answer) if added and removed else None


async def _add_tax_id(steps: Steps, command: SetBillingContact, tax_id: TaxId) -> None:
    params = {"type": tax_id.type, "value": tax_id.value}
    added = await steps.write(
        "create_tax_id",
        command.customer_id,
        params=params,
        settled_by=lambda: _with_tax_id(steps, command.customer_id, tax_id),
    )
    steps.undo_by(lambda: steps.write("delete_tax_id", command.customer_id, added.data["id"]))


async def _change_contact(steps: Steps, command: SetBillingContact) -> StripeAnswer:
    params = _contact(command)
    if not params:
        return await steps.read("fetch_customer", command.customer_id)
    return await steps.write(
        "update_customer", command.customer_id, params=params, settled_by=lambda: _with_contact(steps, command)
    )


async def _with_contact(steps: Steps, command: SetBillingContact) -> StripeAnswer | None:
    """Return the customer if its contact is as wanted."""
    answer = await steps.read("fetch_customer", command.customer_id)
    shown = {name: _shown(answer.data.get(name)) for name in _contact(command)}
    return answer if shown == _contact(command) else None


async def _with_tax_id(steps: Steps, customer_id: str, tax_id: TaxId) -> StripeAnswer | None:
    """Return the tax id if the customer has it."""
    async for row in steps.each("list_tax_ids", customer_id):
        if (row.get("type"), row.get("value")) == (tax_id.type, tax_id.value):
            return StripeAnswer(data=row)
    return None


def _shown(value: Any) -> Any:
    """Return a field in the form of its parameter, in which an empty text clears it."""
    if not isinstance(value, dict):
        return value or CLEAR
    return {name: value.get(name) or CLEAR for name in _ADDRESS}


def _contact(command: SetBillingContact) -> dict[str, Any]:
    """Return the parameters of a contact. An address is replaced whole, so that its empty fields are cleared."""
    params = _given(email=command.email, name=command.name, phone=command.phone)
    if command.address is not None:
        address = command.address
        params["address"] = {name: getattr(address, name) or CLEAR for name in _ADDRESS}
    return params


def _given(**values: str | None) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _about(answer: StripeAnswer) -> Performed:
    shown: Json = answer.data
    return performed(answer, OperationResult(object_id=text_in(shown, "id")), customer_in(shown))


HANDLERS: Final[dict[type, Handler[Any]]] = {
    CreateCustomer: Handler(create_customer, find_customer),
    SetBillingContact: Handler(set_contact, find_contact),
}
