"""Open what a command needs, and no more."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Final

import attrs
import structlog

from billing_app.container.adapters import postgres_adapters
from billing_app.container.local_servers import resolve_servers, without_stream
from billing_app.container.opening import open_container
from billing_app.container.resources import open_issuer_keys, open_pool, prepare_schema
from billing_app.container.wiring import Container
from billing_app.http.tokens import TokenVerifier
from billing_app.program import IS_PROGRAM
from billing_app.settings import Settings
from billing_app.shutdown import ShutdownDeadline
from billing_app.worker import publishing
from billing_core.errors import ConfigurationError
from billing_core.inbox.replay import Replayer
from billing_core.operations.facade import Operations
from billing_core.state.ports import TenantReader
from billing_postgres.durability import DurabilityRisk, durability_risks
from billing_postgres.migrate import inspect, migrate
from billing_postgres.pool import Database
from billing_telemetry import logging

_CONNECTIONS: Final = 4
_OPERATORS_WAIT: Final = timedelta(minutes=2)
"""The limit of statements that an operator waits for, in place of those that protect a server."""


@attrs.frozen(kw_only=True)
class SchemaReport:
    """The migrations of a schema, by name."""

    applied: tuple[str, ...] = ()
    """Applied just now."""
    pending: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()
    """Applied by newer code than this."""


def _log_warnings(settings: Settings) -> None:
    """Let the program write warnings to standard error, where they are not taken for results, unless it has a log."""
    if IS_PROGRAM.get() and not structlog.is_configured():
        level = settings.logs.level if settings.logs.level in ("warning", "error") else "warning"
        logging.configure(level=level, format=settings.logs.format)


async def bring_schema_up_to_date(settings: Settings, *, check: bool) -> SchemaReport:
    """Migrate the configured database, or the local one; with `check`, only report what is pending."""
    _log_warnings(settings)
    async with resolve_servers(without_stream(settings)) as urls:
        applied = () if check else await migrate(urls.database_url)
        status = await inspect(urls.database_url)
    return SchemaReport(
        applied=tuple(one.migration.name for one in applied),
        pending=tuple(migration.name for migration in status.pending),
        ahead=status.ahead,
    )


async def find_durability_risks(settings: Settings) -> Sequence[DurabilityRisk]:
    """Return the settings of the database under which a crash loses what was acknowledged. StoreUnavailableError."""
    async with resolve_servers(without_stream(settings)) as urls:
        return await durability_risks(urls.database_url)


@asynccontextmanager
async def open_tools(settings: Settings) -> AsyncIterator[Container]:
    """Open the database for one command. Nothing is processed, published, or fetched from the provider.

    The database is the configured one, or the local one with its schema up to date.
    """
    _log_warnings(settings)
    deadline = ShutdownDeadline(settings.server.shutdown_timeout)
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(resolve_servers(without_stream(settings)))
        await prepare_schema(urls.database_url, ours=settings.database.url is None)
        database = Database(
            url=urls.database_url,
            application_name="billing-cli",
            statement_timeout=_OPERATORS_WAIT,
            transaction_timeout=_OPERATORS_WAIT,
        )
        pool = await open_pool(stack, deadline, database, _CONNECTIONS)
        yield Container(
            **postgres_adapters(settings, database=database, writers=pool), settings=settings, deadline=deadline
        )


@asynccontextmanager
async def open_replayer(settings: Settings, *, notify: bool, publishes: bool) -> AsyncIterator[Replayer]:
    """Open a replayer of stored events, which may run beside servers and workers.

    Args:
        settings: the configuration, the same as that of the workers.
        notify: whether tenants get messages about changes.
        publishes: whether this process sends messages to the bus. Messages that it leaves in the outbox are sent by
            any server or worker.
    """
    if settings.stripe.livemode is None:
        raise ConfigurationError(
            "STRIPE_SECRET_KEY is not set, and it decides whether this deployment processes live or test events: "
            "replay with the settings that the workers have"
        )
    patient = attrs.evolve(settings, database=attrs.evolve(settings.database, statement_timeout=_OPERATORS_WAIT))
    async with open_container(patient, application_name="billing-replay", notify=notify, needs_bus=False) as container:
        if not publishes:
            yield container.replayer()
            return
        async with publishing(container.publisher(), container.deadline()):
            yield container.replayer()


@asynccontextmanager
async def open_operations(settings: Settings) -> AsyncIterator[tuple[Operations, TenantReader]]:
    """Open the operations of a tenant's subscriptions for one command, and the state that they are about.

    Messages are published before the end; those that cannot be are sent by any server or worker.
    Raises ConfigurationError if Stripe cannot be asked.
    """
    async with open_container(settings, application_name="billing-cli", needs_bus=False) as container:
        operations: Operations | None = container.operations()
        if operations is None:
            raise ConfigurationError(
                "Stripe cannot be asked: set STRIPE_SECRET_KEY, and neither STRIPE_FETCH=false nor ENABLE_BILLING=false"
            )
        async with publishing(container.publisher(), container.deadline()):
            yield operations, container.tenant_reader()


@asynccontextmanager
async def open_token_verifier(settings: Settings) -> AsyncIterator[TokenVerifier]:
    """Open the verifier of bearer tokens."""
    async with open_issuer_keys(settings.tokens) as keys:
        yield Container(settings=settings, issuer_keys=keys).token_verifier()
