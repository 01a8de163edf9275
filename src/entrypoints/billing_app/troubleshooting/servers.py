"""Troubles with Postgres, Redis, ports and the switch of billing itself."""

from billing_app.troubleshooting.trouble import Trouble


class ServerTrouble(Trouble):
    """Rows about servers."""

    BILLING_IS_OFF = (
        "`ENABLE_BILLING is false`; billing routes answer 404 with `billing_disabled`",
        "Billing is switched off, which is the default: the server runs without Stripe.",
        "Set `ENABLE_BILLING=true` with the Stripe secrets, or run `billing stripe setup`.",
    )
    POSTGRES_IS_UNREACHABLE = (
        "`DATABASE_URL: Postgres does not answer`",
        "Wrong host, port, user or password, a firewall, or the server is down.",
        "Try the same URL with `psql`. Without `DATABASE_URL` a local server is started.",
    )
    POSTGRES_IS_TOO_OLD = (
        "`DATABASE_URL names a Postgres 13`",
        "The statements need Postgres 14.",
        "Upgrade the server; 18 is tested most.",
    )
    POSTGRES_REFUSES_WRITES = (
        "`DATABASE_URL names a Postgres 18 that takes no writes`; webhooks get 503, `/readyz` says `store_unavailable`",
        "It is a standby, as after a failover, `default_transaction_read_only` is on, or its disk is full.",
        "Let `DATABASE_URL` lead to the primary, or reset the setting. Stripe sends the webhooks again for three days.",
    )
    POSTGRES_LACKS_CONNECTIONS = (
        "`BILLING_DB_POOL_SIZE is 60, with which one process opens up to 129 connections`",
        "The pools of one process are larger than `max_connections` of the server, less what it reserves.",
        "Lower `BILLING_DB_POOL_SIZE`, raise `max_connections`, or put pgbouncer between.",
    )
    POOLER_SHARES_SESSIONS = (
        "`DATABASE_URL leads to a pooler in transaction mode`",
        "pgbouncer gives each transaction another connection, so settings, prepared statements and notices get lost.",
        "Set `DATABASE_DIRECT_URL` to Postgres itself, or `pool_mode = session`.",
    )
    POSTGRES_LACKS_MIGRATIONS = (
        "`the database lacks 3 migrations`",
        "A newer release was started before its migrations were applied.",
        "Run `billing migrate`, then start again.",
    )
    SCHEMA_IS_NEWER = (
        "`the schema was migrated by a newer release`",
        "An older release runs beside a newer one, as in a rollout.",
        "Deploy the newer release here too.",
    )
    REDIS_IS_UNREACHABLE = (
        "`REDIS_URL: Redis does not answer`",
        "Wrong address or password, or the server is down. Streams are delivered through it.",
        "Start it, or set `BILLING_STREAM_FALLBACK=postgres` or `ENABLE_BILLING_STREAM=false`.",
    )
    REDIS_REFUSES_WRITES = (
        "`REDIS_URL names a server that takes no writes`; `dependency.unavailable` with `redis`",
        "It is a replica, has reached `maxmemory`, or cannot write its append-only file or snapshot.",
        "Let `REDIS_URL` lead to the master, raise `maxmemory`, or make room on its disk. Until then streams are "
        "served from Postgres.",
    )
    REDIS_EVICTS = (
        "`REDIS_URL names a server with maxmemory-policy allkeys-lru`",
        "A server that evicts keys drops whole streams without an error.",
        "Set `maxmemory-policy noeviction`, or give billing a server of its own.",
    )
    REDIS_IS_TOO_OLD = (
        "`REDIS_URL names a Redis 5.0`",
        "The scripts need Redis 6.2.",
        "Upgrade to Redis 7 or Valkey 8, or newer.",
    )
    PORT_IS_TAKEN = (
        "`cannot listen on 127.0.0.1:8080`",
        "Another process listens on the port, often an earlier `billing serve`, or the address is not this machine's.",
        "Stop that process, or set the variable that the message names, `BILLING_PORT` or `BILLING_METRICS_PORT`, to a "
        "free port.",
    )
