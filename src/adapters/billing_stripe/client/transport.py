"""The SDK as we use it: it encodes, signs and sends; answers are read here, whole, and interpreted elsewhere.

The SDK's own errors lose the headers where a body is not JSON, and its transport wraps every exception alike, so that a
bug looks like a lost connection. So requests are sent here, and the answer is kept as it arrives.
"""

import json
import logging
import platform
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

import aiohttp
import attrs
import stripe

from billing_stripe.client.policy import CallPolicy
from billing_stripe.client.requests import StripeRequest

HEADERS: Final[Mapping[str, str]] = {
    "User-Agent": f"Stripe/v1 PythonBindings/{stripe.VERSION}",
    "X-Stripe-Client-User-Agent": json.dumps(
        {
            "bindings_version": stripe.VERSION,
            "lang": "python",
            "lang_version": platform.python_version(),
            "httplib": "aiohttp",
        }
    ),
}
"""In place of the SDK's own, which name the tools on this machine."""


@attrs.define
class Reply:
    """An answer as it arrives."""

    status: int = 0
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes | None = attrs.field(default=None, repr=False)
    """None until all of it was read."""


_REPLY: ContextVar[Reply] = ContextVar("stripe_reply")


class _HttpClient(stripe.AIOHTTPClient):
    """The SDK's client, which keeps the answer for `Transport.send` and releases the connection in every case."""

    def __init__(self, session: aiohttp.ClientSession, timeout: aiohttp.ClientTimeout) -> None:
        super().__init__(session=session, timeout=timeout)
        self._own_session = session
        self._own_timeout = timeout

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        reply = _REPLY.get()
        async with self._own_session.request(
            method, url, headers=headers, data=post_data, timeout=self._own_timeout, allow_redirects=False
        ) as response:
            reply.status, reply.headers = response.status, response.headers
            reply.body = await response.read()
        return reply.body, reply.status, reply.headers


class Transport:
    """Sends requests to Stripe."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        secret_key: str,
        api_version: str,
        policy: CallPolicy,
        base_url: str | None,
    ) -> None:
        quiet_sdk()
        self._session = session
        timeout = aiohttp.ClientTimeout(
            total=policy.attempt_timeout.total_seconds(), sock_connect=policy.connect_timeout.total_seconds()
        )
        self._sdk = stripe.StripeClient(
            secret_key,
            stripe_version=api_version,
            max_network_retries=0,
            http_client=_HttpClient(session, timeout),
            base_addresses={} if base_url is None else {"api": base_url.rstrip("/")},
        )

    @property
    def closed(self) -> bool:
        """Whether the session was closed; no request can be sent any more."""
        return self._session.closed

    async def send(self, request: StripeRequest, context: str | None) -> tuple[Reply, object]:
        """Send a request once. Return the answer, and its JSON if it is a success.

        Args:
            request: the request.
            context: the account of a request that names none, for the key of an organization.

        Raises: aiohttp.ClientError, TimeoutError and OSError where there is no complete answer; anything else is a bug.
        """
        reply = Reply()
        _REPLY.set(reply)
        options: dict[str, Any] = {
            "idempotency_key": request.idempotency_key,
            "stripe_account": request.account,
            "stripe_context": request.context or (None if request.account else context),
            "headers": HEADERS,
        }
        try:
            response = await self._sdk.raw_request_async(
                request.endpoint.method, request.path, **request.params, **options
            )
        except Exception:
            if reply.body is None:
                raise
            return reply, None  # the SDK's own reading of an error, or of a body that is not JSON
        return reply, response.data


def quiet_sdk() -> None:
    """Switch off SDK features that can only be switched off for a whole process.

    Its telemetry writes an identifier into the home directory. It logs every path at level INFO, with error
    messages, and whole bodies at DEBUG; a level that was set on purpose is kept.
    """
    stripe.enable_telemetry = False
    log = logging.getLogger("stripe")
    if log.level == logging.NOTSET:
        log.setLevel(logging.WARNING)
