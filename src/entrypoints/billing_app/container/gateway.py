"""Open the way to Stripe."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Final

import stamina.instrumentation

from billing_app.observers import Observers
from billing_app.settings import Settings
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
from billing_stripe.gateway import StripeGateway

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
        secret_key=secret_key(settings),
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
    return FallbackCallLimiter(RedisCallLimiter(nodes, limits, secret=secret_key(settings)), share)


def secret_key(settings: Settings) -> str:
    """Return the API key. Raises ValueError without one."""
    if settings.stripe.secret_key is None:
        raise ValueError("STRIPE_SECRET_KEY is not set")
    return settings.stripe.secret_key.reveal()


def ports_of(gateway: StripeGateway | None) -> Mapping[str, StripeGateway | None]:
    """Return every port that the way to Stripe serves, by the name of its provider."""
    names = ("gateway", "thin_gateway", "operation_gateway", "preview_gateway", "billing_reader")
    return dict.fromkeys(names, gateway)
