"""The contracts of outgoing webhooks, in memory, on Postgres and over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import asyncpg
import attrs
import pytest
from tests.contract.conftest import InMemory, OnPostgres
from tests.unit.outgoing_webhooks.receiver import LOOPBACK, Receiver, receiving

from billing_core.outgoing.ports import WebhookEndpoints, WebhookSender
from billing_core.outgoing.values import Delivery, DeliveryResult, SigningSecret
from billing_core.state.ports import Clock
from billing_core.testing.outgoing.webhook_endpoints import CRM, ERP, HOUR, WebhookEndpointsContract
from billing_core.testing.outgoing.webhook_sender import SenderStage, WebhookSenderContract
from billing_memory.clock import SystemClock
from billing_memory.outgoing.sender import MemoryWebhookSender
from billing_webhooks.sender import HttpWebhookSender, SenderPolicy

URL = "https://crm.example.com/"
RESULTS = {404: DeliveryResult.REFUSED, 410: DeliveryResult.GONE, 503: DeliveryResult.LIMITED}


class TestMemoryEndpoints(InMemory, WebhookEndpointsContract): ...


class TestPostgresEndpoints(OnPostgres, WebhookEndpointsContract):
    async def test_a_rotation_deletes_secrets_that_have_expired(
        self, pool: asyncpg.Pool[asyncpg.Record], webhook_endpoints: WebhookEndpoints, clock: Clock
    ) -> None:
        """Of its own receiver. No one may find them in a backup for longer than they were needed."""
        now = clock.now()
        expired, second, third = (SigningSecret.generate(now - number * HOUR) for number in (2, 1, 0))
        for consumer in (CRM, ERP):
            await webhook_endpoints.put(consumer, URL, expired)
            await webhook_endpoints.rotate(consumer, second, replaced_until=now - HOUR / 2)
        await webhook_endpoints.rotate(CRM, third, replaced_until=now + HOUR)
        kept = await pool.fetch("SELECT consumer, secret FROM billing_receiver_secrets")
        assert set(map(tuple, kept)) == {
            (CRM, second.text),
            (CRM, third.text),
            (ERP, expired.text),
            (ERP, second.text),
        }


@attrs.define
class _MemoryStage:
    sender: MemoryWebhookSender
    url: str = URL

    def answers(self, status: int) -> None:
        self.sender.answers[self.url] = Delivery(
            result=RESULTS[status], detail=f"answered {status}", seconds=0.0, status=status
        )

    def received(self) -> Sequence[tuple[str, str]]:
        return [(each.header_id, each.body) for each in self.sender.received[self.url]]


class TestMemorySender(WebhookSenderContract):
    """Receivers are a table."""

    @pytest.fixture
    def memory(self) -> MemoryWebhookSender:
        return MemoryWebhookSender()

    @pytest.fixture
    def webhook_sender(self, memory: MemoryWebhookSender) -> WebhookSender:
        return memory

    @pytest.fixture
    def sender_stage(self, memory: MemoryWebhookSender) -> SenderStage:
        return _MemoryStage(memory)


@attrs.define
class _HttpStage:
    receiver: Receiver
    url: str

    def answers(self, status: int) -> None:
        self.receiver.answers(status)

    def received(self) -> Sequence[tuple[str, str]]:
        return [(headers["webhook-id"], body.decode()) for headers, body in self.receiver.requests]


class TestHttpSender(WebhookSenderContract):
    """The receiver is a server on loopback."""

    @pytest.fixture
    async def webhook_sender(self) -> AsyncIterator[WebhookSender]:
        async with HttpWebhookSender.open(SystemClock(), SenderPolicy(allowed_networks=LOOPBACK)) as sender:
            yield sender

    @pytest.fixture
    async def sender_stage(self) -> AsyncIterator[SenderStage]:
        async with receiving() as receiver:
            receiver.answers(200)
            yield _HttpStage(receiver, receiver.url())
