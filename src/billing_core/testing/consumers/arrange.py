"""Consumers, messages and claims for the suites of this folder."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import attrs

from billing_core.consumers.ports import ConsumerClaim, ConsumerQueue, Progress, Step, Want
from billing_core.consumers.values import Consumer, ConsumerName, consumer_name
from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.state.ports import Changes, UnitOfWork
from billing_core.testing.arrange import save
from billing_core.testing.builders import ACME, message
from billing_core.testing.timing import LONG

MAILS = consumer_name("mails")
CRM = consumer_name("crm")


def consumer(name: ConsumerName = MAILS, **fields: Any) -> Consumer:
    """Return a consumer of all messages from now on."""
    return Consumer(name=name, **fields)


async def number(unit_of_work: UnitOfWork, *events: BillingEvent) -> None:
    """Commit messages, in one unit of work."""
    await save(unit_of_work, Changes(events=events), tenants={event.tenant_id for event in events})


async def number_up_to(unit_of_work: UnitOfWork, last: int, tenant_id: TenantId = ACME, *, first: int = 1) -> None:
    """Commit messages `first` to `last` of one tenant, each in a unit of work of its own."""
    for sequence in range(first, last + 1):
        await number(unit_of_work, message(tenant_id, sequence))


async def catch_up(queue: ConsumerQueue, *names: ConsumerName, limit: int = 2) -> None:
    """Find all tenants of consumers that start in the past."""
    while await queue.catch_up(names, limit=limit):
        pass


async def claim(
    queue: ConsumerQueue, name: ConsumerName = MAILS, *, limit: int = 10, lease: timedelta = LONG
) -> Sequence[ConsumerClaim]:
    """Claim the tenants that are due for a consumer."""
    return await queue.claim([Want(consumer=name, limit=limit, lease=lease)])


async def numbers(queue: ConsumerQueue, held: ConsumerClaim, *, limit: int = 100) -> list[int]:
    """Return the numbers of the next messages of a claim."""
    (waiting,) = await queue.messages([held], limit=limit)
    return [each.sequence for each in waiting.messages]


async def waiting_numbers(
    queue: ConsumerQueue, name: ConsumerName = MAILS, *, lease: timedelta = LONG
) -> dict[TenantId, list[int]]:
    """Claim everything that is due for a consumer; return the numbers of the messages by tenant."""
    claims = await claim(queue, name, limit=100, lease=lease)
    return {each.tenant_id: await numbers(queue, each) for each in claims}


def step(held: ConsumerClaim, step: Step, position: int, **fields: Any) -> Progress:
    """Return the progress of a claim, with a long lease if it holds on."""
    return Progress(claim=held, step=step, position=position, **{"after": LONG, **fields})


async def settle(queue: ConsumerQueue, progress: Progress) -> bool:
    """Store one position; return whether the claim held."""
    (held,) = await queue.settle([progress])
    return held


async def handle(queue: ConsumerQueue, name: ConsumerName = MAILS, *, but: Collection[TenantId] = ()) -> None:
    """Handle everything that is due for a consumer, except that of some tenants, which stays claimed."""
    for held in await claim(queue, name, limit=100):
        if held.tenant_id not in but:
            assert await settle(queue, step(held, Step.DONE, held.last))


def moved(held: ConsumerClaim, position: int) -> ConsumerClaim:
    """Return a claim that holds on at a later position."""
    return attrs.evolve(held, position=position, attempt=1)
