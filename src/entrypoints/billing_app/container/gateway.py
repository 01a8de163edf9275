"""Open the way to Stripe, and find out whether it is open."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Final

import stamina.instrumentation

from billing_app.observers import Observers
from billing_app.settings import Settings
from billing_core.errors import GatewayAuthenticationError, GatewayError, GatewayUnavailableError
from billing_core.operations.call_limits import CallLimits
from billing_core.operations.ports import CallLimiter
from billing_redis.call_limiter import RedisCallLimiter
from billing_redis.nodes import RedisNodes
from billing_stripe.client import (
    CallPolicy,
    CircuitPolicy,
    FallbackCallLimiter,
    LocalCallLimiter,
    StripeClient,
    open_client,
)

_ANSWER_WITHIN: Final = timedelta(seconds=10)
"""The longest that `billing doctor` waits for Stripe."""
_LEASE_MARGIN: Final = timedelta(seconds=10)


def may_call(settings: Settings) -> bool:
    """Return whether Stripe can be called: there is a key, and it is not switched off."""
    return settings.stripe.secret_key is not None and settings.switches.billing and settings.stripe.fetch


def open_stripe(
    settings: Settings, *, nodes: RedisNodes | None, observers: Observers
) -> AbstractAsyncContextManager[StripeClient]:
    """Open a client that counts its calls with all processes of its key, on Redis if there is one.

    Raises ValueError without a key; see `may_call`.
    """
    # The client reports its attempts to our metrics; stamina's own hooks would log each of them as well.
    stamina.instrumentation.set_on_retry_hooks([])
    calls = settings.gateway
    return open_client(
        secret_key=_key(settings),
        api_version=settings.stripe.api_version,
        base_url=settings.stripe.api_base,
        policy=CallPolicy(
            attempts=calls.attempts,
            connect_timeout=calls.connect_timeout,
            attempt_timeout=calls.attempt_timeout,
            deadline=calls.deadline,
            background_deadline=calls.background_deadline,
        ),
        circuit=CircuitPolicy(
            failures=calls.circuit_failures,
            pause=calls.circuit_pause,
            longest_pause=calls.circuit_longest_pause,
        ),
        limiter=call_limiter(settings, nodes),
        context=settings.stripe.context,
        observe=observers.gateway_called,
        observe_circuit=observers.circuit_changed,
    )


async def check_stripe(settings: Settings) -> None:
    """Return if Stripe answers and accepts our key, found out by one reading call.

    Raises: GatewayAuthenticationError, GatewayUnavailableError.
    """
    async with open_client(
        secret_key=_key(settings),
        api_version=settings.stripe.api_version,
        base_url=settings.stripe.api_base,
        policy=CallPolicy(attempts=1, attempt_timeout=_ANSWER_WITHIN, deadline=_ANSWER_WITHIN),
        context=settings.stripe.context,
    ) as client:
        try:
            await client.get("list_prices", params={"limit": 1})
        except (GatewayAuthenticationError, GatewayUnavailableError):
            raise
        except GatewayError:
            return  # a restricted key may not read prices: Stripe answers, and knows the key


async def read_account_id(settings: Settings) -> str:
    """Return the account that the API key opens.

    Raises: GatewayError, GatewayAuthenticationError among them if the key is not valid.
    """
    async with open_client(
        secret_key=_key(settings),
        api_version=settings.stripe.api_version,
        base_url=settings.stripe.api_base,
        policy=CallPolicy(attempts=1, attempt_timeout=_ANSWER_WITHIN, deadline=_ANSWER_WITHIN),
        context=settings.stripe.context,
    ) as client:
        account = await client.get("fetch_account")
    if account is None:
        raise GatewayUnavailableError("Stripe showed no account")
    return str(account["id"])


def call_limiter(settings: Settings, nodes: RedisNodes | None) -> CallLimiter:
    """Return the limiter for the key: on Redis, and by this process's share of the limits without one."""
    calls = settings.gateway
    limits = CallLimits(
        rate=calls.live_rate if settings.stripe.livemode else calls.sandbox_rate,
        endpoint_rate=calls.endpoint_rate,
        in_flight=calls.in_flight,
        lease=calls.attempt_timeout + _LEASE_MARGIN,
    )
    share = LocalCallLimiter(limits.share(calls.processes))
    if nodes is None:
        return share
    return FallbackCallLimiter(RedisCallLimiter(nodes, limits, secret=_key(settings)), share)


def _key(settings: Settings) -> str:
    if settings.stripe.secret_key is None:
        raise ValueError("STRIPE_SECRET_KEY is not set")
    return settings.stripe.secret_key.reveal()
