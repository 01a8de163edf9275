"""Checks of Postgres, Redis and the clocks: each takes what was seen and returns a value."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from billing_app.container import DatabaseServer, RedisServer
from billing_app.doctor.results import CheckResult, fail, ok, warn
from billing_app.settings import Settings
from billing_app.troubleshooting import ServerTrouble, WebhookTrouble
from billing_core.consumers.runner import ConsumerPolicy

OLDEST_POSTGRES: Final = 14
OLDEST_REDIS: Final = (6, 2)
_SKEW_SEEN: Final = timedelta(seconds=30)
"""Clocks further apart than this get attention. Source: docs/billing/operations.md"""
_BESIDE_POOLS: Final = 1
"""Connections of a process beside its pools and its group commits: the one that listens for new events."""
_FOR_CONSUMERS: Final = ConsumerPolicy().connections


def check_postgres(server: DatabaseServer, settings: Settings) -> CheckResult:
    """Check the version of a server, and that it has room for the connections of the processes of one command."""
    if server.version < OLDEST_POSTGRES:
        return fail(
            "postgres",
            f"DATABASE_URL names a Postgres {server.version}",
            f"Upgrade it to Postgres {OLDEST_POSTGRES} or newer, for example 18.",
            ServerTrouble.POSTGRES_IS_TOO_OLD,
        )
    if server.read_only:
        return fail(
            "postgres",
            f"DATABASE_URL names a Postgres {server.version} that takes no writes: a standby, or "
            "default_transaction_read_only is on",
            "Let DATABASE_URL lead to the primary, or `ALTER SYSTEM RESET default_transaction_read_only` and reload.",
            ServerTrouble.POSTGRES_REFUSES_WRITES,
            stops_start=False,
        )
    if not server.keeps_sessions:
        name = "DATABASE_URL" if settings.database.direct_url is None else "DATABASE_DIRECT_URL"
        return fail(
            "postgres",
            f"{name} leads to a pooler in transaction mode",
            "Set DATABASE_DIRECT_URL to Postgres itself, or the pooler to pool_mode = session.",
            ServerTrouble.POOLER_SHARES_SESSIONS,
        )
    each = 2 * settings.database.pool_size + settings.inbox.flushes + _BESIDE_POOLS + _FOR_CONSUMERS
    processes, needed = settings.processes, settings.processes * each
    if needed > server.connections and not server.through_pooler:
        return fail(
            "postgres",
            f"BILLING_DB_POOL_SIZE is {settings.database.pool_size}, with which {_counted(processes)} up to {needed} "
            f"connections, and max_connections of the server leaves {server.connections}",
            f"Lower it, for example BILLING_DB_POOL_SIZE={max(1, server.connections // processes // 8)}, or raise "
            "max_connections.",
            ServerTrouble.POSTGRES_LACKS_CONNECTIONS,
        )
    return ok("postgres", f"version {server.version}, with room for {server.connections} connections")


def _counted(processes: int) -> str:
    return "one process opens" if processes == 1 else f"{processes} processes open"


def check_redis(servers: Sequence[RedisServer]) -> CheckResult:
    """Check the versions of servers, and that they do not evict what they hold."""
    for server in servers:
        at = f" ({server.address})" if server.address else ""
        if server.eviction != "noeviction":
            return fail(
                "redis",
                f"REDIS_URL names a server{at} with maxmemory-policy {server.eviction}, which may evict the billing "
                "streams",
                "Set maxmemory-policy to noeviction, or give billing a server of its own.",
                ServerTrouble.REDIS_EVICTS,
            )
        if server.version < OLDEST_REDIS:
            return fail(
                "redis",
                f"REDIS_URL names a Redis {_dotted(server.version)}{at}",
                f"Upgrade it to Redis {_dotted(OLDEST_REDIS)} or Valkey 7.2, or newer.",
                ServerTrouble.REDIS_IS_TOO_OLD,
            )
        if server.refuses_writes is not None:
            return fail(
                "redis",
                f"REDIS_URL names a server{at} that takes no writes: {server.refuses_writes}",
                "Until then, streams are served from Postgres. Let REDIS_URL lead to the master, raise maxmemory, or "
                "make room on its disk.",
                ServerTrouble.REDIS_REFUSES_WRITES,
                stops_start=False,
            )
    return ok("redis", "reachable, takes writes, and does not evict data")


def check_clock(other: str, ahead: timedelta, tolerance: timedelta) -> CheckResult:
    """Compare our clock with that of another machine, because a webhook's signature is valid for a while only.

    Args:
        other: the other machine, such as `Stripe`.
        ahead: its time minus ours.
        tolerance: the age at which signatures are refused, in either direction.
    """
    seconds = abs(ahead).total_seconds()
    detail = f"the clock of this machine is {seconds:.0f} s {'behind' if ahead > timedelta(0) else 'ahead of'} {other}"
    remedy = "Synchronize it, for example with chrony or systemd-timesyncd."
    if abs(ahead) >= tolerance:
        limit = f"STRIPE_WEBHOOK_TOLERANCE_SECONDS is {tolerance.total_seconds():.0f}"
        return fail("clock", f"{limit}, but {detail}: webhooks are refused", remedy, WebhookTrouble.CLOCK_IS_OFF)
    if abs(ahead) >= min(_SKEW_SEEN, tolerance / 2):
        return warn("clock", detail, remedy, WebhookTrouble.CLOCK_IS_OFF)
    return ok("clock", f"within {_SKEW_SEEN.total_seconds():.0f} s of {other}")


def unreachable_postgres(reason: object) -> CheckResult:
    """Return the result for a database that does not answer."""
    return fail(
        "database",
        f"DATABASE_URL: Postgres does not answer ({reason})",
        "Check the address, the password and that the server is running, for example "
        "DATABASE_URL=postgresql://user:password@host:5432/billing.",
        ServerTrouble.POSTGRES_IS_UNREACHABLE,
    )


def unreachable_redis(reason: object, settings: Settings) -> CheckResult:
    """Return the result for a Redis that does not answer, which streams can do without if they are told to."""
    result = warn if settings.stream.fallback == "postgres" else fail
    return result(
        "redis",
        f"REDIS_URL: Redis does not answer ({reason})",
        "Start it, or correct REDIS_URL, for example REDIS_URL=redis://:password@host:6379/0. "
        "BILLING_STREAM_FALLBACK=postgres serves streams without it, seconds late; ENABLE_BILLING_STREAM=false "
        "serves none.",
        ServerTrouble.REDIS_IS_UNREACHABLE,
    )


def check_schema(pending: Sequence[str], ahead: Sequence[str]) -> CheckResult:
    """Check that the schema is the one that this code needs."""
    if pending:
        detail = f"the database lacks {len(pending)} migrations ({pending[0]} first)"
        return fail("database", detail, "Run `billing migrate`.", ServerTrouble.POSTGRES_LACKS_MIGRATIONS)
    if ahead:
        detail = f"the schema was migrated by a newer release ({ahead[-1]})"
        return warn("database", detail, "Deploy that release here too.", ServerTrouble.SCHEMA_IS_NEWER)
    return ok("database", "reachable, and the schema is up to date")


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
