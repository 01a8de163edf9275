"""Receivers over the memory adapters, whose answers a test decides on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billing_core.consumers.delivery import DeliveryReport
from billing_core.consumers.runner import ConsumerPolicy, ConsumerRunner
from billing_core.consumers.values import Consumer, ConsumerMessage, ConsumerName, MessageId
from billing_core.outgoing.administration import ReceiverAdministration
from billing_core.outgoing.delivering import WebhookDeliverer, WebhookPolicy, WebhookReport
from billing_core.outgoing.following import ReceiverFollower, ReceiversReport
from billing_core.outgoing.values import Delivery, DeliveryResult, SigningSecret
from billing_core.state.ports import Clock
from billing_core.testing.builders import AT, message
from billing_memory.clock import ManualClock
from billing_memory.consumers.queue import MemoryConsumers
from billing_memory.database import MemoryDatabase
from billing_memory.outgoing.receivers import MemoryReceivers
from billing_memory.outgoing.sender import MemoryWebhookSender
from billing_memory.oversight.event_log import MemoryEventLog
from billing_memory.stream.epochs import MemoryEpochLog

CRM = ConsumerName("crm")
URL = "https://crm.example.com/hooks?key=hunter2"
SOON = timedelta(milliseconds=5)


def answer(status: int, result: DeliveryResult = DeliveryResult.REFUSED, **fields: object) -> Delivery:
    return Delivery(result=result, detail=f"answered {status}", seconds=0.1, status=status, **fields)  # type: ignore[arg-type]


def consumer_message(sequence: int = 1, attempt: int = 1) -> ConsumerMessage:
    event = message(sequence=sequence)
    return ConsumerMessage(
        id=MessageId(epoch="first", tenant_id=event.tenant_id, sequence=sequence), event=event, attempt=attempt
    )


class Rig:
    """One process, with a receiver called crm."""

    def __init__(self, clock: Clock, policy: WebhookPolicy | None = None) -> None:
        self.database = MemoryDatabase()
        self.clock = clock
        self.policy = policy or WebhookPolicy()
        self.sender = MemoryWebhookSender()
        self.reports: list[WebhookReport] = []
        self.handled: list[DeliveryReport] = []
        self.followed: list[ReceiversReport] = []
        self.register = MemoryConsumers(self.database, self.clock, MemoryEpochLog())
        self.endpoints = MemoryReceivers(self.clock)
        self.audits = MemoryEventLog(self.database, self.clock)
        self.deliverer = self.another_deliverer()
        self.runner = ConsumerRunner(
            register=self.register, queue=self.register, policy=ConsumerPolicy(poll=SOON), observe=self.handled.append
        )
        self.follower = ReceiverFollower(
            endpoints=self.endpoints,
            register=self.register,
            runner=self.runner,
            deliverer=self.deliverer,
            every=SOON,
            observe=self.followed.append,
        )
        self.administration = ReceiverAdministration(
            endpoints=self.endpoints, register=self.register, audits=self.audits, clock=self.clock
        )

    def another_deliverer(self) -> WebhookDeliverer:
        """Return the deliverer of another process."""
        return WebhookDeliverer(
            endpoints=self.endpoints,
            register=self.register,
            sender=self.sender,
            clock=self.clock,
            policy=self.policy,
            observe=self.reports.append,
        )

    async def add(self) -> None:
        """Add the receiver, and have the deliverer know it."""
        await self.endpoints.put(CRM, URL, SigningSecret.generate(self.clock.now()))
        await self.register.register(Consumer(name=CRM))
        await self.learn()

    async def learn(self) -> None:
        self.deliverer.learn(await self.endpoints.current())

    async def disabled_reason(self) -> str | None:
        (registered,) = await self.register.registered()
        return registered.disabled_reason


@pytest.fixture
async def manual_clock() -> ManualClock:
    return ManualClock(AT)


@pytest.fixture
async def rig(manual_clock: ManualClock) -> Rig:
    return Rig(manual_clock)
