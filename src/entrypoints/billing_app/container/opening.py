"""Open what a server or a worker needs, and close it at its end."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import attrs
import structlog

from billing_app.container.adapters import Pool, postgres_adapters
from billing_app.container.gateway import may_call, open_stripe, ports_of
from billing_app.container.installation import claim_database
from billing_app.container.local_servers import direct_url, resolve_servers
from billing_app.container.outgoing import open_webhook_sender
from billing_app.container.resources import enter, open_issuer_keys, open_pool
from billing_app.container.schema import prepare_schema
from billing_app.container.tracing import open_tracing
from billing_app.container.wiring import Container
from billing_app.http.auth import TenantAuthenticator
from billing_app.settings import Settings
from billing_app.shutdown import ShutdownDeadline
from billing_core.consumers.runner import ConsumerPolicy
from billing_core.errors import EventBusUnavailableError
from billing_core.model.epoch import Epoch
from billing_core.oversight.ports import ProcessKind
from billing_core.state.rules import activate
from billing_postgres.errors import address_of
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database
from billing_postgres.stream.epochs import PostgresEpochLog
from billing_redis.bus import RedisEventBus
from billing_redis.errors import server_of
from billing_redis.nodes import RedisNodes
from billing_redis.quota import RedisStreamQuota
from billing_stripe.gateway import StripeGateway

log = structlog.get_logger()

_CONSUMER_CONNECTIONS: Final = ConsumerPolicy().connections


@attrs.frozen(kw_only=True)
class Starting:
    """A server or worker that starts, as opposed to a command that uses what they have set up."""

    account_id: str | None
    """The account of the API key, if it is known."""


@asynccontextmanager
async def open_container(
    settings: Settings,
    *,
    application_name: str,
    authenticator: TenantAuthenticator | None = None,
    notify: bool = True,
    needs_bus: bool = True,
    starts: Starting | None = None,
    kind: ProcessKind = "serve",
) -> AsyncIterator[Container]:
    """Open what a process needs, in order, and close it in reverse, within what is left of the container's deadline.

    Local servers are started for URLs that are not set, and their schema is brought up to date; the schema of a
    database that is configured has to be. Raises ConfigurationError and OperatorError, saying what to do.

    Args:
        settings: the configuration of the process.
        application_name: the name of the process in the database.
        authenticator: decides who may read a tenant's data, in place of our own bearer tokens.
        notify: whether tenants get messages about changes.
        needs_bus: whether an unavailable bus is an error; otherwise messages wait for it in the outbox.
        starts: given for a server or worker: the rules of these settings are put in force, if they are new, and the
            database is claimed for the account. Otherwise the rules in force are followed.
        kind: the kind of the process on the list of those that run.
    """
    container = Container(settings=settings, notify=notify, process_kind=kind)
    deadline, metrics = container.deadline(), container.metrics()
    names: dict[Pool, str] = {}
    async with AsyncExitStack() as stack:
        # Opened first and so closed last: it sends the spans of all the others.
        tracing = await enter(stack, deadline, "tracing", open_tracing(settings.tracing, application_name))
        container.override_providers(tracing=tracing)
        if starts is not None and settings.database.url is None:
            log.info("start.step", doing=f"starts or joins the local servers in {settings.embedded.data_dir}")
        urls = await stack.enter_async_context(resolve_servers(settings))
        if starts is not None:
            log.info("start.step", doing="checks the schema of the database")
        await prepare_schema(urls.database_url, ours=settings.database.url is None)
        container.relied_on().database.address = address_of(urls.database_url)
        if urls.redis_url is not None:
            container.relied_on().bus.address = server_of(urls.redis_url)
        database = Database(
            url=urls.database_url,
            direct_url=direct_url(settings),
            application_name=application_name,
            acquire_timeout=settings.database.acquire_timeout,
            statement_timeout=settings.database.statement_timeout,
            lock_timeout=settings.database.lock_timeout,
            transaction_timeout=settings.database.transaction_timeout,
            waited=lambda pool, seconds, in_vain: metrics.pool_waited(names[pool], seconds, in_vain=in_vain),
        )
        writers = await open_pool(stack, deadline, database, settings.database.pool_size)
        readers = await open_pool(stack, deadline, database, settings.database.pool_size, read_only=True)
        consumers = await open_pool(stack, deadline, database, _CONSUMER_CONNECTIONS)
        names.update({writers: "writers", readers: "readers", consumers: "consumers"})
        for pool, name in names.items():
            metrics.watch_pool(name, in_use=partial(_in_use, pool), limit=pool.get_max_size())
        inbox = PostgresEventInbox(
            database,
            writers,
            flushes=settings.inbox.flushes,
            batch=settings.inbox.batch,
            queue_limit=settings.inbox.queue_limit,
            timeout=settings.inbox.timeout,
        )
        epoch = await PostgresEpochLog(database, writers).enter()
        redis = await _open_redis(stack, deadline, settings, urls.redis_url, epoch, needed=needs_bus)
        gateway = await _open_gateway(stack, deadline, settings, redis.nodes, container)
        container.override_providers(
            **postgres_adapters(
                settings,
                database=database,
                writers=writers,
                readers=readers,
                consumers=consumers,
                inbox=await enter(stack, deadline, "inbox", inbox),
                bus=redis.bus,
                quota=redis.quota,
            ),
            epoch=epoch,
            **ports_of(gateway),
            webhook_sender=await enter(stack, deadline, "webhook_sender", open_webhook_sender(settings)),
            issuer_keys=await enter(stack, deadline, "issuer_keys", open_issuer_keys(settings.tokens)),
            **({} if authenticator is None else {"authenticator": authenticator}),
        )
        container.check_dependencies()
        if starts is not None:
            if settings.switches.billing:
                await claim_database(urls.database_url, settings.stripe, starts.account_id)
            await activate_rules(container, actor=application_name, ours=settings.database.url is None)
        await container.rules().reload()
        yield container


def _in_use(pool: Pool) -> int:
    return pool.get_size() - pool.get_idle_size()


async def activate_rules(container: Container, *, actor: str, ours: bool) -> None:
    """Put the rules of a process in force if they are new; those of a local database always."""
    report = await activate(container.rules_register(), container.own_rules(), actor=actor, always=ours)
    container.observers().rules_activated(report)


@attrs.frozen(kw_only=True)
class _Redis:
    """The adapters on Redis; None without one, and where streams do without it."""

    nodes: RedisNodes | None = None
    bus: RedisEventBus | None = None
    quota: RedisStreamQuota | None = None


_REDIS_UNAVAILABLE: Final = (
    "Redis at REDIS_URL does not answer ({}). Start it, or correct REDIS_URL. BILLING_STREAM_FALLBACK=postgres serves "
    "streams without it, seconds late; ENABLE_BILLING_STREAM=false serves none."
)


async def _open_redis(
    stack: AsyncExitStack,
    deadline: ShutdownDeadline,
    settings: Settings,
    url: str | None,
    epoch: Epoch,
    *,
    needed: bool,
) -> _Redis:
    """Open what is kept on Redis under the name of an epoch.

    Raises EventBusUnavailableError if it does not answer and is needed.
    """
    if url is None:
        return _Redis()
    nodes = await enter(stack, deadline, "redis", RedisNodes.open(url, timeout=settings.redis.timeout))
    if not settings.switches.stream:
        return _Redis(nodes=nodes)
    namespace = f"billing:{epoch.token}"
    bus = RedisEventBus(nodes, shards=settings.redis.shards, log_length=settings.redis.log_length, namespace=namespace)
    try:
        await bus.check()
    except EventBusUnavailableError as exc:
        if needed and settings.stream.fallback == "none":
            raise EventBusUnavailableError(_REDIS_UNAVAILABLE.format(exc)) from exc
    return _Redis(nodes=nodes, bus=bus, quota=RedisStreamQuota(nodes, settings.quota, namespace=namespace))


async def _open_gateway(
    stack: AsyncExitStack,
    deadline: ShutdownDeadline,
    settings: Settings,
    nodes: RedisNodes | None,
    container: Container,
) -> StripeGateway | None:
    """Open the way to Stripe; None without a key, and where it is switched off."""
    if not may_call(settings):
        return None
    opened = open_stripe(settings, nodes=nodes, observers=container.observers())
    client = await enter(stack, deadline, "stripe", opened)
    container.metrics().watch_gateway(in_flight=lambda: client.in_flight, circuit=lambda: client.circuit)
    return StripeGateway(client)
