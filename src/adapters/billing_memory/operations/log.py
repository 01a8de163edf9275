"""The decisions that were sent to the provider, in process."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs

from billing_core.operations.commands import Command, without_contact_details
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
from billing_core.state.ports import Clock
from billing_memory.database import MemoryDatabase


class MemoryOperationLog:
    """An `OperationLog`. No method waits for anything, so each is one step."""

    def __init__(self, database: MemoryDatabase, clock: Clock) -> None:
        self._database = database
        self._operations = database.operations
        self._due = database.operations_due
        self._clock = clock

    async def begin(self, request: OperationRequest, *, lease: timedelta) -> Begun:
        """Store a request unless it is known, and lease it, or say why that is not possible."""
        last = self._last_try(request)
        if last is not None and last.request.arguments_hash != request.arguments_hash:
            raise IdempotencyConflictError(f"{request.operation}: the request id was used with other arguments")
        if last is None or last.status is OperationStatus.NOT_DONE:
            return self._begin_try(request, 1 if last is None else last.number + 1, lease)
        if last.status is not OperationStatus.BEGUN:
            return Begun(standing=Standing.RESOLVED, operation=self._read(last))
        return self._take_over(last, Standing.OURS, lease)

    def _begin_try(self, request: OperationRequest, number: int, lease: timedelta) -> Begun:
        blocking = next((each for each in self._unresolved() if each.request.subject == request.subject), None)
        if blocking is not None:
            return self._take_over(blocking, Standing.BLOCKED, lease)
        now = self._clock.now()
        operation = StoredOperation(
            operation_id=next(self._database.operation_ids),
            request=request,
            number=number,
            key=operation_key(request, number),
            status=OperationStatus.BEGUN,
            attempts=1,
            begun_at=now,
            leased_until=now + lease,
            read_at=now,
        )
        return Begun(standing=Standing.OURS, operation=self._store(operation, due_at=operation.leased_until))

    def _take_over(self, operation: StoredOperation, standing: Standing, lease: timedelta) -> Begun:
        if operation.leased_until > self._clock.now():
            return Begun(standing=Standing.IN_PROGRESS, operation=self._read(operation))
        return Begun(standing=standing, operation=self._lease(operation, lease))

    async def plan(self, operation: StoredOperation, command: Command, *, lease: timedelta) -> StoredOperation:
        """Store the command of a leased operation, and begin its lease again."""
        held = self._held(operation)
        if held is None or held.command is not None:
            raise LeaseLostError(operation.request.operation)
        now = self._clock.now()
        planned = attrs.evolve(held, command=command, planned_at=now, leased_until=now + lease)
        return self._store(planned, due_at=planned.leased_until)

    async def resolve(self, operation: StoredOperation, resolution: Resolution) -> bool:
        """Store the outcome of a leased operation."""
        held = self._held(operation)
        if held is None:
            return False
        result = None if resolution.result is None else resolution.result.without_secrets()
        self._end(attrs.evolve(held, status=resolution.status, result=result, failure=resolution.failure))
        return True

    def _end(self, operation: StoredOperation) -> None:
        command = None if operation.command is None else without_contact_details(operation.command)
        ended = attrs.evolve(operation, command=command, resolved_at=self._clock.now())
        self._operations[operation.operation_id] = ended

    async def withdraw(self, operation: StoredOperation) -> None:
        """Delete a leased operation that has no command."""
        held = self._held(operation)
        if held is not None and held.command is None:
            del self._operations[held.operation_id]

    async def release(self, operation: StoredOperation, *, due_in: timedelta, error: str | None = None) -> None:
        """Give up the lease of an operation whose outcome is unknown."""
        held = self._held(operation)
        if held is not None:
            now = self._clock.now()
            self._store(attrs.evolve(held, leased_until=now, last_error=error), due_at=now + due_in)

    async def claim_due(self, *, lease: timedelta, limit: int) -> Sequence[StoredOperation]:
        """Lease unresolved operations that are due and not leased."""
        now = self._clock.now()
        due = [each for each in self._unresolved() if max(each.leased_until, self._due[each.operation_id]) <= now]
        due.sort(key=lambda each: (self._due[each.operation_id], each.operation_id))
        return [self._lease(each, lease) for each in due[:limit]]

    async def find(self, key: str) -> StoredOperation | None:
        """Return the operation with an idempotency key."""
        found = next((each for each in self._operations.values() if each.key == key), None)
        return None if found is None else self._read(found)

    async def give_up(self, operation: StoredOperation, *, actor: str, reason: str) -> bool:
        """End an unresolved operation as given up."""
        held = self._held(operation)
        if held is None or held.leased_until > self._clock.now():
            return False
        given_up = attrs.evolve(held, status=OperationStatus.GIVEN_UP, failure=GIVEN_UP)
        self._end(attrs.evolve(given_up, given_up_by=actor, given_up_reason=reason))
        return True

    async def prune(self, *, older_than: timedelta, limit: int) -> int:
        """Delete operations that were resolved longer ago, and notes of events that were received longer ago."""
        latest = self._clock.now() - older_than
        ended = [id_ for id_, each in self._operations.items() if each.resolved_at and each.resolved_at < latest]
        for operation_id in ended[:limit]:
            del self._operations[operation_id]
            del self._due[operation_id]
        tables = self._database.tables
        noted = [event for event in tables.echoes if tables.dispatch[event].event.received_at < latest]
        for event in noted[:limit]:
            del tables.echoes[event]
        return len(ended[:limit]) + len(noted[:limit])

    async def unresolved(self, *, limit: int) -> Sequence[StoredOperation]:
        """Return unresolved operations, the oldest first."""
        return [self._read(each) for each in self._unresolved()][:limit]

    async def backlog(self) -> OperationBacklog:
        """Count the same operations."""
        found = self._unresolved()
        oldest = self._clock.now() - found[0].begun_at if found else None
        return OperationBacklog(count=len(found), oldest=oldest)

    def _last_try(self, request: OperationRequest) -> StoredOperation | None:
        def identity(each: OperationRequest) -> tuple[str, str, str]:
            return each.tenant_id, each.operation, each.request_id

        tries = [each for each in self._operations.values() if identity(each.request) == identity(request)]
        return max(tries, key=lambda each: each.number, default=None)

    def _unresolved(self) -> list[StoredOperation]:
        return [each for each in self._operations.values() if each.status is OperationStatus.BEGUN]

    def _held(self, operation: StoredOperation) -> StoredOperation | None:
        stored = self._operations.get(operation.operation_id)
        ours = stored is not None and stored.attempts == operation.attempts
        return stored if ours and stored is not None and stored.status is OperationStatus.BEGUN else None

    def _lease(self, operation: StoredOperation, lease: timedelta) -> StoredOperation:
        until = self._clock.now() + lease
        leased = attrs.evolve(operation, attempts=operation.attempts + 1, leased_until=until)
        return self._store(leased, due_at=until)

    def _store(self, operation: StoredOperation, *, due_at: datetime) -> StoredOperation:
        self._operations[operation.operation_id] = operation
        self._due[operation.operation_id] = due_at
        return self._read(operation)

    def _read(self, operation: StoredOperation) -> StoredOperation:
        return attrs.evolve(operation, read_at=self._clock.now())
