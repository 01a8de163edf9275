"""Look at what an installation uses: its servers, its account at Stripe, and the account that its database holds."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import aiohttp
import attrs

from billing_app.container.gateway import secret_key
from billing_app.container.local_servers import direct_url, resolve_servers, without_stream
from billing_app.container.resources import open_issuer_keys
from billing_app.http.jwks import KeySetError
from billing_app.settings import Settings, StripeSettings
from billing_app.troubleshooting import KeyTrouble, Trouble
from billing_core.errors import ConfigurationError
from billing_postgres.installation import DatabaseServer, HeldAccount, find_account, inspect_server, keep_account
from billing_redis.inspection import RedisServer, inspect_servers
from billing_redis.nodes import RedisNodes
from billing_stripe.client import CallPolicy, open_client
from billing_stripe.inspection import SeenAccount, SeenPrice, StripeInspector, WebhookTarget
from billing_stripe.versions import API_VERSIONS, is_tested

__all__ = [
    "AccountConflict",
    "DatabaseServer",
    "API_VERSIONS",
    "HeldAccount",
    "IssuerAnswer",
    "RedisServer",
    "SeenAccount",
    "SeenPrice",
    "StripeInspector",
    "WebhookTarget",
    "check_issuer_keys",
    "claim_database",
    "find_conflict",
    "find_held_account",
    "inspect_database",
    "inspect_redis",
    "is_tested",
    "open_inspector",
    "read_account_id",
]

_ANSWER_WITHIN: Final = timedelta(seconds=10)
"""The longest that a start or `billing doctor` waits for Stripe."""

_SERVER_ANSWERS_WITHIN: Final = timedelta(seconds=5)
"""The same for Redis: a busy machine at start must not look like a server that is down."""


@attrs.frozen
class AccountConflict:
    """A key that does not fit the data of the database."""

    detail: str
    remedy: str
    trouble: Trouble


@attrs.frozen(kw_only=True)
class IssuerAnswer:
    """The answer of a token issuer, as far as something is wrong with it."""

    unusable: str | None = None
    """The reason why it holds no keys."""
    unreachable: str | None = None
    """The reason why there is none."""


async def check_issuer_keys(settings: Settings) -> IssuerAnswer:
    """Fetch the keys that the issuer of tokens publishes. Without an issuer, nothing is wrong."""
    async with open_issuer_keys(settings.tokens) as keys:
        if keys is None:
            return IssuerAnswer()
        try:
            await keys.load()
        except KeySetError as exc:
            return IssuerAnswer(unusable=str(exc))
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            return IssuerAnswer(unreachable=type(exc).__name__)
    return IssuerAnswer()


async def inspect_database(settings: Settings) -> DatabaseServer:
    """Return the database's server. Raises: StoreUnavailableError, OperatorError."""
    async with resolve_servers(without_stream(settings)) as urls:
        return await inspect_server(urls.database_url, direct_url=direct_url(settings))


async def find_held_account(settings: Settings) -> HeldAccount | None:
    """Return the account that the database belongs to. Raises: StoreUnavailableError, OperatorError."""
    async with resolve_servers(without_stream(settings)) as urls:
        return await find_account(urls.database_url)


async def inspect_redis(settings: Settings) -> Sequence[RedisServer]:
    """Return the servers of the bus; none if no Redis is used. Raises: EventBusUnavailableError, OperatorError."""
    async with resolve_servers(settings) as urls:
        if urls.redis_url is None:
            return ()
        patience = max(settings.redis.timeout, _SERVER_ANSWERS_WITHIN)
        async with RedisNodes.open(urls.redis_url, timeout=patience) as nodes:
            return await inspect_servers(nodes)


@asynccontextmanager
async def open_inspector(settings: Settings) -> AsyncIterator[StripeInspector]:
    """Open harmless reads of the account, each with one attempt. Raises ValueError without a key; see `may_call`."""
    async with open_client(
        secret_key=secret_key(settings),
        api_version=settings.stripe.api_version,
        base_url=settings.stripe.api_base,
        policy=CallPolicy(attempts=1, attempt_timeout=_ANSWER_WITHIN, deadline=_ANSWER_WITHIN),
        context=settings.stripe.context,
    ) as client:
        yield StripeInspector(client)


async def read_account_id(settings: Settings) -> str | None:
    """Return the account that the API key opens; None if the key may not read it.

    Raises: GatewayError, GatewayAuthenticationError among them if the key is not valid.
    """
    async with open_inspector(settings) as inspector:
        return (await inspector.account()).account_id


def find_conflict(held: HeldAccount | None, stripe: StripeSettings, account_id: str | None) -> AccountConflict | None:
    """Compare our key with the account that the database belongs to; None if they fit, or there is no data yet."""
    if held is None or not held.holds_data:
        return None
    remedy = "Use a database of its own for each account and mode, for example DATABASE_URL=postgresql://…/billing_{}."
    if held.livemode != stripe.livemode:
        ours, theirs = ("live", "test") if stripe.livemode else ("test", "live")
        return AccountConflict(
            f"STRIPE_SECRET_KEY is a {ours} key, and the database holds {theirs} events",
            remedy.format(ours),
            KeyTrouble.LIVE_KEY_BESIDE_TEST_EVENTS if stripe.livemode else KeyTrouble.TEST_KEY_BESIDE_LIVE_EVENTS,
        )
    if account_id is not None and held.account_id not in (None, account_id):
        return AccountConflict(
            f"STRIPE_SECRET_KEY belongs to {account_id}, and the database holds data of {held.account_id}",
            remedy.format(account_id),
            KeyTrouble.KEY_OF_ANOTHER_ACCOUNT,
        )
    return None


async def claim_database(database_url: str, stripe: StripeSettings, account_id: str | None) -> None:
    """Store that the database belongs to the account of our key.

    Raises: ConfigurationError if it holds data of another one; StoreUnavailableError.
    """
    held = await find_account(database_url)
    conflict = find_conflict(held, stripe, account_id)
    if conflict is not None:
        raise ConfigurationError(f"{conflict.detail}. {conflict.remedy} See {conflict.trouble}.")
    known = held.account_id if held is not None and held.livemode == stripe.livemode else None
    ours = HeldAccount(livemode=bool(stripe.livemode), account_id=account_id or known, holds_data=False)
    if held is None or attrs.evolve(held, holds_data=False) != ours:
        await keep_account(database_url, livemode=ours.livemode, account_id=ours.account_id)
