"""One operation in a process of its own, for tests that kill it: `operation_process.py TENANT OPERATION REQUEST_ID`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from billing_app.container import Starting, open_container
from billing_app.settings import Settings
from billing_core.model import SubscriptionId, TenantId
from billing_core.operations.decisions.changing import PlanChange
from billing_core.operations.decisions.starting import NewSubscription
from billing_core.operations.facade import Operations
from billing_core.operations.requests import Caller
from billing_core.operations.runner import OperationOutcome

Ask = Callable[[Operations, Caller, SubscriptionId], Awaitable[OperationOutcome]]

OPERATIONS: Final[Mapping[str, Ask]] = MappingProxyType(
    {
        "start": lambda o, caller, _: o.subscriptions.start(
            caller, NewSubscription(plan_code="team", seats=5), payment="confirm"
        ),
        "change": lambda o, caller, id_: o.subscriptions.change(
            caller, PlanChange(subscription_id=id_, plan_code="pro", when="now")
        ),
        "downgrade": lambda o, caller, id_: o.subscriptions.change(
            caller, PlanChange(subscription_id=id_, plan_code="basic", when="period_end")
        ),
        "seats": lambda o, caller, id_: o.subscriptions.set_seats(caller, id_, 9),
        "cancel": lambda o, caller, id_: o.subscriptions.cancel_at_period_end(caller, id_),
    }
)


async def main(tenant: str, operation: str, request_id: str) -> None:
    """Run one operation on the tenant's first subscription, and print its outcome."""
    async with open_container(
        Settings.load(), application_name="operation", needs_bus=False, starts=Starting(account_id=None)
    ) as container:
        operations = container.operations()
        assert isinstance(operations, Operations)
        state = await container.tenant_reader().state(TenantId(tenant))
        subscription_id = next((each.snapshot.subscription_id for each in state.subscriptions), SubscriptionId(""))
        caller = Caller(tenant_id=TenantId(tenant), request_id=request_id, actor="test")
        outcome = await OPERATIONS[operation](operations, caller, subscription_id)
        print(json.dumps({"object": outcome.result.object_id, "repeated": outcome.repeated}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
