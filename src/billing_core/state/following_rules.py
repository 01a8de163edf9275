"""Follow the rules in force: read the state of tenants again that earlier ones read, at an interval.

Any number of processes may do this at once: each tenant is locked while its state is read, and then no longer behind.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import attrs

from billing_core.events import BillingEvent
from billing_core.periodic import Periodic
from billing_core.state.ports import RulesRegister
from billing_core.state.rules import RulesBook
from billing_core.state.service import BillingService

READ_AT_ONCE: Final = 100
"""Tenants whose state one transaction reads again."""


@attrs.frozen(kw_only=True)
class RulesReport:
    """The result of one look at the rules in force."""

    generation: int
    reread: int = 0
    """Tenants whose state was read again."""


class RulesFollower(Periodic[RulesReport]):
    """Reads the state of tenants that are behind the rules in force, and publishes the messages."""

    def __init__(
        self,
        *,
        service: BillingService,
        rules: RulesBook,
        register: RulesRegister,
        every: timedelta,
        publish: Callable[[Sequence[BillingEvent]], None],
        observe: Callable[[RulesReport], None],
    ) -> None:
        super().__init__(every=every, observe=observe)
        self._service = service
        self._rules = rules
        self._register = register
        self._publish = publish

    async def run_once(self) -> RulesReport:
        """Read the state of all tenants that are behind now."""
        current = await self._rules.reload()
        reread = 0
        while not self._stopping.is_set() and (tenants := await self._register.tenants_behind(limit=READ_AT_ONCE)):
            self._publish(await self._service.reread(tenants))
            reread += len(tenants)
        return RulesReport(generation=current.generation, reread=reread)
