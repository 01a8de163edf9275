"""Open what a command needs that processes events or asks the provider; `tools` are for all others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import structlog

from billing_app.container.opening import open_container
from billing_app.container.resources import open_issuer_keys
from billing_app.container.tools import OPERATORS_WAIT
from billing_app.container.wiring import Container
from billing_app.http.tokens import TokenVerifier
from billing_app.is_program import IS_PROGRAM
from billing_app.settings import Settings
from billing_app.settings.hidden import hidden_values
from billing_app.worker import publishing
from billing_core.errors import ConfigurationError
from billing_core.inbox.replay import Replayer
from billing_core.operations.facade import Operations
from billing_core.state.ports import TenantReader
from billing_telemetry import logging


@asynccontextmanager
async def open_replayer(settings: Settings, *, notify: bool, publishes: bool) -> AsyncIterator[Replayer]:
    """Open a replayer of stored events, which may run beside servers and workers.

    Args:
        settings: the configuration, the same as that of the workers.
        notify: whether tenants get messages about changes.
        publishes: whether this process sends messages to the bus. Messages that it leaves in the outbox are sent by
            any server or worker.
    """
    if settings.stripe.livemode is None:
        raise ConfigurationError(
            "STRIPE_SECRET_KEY is not set, and it decides whether this deployment processes live or test events: "
            "replay with the settings that the workers have"
        )
    patient = attrs.evolve(settings, database=attrs.evolve(settings.database, statement_timeout=OPERATORS_WAIT))
    async with open_container(patient, application_name="billing-replay", notify=notify, needs_bus=False) as container:
        if not publishes:
            yield container.replayer()
            return
        async with publishing(container.publisher(), container.deadline()):
            yield container.replayer()


@asynccontextmanager
async def open_operations(settings: Settings) -> AsyncIterator[tuple[Operations, TenantReader]]:
    """Open the operations of a tenant's subscriptions for one command, and the state that they are about.

    Messages are published before the end; those that cannot be are sent by any server or worker.
    Raises ConfigurationError if Stripe cannot be asked.
    """
    async with open_container(settings, application_name="billing-cli", needs_bus=False) as container:
        operations: Operations | None = container.operations()
        if operations is None:
            raise ConfigurationError(
                "Stripe cannot be asked: set STRIPE_SECRET_KEY, and neither STRIPE_FETCH=false nor ENABLE_BILLING=false"
            )
        async with publishing(container.publisher(), container.deadline()):
            yield operations, container.tenant_reader()


@asynccontextmanager
async def open_token_verifier(settings: Settings) -> AsyncIterator[TokenVerifier]:
    """Open the verifier of bearer tokens."""
    _log_warnings(settings)
    async with open_issuer_keys(settings.tokens) as keys:
        yield Container(settings=settings, issuer_keys=keys).token_verifier()


def _log_warnings(settings: Settings) -> None:
    """Let the program write warnings to standard error, where they are not taken for results, unless it has a log."""
    if IS_PROGRAM.get() and not structlog.is_configured():
        level = settings.logs.level if settings.logs.level in ("warning", "error") else "warning"
        logging.configure(level=level, format=settings.logs.format, secrets=hidden_values(settings))
