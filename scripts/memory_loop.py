"""The whole loop in one process, on memory adapters and fed with Stripe's bytes: for examples and tests."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import attrs

from billing_app.container import Container, memory_adapters
from billing_app.secret import Secret
from billing_app.settings import CatalogSettings, Settings, StripeSettings, Switches
from billing_core.events import BillingEvent, Outcome
from billing_core.model import GrantId, Plan, TenantId, TenantRules
from billing_core.state.ports import Clock, TenantReader
from billing_core.state.service import BillingService
from billing_core.stream.ports import MessageHistory
from billing_memory.database import MemoryDatabase
from billing_stripe.testing import sign

_SECRET: Final = "whsec_of_no_endpoint"  # noqa: S105 - it signs what never leaves this module
_SETTINGS: Final = Settings(
    switches=Switches(billing=True, retry_worker=False), stripe=StripeSettings(webhook_secrets=(Secret(_SECRET),))
)

_BY_CUSTOMER: Final = TenantRules()


_GRANT: Final = GrantId("grant_example")


class MemoryLoop:
    """Receiver of webhooks that processes them on demand."""

    def __init__(
        self,
        database: MemoryDatabase,
        clock: Clock,
        *,
        plans: Sequence[Plan] = (),
        tenants: TenantRules = _BY_CUSTOMER,
    ) -> None:
        self.messages: list[BillingEvent] = []
        """Everything that was published so far."""
        self._clock = clock
        settings = attrs.evolve(_SETTINGS, catalog=CatalogSettings(plans=tuple(plans)))
        adapters = memory_adapters(settings, database=database, clock=clock)
        self._container = Container(**adapters, settings=settings, publish=self.messages.extend, tenant_rules=tenants)

    @property
    def service(self) -> BillingService:
        """The single writer, for decisions of operators."""
        return self._container.service()

    @property
    def history(self) -> MessageHistory:
        """Every message as it reads now."""
        return self._container.history()

    @property
    def reader(self) -> TenantReader:
        """The state of every tenant."""
        return self._container.tenant_reader()

    async def receive(self, body: bytes) -> None:
        """Take one webhook in, signed now."""
        intake = self._container.intake()
        assert intake is not None
        await intake.receive(body, sign(body, _SECRET, self._clock.now()))

    async def grant(self, tenant_id: TenantId, plan_code: str, *, until: datetime) -> None:
        """Grant a tenant access, and revoke it again."""
        service = self._container.service()
        made = await service.grant(tenant_id, plan_code=plan_code, until=until, reason="goodwill", grant_id=_GRANT)
        revoked = await service.revoke_grant(made.grant.grant_id, reason="granted by mistake")
        self.messages += [*made.events, *(revoked.events if revoked else ())]

    async def review_access(self) -> None:
        """Decide again on the access of tenants that are due."""
        await self._container.access_reviewer().run_once()

    async def process(self) -> Sequence[Outcome]:
        """Process the due events, and those that become due by that."""
        outcomes: list[Outcome] = []
        while claims := await self._container.queue().claim(limit=50, lease=timedelta(minutes=1)):
            outcomes += await self._container.batches().process(claims)
        return outcomes
