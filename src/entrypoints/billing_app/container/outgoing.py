"""The sender of outgoing webhooks, for workers and for `billing consumers test`."""

from contextlib import AbstractAsyncContextManager

from billing_app.settings import Settings
from billing_memory.clock import SystemClock
from billing_webhooks.sender import HttpWebhookSender, SenderPolicy


def open_webhook_sender(settings: Settings) -> AbstractAsyncContextManager[HttpWebhookSender]:
    """Open a sender with the limits of these settings."""
    outgoing = settings.outgoing
    policy = SenderPolicy(
        timeout=outgoing.timeout,
        connect_timeout=outgoing.connect_timeout,
        connections=outgoing.connections,
        allowed_networks=outgoing.allowed_networks,
    )
    return HttpWebhookSender.open(SystemClock(), policy)
