"""Commands and results as they are stored: a process that did not decide has to perform them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import get_args, get_type_hints

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.converters import dumps, loads
from billing_core.model import CustomerId, ItemId, PriceId, SubscriptionId
from billing_core.operations.commands import (
    COMMANDS,
    CONTACT,
    Address,
    ChangeItems,
    CheckoutReturn,
    Command,
    CreateCustomer,
    ExpireCheckoutSession,
    GiveCredit,
    ItemChange,
    NewItem,
    PriceChoice,
    SetBillingContact,
    SetSeats,
    TaxId,
    Trial,
    command_from_json,
    command_to_json,
    without_contact_details,
)
from billing_core.operations.errors import REFUSAL_TEXTS, OperationRefusedError, Refusal
from billing_core.operations.results import OperationResult

TEXTS = st.text(max_size=20)
INSTANTS = st.datetimes(timezones=st.just(UTC))
COUNTS = st.integers(min_value=0, max_value=2**63 - 1)
PRICES = st.builds(PriceChoice, price_id=TEXTS.map(PriceId))
RETURNS = st.one_of(
    st.builds(CheckoutReturn, success_url=TEXTS, return_url=st.none()),
    st.builds(CheckoutReturn, success_url=st.none(), return_url=TEXTS),
)
for kind, strategy in (
    (datetime, INSTANTS),
    (PriceChoice, PRICES),
    (CheckoutReturn, RETURNS),
    (NewItem, st.builds(NewItem, price=PRICES, quantity=st.none() | COUNTS)),
    (ItemChange, st.builds(ItemChange, price=st.none() | PRICES, quantity=st.none() | COUNTS)),
    (Trial, st.builds(Trial, days=st.integers(min_value=1, max_value=730))),
    (SetSeats, st.builds(SetSeats, quantity=COUNTS)),
    (GiveCredit, st.builds(GiveCredit, amount=COUNTS.filter(bool), currency=st.just("usd"))),
):
    st.register_type_strategy(kind, strategy)  # type: ignore[arg-type] # a mixed table


@given(st.sampled_from(sorted(COMMANDS)).flatmap(lambda name: st.from_type(COMMANDS[name])))
def test_a_stored_command_is_the_same_command(command: Command) -> None:
    """It is read back equal, with its type, for all values."""
    assert command_from_json(command_to_json(command)) == command


def test_every_command_is_known_by_one_operation() -> None:
    """No two commands share a name, or one of them would be read as the other."""
    assert {COMMANDS[command.operation] for command in get_args(Command)} == set(get_args(Command))


def test_fields_of_later_versions_are_ignored() -> None:
    """A process of the release before can settle what one of the next release left."""
    stored = json.loads(command_to_json(ExpireCheckoutSession(session_id="cs_1")))
    stored["arguments"]["because"] = "later"
    assert command_from_json(json.dumps(stored)) == ExpireCheckoutSession(session_id="cs_1")


def test_an_unknown_operation_is_an_error() -> None:
    """It must not be taken for another one."""
    with pytest.raises(KeyError):
        command_from_json('{"operation": "print_money", "arguments": {}}')


@given(st.from_type(OperationResult))
def test_what_is_stored_of_a_result_has_no_secret(result: OperationResult) -> None:
    """Neither client secret nor URL reaches the store; whether there was one does."""
    stored = loads(dumps(result.without_secrets()), OperationResult)
    assert (stored.client_secret, stored.url) == (None, None)
    hidden = result.client_secret is not None or result.url is not None
    assert stored.secrets_left_out == (hidden or result.secrets_left_out)
    restored = attrs.evolve(stored, client_secret=result.client_secret, url=result.url, secrets_left_out=False)
    assert restored == attrs.evolve(result, secrets_left_out=False)


def test_secrets_of_a_result_are_not_printed() -> None:
    """A result may end up in a log by accident."""
    assert "hidden" not in repr(OperationResult(client_secret="hidden", url="https://hidden"))


def test_a_price_without_any_name_is_refused() -> None:
    """It could not be found at the provider."""
    with pytest.raises(ValueError, match="id or a lookup key"):
        PriceChoice(plan_code="pro")


@pytest.mark.parametrize("quantity", [-1, -25])
def test_a_negative_quantity_is_refused(quantity: int) -> None:
    """It would be a bug of ours, not a wish."""
    with pytest.raises(ValueError, match="negative"):
        ItemChange(item_id=ItemId("si_1"), quantity=quantity)


@pytest.mark.parametrize("urls", [{}, {"success_url": "https://a", "return_url": "https://b"}])
def test_a_checkout_leads_to_one_place(urls: dict[str, str]) -> None:
    """Hosted or embedded, not both."""
    with pytest.raises(ValueError, match="either"):
        CheckoutReturn(**urls)


def test_a_naive_proration_date_is_refused() -> None:
    """The provider would read it in the zone of some machine."""
    with pytest.raises(ValueError, match="aware"):
        ChangeItems(subscription_id=SubscriptionId("sub_1"), proration_date=datetime(2026, 1, 1))  # noqa: DTZ001


def test_credit_is_above_zero() -> None:
    """Nothing and less cannot be given."""
    with pytest.raises(ValueError, match="amount"):
        GiveCredit(customer_id=CustomerId("cus_1"), amount=0, currency="usd")


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_has_a_text_for_customers(refusal: Refusal) -> None:
    """A sentence, with the detail behind it."""
    error = OperationRefusedError(refusal, "Between 1 and 5.")
    assert error.code == refusal.value
    assert str(error) == error.user_text == f"{REFUSAL_TEXTS[refusal]} Between 1 and 5."


def nested(kind: object) -> Iterator[type]:
    """Yield the attrs classes that a type is made of, itself among them."""
    if isinstance(kind, type) and attrs.has(kind):
        yield kind
        for hint in get_type_hints(kind).values():
            yield from nested(hint)
    for argument in get_args(kind):
        yield from nested(argument)


PERSONAL = {"email", "name", "phone", "address", "add_tax_ids"}


@pytest.mark.parametrize("command", get_args(Command), ids=lambda command: command.operation)
def test_contact_details_are_declared(command: type[Command]) -> None:
    """They are deleted with the outcome, and not printed: a new field with one has to say so."""
    declared = {field.name for field in attrs.fields(command) if field.metadata == CONTACT}
    hidden = {field.name for field in attrs.fields(command) if field.repr is False}
    assert declared == hidden == PERSONAL & {field.name for field in attrs.fields(command)}
    others = [kind for field in attrs.fields(command) if field.name not in declared for kind in nested(field.type)]
    assert {Address, TaxId}.isdisjoint(others)


@given(st.sampled_from([CreateCustomer, SetBillingContact]).flatmap(st.from_type))
def test_a_command_without_contact_details_is_the_same_in_all_else(command: CreateCustomer | SetBillingContact) -> None:
    """Operators still see what was asked for, and about whom."""
    bare = without_contact_details(command)
    same = {
        field.name for field in attrs.fields(type(command)) if getattr(bare, field.name) == getattr(command, field.name)
    }
    assert same >= {field.name for field in attrs.fields(type(command))} - PERSONAL
    assert all(not getattr(bare, name, None) for name in PERSONAL)
