"""The objects that the handlers use, built by the container."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs
from aiohttp import web

from billing_app.dependencies import Dependencies
from billing_app.http.auth import TenantAuthenticator
from billing_app.http.operator.services import OperatorServices
from billing_app.http.ports import HttpMetrics
from billing_app.http.stream.hub import StreamHub
from billing_app.http.stream.quota import StreamLeases
from billing_app.http.stream.revalidation import Revalidator
from billing_app.settings import Settings
from billing_app.tracing import Tracing
from billing_core.entitlements.service import Entitlements
from billing_core.inbox.intake import Intake
from billing_core.model.epoch import FIRST_EPOCH, Epoch
from billing_core.operations.facade import Operations
from billing_core.oversight.ports import RefusalTally, TenantTimeline
from billing_core.state.ports import Clock, TenantReader
from billing_core.state.rules import RulesBook
from billing_core.stream.ports import MessageHistory
from billing_core.stream_access.ports import StreamTickets

Probe = Callable[[], Awaitable[None]]
"""Returns if a dependency can be used; raises BillingError if not."""


@attrs.frozen(kw_only=True)
class Services:
    """The dependencies of all handlers, ready for use; their owner opens and closes them."""

    settings: Settings
    intake: Intake | None
    """None while billing is disabled."""
    reader: TenantReader
    history: MessageHistory
    timeline: TenantTimeline
    refusal_tally: RefusalTally
    rules: RulesBook
    clock: Clock
    metrics: HttpMetrics
    authenticator: TenantAuthenticator
    tickets: StreamTickets
    hub: StreamHub
    leases: StreamLeases
    revalidator: Revalidator
    operations: Operations | None
    """None if the provider cannot be asked."""
    entitlements: Entitlements
    operator: OperatorServices
    probes: Mapping[str, Probe]
    """Checks of dependencies, by the name shown in /readyz."""
    dependencies: Dependencies
    tracing: Tracing | None = None
    """None if nothing is traced."""
    epoch: Epoch = FIRST_EPOCH
    """The history that this process serves."""


SERVICES: Final = web.AppKey("services", Services)
