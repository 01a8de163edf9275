"""What the handlers work with, put together by the composition root."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs
from aiohttp import web

from billing_app.http.auth import TenantAuthenticator
from billing_app.http.ports import HttpMetrics
from billing_app.secret import Secret
from billing_app.settings import Settings
from billing_core.inbox.intake import Intake
from billing_core.model import AccessPolicy
from billing_core.model.epoch import FIRST_EPOCH, Epoch
from billing_core.state.ports import Clock, TenantReader
from billing_core.stream.ports import EventBus, MessageHistory
from billing_core.stream_access.ports import StreamQuota, StreamTickets

Probe = Callable[[], Awaitable[None]]
"""Returns when what it stands for can be used; raises BillingError when not."""


@attrs.frozen(kw_only=True)
class Services:
    """Ready objects; their owner opens and closes them."""

    settings: Settings
    intake: Intake | None
    """None while billing is switched off."""
    reader: TenantReader
    history: MessageHistory
    bus: EventBus | None
    """None when streams are served from the history alone."""
    policy: AccessPolicy
    clock: Clock
    metrics: HttpMetrics
    authenticator: TenantAuthenticator
    tickets: StreamTickets
    quota: StreamQuota
    probes: Mapping[str, Probe]
    """What must answer before this process is ready, by the name shown in /readyz."""
    epoch: Epoch = FIRST_EPOCH
    """The history that this process lives in."""
    demo_ticket_secret: Secret | None = None
    """Set by the demo alone: makes /demo/sign-in exist."""


SERVICES: Final = web.AppKey("services", Services)
