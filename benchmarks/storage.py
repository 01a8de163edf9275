"""Bytes per event: written to the write-ahead log, and kept in each table.

Webhooks are stored, applied and published by `billing serve`, as in ingest.py. The log is counted by Postgres, with the
images of pages that the first change after a checkpoint adds; `--padding` makes the bodies larger by text that does not
compress, such as ids. The figures hardly depend on the speed of the machine, and much on whether the server was built
with lz4, by which bodies are compressed: the local one was not, so `--database` names another.
`python benchmarks/storage.py --help` lists the options.
"""

import argparse
import json
import secrets
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import asyncpg
import attrs
import load
from deployment import WEBHOOK_SECRET, billing_server, folder, migrate
from ingest import Traffic, until_finished

from billing_embedded import embedded_servers
from billing_stripe.testing import sign

WARM_UP: Final = 1_000
"""Events that are stored before, so that every tenant is known and every table has pages."""
LIMIT: Final = 6_000
"""Most bytes of the log per event whose body is compressed."""
PATIENT: Final = dict.fromkeys(
    (
        "BILLING_REDIS_TIMEOUT_SECONDS",
        "BILLING_STORE_TIMEOUT_SECONDS",
        "BILLING_DB_ACQUIRE_TIMEOUT_SECONDS",
        "BILLING_DB_STATEMENT_TIMEOUT_SECONDS",
        "BILLING_DB_LOCK_TIMEOUT_SECONDS",
        "BILLING_DB_TRANSACTION_TIMEOUT_SECONDS",
    ),
    "60",
)
"""A busy machine must not refuse webhooks."""

_TABLES: Final = """
SELECT relname, pg_total_relation_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_total_relation_size(oid) > 0
"""
_METHOD: Final = """
SELECT CASE attcompression WHEN 'l' THEN 'lz4' WHEN 'p' THEN 'pglz' END FROM pg_attribute
WHERE attrelid = 'stripe_event_bodies'::regclass AND attname = 'body'
"""
_LOG: Final = "SELECT wal_bytes::bigint, wal_fpi::bigint FROM pg_stat_wal"


@attrs.frozen(kw_only=True)
class Stored:
    """Bytes of events, each divided by their number."""

    compression: str
    """Method by which bodies are compressed."""
    body: int
    log: int
    page_images: float
    """Images of whole pages in the log."""
    kept: dict[str, int]
    """By table, with its indexes; tables that did not grow are left out."""


def bodies(traffic: Traffic, count: int, padding: int) -> Iterator[bytes]:
    """Yield events; with padding, their metadata holds as many random hexadecimal digits."""
    for body in traffic.bodies(count):
        yield body.replace(b'"tenant_id"', b'"note": "%b", "tenant_id"' % secrets.token_hex(padding // 2).encode())


async def send(port: int, sent: Sequence[bytes], connections: int) -> None:
    now = datetime.now(UTC)
    requests = [load.request("/webhooks/stripe", body, sign(body, WEBHOOK_SECRET, now)) for body in sent]
    done = await load.post_all(port, requests, connections=connections)
    if done.unexpected:
        raise RuntimeError(f"{done.unexpected} webhooks were not accepted")


async def measure(count: int, connections: int, padding: int, database_url: str | None) -> Stored:
    """Store and apply events, and look at what the database wrote for them."""
    traffic = Traffic()
    with folder() as data:
        async with embedded_servers(data) as local:
            urls = attrs.evolve(local, database_url=database_url or local.database_url)
            await migrate(urls)
            database = await asyncpg.connect(urls.database_url)
            try:
                async with billing_server(urls, worker="inside", settings=PATIENT) as (port, _):
                    await send(port, list(bodies(traffic, WARM_UP, padding)), connections)
                    await until_finished(database, WARM_UP)
                    sizes, log = dict(await database.fetch(_TABLES)), await database.fetchrow(_LOG)
                    sent = list(bodies(traffic, count, padding))
                    await send(port, sent, connections)
                    await until_finished(database, count)
                # Sessions report what they wrote when they end.
                grown, written = dict(await database.fetch(_TABLES)), await database.fetchrow(_LOG)
                method = await database.fetchval(_METHOD)
            finally:
                await database.close()
    kept = {name: (size - sizes.get(name, 0)) // count for name, size in grown.items()}
    return Stored(
        compression=method or "none",
        body=sum(map(len, sent)) // count,
        log=(written["wal_bytes"] - log["wal_bytes"]) // count,
        page_images=round((written["wal_fpi"] - log["wal_fpi"]) / count, 3),
        kept={name: size for name, size in sorted(kept.items(), key=lambda each: -each[1]) if size > 0},
    )


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", type=int, default=4_000, help="measured events (default 4000)")
    arguments.add_argument("--connections", type=int, default=64, help="of the sender (default 64)")
    arguments.add_argument("--padding", type=int, default=0, help="characters more in each body (default 0)")
    arguments.add_argument("--database", help="address of an empty database, on a server that nothing else uses")
    options = arguments.parse_args()
    stored = await measure(options.events, options.connections, options.padding, options.database)
    print(json.dumps(attrs.asdict(stored) | {"kept_in_all": sum(stored.kept.values())}, indent=2))
    if stored.log > LIMIT and stored.compression == "lz4" and not options.padding:
        sys.exit(f"an event takes {stored.log} bytes of the log, more than {LIMIT}")


if __name__ == "__main__":
    load.run(main())
