"""The schema of the database: brought up to date, or refused."""

import attrs

from billing_app.container.local_servers import direct_url, resolve_servers, without_stream
from billing_app.settings import Settings
from billing_core.errors import ConfigurationError
from billing_postgres.migrate import inspect, migrate, pending


@attrs.frozen(kw_only=True)
class SchemaReport:
    """The migrations of a schema, by name."""

    applied: tuple[str, ...] = ()
    """Applied just now."""
    pending: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()
    """Applied by newer code than this."""


async def bring_schema_up_to_date(settings: Settings, *, check: bool) -> SchemaReport:
    """Migrate the configured database, or the local one; with `check`, only report what is pending."""
    async with resolve_servers(without_stream(settings)) as urls:
        applied = () if check else await migrate(direct_url(settings) or urls.database_url)
        status = await inspect(urls.database_url)
    return SchemaReport(
        applied=tuple(one.migration.name for one in applied),
        pending=tuple(migration.name for migration in status.pending),
        ahead=status.ahead,
    )


async def prepare_schema(database_url: str, *, ours: bool) -> None:
    """Bring our own schema up to date; refuse a configured one that is behind."""
    if ours:
        await migrate(database_url)
        return
    names = [migration.name for migration in await pending(database_url)]
    if names:
        raise ConfigurationError(
            f"the database lacks {len(names)} migrations ({names[0]} first): run `billing migrate`"
        )
