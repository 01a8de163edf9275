"""Calls to Stripe: their limits, timeouts and attempts."""

from __future__ import annotations

from datetime import timedelta

import attrs

from billing_app.settings.declaration import seconds, whole


@attrs.frozen(kw_only=True)
class GatewaySettings:
    """Limits of calls to Stripe. Those per second and in flight hold for all processes with the same key."""

    live_rate: int = whole(
        "STRIPE_LIVE_CALLS_PER_SECOND",
        80,
        "Calls per second with a live key. The default is 80 % of what Stripe allows an account.",
        maximum=10_000,
    )
    sandbox_rate: int = whole(
        "STRIPE_SANDBOX_CALLS_PER_SECOND",
        20,
        "Calls per second with a test key. The default is 80 % of what Stripe allows a sandbox.",
        maximum=10_000,
    )
    endpoint_rate: int = whole(
        "STRIPE_ENDPOINT_CALLS_PER_SECOND",
        20,
        "Calls per second to one endpoint, such as all subscriptions. The default is 80 % of what Stripe allows.",
        maximum=10_000,
    )
    in_flight: int = whole(
        "STRIPE_ENDPOINT_CALLS_IN_FLIGHT", 20, "Calls to one endpoint at the same time.", maximum=10_000
    )
    processes: int = whole(
        "STRIPE_CALL_PROCESSES",
        4,
        "Processes that use the key. While they cannot count together, because Redis is unavailable or not used, each "
        "keeps to this part of the limits.",
        maximum=1000,
    )
    attempts: int = whole("STRIPE_CALL_ATTEMPTS", 4, "Attempts of one call, the first one included.", maximum=20)
    connect_timeout: timedelta = seconds(
        "STRIPE_CONNECT_TIMEOUT_SECONDS", 3, "Longest wait for a connection.", minimum=0.1, maximum=60
    )
    attempt_timeout: timedelta = seconds(
        "STRIPE_ATTEMPT_TIMEOUT_SECONDS", 20, "Longest wait for the answer to one attempt.", minimum=0.1, maximum=120
    )
    deadline: timedelta = seconds(
        "STRIPE_CALL_TIMEOUT_SECONDS",
        40,
        "Longest duration of a call that a user waits for, all attempts and waits included.",
        minimum=0.1,
        maximum=600,
    )
    operation_timeout: timedelta = seconds(
        "STRIPE_OPERATION_TIMEOUT_SECONDS",
        60,
        "Longest duration of an operation, which may take several calls. If its process is killed, another one takes "
        "it over after one and a half times as long.",
        minimum=0.1,
        maximum=600,
    )
    background_deadline: timedelta = seconds(
        "STRIPE_BACKGROUND_CALL_TIMEOUT_SECONDS",
        600,
        "The same for calls of reconciliation and backfills, which let the others go first.",
        minimum=0.1,
        maximum=86_400,
    )
    circuit_failures: int = whole(
        "STRIPE_CIRCUIT_FAILURES",
        10,
        "Attempts in a row without an answer after which calls fail at once instead of being sent. A refused key has "
        "the same effect at once.",
        maximum=1000,
    )
    circuit_pause: timedelta = seconds(
        "STRIPE_CIRCUIT_PAUSE_SECONDS",
        5,
        "Time until one reading call finds out whether Stripe answers again. It doubles each time that it does not.",
        minimum=0,
        maximum=3600,
    )
    circuit_longest_pause: timedelta = seconds(
        "STRIPE_CIRCUIT_LONGEST_PAUSE_SECONDS", 60, "Limit of that time.", minimum=0, maximum=86_400
    )
