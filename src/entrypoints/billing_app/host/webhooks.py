"""Answers to webhooks, for any web framework."""

import asyncio
import time
from collections.abc import AsyncIterable
from typing import Final, NamedTuple

from billing_app.host.lifetime import Opened
from billing_app.http.refusals import RefusalLog
from billing_app.http.webhook_answers import (
    BAD_WEBHOOK,
    HEADERS,
    NOT_STORED,
    READ_TIMEOUT,
    RETRY_AFTER,
    TOO_LARGE,
    accepted,
    failure,
)
from billing_app.settings import WebhookSettings
from billing_core.errors import (
    SignatureFault,
    SignatureVerificationError,
    StoreUnavailableError,
    WebhookBodyTooLargeError,
    WebhookError,
)
from billing_core.events import Receipt

_UNKNOWN_ADDRESS: Final = "unknown"
_TOO_LARGE: Final = "the body is larger than BILLING_BODY_LIMIT_BYTES"


class WebhookAnswer(NamedTuple):
    """The answer to a webhook, in the order in which frameworks take it: `Response(*answer)`."""

    body: bytes
    status: int
    headers: dict[str, str]


BILLING_DISABLED: Final = WebhookAnswer(
    failure("billing_disabled", "Billing is disabled: ENABLE_BILLING is false."), 404, HEADERS
)


class WebhookAnswers:
    """Receives webhooks, and counts those that are refused."""

    def __init__(self) -> None:
        self._log = RefusalLog()

    async def receive(self, opened: Opened, body: bytes, signature: str) -> Receipt:
        """Store a webhook. Raises WebhookError, StoreUnavailableError."""
        if len(body) > opened.container.settings().webhooks.body_limit:
            raise WebhookBodyTooLargeError(_TOO_LARGE)
        return await opened.intake.receive(body, signature)

    async def answer(
        self, opened: Opened, body: bytes | AsyncIterable[bytes], signature: str | None, address: str | None
    ) -> WebhookAnswer:
        """Store a webhook, and say how to answer it."""
        started, metrics = time.perf_counter(), opened.container.metrics()
        try:
            answer = await self._answer(opened, body, signature or "", address)
        except Exception:  # the framework answers 500
            metrics.webhook_answered(500, time.perf_counter() - started)
            raise
        metrics.webhook_answered(answer.status, time.perf_counter() - started)
        return answer

    async def _answer(
        self, opened: Opened, body: bytes | AsyncIterable[bytes], signature: str, address: str | None
    ) -> WebhookAnswer:
        size = 0
        try:
            whole = body if isinstance(body, bytes) else await _read(opened.container.settings().webhooks, body)
            size = len(whole)
            receipt = await self.receive(opened, whole, signature)
        except TimeoutError:
            self._count(opened, "read_timeout", signature, size, address)
            return WebhookAnswer(failure(*READ_TIMEOUT), 408, HEADERS)
        except WebhookBodyTooLargeError as exc:
            size = size or opened.container.settings().webhooks.body_limit + 1  # at least: the rest was not read
            self._count(opened, exc.code, signature, size, address)
            return WebhookAnswer(failure(*TOO_LARGE), 413, HEADERS)
        except WebhookError as exc:
            fault = exc.fault if isinstance(exc, SignatureVerificationError) else None
            self._count(opened, exc.code, signature, size, address, fault=fault)
            return WebhookAnswer(BAD_WEBHOOK, 400, HEADERS)
        except StoreUnavailableError:
            return unavailable()
        return WebhookAnswer(accepted(receipt), 202, HEADERS)

    def _count(
        self,
        opened: Opened,
        reason: str,
        signature: str,
        size: int,
        address: str | None,
        *,
        fault: SignatureFault | None = None,
    ) -> None:
        opened.container.metrics().webhook_refused(reason, fault=fault, size=size)
        self._log.add(reason, address or _UNKNOWN_ADDRESS, size)
        if opened.intake.is_plausible(signature):
            opened.refusals.add(reason, size)

    def close(self) -> None:
        """Log the refusals that no summary has reported yet."""
        self._log.flush()


async def _read(settings: WebhookSettings, pieces: AsyncIterable[bytes]) -> bytes:
    """Read a body up to the limit, within the time for it. Raises WebhookBodyTooLargeError, TimeoutError."""
    body = bytearray()
    async with asyncio.timeout(settings.read_timeout.total_seconds()):
        async for piece in pieces:
            body += piece
            if len(body) > settings.body_limit:
                raise WebhookBodyTooLargeError(_TOO_LARGE)
    return bytes(body)


def unavailable() -> WebhookAnswer:
    """Return the answer to a webhook that could not be stored."""
    return WebhookAnswer(failure(*NOT_STORED), 503, {**HEADERS, **RETRY_AFTER})
