"""The decisions that were sent to the provider, the same for all processes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import asyncpg

from billing_core.converters import dumps
from billing_core.operations.commands import Command, command_to_json, without_contact_details
from billing_core.operations.errors import GIVEN_UP, IdempotencyConflictError, LeaseLostError
from billing_core.operations.stored import (
    Begun,
    OperationBacklog,
    OperationRequest,
    OperationStatus,
    Resolution,
    Standing,
    StoredOperation,
    operation_key,
)
from billing_postgres import queries
from billing_postgres.errors import translated
from billing_postgres.operations.rows import operation_from_row
from billing_postgres.pool import Connection, Database
from billing_postgres.statements import Statements
from billing_postgres.text import storable

_QUERIES: Final = MappingProxyType({**queries.load("write_operations"), **queries.load("read_operations")})


class PostgresOperationLog:
    """An `OperationLog`."""

    def __init__(self, database: Database, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._database = database
        self._pool = pool
        self._statements = Statements(database, pool, _QUERIES)

    async def begin(self, request: OperationRequest, *, lease: timedelta) -> Begun:
        """Store a request unless it is known, and lease it, or say why that is not possible."""
        while True:
            async with self._database.begun(self._pool, isolation="read_committed", readonly=False) as connection:
                begun = await self._begin(connection, request, lease)
            if begun is not None:
                return begun

    async def _begin(self, connection: Connection, request: OperationRequest, lease: timedelta) -> Begun | None:
        """Begin a request; None if what was in its way is gone, or the same request came first: begin again."""
        identity = (request.tenant_id, request.operation, request.request_id)
        last = await _find(connection, "lock_last_try", *identity)
        if last is not None and last.request.arguments_hash != request.arguments_hash:
            raise IdempotencyConflictError(f"{request.operation}: the request id was used with other arguments")
        if last is not None and last.status is OperationStatus.BEGUN:
            return await _take_over(connection, last, Standing.OURS, lease)
        if last is not None and last.status is not OperationStatus.NOT_DONE:
            return Begun(standing=Standing.RESOLVED, operation=last)
        number = 1 if last is None else last.number + 1
        key = operation_key(request, number)
        about = (request.subject, request.arguments_hash, request.actor)
        new = await _find(connection, "insert_operation", *identity, number, key, *about, lease)
        if new is not None:
            return Begun(standing=Standing.OURS, operation=new)
        blocking = await _find(connection, "lock_unresolved", request.subject)
        if blocking is None or blocking.key == key:
            return None
        return await _take_over(connection, blocking, Standing.BLOCKED, lease)

    async def plan(self, operation: StoredOperation, command: Command, *, lease: timedelta) -> StoredOperation:
        """Store the command of a leased operation, and begin its lease again."""
        arguments = (operation.operation_id, operation.attempts, command_to_json(command), lease)
        rows = await self._statements.fetch("plan_operation", *arguments)
        if not rows:
            raise LeaseLostError(operation.request.operation)
        return operation_from_row(rows[0])

    async def resolve(self, operation: StoredOperation, resolution: Resolution) -> bool:
        """Store the outcome of a leased operation."""
        result, failure = resolution.result, resolution.failure
        rows = await self._statements.fetch(
            "resolve_operation",
            operation.operation_id,
            operation.attempts,
            resolution.status.value,
            None if result is None else dumps(result.without_secrets()),
            None if failure is None else dumps(failure),
            resolution.request_id,
            _kept_command(operation),
        )
        return bool(rows)

    async def withdraw(self, operation: StoredOperation) -> None:
        """Delete a leased operation that has no command."""
        await self._statements.fetch("withdraw_operation", operation.operation_id, operation.attempts)

    async def release(self, operation: StoredOperation, *, due_in: timedelta, error: str | None = None) -> None:
        """Give up the lease of an operation whose outcome is unknown."""
        text = None if error is None else storable(error)
        await self._statements.fetch("release_operation", operation.operation_id, operation.attempts, due_in, text)

    async def claim_due(self, *, lease: timedelta, limit: int) -> Sequence[StoredOperation]:
        """Lease unresolved operations that are due and not leased."""
        return [operation_from_row(row) for row in await self._statements.fetch("claim_due_operations", lease, limit)]

    async def find(self, key: str) -> StoredOperation | None:
        """Return the operation with an idempotency key."""
        rows = await self._statements.fetch("find_operation", storable(key))
        return operation_from_row(rows[0]) if rows else None

    async def give_up(self, operation: StoredOperation, *, actor: str, reason: str) -> bool:
        """End an unresolved operation as given up."""
        rows = await self._statements.fetch(
            "give_up_operation",
            operation.operation_id,
            operation.attempts,
            storable(actor),
            storable(reason),
            dumps(GIVEN_UP),
            _kept_command(operation),
        )
        return bool(rows)

    async def prune(self, *, older_than: timedelta, limit: int) -> int:
        """Delete operations that were resolved longer ago, and notes of events that were received longer ago."""
        (row,) = await self._statements.fetch("prune_operations", older_than, limit)
        count: int = row["operations"] + row["echoes"]
        return count

    async def unresolved(self, *, limit: int) -> Sequence[StoredOperation]:
        """Return unresolved operations, the oldest first."""
        return [operation_from_row(row) for row in await self._statements.fetch("list_unresolved_operations", limit)]

    async def backlog(self) -> OperationBacklog:
        """Count the same operations."""
        (row,) = await self._statements.fetch("count_unresolved_operations")
        return OperationBacklog(count=row["count"], oldest=row["oldest"])


def _kept_command(operation: StoredOperation) -> str | None:
    """Return the part of a command that is stored of a resolved operation; None to leave it as it is."""
    command = operation.command
    kept = None if command is None else without_contact_details(command)
    return None if kept is None or kept == command else command_to_json(kept)


async def _find(connection: Connection, query: str, *arguments: object) -> StoredOperation | None:
    with translated(query):
        row = await connection.fetchrow(_QUERIES[query], *arguments)
    return None if row is None else operation_from_row(row)


async def _take_over(connection: Connection, operation: StoredOperation, standing: Standing, lease: timedelta) -> Begun:
    """Lease an unresolved operation, unless a lease on it is running."""
    if operation.leased_until > operation.read_at:
        return Begun(standing=Standing.IN_PROGRESS, operation=operation)
    leased = await _find(connection, "lease_operation", operation.operation_id, lease)
    return Begun(standing=standing, operation=operation if leased is None else leased)
