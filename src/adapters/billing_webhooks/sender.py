"""The sender of outgoing webhooks: one attempt at a message, and what its answer means."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import attrs
from aiohttp.abc import AbstractResolver

from billing_core.outgoing.values import Delivery, DeliveryResult, OutgoingWebhook, SigningSecret
from billing_core.state.ports import Clock
from billing_webhooks.addresses import AddressPolicy, AddressRefusedError, Network
from billing_webhooks.connections import SystemResolver, open_connector
from billing_webhooks.signing import signed_headers

_LONGEST_WAIT: Final = timedelta(days=1)
_GONE: Final = 410
_LIMITED: Final = frozenset({429, 503})
_USER_AGENT: Final = "billing-core (Standard Webhooks)"


@attrs.frozen(kw_only=True)
class SenderPolicy:
    """Limits of sending."""

    timeout: timedelta = timedelta(seconds=15)
    """From the lookup of the host to the answer's status. The specification suggests 15 to 30 seconds."""
    connect_timeout: timedelta = timedelta(seconds=5)
    connections: int = 100
    allowed_networks: Sequence[Network] = ()
    """Networks that may be reached although they are not public; only they may be reached without TLS."""


class HttpWebhookSender:
    """A `WebhookSender` over HTTP. Create it with `open`, which closes its connections.

    Only the status of an answer counts. Its body is never read: a receiver can neither slow us down with it nor fill
    our memory or logs. Redirects are not followed, because they could lead anywhere.
    """

    def __init__(
        self, encrypted: aiohttp.ClientSession, plain: aiohttp.ClientSession, clock: Clock, policy: SenderPolicy
    ) -> None:
        self._sessions: Mapping[str, aiohttp.ClientSession] = {"https": encrypted, "http": plain}
        self._clock = clock
        self._policy = policy

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        clock: Clock,
        policy: SenderPolicy,
        *,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> "AsyncIterator[HttpWebhookSender]":
        """Yield a sender with connections of its own. A given resolver is closed with it."""
        resolver = resolver or SystemResolver()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(resolver.close)
            encrypted = _session(resolver, policy, public=True, tls=tls)
            plain = _session(resolver, policy, public=False, tls=tls)
            yield cls(await stack.enter_async_context(encrypted), await stack.enter_async_context(plain), clock, policy)

    async def send(self, url: str, message: OutgoingWebhook, secrets: Sequence[SigningSecret]) -> Delivery:
        """See WebhookSender."""
        started = time.monotonic()
        try:
            status, headers = await self._post(url, message, secrets)
        except TimeoutError:
            result, detail = DeliveryResult.TIMED_OUT, f"no answer within {self._policy.timeout.total_seconds():g} s"
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            result, detail = _failure(exc)
        else:
            return _answered(status, headers, self._clock.now(), time.monotonic() - started)
        return Delivery(result=result, detail=detail, seconds=time.monotonic() - started)

    async def _post(
        self, url: str, message: OutgoingWebhook, secrets: Sequence[SigningSecret]
    ) -> tuple[int, Mapping[str, str]]:
        body = message.body
        headers = {
            **signed_headers(message, body, secrets, self._clock.now()),
            "Content-Type": "application/json",
            "User-Agent": _USER_AGENT,
        }
        request = self._sessions[urlsplit(url).scheme].post(
            url, data=body.encode(), headers=headers, allow_redirects=False
        )
        # Not aiohttp's total timeout alone: it does not cover the wait for a free connection to a slow name server.
        async with asyncio.timeout(self._policy.timeout.total_seconds()), request as answer:
            return answer.status, answer.headers


def _answered(status: int, headers: Mapping[str, str], now: datetime, seconds: float) -> Delivery:
    """Return the meaning of an answer."""
    if 200 <= status < 300:
        result, detail = DeliveryResult.DELIVERED, f"answered {status}"
    elif status == _GONE:
        result, detail = DeliveryResult.GONE, "answered 410: it wants no more webhooks"
    elif status in _LIMITED:
        result, detail = DeliveryResult.LIMITED, f"answered {status}"
    elif 300 <= status < 400:
        result, detail = DeliveryResult.REFUSED, f"answered {status}: redirects are not followed"
    else:
        result, detail = DeliveryResult.REFUSED, f"answered {status}"
    wait = _retry_after(headers.get("Retry-After", ""), now) if status in _LIMITED else None
    return Delivery(result=result, detail=detail, seconds=seconds, status=status, retry_after=wait)


def _retry_after(text: str, now: datetime) -> timedelta | None:
    """Return the wait that `Retry-After` asks for, in seconds or until a date; None for anything else."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), _LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return min(max(until - now, timedelta(0)), _LONGEST_WAIT)


def _failure(error: Exception) -> tuple[DeliveryResult, str]:
    """Return the meaning of an attempt without an answer. The texts are ours or the operating system's."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, AddressRefusedError):
        return DeliveryResult.ADDRESS_REFUSED, str(cause)
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return DeliveryResult.UNREACHABLE, f"its certificate is not trusted: {error.certificate_error}"
        case aiohttp.ClientConnectorDNSError():
            return DeliveryResult.UNREACHABLE, f"its host was not found: {cause}"
        case aiohttp.ClientConnectorError():
            return DeliveryResult.UNREACHABLE, f"no connection: {cause}"
        case _:
            return DeliveryResult.UNREACHABLE, f"the connection broke: {type(error).__name__}"


def _session(
    resolver: AbstractResolver, policy: SenderPolicy, *, public: bool, tls: ssl.SSLContext | None
) -> aiohttp.ClientSession:
    addresses = AddressPolicy(allowed=policy.allowed_networks, public=public)
    return aiohttp.ClientSession(
        connector=open_connector(resolver, addresses, limit=policy.connections, tls=tls),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=policy.connect_timeout.total_seconds()),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )
