"""Checks of everything that a process depends on: Postgres, Redis, Stripe, the token issuer and the clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime

import attrs

from billing_app.container import (
    HeldAccount,
    SeenAccount,
    bring_schema_up_to_date,
    check_issuer_keys,
    find_held_account,
    inspect_database,
    inspect_redis,
    may_call,
    open_inspector,
)
from billing_app.doctor.account import check_account, check_answer
from billing_app.doctor.catalog import check_plans
from billing_app.doctor.results import CheckResult, fail, ok
from billing_app.doctor.servers import (
    check_clock,
    check_postgres,
    check_redis,
    check_schema,
    unreachable_postgres,
    unreachable_redis,
)
from billing_app.doctor.tokens import check_issuer
from billing_app.doctor.webhooks import check_api_version
from billing_app.errors import OperatorError
from billing_app.settings import Settings
from billing_core.errors import BillingError, GatewayError


@attrs.frozen(kw_only=True)
class Dependencies:
    """The results, and what later checks build on."""

    results: Sequence[CheckResult] = ()
    account: SeenAccount | None = None
    """The account of the key; None if Stripe was not asked, or did not answer."""
    held: HeldAccount | None = None
    """The account that the database belongs to."""
    database_usable: bool = False
    """Whether the database answers and has the schema that this code needs."""


async def check_dependencies(settings: Settings, *, local: bool, unusable: Collection[str] = ()) -> Dependencies:
    """Check everything, so that one fault hides no other: at once, but for local servers, which share a folder.

    Args:
        settings: the configuration.
        local: whether local servers are started for URLs that are not set, and checked, too.
        unusable: variables whose values could not be used: the settings have their defaults instead.
    """
    billing = settings.switches.billing
    checks: list[tuple[bool, Callable[[Settings], Awaitable[Dependencies]]]] = [
        (settings.database.url is not None or local, _check_database),
        (settings.switches.stream and (settings.redis.url is not None or local), _check_redis),
        (billing and settings.tokens.jwks_url is not None, _check_issuer),
        (may_call(settings) and "STRIPE_API_BASE" not in unusable, _check_stripe),
    ]
    wanted = [check for applies, check in checks if applies]
    if local:
        found = [await check(settings) for check in wanted]
    else:
        found = await asyncio.gather(*[check(settings) for check in wanted])
    account = next((each.account for each in found if each.account is not None), None)
    held = next((each.held for each in found if each.held is not None), None)
    own = []
    if billing:
        own += [
            check_api_version(settings.stripe.api_version),
        ]
        if not unusable:  # a catalog with faults was read in part
            own += check_plans(settings.catalog.plans)
    if billing and settings.stripe.secret_key is not None:
        own.append(check_account(settings, None if account is None else account.account_id, held))
    return Dependencies(
        results=[*(result for each in found for result in each.results), *own],
        account=account,
        held=held,
        database_usable=any(each.database_usable for each in found),
    )


async def _check_database(settings: Settings) -> Dependencies:
    try:
        # The schema first: only then there is a table with the account.
        schema = await bring_schema_up_to_date(settings, check=settings.database.url is not None)
        server = await inspect_database(settings)
        held = None if schema.pending else await find_held_account(settings)
    except OperatorError as exc:
        return Dependencies(results=[fail("database", str(exc), "Set DATABASE_URL, or correct what is named.")])
    except BillingError as exc:
        return Dependencies(results=[unreachable_postgres(exc)])
    results = [
        check_schema(schema.pending, schema.ahead),
        check_postgres(server, settings),
        check_clock("the database", server.ahead, settings.stripe.webhook_tolerance),
    ]
    return Dependencies(results=results, held=held, database_usable=not schema.pending)


async def _check_redis(settings: Settings) -> Dependencies:
    try:
        servers = await inspect_redis(settings)
    except OperatorError as exc:
        return Dependencies(results=[fail("redis", str(exc), "Set REDIS_URL, or correct what is named.")])
    except BillingError as exc:
        return Dependencies(results=[unreachable_redis(exc, settings)])
    return Dependencies(results=[check_redis(servers) if servers else ok("redis", "not used")])


async def _check_issuer(settings: Settings) -> Dependencies:
    answer = await check_issuer_keys(settings)
    result = check_issuer(settings.tokens, unusable=answer.unusable, unreachable=answer.unreachable)
    return Dependencies(results=[result])


async def _check_stripe(settings: Settings) -> Dependencies:
    try:
        async with open_inspector(settings) as inspector:
            account = await inspector.account()
    except GatewayError as exc:
        return Dependencies(results=[check_answer(exc)])
    results = [check_answer(None)]
    if account.answered_at is not None:
        ahead = account.answered_at - datetime.now(UTC)
        results.append(check_clock("Stripe", ahead, settings.stripe.webhook_tolerance))
    return Dependencies(results=results, account=account)
