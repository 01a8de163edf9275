"""Run what callers ask for: once per decision, and one after another about one object.

In this order: store the request, decide, store the command, perform it, show the answer, store the outcome. After a
crash at any point the same request, from the same caller or from another process, goes on where it ended.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from billing_core.errors import BillingError, GatewayUnavailableError
from billing_core.operations.commands import Command
from billing_core.operations.errors import OperationFailedError, OperationFailure, OperationInProgressError
from billing_core.operations.performing import OperationPerformer, OperationPolicy
from billing_core.operations.ports import OperationLog
from billing_core.operations.results import OperationResult
from billing_core.operations.stored import OperationRequest, OperationStatus, Standing, StoredOperation

Decide = Callable[[], Awaitable[Command]]
"""Decides on the command, by the state as it is while the request has its lease."""

_UNKNOWN_FAILURE: Final = OperationFailure(code="gateway_error", user_text="The request could not be carried out.")


@attrs.frozen(kw_only=True)
class OperationOutcome:
    """The end of an operation that was carried out."""

    operation_id: int
    key: str
    result: OperationResult
    repeated: bool = False
    """It was done before: this call did nothing."""


@attrs.frozen(kw_only=True)
class OperationReport:
    """One request, passed to an observer at its end."""

    request: OperationRequest
    command: str | None = None
    """The name of the command; None if none was decided."""
    plan_code: str | None = None
    result: str
    """The status of the result, `repeated`, or the code of the error."""
    attempts: int = 0
    seconds: float


class OperationRunner:
    """Runs requests of callers."""

    def __init__(
        self,
        *,
        log: OperationLog,
        performer: OperationPerformer,
        policy: OperationPolicy,
        observe: Callable[[OperationReport], None],
    ) -> None:
        self._log = log
        self._performer = performer
        self._policy = policy
        self._observe = observe

    async def run(self, request: OperationRequest, decide: Decide) -> OperationOutcome:
        """Carry out a request, unless it was carried out before: then return what came of it.

        Raises:
            OperationRefusedError: by what we know; whatever else `decide` raises. Nothing was sent.
            GatewayError: the provider refused it, or is not available. With `outcome_unknown`, it may still be carried
                out: the same request tells later.
            OperationFailedError: the provider refused this very request before, or an operator gave it up.
            IdempotencyConflictError: the request id was used with other arguments.
            OperationInProgressError: another operation about the same subject takes too long.
            StoreUnavailableError: as for an unknown outcome.
        """
        started = time.monotonic()
        run, result = _Run(request), "bug"
        try:
            outcome = await self._run(run, decide)
            result = "repeated" if outcome.repeated else outcome.result.status
        except BillingError as error:
            result = error.code
            raise
        except asyncio.CancelledError:
            result = "canceled"
            raise
        finally:
            self._observe(run.report(result, seconds=time.monotonic() - started))
        return outcome

    async def _run(self, run: "_Run", decide: Decide) -> OperationOutcome:
        deadline = time.monotonic() + self._policy.wait.total_seconds()
        while True:
            begun = await self._log.begin(run.request, lease=self._policy.lease)
            match begun.standing:
                case Standing.RESOLVED:
                    return await self._answer_again(run.of(begun.operation))
                case Standing.BLOCKED:
                    await self._settle(begun.operation)
                case Standing.IN_PROGRESS:
                    if time.monotonic() >= deadline:
                        raise OperationInProgressError(f"{begun.operation.request.operation} is in progress")
                    await asyncio.sleep(self._policy.poll.total_seconds())
                case Standing.OURS:
                    outcome = await self._carry_out(run, begun.operation, decide)
                    if outcome is not None:
                        return outcome

    async def _carry_out(self, run: "_Run", operation: StoredOperation, decide: Decide) -> OperationOutcome | None:
        """Decide on a leased request and perform it; None if an earlier try of it was not done: a next one may be."""
        first = operation.undecided
        if first:
            operation = await self._decide(operation, decide)
        performed = await self._performer.carry_out(run.of(operation), first=first)
        if performed is None and first:
            raise GatewayUnavailableError(f"{run.request.operation}: the provider failed, and nothing was done")
        return None if performed is None else _outcome(operation, performed.result)

    async def _decide(self, operation: StoredOperation, decide: Decide) -> StoredOperation:
        try:
            command = await decide()
        except Exception:
            await self._log.withdraw(operation)
            raise
        return await self._log.plan(operation, command, lease=self._policy.lease)

    async def _settle(self, blocking: StoredOperation) -> None:
        """Settle an operation that another caller left unresolved. Raises: GatewayError if that is not possible now."""
        settlement = await self._performer.settle(blocking)
        if settlement.error is not None:
            raise settlement.error

    async def _answer_again(self, operation: StoredOperation) -> OperationOutcome:
        if operation.status in (OperationStatus.REFUSED, OperationStatus.GIVEN_UP):
            raise OperationFailedError(operation.failure or _UNKNOWN_FAILURE)
        result = operation.result or OperationResult()
        if result.secrets_left_out and not operation.key_expired:
            result = (await self._performer.ask_again(operation)).result
        return _outcome(operation, result, repeated=True)


@attrs.define
class _Run:
    """The part of a run that is known so far, for its report."""

    request: OperationRequest
    operation: StoredOperation | None = None

    def of(self, operation: StoredOperation) -> StoredOperation:
        self.operation = operation
        return operation

    def report(self, result: str, *, seconds: float) -> OperationReport:
        command = None if self.operation is None else self.operation.command
        return OperationReport(
            request=self.request,
            command=None if command is None else command.operation,
            plan_code=None if command is None else command.plan_code,
            result=result,
            attempts=0 if self.operation is None else self.operation.attempts,
            seconds=seconds,
        )


def _outcome(operation: StoredOperation, result: OperationResult, *, repeated: bool = False) -> OperationOutcome:
    return OperationOutcome(operation_id=operation.operation_id, key=operation.key, result=result, repeated=repeated)
