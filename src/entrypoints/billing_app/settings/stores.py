"""Postgres and Redis: their addresses and limits."""

from datetime import timedelta
from pathlib import Path

import attrs

from billing_app.secret import Secret
from billing_app.settings import parsers
from billing_app.settings.declaration import seconds, setting, whole


@attrs.frozen(kw_only=True)
class DatabaseSettings:
    """Connections to Postgres."""

    url: Secret | None = setting(
        "DATABASE_URL",
        parsers.secret(parsers.url("postgresql", "postgres", example="postgresql://user:password@host:5432/billing")),
        None,
        "Postgres. Without it a local server is started.",
        example="postgresql://user:password@host:5432/billing",
        secret=True,
    )
    direct_url: Secret | None = setting(
        "DATABASE_DIRECT_URL",
        parsers.secret(parsers.url("postgresql", "postgres", example="postgresql://user:password@host:5432/billing")),
        None,
        "The same database without a pooler, if `DATABASE_URL` leads to pgbouncer with `pool_mode = transaction`: for "
        "migrations, for storing webhooks and for notices of new events.",
        example="postgresql://user:password@host:5432/billing",
        secret=True,
    )
    pool_size: int = whole(
        "BILLING_DB_POOL_SIZE",
        10,
        "Most connections in each of a process's two pools, for writes and for reads.",
        maximum=1000,
    )
    acquire_timeout: timedelta = seconds(
        "BILLING_DB_ACQUIRE_TIMEOUT_SECONDS", 2, "Longest wait for a free connection.", minimum=0.05, maximum=60
    )
    statement_timeout: timedelta = seconds(
        "BILLING_DB_STATEMENT_TIMEOUT_SECONDS", 5, "Longest run of one statement.", minimum=0.05, maximum=3600
    )
    lock_timeout: timedelta = seconds(
        "BILLING_DB_LOCK_TIMEOUT_SECONDS", 4, "Longest wait for a row lock.", minimum=0.05, maximum=3600
    )
    transaction_timeout: timedelta = seconds(
        "BILLING_DB_TRANSACTION_TIMEOUT_SECONDS",
        30,
        "Longest transaction (Postgres 17 and later): releases the rows that a frozen process has locked.",
        minimum=0.1,
        maximum=3600,
    )


@attrs.frozen(kw_only=True)
class RedisSettings:
    """Connections to Redis, and what is kept there."""

    url: Secret | None = setting(
        "REDIS_URL",
        parsers.secret(parsers.url("redis", "rediss", "unix", example="redis://:password@host:6379/0")),
        None,
        "Redis or Valkey. Without it a local server is started.",
        example="redis://:password@host:6379/0",
        secret=True,
    )
    timeout: timedelta = seconds(
        "BILLING_REDIS_TIMEOUT_SECONDS",
        2,
        "Longest wait for a reply; blocking reads are exempt.",
        minimum=0.05,
        maximum=60,
    )
    log_length: int = whole(
        "BILLING_STREAM_MAXLEN",
        10_000,
        "Newest messages per tenant kept in Redis; older ones are read from Postgres.",
        maximum=10_000_000,
    )
    shards: int = whole(
        "BILLING_STREAM_SHARDS",
        16,
        "Wakeup streams that tenants are spread over; must be the same in every process.",
        maximum=1024,
    )


@attrs.frozen(kw_only=True)
class EmbeddedSettings:
    """The local Postgres and Valkey, for URLs that are not set."""

    data_dir: Path = setting(
        "BILLING_DATA_DIR",
        parsers.PATH,
        Path(".billing"),
        "Folder of the local servers: data, logs, generated passwords.",
    )
