"""Code of an application that runs when billing changes."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.host.conftest import PLANS, signed, subscription_event

from billing_app import Billing, Settings, open_billing, open_billing_sync
from billing_core.consumers.values import ConsumerMessage
from billing_core.payloads import BillingEventPayload

if TYPE_CHECKING:
    import asyncpg

    from billing_core.consumers import values
    from billing_core.payloads import BillingEventPayload as Payload


async def arrive(billing: Billing, *numbers: int, tenant_id: str = "acme") -> None:
    """Receive events about a tenant, then do what is due."""
    for number in numbers:
        await billing.receive(*signed(subscription_event(number, tenant_id=tenant_id)))
    await billing.process_due()


async def test_a_hook_gets_each_message_in_order() -> None:
    """It is attached when the module is imported, and runs once billing is open."""
    billing = open_billing(Settings.for_tests(PLANS))
    seen: list[tuple[str, int, str | None]] = []

    @billing.on("subscription.*", consumer="welcome-mails")
    async def welcome(message: BillingEventPayload) -> None:
        seen.append((message.tenant_id, message.sequence, message.subscription and message.subscription.status))

    async with billing:
        await arrive(billing, 1, 2)
        await arrive(billing, 1, tenant_id="globex")
        await billing.process_due()
    assert seen == [("acme", 1, "active"), ("acme", 2, "active"), ("globex", 1, "active")]


async def test_a_hook_runs_where_a_worker_does() -> None:
    """As soon as the change is committed."""
    billing, seen = open_billing(Settings.for_tests(PLANS)), asyncio.Event()

    @billing.on(consumer="everything")
    async def note(_message: BillingEventPayload) -> None:
        seen.set()

    async with billing, billing.working():
        await billing.receive(*signed(subscription_event(1)))
        async with asyncio.timeout(60):
            await seen.wait()


async def test_a_hook_gets_only_the_types_that_it_names() -> None:
    """Others are passed over."""
    billing, seen = open_billing(Settings.for_tests(PLANS)), list[str]()

    @billing.on("invoice.*", "customer.linked", consumer="accounting")
    async def book(message: BillingEventPayload) -> None:
        seen.append(message.event_type)

    async with billing:
        await arrive(billing, 1, 2)
    assert seen == []


async def test_a_hook_may_be_attached_while_billing_is_open(billing: Billing) -> None:
    """It gets the messages from then on."""
    await arrive(billing, 1)
    seen: list[int] = []

    @billing.on(consumer="late")
    async def note(message: BillingEventPayload) -> None:
        seen.append(message.sequence)

    await arrive(billing, 2)
    assert seen == [2]


async def test_a_hook_that_fails_gets_the_message_again() -> None:
    """After a pause, with the same id; the annotation asks for the whole message, with its id and attempt."""
    billing = open_billing(Settings.for_tests(PLANS))
    attempts: list[tuple[str, int]] = []

    @billing.on(consumer="flaky", attempts=2, on_dead="skip")
    async def fail(message: ConsumerMessage) -> None:
        attempts.append((str(message.id), message.attempt))
        raise ValueError("no mail server")

    async with billing:
        await arrive(billing, 1)
        assert await billing.process_due() == 0  # the next attempt waits
    assert attempts == [("memory1:acme:1", 1)]


SEEN: list[Any] = []


async def with_transaction(message: ConsumerMessage, _transaction: asyncpg.Connection) -> None:
    """Handle a message beside a type that is imported for type checking only."""
    SEEN.append(message)


async def checked_only(message: values.ConsumerMessage) -> None:
    """Handle a message of a type that is imported for type checking only."""
    SEEN.append(message)


def in_quotes(message: "ConsumerMessage") -> None:  # noqa: UP037 - an application may write it
    """Handle a message in a thread."""
    SEEN.append(message)


def of_a_place(place: list[Any], message: ConsumerMessage) -> None:
    """Handle a message with something that was given before."""
    place.append(message)


class Service:
    """An object with handlers."""

    async def __call__(self, message: ConsumerMessage) -> None:
        """Handle a message."""
        SEEN.append(message)

    async def handle(self, message: ConsumerMessage) -> None:
        """Handle a message."""
        SEEN.append(message)


async def with_payload(payload: Payload, _transaction: asyncpg.Connection) -> None:
    """Handle a payload of a type that is imported for type checking only."""
    SEEN.append(payload)


@pytest.mark.parametrize(
    ("handler", "given"),
    [
        (with_transaction, ConsumerMessage),
        (checked_only, ConsumerMessage),
        (in_quotes, ConsumerMessage),
        (functools.partial(of_a_place, SEEN), ConsumerMessage),
        (Service(), ConsumerMessage),
        (Service().handle, ConsumerMessage),
        (with_payload, BillingEventPayload),
        (SEEN.append, BillingEventPayload),
    ],
)
async def test_the_annotation_decides_what_a_hook_gets(handler: Callable[..., Any], given: type[object]) -> None:
    """Also where annotations cannot be evaluated, because they name types that are imported for type checking only."""
    SEEN.clear()
    billing = open_billing(Settings.for_tests(PLANS))
    billing.on(consumer="annotated")(handler)
    async with billing:
        await arrive(billing, 1)
    assert [type(each) for each in SEEN] == [given]


async def test_a_plain_function_runs_in_a_thread() -> None:
    """So that it may wait, as for a mail server or with Django's models."""
    billing, threads = open_billing(Settings.for_tests(PLANS)), list[int]()

    @billing.on(consumer="slow")
    def wait(_message: BillingEventPayload) -> None:
        threads.append(threading.get_ident())

    async with billing:
        await arrive(billing, 1)
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_a_hook_may_take_the_transaction() -> None:
    """That in which its position moves."""
    billing, given = open_billing(Settings.for_tests(PLANS)), list[Any]()

    @billing.on(consumer="own-tables")
    async def write(message: BillingEventPayload, transaction: Any) -> None:
        given.append((message.sequence, transaction))

    async with billing:
        await arrive(billing, 1)
    assert [number for number, _ in given] == [1]


def test_synchronous_code_has_hooks_as_well() -> None:
    """They run where its worker does."""
    billing, seen = open_billing_sync(Settings.for_tests(PLANS)), list[int]()

    @billing.on(consumer="accounting")
    def book(message: BillingEventPayload) -> None:
        seen.append(message.sequence)

    with billing:
        billing.receive(*signed(subscription_event(1)))
        assert billing.process_due() == 2  # the event, and its message
    assert seen == [1]


@pytest.mark.parametrize(
    ("event_types", "consumer", "said"),
    [
        (("subscription.strated",), "mails", "no message has the type 'subscription.strated'"),
        (("subscription.*",), "Welcome Mails", "is no name of a consumer"),
        (("subscription.*",), "taken", "has a hook already"),
    ],
)
def test_a_mistake_shows_at_import(event_types: tuple[str, ...], consumer: str, said: str) -> None:
    """Before anything is deployed."""
    billing = open_billing(Settings.for_tests())

    @billing.on(consumer="taken")
    async def first(_message: BillingEventPayload) -> None: ...

    with pytest.raises(ValueError, match=said):

        @billing.on(*event_types, consumer=consumer)
        async def second(_message: BillingEventPayload) -> None: ...


def test_a_function_of_another_form_is_refused() -> None:
    """The error shows the forms that there are."""
    billing = open_billing(Settings.for_tests())
    with pytest.raises(TypeError, match="nothing is no handler: use `async def"):

        @billing.on(consumer="nothing")
        async def nothing() -> None: ...


async def test_the_function_stays_what_it_is(billing: Billing) -> None:
    """Tests of the application can call it."""

    @billing.on(consumer="twice")
    async def double(number: int) -> int:
        return number * 2

    assert await double(2) == 4
