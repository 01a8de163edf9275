"""Receivers of outgoing webhooks, known to every process of a database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

import asyncpg

from billing_core.consumers.values import ConsumerName
from billing_core.outgoing.ports import QUIET
from billing_core.outgoing.values import SigningSecret, WebhookEndpoint
from billing_postgres import queries
from billing_postgres.pool import Database
from billing_postgres.statements import Statements

_QUERIES: Final = queries.load("write_receivers")


class PostgresReceivers:
    """A `WebhookEndpoints`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._statements = Statements(database, pool, _QUERIES)

    async def current(self) -> Sequence[WebhookEndpoint]:
        """Return all receivers by name."""
        rows = await self._statements.fetch("list_receivers")
        return [_endpoint(list(rows_of_one)) for _, rows_of_one in groupby(rows, key=lambda row: str(row["consumer"]))]

    async def put(self, consumer: ConsumerName, url: str, secret: SigningSecret | None) -> None:
        """Store a receiver."""
        if secret is not None:
            await self._statements.fetch("put_receiver", consumer, url, secret.text, secret.created_at)
        elif not await self._statements.fetch("change_receiver", consumer, url):
            raise ValueError(f"the receiver of {consumer} is new and needs a secret")

    async def rotate(self, consumer: ConsumerName, secret: SigningSecret, *, replaced_until: datetime) -> bool:
        """Add a secret, and let the others expire."""
        return bool(
            await self._statements.fetch("rotate_secret", consumer, secret.text, secret.created_at, replaced_until)
        )

    async def remove(self, consumer: ConsumerName) -> bool:
        """Delete a receiver with its secrets."""
        return bool(await self._statements.fetch("remove_receiver", consumer))

    async def failed(self, consumer: ConsumerName, at: datetime, failure: str) -> datetime | None:
        """Record a failure."""
        found = await self._statements.fetch("note_failure", consumer, at, failure, QUIET)
        return found[0]["failing_since"] if found else None

    async def recovered(self, consumer: ConsumerName) -> None:
        """Record the end of failures."""
        await self._statements.fetch("note_recovery", consumer)


def _endpoint(rows: Sequence[asyncpg.Record]) -> WebhookEndpoint:
    first = rows[0]
    return WebhookEndpoint(
        consumer=ConsumerName(first["consumer"]),
        url=first["url"],
        secrets=tuple(
            SigningSecret(text=row["secret"], created_at=row["created_at"], expires_at=row["expires_at"])
            for row in rows
        ),
        failing_since=first["failing_since"],
        failure=first["failure"],
    )
