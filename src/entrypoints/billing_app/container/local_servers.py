"""The servers of a process: the configured ones, and local ones in place of those that are missing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from billing_app.errors import OperatorError
from billing_app.settings import Settings
from billing_embedded import EmbeddedError, ServerUrls, running_servers
from billing_embedded.urls import POSTGRES, VALKEY


def without_stream(settings: Settings) -> Settings:
    """Return settings for a command that needs the database only."""
    return attrs.evolve(settings, switches=attrs.evolve(settings.switches, stream=False))


def direct_url(settings: Settings) -> str | None:
    """Return the address of the database without its pooler; None if the usual address is good for everything."""
    return None if settings.database.direct_url is None else settings.database.direct_url.reveal()


@asynccontextmanager
async def resolve_servers(settings: Settings) -> AsyncIterator[ServerUrls]:
    """Yield the configured servers; for a missing URL, start a local server that lives as long as the block.

    Only the stream needs Redis: when it is off, or served from Postgres, no local one is started.

    Raises: OperatorError, with what to do, when a local server cannot be started.
    """
    configured = {POSTGRES: settings.database.url, VALKEY: settings.redis.url}
    needed = (POSTGRES, VALKEY) if settings.switches.stream and settings.stream.fallback == "none" else (POSTGRES,)
    missing = [name for name in needed if configured[name] is None]
    try:
        async with running_servers(settings.embedded.data_dir, *missing) as local:
            urls = {**local, **{name: url.reveal() for name, url in configured.items() if url is not None}}
            yield ServerUrls(database_url=urls[POSTGRES], redis_url=urls.get(VALKEY))
    except EmbeddedError as exc:
        raise OperatorError(str(exc)) from exc
