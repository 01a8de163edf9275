"""POST /webhooks/stripe: store a signed event, then answer 202. The one route whose throughput matters."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from billing_app.dependencies import Dependency
from billing_app.http.accepted import accept
from billing_app.http.addresses import client_address
from billing_app.http.ports import WebhookMetrics
from billing_app.http.refusals import RefusalBudget, RefusalCounts, RefusalLog
from billing_app.http.responses import RefusalError, error_response
from billing_app.http.webhook_answers import (
    BAD_WEBHOOK,
    HEADERS,
    NOT_STORED,
    READ_TIMEOUT,
    RETRY_AFTER,
    TOO_LARGE,
    accepted,
)
from billing_app.settings.parsers import Network
from billing_app.settings.webhooks import WebhookSettings
from billing_core.errors import SignatureFault, SignatureVerificationError, StoreUnavailableError, WebhookError
from billing_core.inbox.intake import Intake

_STORES: Final = "webhook"
_LIMITED: Final = {"Retry-After": "60"}


class WebhookReceiver:
    """The handler of Stripe's webhooks."""

    def __init__(
        self,
        intake: Intake,
        metrics: WebhookMetrics,
        counts: RefusalCounts,
        settings: WebhookSettings,
        trusted_proxies: Sequence[Network],
        *,
        database: Dependency,
    ) -> None:
        self._intake = intake
        self._metrics = metrics
        self._counts = counts
        self._body_limit = settings.body_limit
        self._read_timeout = settings.read_timeout.total_seconds()
        self._trusted_proxies = trusted_proxies
        self._budget = RefusalBudget(per_minute=settings.refusals_per_minute)
        self._refusals = RefusalLog()
        self._database = database

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Answer one webhook: 202 if it is stored, now or before; 4xx if refused; 503 if it has to be sent again."""
        started = time.perf_counter()
        try:
            response = await self._answer(request)
        except Exception:  # not a cancellation: a sender that has left gets no answer
            self._metrics.webhook_answered(500, time.perf_counter() - started)
            raise
        self._metrics.webhook_answered(response.status, time.perf_counter() - started)
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            signature = _signature(request)
            self._refuse_abuse(request, signature)
            body = await self._read(request)
            # Cancelled if the sender disconnects: nothing was promised then, and the store copes with it.
            receipt = await self._intake.receive(body, signature)
        except RefusalError as refusal:
            self._count(request, refusal.code)
            response = refusal.response()
            response.force_close()  # without waiting for the rest of the body
            return response
        except WebhookError as exc:
            self._count(request, exc.code, exc.fault if isinstance(exc, SignatureVerificationError) else None)
            return web.Response(status=400, body=BAD_WEBHOOK, headers=HEADERS)
        except StoreUnavailableError as exc:
            self._database.failed(_STORES, exc)
            self._counts.add(exc.code, request.content_length or 0)
            return error_response(503, *NOT_STORED, RETRY_AFTER)
        self._database.succeeded(_STORES)
        return accept(request, accepted(receipt))

    async def _read(self, request: web.Request) -> bytes:
        # Checked before reading: aiohttp would decompress silently, but the signature covers the bytes as sent.
        if "Content-Encoding" in request.headers:
            raise RefusalError(415, "unsupported_encoding", "Send the body without Content-Encoding.")
        if (request.content_length or 0) > self._body_limit:
            raise RefusalError(413, *TOO_LARGE)
        try:
            if request.content.is_eof():  # it arrived with the headers, as it nearly always does
                return await request.read()
            async with asyncio.timeout(self._read_timeout):
                return await request.read()
        except TimeoutError:
            raise RefusalError(408, *READ_TIMEOUT) from None
        except web.HTTPRequestEntityTooLarge:
            raise RefusalError(413, *TOO_LARGE) from None
        except (web.RequestPayloadError, OSError):
            raise RefusalError(400, "broken_body", "The body ended early or its framing is invalid.") from None

    def _refuse_abuse(self, request: web.Request, signature: str) -> None:
        """Refuse a webhook that cannot be genuine if its address sent too many. Raises RefusalError (429)."""
        if self._budget.untouched or not self._budget.exhausted(client_address(request, self._trusted_proxies)):
            return
        if not self._intake.is_plausible(signature):
            raise RefusalError(
                429, "too_many_refusals", "Too many webhooks from this address were refused. Wait a minute.", _LIMITED
            )

    def _count(self, request: web.Request, reason: str, fault: SignatureFault | None = None) -> None:
        address = client_address(request, self._trusted_proxies)
        self._budget.spend(address)
        size = request.content_length
        if size is None and reason == "too_large":
            size = self._body_limit + 1  # at least: the rest was not read
        self._metrics.webhook_refused(reason, fault=fault, size=size)
        self._refusals.add(reason, address, size)
        if self._intake.is_plausible(request.headers.get("Stripe-Signature", "")):
            self._counts.add(reason, size or 0)

    async def close(self, _app: web.Application) -> None:
        """Log the refusals that no summary has reported yet."""
        self._refusals.flush()


def _signature(request: web.Request) -> str:
    """Return the signature header. Two are refused, since a proxy on the way could have added either."""
    signatures = request.headers.getall("Stripe-Signature", ("",))
    if len(signatures) > 1:
        raise SignatureVerificationError("more than one signature header", fault=SignatureFault.REPEATED)
    return signatures[0]
