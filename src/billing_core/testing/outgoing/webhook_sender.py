"""The contract of WebhookSender."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import pytest

from billing_core.outgoing.ports import WebhookSender
from billing_core.outgoing.values import DeliveryResult, OutgoingWebhook, SigningSecret
from billing_core.testing.suite import Suite

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MESSAGE = OutgoingWebhook(
    message_id="first:acme:7", event_type="subscription.activated", occurred_at=NOW, payload='{"sequence":7}'
)
SECRETS = (SigningSecret.generate(NOW), SigningSecret.generate(NOW))


class SenderStage(Protocol):
    """A receiver that a binding provides."""

    url: str

    def answers(self, status: int) -> None:
        """Answer every message with a status from now on."""
        ...

    def received(self) -> Sequence[tuple[str, str]]:
        """Return the id and the body of each attempt."""
        ...


class WebhookSenderContract(Suite):
    """One attempt at a message, and its result.

    A binding provides `webhook_sender` and `sender_stage`, whose receiver answers 200 at first.
    """

    async def test_a_message_is_delivered(self, webhook_sender: WebhookSender, sender_stage: SenderStage) -> None:
        """Under its id, in the same bytes each time."""
        for _ in range(2):
            delivery = await webhook_sender.send(sender_stage.url, MESSAGE, SECRETS)
            assert delivery.delivered
            assert (delivery.result, delivery.status) == (DeliveryResult.DELIVERED, 200)
        assert sender_stage.received() == [(MESSAGE.header_id, MESSAGE.body)] * 2

    @pytest.mark.parametrize(
        ("status", "result"),
        [(404, DeliveryResult.REFUSED), (410, DeliveryResult.GONE), (503, DeliveryResult.LIMITED)],
    )
    async def test_a_failure_is_a_result(
        self, webhook_sender: WebhookSender, sender_stage: SenderStage, status: int, result: DeliveryResult
    ) -> None:
        """Not an error: the caller decides by it. The receiver may have kept the message."""
        sender_stage.answers(status)
        delivery = await webhook_sender.send(sender_stage.url, MESSAGE, SECRETS)
        assert not delivery.delivered
        assert (delivery.result, delivery.status) == (result, status)
        assert len(sender_stage.received()) == 1
