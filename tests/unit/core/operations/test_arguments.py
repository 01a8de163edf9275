"""A request id belongs to one decision: every argument that an operation takes is part of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final, get_type_hints

import attrs
import pytest
from tests.unit.core.operations.accounts import RULES, account, subscription

from billing_core.model import CustomerId, InvoiceId, SubscriptionId
from billing_core.operations.account import Account
from billing_core.operations.checkouts import CheckoutOperations, CheckoutOptions
from billing_core.operations.commands import Address, Cancellation, CheckoutReturn, CreditTerms, TaxId
from billing_core.operations.credits import CreditOperations
from billing_core.operations.customers import CustomerOperations
from billing_core.operations.decisions.changing import PlanChange
from billing_core.operations.decisions.starting import NewSubscription
from billing_core.operations.facade import Operations
from billing_core.operations.invoices import InvoiceOperations
from billing_core.operations.items import Terms
from billing_core.operations.payment_methods import PaymentMethodOperations
from billing_core.operations.requests import Caller, Operator
from billing_core.operations.runner import Decide
from billing_core.operations.stored import OperationRequest
from billing_core.operations.subscriptions import SubscriptionOperations
from billing_core.testing.builders import ACME, AT, customer

CALLER: Final = Caller(tenant_id=ACME, request_id="r1", actor="ada")
VALUES: Final[dict[str, tuple[object, object]]] = {
    "wanted: NewSubscription": (NewSubscription(plan_code="pro"), None),
    "wanted: PlanChange": (PlanChange(subscription_id=SubscriptionId("sub_1")), None),
    "returns": (CheckoutReturn(success_url="https://a.example"), None),
    "options": (CheckoutOptions(), None),
    "terms": (Terms(), None),
    "terms: CreditTerms": (CreditTerms(), None),
    "reason": (Cancellation(), None),
    "address": (Address(), None),
    "subscription_id": ("sub_1", "sub_2"),
    "invoice_id": ("in_1", "in_2"),
    "session_id": ("cs_1", "cs_2"),
    "payment_method_id": ("pm_1", "pm_2"),
    "payer": ("cus_1", "cus_2"),
    "plan_code": ("pro", "basic"),
    "addons": ((), ("support",)),
    "seats": (2, 3),
    "trial": (None, False),
    "when": ("auto", "now"),
    "interval": (None, "year"),
    "interval_count": (None, 3),
    "currency": ("usd", "eur"),
    "payment": ("confirm", "on_file"),
    "promotion_code": (None, "WELCOME"),
    "code": ("WELCOME", "SUMMER"),
    "email": (None, "ada@acme.example"),
    "name": (None, "Acme"),
    "phone": (None, "+49 30 1234"),
    "line1": (None, "Main Street 1"),
    "line2": (None, "Floor 2"),
    "postal_code": (None, "10115"),
    "city": (None, "Berlin"),
    "state": (None, "BE"),
    "country": (None, "DE"),
    "add_tax_ids": ((), [TaxId(type="eu_vat", value="DE123456789")]),
    "remove_tax_ids": ((), ["txi_1"]),
    "preview": (None, f"pv_{int(AT.timestamp())}_{'0' * 40}"),
    "proration": ("next_invoice", "none"),
    "what": (None, "plan_change"),
    "feedback": (None, "other"),
    "comment": (None, "too dear"),
    "invoice_usage": (True, False),
    "credit_unused_time": (True, False),
    "period": ("new", "continued"),
    "only_if_paid": (True, False),
    "behavior": ("keep_as_draft", "void"),
    "resumes_at": (None, AT + timedelta(days=90)),
    "off_session": (True, False),
    "amount": (500, 600),
    "category": ("promotional", "paid"),
    "expires_at": (None, AT + timedelta(days=90)),
    "return_url": ("https://a.example", "https://b.example"),
    "success_url": ("https://a.example", "https://b.example"),
    "cancel_url": (None, "https://b.example"),
    "flow": (None, "payment_method_update"),
    "allow_promotion_codes": (False, True),
    "payment_method": ("always", "if_required"),
    "automatic_tax": (False, True),
    "collect_tax_id": (False, True),
    "locale": (None, "de"),
    "open_for": (timedelta(hours=1), timedelta(hours=2)),
}
"""Two values of each argument, by its name, or by its name and type; of values with fields, each field is changed."""


class Recorded(Exception):  # noqa: N818 - a signal, not an error
    """A request was made."""

    def __init__(self, request: OperationRequest) -> None:
        super().__init__(request)
        self.request = request


class Recorder:
    """A runner that runs nothing."""

    async def run(self, request: OperationRequest, _decide: Decide) -> Any:
        raise Recorded(request)


class Accounts:
    """One account that has everything."""

    async def load(self, _tenant_id: object) -> Account:
        held = [subscription(subscription_id=name) for name in ("sub_1", "sub_2")]
        return account(*held, customers=(customer("cus_1"), customer("cus_2")))


def operations() -> Operations:
    """Return operations whose requests are recorded."""
    operator = Operator(runner=Recorder(), accounts=Accounts())  # type: ignore[arg-type] # of their shape
    nothing: Any = None
    customers = CustomerOperations(operator=operator, reader=nothing)
    return Operations(
        plans=nothing,
        subscriptions=SubscriptionOperations(
            operator=operator, customers=customers, reader=nothing, previews=nothing, stored=nothing
        ),
        checkout=CheckoutOperations(
            operator=operator, customers=customers, reader=nothing, answers=nothing, clock=nothing
        ),
        payment_methods=PaymentMethodOperations(operator=operator, customers=customers, reader=nothing),
        invoices=InvoiceOperations(operator=operator, reader=nothing, stored=nothing, previews=nothing),
        credits=CreditOperations(operator=operator, reader=nothing),
        customers=customers,
    )


def methods() -> Iterator[tuple[str, str]]:
    """Yield the part and the name of every operation that takes a caller."""
    for part in attrs.fields(Operations):
        kind = get_type_hints(Operations)[part.name]
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_") and "caller" in inspect.signature(method).parameters:
                yield part.name, name


def values_of(name: str, kind: object) -> tuple[object, object]:
    """Return the values of an argument. One that is new needs two in the table."""
    short = getattr(kind, "__name__", "")
    return VALUES.get(f"{name}: {short}") or VALUES[name]


def variants(name: str, kind: object) -> Iterator[tuple[str, object]]:
    """Yield an argument with something else in it, for everything that is in it."""
    first, second = values_of(name, kind)
    if not attrs.has(type(first)):
        yield name, second
        return
    hints = get_type_hints(type(first))
    for field in attrs.fields(type(first)):
        if (type(first), field.name) == (CheckoutReturn, "return_url"):
            yield f"{name}.{field.name}", CheckoutReturn(return_url="https://b.example")
            continue
        for path, value in variants(field.name, hints[field.name]):
            changed = attrs.evolve(first, **{field.name: value})  # type: ignore[misc] # checked above
            yield f"{name}.{path}", changed


async def requested(part: str, name: str, arguments: dict[str, object]) -> OperationRequest:
    """Return the request of an operation."""
    with pytest.raises(Recorded) as recorded:
        await getattr(getattr(operations(), part), name)(CALLER, **arguments)
    return recorded.value.request


@pytest.mark.parametrize(("part", "name"), list(methods()))
async def test_every_argument_is_part_of_the_decision(part: str, name: str) -> None:
    """The same request id with another value of any of them is a conflict, not the first answer."""
    method = getattr(get_type_hints(Operations)[part], name)
    hints = get_type_hints(method)
    taken = [each for each in inspect.signature(method).parameters if each not in ("self", "caller")]
    plain = {each: values_of(each, hints[each])[0] for each in taken}
    first = await requested(part, name, plain)
    assert await requested(part, name, plain) == first
    for argument in taken:
        for path, value in variants(argument, hints[argument]):
            other = await requested(part, name, {**plain, argument: value})
            assert other.arguments_hash != first.arguments_hash, path


def test_the_walk_finds_the_operations() -> None:
    """All of them, and plans that exist."""
    found = set(methods())
    assert {("subscriptions", "start"), ("checkout", "create"), ("credits", "give"), ("customers", "ensure")} <= found
    assert len(found) >= 20
    assert RULES.catalog.plan("pro") is not None
    assert (CustomerId("cus_1"), InvoiceId("in_1")) == ("cus_1", "in_1")
