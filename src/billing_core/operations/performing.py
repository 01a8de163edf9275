"""Carry a stored operation to its outcome: perform it, keep the answer, resolve it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

import attrs

from billing_core.errors import (
    BillingError,
    GatewayCardDeclinedError,
    GatewayConflictError,
    GatewayDefectError,
    GatewayError,
    GatewayIdempotencyConflictError,
    GatewayInvalidRequestError,
    GatewayNotFoundError,
    GatewayUnavailableError,
)
from billing_core.operations.commands import Command
from billing_core.operations.errors import OperationFailure
from billing_core.operations.ports import OperationGateway, OperationLog
from billing_core.operations.results import Performed
from billing_core.operations.stored import OperationStatus, Resolution, StoredOperation

_T = TypeVar("_T")

_REFUSALS: Final = (GatewayCardDeclinedError, GatewayInvalidRequestError, GatewayNotFoundError)
"""Answers about this very command, which the provider would give again."""


@attrs.frozen(kw_only=True)
class OperationPolicy:
    """Limits of one operation."""

    call_timeout: timedelta = timedelta(seconds=60)
    """For the calls of one command, with their retries."""
    lease: timedelta = timedelta(seconds=90)
    """Longer than the calls, so that it does not run out while the process that has it works."""
    wait: timedelta = timedelta(seconds=2)
    """How long a caller waits for another operation about the same subject."""
    poll: timedelta = timedelta(milliseconds=50)
    retry_after: timedelta = timedelta(seconds=5)
    """Until an unresolved operation is performed again; doubled with each attempt, up to `retry_at_most`."""
    retry_at_most: timedelta = timedelta(minutes=10)

    def pause(self, attempts: int) -> timedelta:
        """Return the time until the next attempt, after so many of them."""
        return min(self.retry_after * (1 << min(attempts - 1, 20)), self.retry_at_most)


KeepAnswer = Callable[[StoredOperation, Performed], Awaitable[None]]
"""Keeps the object that an answer shows. Raises: StoreUnavailableError; other errors mean that it cannot be kept."""


ReportBug = Callable[[StoredOperation, Exception], None]
"""Reports a bug that did not end the operation it happened in, for the log."""


def _ignore(_operation: StoredOperation, _bug: Exception) -> None:
    pass


@attrs.frozen(kw_only=True)
class Settlement:
    """The end of one attempt to settle an operation."""

    operation: StoredOperation
    result: str
    """A status, `withdrawn` if it never had a command, or the code of the error for which it stays unresolved."""
    error: GatewayError | None = None


@attrs.frozen(kw_only=True)
class OperationPerformer:
    """Performs leased operations. Performing one again, in any process, does nothing twice."""

    log: OperationLog
    gateway: OperationGateway
    keep: KeepAnswer
    policy: OperationPolicy = attrs.field(factory=OperationPolicy)
    report_bug: ReportBug = _ignore

    async def carry_out(self, operation: StoredOperation, *, first: bool) -> Performed | None:
        """Perform a leased operation and resolve it; None if it turned out that it was not done.

        Args:
            operation: was decided.
            first: nothing of it was sent before. Then an error without an unknown outcome says that nothing happened.

        Raises: GatewayError, StoreUnavailableError. Where the outcome is unknown then, the operation stays unresolved
        and is due again later, also after a bug.
        """
        try:
            performed = await self._perform(operation, first=first)
        except GatewayError as error:
            if isinstance(error, GatewayDefectError):
                self.report_bug(operation, error)
            await self._put_aside(operation, error, first=first)
            raise
        if performed is None:
            await self.log.resolve(operation, Resolution(status=OperationStatus.NOT_DONE))
            return None
        try:
            await self.keep(operation, performed)
        except Exception as error:
            # What cannot be kept must not hold up the subject: its events say the same.
            if not isinstance(error, BillingError):
                self.report_bug(operation, error)
            elif error.retryable:
                raise
        done = Resolution(status=OperationStatus.DONE, result=performed.result, request_id=performed.request_id)
        await self.log.resolve(operation, done)
        return performed

    async def settle(self, operation: StoredOperation) -> "Settlement":
        """Bring a leased operation, which was left unresolved, to its outcome. Raises: StoreUnavailableError."""
        if operation.undecided:
            await self.log.withdraw(operation)
            return Settlement(operation=operation, result="withdrawn")
        try:
            performed = await self.carry_out(operation, first=False)
        except GatewayError as error:
            if is_refusal(error):
                return Settlement(operation=operation, result=OperationStatus.REFUSED.value)
            return Settlement(operation=operation, result=error.code, error=error)
        status = OperationStatus.NOT_DONE if performed is None else OperationStatus.DONE
        return Settlement(operation=operation, result=status.value)

    async def ask_again(self, operation: StoredOperation) -> Performed:
        """Perform a done operation again, for the secrets of its result, which are stored nowhere.

        Raises: GatewayError.
        """
        performed = await self._perform(operation, first=True)
        if performed is None:
            raise GatewayNotFoundError(f"{operation.request.operation}: what it made is gone")
        return performed

    async def _perform(self, operation: StoredOperation, *, first: bool) -> Performed | None:
        command = _command_of(operation)
        if operation.key_expired:
            return await self._find_out(operation, command)
        try:
            return await self._within_limit(self.gateway.perform(command, operation.key))
        except GatewayError as error:
            # On a later attempt, an answer that is not the stored one may be to a call that the first one never made.
            unconfirmed = is_refusal(error) and not first and not error.replayed
            if not (unconfirmed or _settled_by_reading(error)):
                raise
            found = await self._find_out(operation, command)
            if found is None and unconfirmed:
                raise
            return found

    async def _find_out(self, operation: StoredOperation, command: Command) -> Performed | None:
        """Read what became of a command. An error of that says nothing about the command itself."""
        try:
            return await self._within_limit(self.gateway.find_out(command, operation.key))
        except GatewayError as error:
            error.outcome_unknown = True
            raise

    async def _within_limit(self, call: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(self.policy.call_timeout.total_seconds()):
                return await call
        except TimeoutError as exc:
            raise GatewayUnavailableError("the provider did not answer in time", outcome_unknown=True) from exc
        except GatewayError:
            raise
        except Exception as bug:
            raise GatewayDefectError(type(bug).__name__, outcome_unknown=True) from bug

    async def _put_aside(self, operation: StoredOperation, error: GatewayError, *, first: bool) -> None:
        """Resolve an operation that failed, if its outcome is known; else let it be performed again.

        A key that is in use says that a call with it is on its way, whatever else the error says.
        """
        if is_refusal(error):
            refused = Resolution(status=OperationStatus.REFUSED, failure=failure_of(error), request_id=error.request_id)
            await self.log.resolve(operation, refused)
        elif first and not error.outcome_unknown and not isinstance(error, GatewayConflictError):
            await self.log.resolve(operation, Resolution(status=OperationStatus.NOT_DONE))
        else:
            due_in = self.policy.pause(operation.attempts)
            await self.log.release(operation, due_in=due_in, error=f"{error.code}: {error}")


def _command_of(operation: StoredOperation) -> Command:
    """Return the command of a decided operation. Raises: GatewayDefectError if another release wrote it."""
    if operation.command is None:
        raise GatewayDefectError("this release cannot read the stored command", outcome_unknown=True)
    return operation.command


def _settled_by_reading(error: GatewayError) -> bool:
    """Tell whether the key is of no use any more.

    It leads to a stored failure of the provider, to calls with other parameters, or to an object that an earlier call
    with an unknown outcome may have removed.
    """
    match error:
        case GatewayIdempotencyConflictError():
            return True
        case GatewayUnavailableError():
            return error.replayed
        case GatewayNotFoundError():
            return error.outcome_unknown
        case _:
            return False


def is_refusal(error: GatewayError) -> bool:
    """Tell whether an error is the provider's answer to this very command: the same request gets no other."""
    return isinstance(error, _REFUSALS) and not error.outcome_unknown


def failure_of(error: GatewayError) -> OperationFailure:
    """Return the part of a refusal that is stored. None of it is in the provider's own words."""
    return OperationFailure(
        code=error.code,
        user_text=error.user_text,
        decline_code=error.decline_code if isinstance(error, GatewayCardDeclinedError) else None,
        parameter=error.parameter if isinstance(error, GatewayInvalidRequestError) else None,
        request_id=error.request_id,
    )
