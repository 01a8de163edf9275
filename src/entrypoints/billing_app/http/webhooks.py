"""POST /webhooks/stripe: store a signed event, then answer 202. The one route whose throughput matters."""

import asyncio
import json
import re
from datetime import timedelta
from typing import Final

import structlog
from aiohttp import web
from multidict import CIMultiDict

from billing_app.http.ports import WebhookMetrics
from billing_app.http.responses import SAFE_HEADERS, RefusalError, error_response
from billing_core.errors import SignatureVerificationError, StoreUnavailableError, WebhookError
from billing_core.events import Receipt
from billing_core.inbox.intake import Intake

log = structlog.get_logger()

_HEADERS: Final = CIMultiDict({**SAFE_HEADERS, "Content-Type": "application/json; charset=utf-8"})
"""Already of the type in which a response keeps its headers: that is cheap to copy."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_]+").fullmatch
_RETRY_AFTER: Final = {"Retry-After": "2"}
_BAD_WEBHOOK: Final = b'{"error":{"code":"bad_webhook","message":"The signature or the event is not valid."}}'
"""One answer for every fault of signature or content: a forger learns nothing from it."""


class WebhookReceiver:
    """The handler of Stripe's webhooks."""

    def __init__(self, intake: Intake, metrics: WebhookMetrics, *, body_limit: int, read_timeout: timedelta) -> None:
        self._intake = intake
        self._metrics = metrics
        self._body_limit = body_limit
        self._read_timeout = read_timeout.total_seconds()

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one webhook: 202 if it is stored, now or before; 4xx if refused; 503 if it has to be sent again."""
        try:
            body = await self._read(request)
            # Cancelled if the sender disconnects: nothing was promised then, and the store copes with it.
            receipt = await self._intake.receive(body, _signature(request))
        except RefusalError as refusal:
            self._count(refusal.code)
            response = refusal.response()
            response.force_close()  # without waiting for the rest of the body
            return response
        except WebhookError as exc:
            self._count(exc.code)
            return web.Response(status=400, body=_BAD_WEBHOOK, headers=_HEADERS)
        except StoreUnavailableError:
            return error_response(503, "store_unavailable", "The event was not stored. Send it again.", _RETRY_AFTER)
        return _accepted(receipt)

    async def _read(self, request: web.Request) -> bytes:
        # Checked before reading: aiohttp would decompress silently, but the signature covers the bytes as sent.
        if "Content-Encoding" in request.headers:
            raise RefusalError(415, "unsupported_encoding", "Send the body without Content-Encoding.")
        if (request.content_length or 0) > self._body_limit:
            raise RefusalError(413, "too_large", "The body is too large.")
        try:
            if request.content.is_eof():  # it arrived with the headers, as it nearly always does
                return await request.read()
            async with asyncio.timeout(self._read_timeout):
                return await request.read()
        except TimeoutError:
            raise RefusalError(408, "read_timeout", "The body did not arrive in time.") from None
        except web.HTTPRequestEntityTooLarge:
            raise RefusalError(413, "too_large", "The body is too large.") from None
        except (web.RequestPayloadError, OSError):
            raise RefusalError(400, "broken_body", "The body ended early or its framing is invalid.") from None

    def _count(self, reason: str) -> None:
        self._metrics.webhook_refused(reason)
        log.warning("webhook.refused", reason=reason)


def _signature(request: web.Request) -> str:
    """Return the signature header. Two are refused, since a proxy on the way could have added either."""
    signatures = request.headers.getall("Stripe-Signature", ("",))
    if len(signatures) > 1:
        raise SignatureVerificationError("more than one signature header")
    return signatures[0]


def _accepted(receipt: Receipt) -> web.Response:
    event_id = receipt.event_id if _PLAIN(receipt.event_id) else json.dumps(receipt.event_id)[1:-1]
    body = f'{{"status": "{receipt.status.value}", "event_id": "{event_id}"}}'
    return web.Response(status=202, body=body.encode(), headers=_HEADERS)
