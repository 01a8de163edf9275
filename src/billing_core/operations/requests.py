"""Ask for operations: the same for all of them."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import attrs

from billing_core.converters import dumps
from billing_core.errors import GatewayInvalidRequestError
from billing_core.model import TenantId
from billing_core.operations.account import AccountReader
from billing_core.operations.commands import Command
from billing_core.operations.errors import OperationFailedError, OperationRefusedError, Refusal
from billing_core.operations.runner import Decide, OperationOutcome, OperationRunner
from billing_core.operations.stored import OperationRequest


@attrs.frozen(kw_only=True)
class Caller:
    """The tenant for which an operation is asked, and the decision behind it."""

    tenant_id: TenantId
    request_id: str
    """New for each decision; the same whenever it is asked for again, however often and from wherever."""
    actor: str
    """The person or program that decides, for the record."""


@attrs.frozen(kw_only=True)
class Operator:
    """Runs operations for all of the facade's parts."""

    runner: OperationRunner
    accounts: AccountReader

    async def run(
        self, caller: Caller, operation: str, subject: str, arguments: Mapping[str, object], decide: Decide
    ) -> OperationOutcome:
        """Run one operation.

        Args:
            caller: for whom, and under which request id.
            operation: its name.
            subject: the object that it is about.
            arguments: everything that the caller decided, and nothing else. A repeated request must have the same.
            decide: the decision, made once the subject is free.

        Raises: as `OperationRunner.run`.
        """
        request = OperationRequest(
            tenant_id=caller.tenant_id,
            operation=operation,
            request_id=caller.request_id,
            subject=subject,
            arguments_hash=hash_of(arguments),
            actor=caller.actor,
        )
        return await self.runner.run(request, decide)


def hash_of(arguments: Mapping[str, object]) -> str:
    """Return a text that differs for different arguments; the order of their names does not matter."""
    return hashlib.sha256(dumps(dict(sorted(arguments.items()))).encode()).hexdigest()


def decided(command: Command) -> Decide:
    """Return the decision on a command that depends on nothing but the caller's arguments."""

    async def decide() -> Command:
        return command

    return decide


@contextmanager
def refused_as(refusal: Refusal, *, parameter: str | None = None) -> Iterator[None]:
    """Refuse where the provider does, in words for the customer; with `parameter`, only where it refuses that one."""
    try:
        yield
    except (GatewayInvalidRequestError, OperationFailedError) as refused:
        if parameter is not None and refused.parameter != parameter:
            raise
        raise OperationRefusedError(refusal) from refused
