"""Signatures of outgoing webhooks, by the library that receivers verify them with."""

from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

from billing_core.outgoing.values import OutgoingWebhook, SigningSecret


def signed_headers(
    message: OutgoingWebhook, body: str, secrets: Sequence[SigningSecret], sent_at: datetime
) -> dict[str, str]:
    """Return the headers of Standard Webhooks. During a rotation every secret signs, separated by spaces."""
    header_id = message.header_id
    signatures = [Webhook(each.text).sign(header_id, sent_at, body) for each in secrets if each.signs(sent_at)]
    return {
        "webhook-id": header_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
