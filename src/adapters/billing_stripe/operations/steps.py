"""The calls of one command: numbered, so that each has its key, and undone where a later one is refused."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import attrs

from billing_core.errors import (
    GatewayAuthenticationError,
    GatewayError,
    GatewayIdempotencyConflictError,
    GatewayUnavailableError,
)
from billing_core.operations.results import Performed
from billing_stripe.client import Json, StripeAnswer, StripeClient, StripeRequest
from billing_stripe.operations.prices import PriceBook

C = TypeVar("C")

OPERATION: Final = "billing_operation"
"""The metadata that names the key of the operation which made an object."""

_UNDECIDED: Final = (GatewayAuthenticationError, GatewayIdempotencyConflictError)
"""Errors that are not retried, and say nothing about the call itself."""

_PAGE: Final = 100
"""Stripe's maximum."""

Undo = Callable[[], Awaitable[object]]
Settle = Callable[[], Awaitable[StripeAnswer | None]]


class Steps:
    """The calls of one command under one key. Performing the command again makes the same calls with the same keys."""

    def __init__(self, client: StripeClient, prices: PriceBook, key: str, *, plan_code: str | None = None) -> None:
        self.key = key
        self.prices = prices
        self._client = client
        self._plan_code = plan_code or ""
        self.sent = False
        """Whether a call that changes something may have reached Stripe."""
        self.repeated = False
        """Whether Stripe repeated its answer to an earlier call, so that the object may have changed since."""
        self._number = 0
        self._written = False
        self._undos: list[Undo] = []

    async def write(
        self, operation: str, *ids: str, params: Json | None = None, settled_by: Settle | None = None
    ) -> StripeAnswer:
        """Make the next call, under the key of its number.

        Args:
            operation: the call.
            ids: of its path.
            params: its parameters.
            settled_by: reads what the call wanted, and returns None if it was surely not carried out. For calls of a
                command that has several: Stripe's stored failure of one must not leave the command half done.

        Raises: GatewayError.
        """
        self._number += 1
        request = StripeRequest(
            operation=operation,
            ids=ids,
            params=params or {},
            idempotency_key=f"{self.key}.{self._number}",
            plan_code=self._plan_code,
        )
        self.sent = True
        try:
            answer = await self._client.call(request)
        except GatewayUnavailableError as error:
            if settled_by is None or not error.replayed:
                raise
            answer = await self._settle(request, settled_by)
        self._written = True
        self.repeated = self.repeated or answer.replayed
        return answer

    async def _settle(self, request: StripeRequest, settled_by: Settle) -> StripeAnswer:
        """Read the outcome of a call whose key leads to a stored failure; send it under a next key if nothing happened.

        The next key is derived as well, so that it is the same in every process.
        """
        found = await settled_by()
        if found is not None:
            return found
        again = attrs.evolve(request, idempotency_key=f"{request.idempotency_key}.again")
        return await self._client.call(again)

    async def read(self, operation: str, *ids: str, params: Json | None = None) -> StripeAnswer:
        """Make a call that changes nothing. Raises: GatewayError."""
        request = StripeRequest(operation=operation, ids=ids, params=params or {}, plan_code=self._plan_code)
        return await self._client.call(request)

    async def each(self, operation: str, *ids: str, params: Json | None = None) -> AsyncIterator[Json]:
        """Yield the members of a list, page by page. Raises: GatewayError."""
        cursor: dict[str, Any] = {}
        while True:
            answer = await self.read(operation, *ids, params={**(params or {}), "limit": _PAGE, **cursor})
            rows = answer.data.get("data") or []
            for row in rows:
                yield row
            if not rows or not answer.data.get("has_more"):
                return
            cursor = {"starting_after": rows[-1]["id"]}

    async def made(self, operation: str, *ids: str, params: Json | None = None) -> Json | None:
        """Return the member of a list that this operation made, by its metadata. Raises: GatewayError."""
        async for row in self.each(operation, *ids, params=params):
            if (row.get("metadata") or {}).get(OPERATION) == self.key:
                return row
        return None

    def undo_by(self, undo: Undo) -> None:
        """Add a way to undo the calls so far, for when a later one is refused. The last are undone first."""
        self._undos.append(undo)

    async def failed(self, error: GatewayError) -> GatewayError:
        """Return the error to raise for a failed call: without `outcome_unknown` nothing of the command is in force.

        What was done so far is undone if Stripe would refuse the failed call again. Otherwise the command is left in
        between, to be performed again; or to be found out by reading, where a call was sent before with other
        parameters, as happens after a lookup key moved to another price.

        Raises: GatewayError if undoing fails.
        """
        if not self._written or error.outcome_unknown:
            return error
        if error.retryable or isinstance(error, _UNDECIDED):
            error.outcome_unknown = True
            return error
        try:
            while self._undos:
                await self._undos.pop()()
        except GatewayError as failed:
            failed.outcome_unknown = True
            raise failed from error
        return error


@attrs.frozen
class Handler(Generic[C]):
    """The functions that carry out one kind of command, and find out its outcome by reading."""

    perform: Callable[[Steps, C], Awaitable[Performed]]
    find_out: Callable[[Steps, C], Awaitable[Performed | None]]


def timestamp(instant: datetime) -> int:
    """Return an instant as Stripe writes it."""
    return int(instant.timestamp())
