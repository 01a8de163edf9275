"""Keep the seats of subscriptions at the number that the application counts."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import attrs

from billing_core.model import SubscriptionId, TenantId
from billing_core.operations.commands import Proration
from billing_core.operations.errors import OperationRefusedError, Refusal
from billing_core.operations.requests import Caller
from billing_core.operations.runner import OperationOutcome
from billing_core.operations.subscriptions import SubscriptionOperations

CountSeats = Callable[[TenantId], Awaitable[int]]
"""Counts the seats of a tenant now. Who counts, members or invitations as well, is the application's decision."""


@attrs.define
class _Line:
    """The calls about one subscription."""

    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    arrived: int = 0
    covered: int = 0
    """The number of calls that the last run covers: they had arrived when it counted."""
    present: int = 0
    outcome: OperationOutcome | None = None


class SeatSync:
    """Sets the seats of subscriptions to what the application counts.

    Calls that arrive while one runs are answered by one further run together, because the provider allows 200 changes
    of a quantity per hour and subscription. Call it when members come and go, never because of a provider's event.
    """

    def __init__(
        self,
        subscriptions: SubscriptionOperations,
        count: CountSeats,
        *,
        actor: str = "seat sync",
        proration: Proration = "next_invoice",
    ) -> None:
        self._subscriptions = subscriptions
        self._count = count
        self._actor = actor
        self._proration: Proration = proration
        self._lines: dict[SubscriptionId, _Line] = {}

    async def sync(self, tenant_id: TenantId, subscription_id: SubscriptionId) -> OperationOutcome | None:
        """Count, and set that number, but not less than the plan's fewest; None if the subscription has it already.

        Raises: as `SubscriptionOperations.set_seats`; whatever counting raises.
        """
        line = self._lines.setdefault(subscription_id, _Line())
        line.arrived += 1
        line.present += 1
        mine = line.arrived
        try:
            async with line.lock:
                if line.covered < mine:
                    covers = line.arrived
                    line.outcome = await self._set(tenant_id, subscription_id)
                    line.covered = covers
                return line.outcome
        finally:
            line.present -= 1
            if not line.present:
                self._lines.pop(subscription_id, None)

    async def _set(self, tenant_id: TenantId, subscription_id: SubscriptionId) -> OperationOutcome | None:
        account = await self._subscriptions.operator.accounts.load(tenant_id)
        seen = account.require_subscription(subscription_id)
        plan = None if seen.plan_code is None else account.catalog.plan(seen.plan_code)
        fewest = 1 if plan is None or plan.seats is None else plan.seats.minimum
        seats = max(await self._count(tenant_id), fewest)
        caller = Caller(tenant_id=tenant_id, request_id=f"seats-{secrets.token_hex(8)}", actor=self._actor)
        try:
            return await self._subscriptions.set_seats(caller, subscription_id, seats, proration=self._proration)
        except OperationRefusedError as refused:
            if refused.refusal is Refusal.NOTHING_TO_CHANGE:
                return None
            raise
