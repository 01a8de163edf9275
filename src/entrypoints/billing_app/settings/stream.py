"""The event stream: its connections and quotas."""

from datetime import timedelta

import attrs

from billing_app.settings import parsers
from billing_app.settings.declaration import duration, seconds, setting, whole
from billing_core.stream_access.ports import QuotaPolicy


@attrs.frozen(kw_only=True)
class StreamSettings:
    """Connections of streaming clients."""

    fallback: str = setting(
        "BILLING_STREAM_FALLBACK",
        parsers.one_of("none", "postgres"),
        "none",
        "`postgres` serves streams from the database, with a delay of seconds, when there is no Redis or it is "
        "unavailable at start.",
    )
    keepalive: timedelta = seconds(
        "BILLING_STREAM_KEEPALIVE_SECONDS",
        15,
        "Interval of the comments sent on an idle stream; they also detect clients that have disappeared.",
        minimum=0.05,
        maximum=300,
    )
    max_life: timedelta = seconds(
        "BILLING_STREAM_MAX_LIFE_SECONDS",
        1800,
        "Age at which a stream is closed so that its client reconnects.",
        minimum=0.1,
        maximum=86400,
    )
    retry: timedelta = duration(
        "BILLING_STREAM_RETRY_MILLISECONDS",
        "milliseconds",
        3000,
        "Shortest pause before a client reconnects; each stream gets one of up to twice this, as `retry:`.",
        minimum=0,
        maximum=600_000,
    )
    buffer: int = whole(
        "BILLING_STREAM_BUFFER",
        256,
        "Newest messages of a tenant kept in memory while one of its clients is slow; older ones are read again.",
        maximum=100_000,
    )
    write_timeout: timedelta = seconds(
        "BILLING_STREAM_WRITE_TIMEOUT_SECONDS",
        5,
        "Time a client has to receive what was sent to it before its stream is closed.",
        minimum=0.05,
        maximum=300,
    )
    max_connections: int = whole(
        "BILLING_STREAM_MAX_CONNECTIONS", 5000, "Most open streams per process.", maximum=1_000_000
    )
    ticket_ttl: timedelta = seconds(
        "BILLING_STREAM_TICKET_SECONDS",
        30,
        "Lifetime of a ticket; it opens one stream.",
        minimum=1,
        maximum=30,
    )


@attrs.frozen(kw_only=True)
class QuotaSettings(QuotaPolicy):
    """The stream quota of each tenant, counted over all servers."""

    rate_per_minute: int = whole(
        "BILLING_STREAM_RATE_LIMIT_PER_MINUTE",
        300,
        "Streams that a tenant may open per minute, over all servers; further ones are answered 429. "
        "0 turns the limit off.",
        minimum=0,
        maximum=1_000_000,
    )
    concurrent: int = whole(
        "BILLING_STREAM_CONCURRENT_LIMIT",
        100,
        "Streams that a tenant may have open at the same time, over all servers; further ones are answered 429. "
        "0 turns the limit off.",
        minimum=0,
        maximum=1_000_000,
    )
    lease: timedelta = seconds(
        "BILLING_STREAM_LEASE_SECONDS",
        45,
        "Time after which a stream no longer counts if its server has not renewed it, which it does three times as "
        "often. Those of a crashed server stop counting after five seconds.",
        minimum=0.3,
        maximum=3600,
    )
