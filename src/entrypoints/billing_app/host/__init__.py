"""Billing inside an application: `open_billing`, and what it returns and raises."""

from types import MappingProxyType
from typing import Final

from billing_app.host.billing import Billing, open_billing
from billing_app.host.errors import (
    BadPositionError,
    BillingDisabledError,
    NotOpenError,
    StreamRefusedError,
    StreamResetError,
    TooManyStreamsError,
)
from billing_app.host.sync import SyncBilling, open_billing_sync
from billing_app.host.webhooks import WebhookAnswer
from billing_app.http.health import Readiness
from billing_app.http.stream.handler import STREAM_HEADERS

SSE_HEADERS: Final = MappingProxyType(STREAM_HEADERS)
"""The headers of a response whose body is `Billing.server_sent_events`."""

__all__ = [
    "BadPositionError",
    "Billing",
    "BillingDisabledError",
    "NotOpenError",
    "Readiness",
    "SSE_HEADERS",
    "StreamRefusedError",
    "StreamResetError",
    "SyncBilling",
    "TooManyStreamsError",
    "WebhookAnswer",
    "open_billing",
    "open_billing_sync",
]
