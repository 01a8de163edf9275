"""The tools of a command: each adapter is imported when it is asked for, so that a command pays for what it uses.

A server is wired by `wiring.Container`. A command asks for one or two ports, and importing all the others would take
several times as long as the command itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

import attrs

from billing_app.container.local_servers import direct_url, resolve_servers, without_stream
from billing_app.container.schema import prepare_schema
from billing_app.settings import Settings
from billing_postgres.pool import Database

if TYPE_CHECKING:
    import asyncpg

    from billing_core.consumers.ports import ConsumerOversight, ConsumerRegister
    from billing_core.entitlements.loading import EntitlementLoader
    from billing_core.model import BillingRules
    from billing_core.operations.ports import OperationLog
    from billing_core.outgoing.administration import ReceiverAdministration
    from billing_core.outgoing.ports import WebhookEndpoints
    from billing_core.oversight.ports import (
        AuditLog,
        EventLog,
        InboxBacklog,
        InboxUpkeep,
        InvariantLog,
        ProcessRegister,
        RefusalTally,
        StateUpkeep,
        TenantTimeline,
    )
    from billing_core.state.ports import RulesRegister, TenantReader
    from billing_core.state.rules import RulesBook
    from billing_core.state.service import BillingService
    from billing_core.stream.ports import EpochLog, MessageHistory, Outbox
    from billing_core.stream_access.ports import Revocations
    from billing_postgres.durability import DurabilityRisk
    from billing_postgres.state.repository import PostgresRepository

_CONNECTIONS: Final = 4
OPERATORS_WAIT: Final = timedelta(minutes=2)
"""The limit of statements that an operator waits for, in place of those that protect a server."""
_POLITELY: Final = timedelta(seconds=2)
"""Time for the server to acknowledge the end of the connections."""


@attrs.define(kw_only=True, slots=False)
class Tools:
    """The ports of one database, and the service over them. Messages that it causes wait for a server or worker."""

    settings: Settings
    database: Database
    pool: asyncpg.Pool[asyncpg.Record]

    # --- what operators see and do ----------------------------------------------------------------------------------

    def event_log(self) -> EventLog:
        from billing_postgres.oversight.event_log import PostgresEventLog

        return PostgresEventLog(self.database, self.pool)

    def audit_log(self) -> AuditLog:
        from billing_postgres.oversight.event_log import PostgresEventLog

        return PostgresEventLog(self.database, self.pool)

    def timeline(self) -> TenantTimeline:
        from billing_postgres.oversight.timeline import PostgresTenantTimeline

        return PostgresTenantTimeline(self.database, self.pool)

    def invariants(self) -> InvariantLog:
        from billing_postgres.oversight.invariants import PostgresInvariantLog

        return PostgresInvariantLog(self.database, self.pool)

    def inbox_backlog(self) -> InboxBacklog:
        from billing_postgres.inbox.event_inbox import PostgresEventInbox

        return PostgresEventInbox(self.database, self.pool)

    def inbox_upkeep(self) -> InboxUpkeep:
        from billing_postgres.oversight.upkeep import PostgresInboxUpkeep

        return PostgresInboxUpkeep(self.database, self.pool)

    def state_upkeep(self) -> StateUpkeep:
        from billing_postgres.oversight.upkeep import PostgresStateUpkeep

        return PostgresStateUpkeep(self.database, self.pool)

    def refusal_tally(self) -> RefusalTally:
        from billing_postgres.oversight.refusals import PostgresRefusalTally

        return PostgresRefusalTally(self.database, self.pool)

    def process_register(self) -> ProcessRegister:
        from billing_postgres.oversight.processes import PostgresProcessRegister

        return PostgresProcessRegister(self.database, self.pool)

    # --- state ------------------------------------------------------------------------------------------------------

    def tenant_reader(self) -> TenantReader:
        return self._repository

    def rules_register(self) -> RulesRegister:
        from billing_postgres.state.rules import PostgresRulesRegister

        return PostgresRulesRegister(self.database, self.pool)

    def own_rules(self) -> BillingRules:
        """Return the rules that this command was configured with; those in force may be others."""
        from billing_app.container.rules import own_rules

        return own_rules(self.settings, tenants=self.settings.tenants)

    def rules(self) -> RulesBook:
        """Return the rules in force, once they are loaded."""
        return self._rules

    def entitlement_loader(self) -> EntitlementLoader:
        """Return the loader of entitlements. Billed usage counts for metered features."""
        from billing_core.entitlements.loading import EntitlementLoader

        return EntitlementLoader(reader=self._repository, rules=self._rules)

    def service(self) -> BillingService:
        """Return the writer of state. It reads the events that wait for a tenant, so it can translate them."""
        from billing_core.state.service import BillingService
        from billing_stripe.translate import StripeTranslator

        return BillingService(
            unit_of_work=self._repository, translator=StripeTranslator(), rules=self._rules, notify=True
        )

    # --- consumers --------------------------------------------------------------------------------------------------

    def consumer_register(self) -> ConsumerRegister:
        from billing_postgres.consumers.register import PostgresConsumerRegister

        return PostgresConsumerRegister(self.database, self.pool)

    def consumer_oversight(self) -> ConsumerOversight:
        from billing_postgres.consumers.oversight import PostgresConsumerOversight

        return PostgresConsumerOversight(self.database, self.pool)

    def webhook_endpoints(self) -> WebhookEndpoints:
        from billing_postgres.outgoing.receivers import PostgresReceivers

        return PostgresReceivers(self.database, self.pool)

    def receiver_administration(self) -> ReceiverAdministration:
        from billing_core.outgoing.administration import ReceiverAdministration
        from billing_memory.clock import SystemClock

        return ReceiverAdministration(
            endpoints=self.webhook_endpoints(),
            register=self.consumer_register(),
            audits=self.audit_log(),
            clock=SystemClock(),
        )

    # --- operations, messages and streams ---------------------------------------------------------------------------

    def operation_log(self) -> OperationLog:
        from billing_postgres.operations.log import PostgresOperationLog

        return PostgresOperationLog(self.database, self.pool)

    def history(self) -> MessageHistory:
        from billing_postgres.stream.history import PostgresMessageHistory

        return PostgresMessageHistory(self.database, self.pool)

    def outbox(self) -> Outbox:
        from billing_postgres.stream.outbox import PostgresOutbox

        return PostgresOutbox(self.database, self.pool)

    def epochs(self) -> EpochLog:
        from billing_postgres.stream.epochs import PostgresEpochLog

        return PostgresEpochLog(self.database, self.pool)

    def revocations(self) -> Revocations:
        from billing_postgres.stream_access.revocations import PostgresRevocations

        return PostgresRevocations(self.database, self.pool)

    @cached_property
    def _repository(self) -> PostgresRepository:
        from billing_postgres.state.repository import PostgresRepository

        return PostgresRepository(self.database, self.pool, readers=self.pool)

    @cached_property
    def _rules(self) -> RulesBook:
        from billing_core.state.rules import RulesBook

        return RulesBook(self.own_rules(), self.rules_register())


@asynccontextmanager
async def open_tools(settings: Settings) -> AsyncIterator[Tools]:
    """Open the database for one command. Nothing is processed, published, or fetched from the provider.

    The database is the configured one, or the local one with its schema up to date.
    """
    async with resolve_servers(without_stream(settings)) as urls:
        await prepare_schema(urls.database_url, ours=settings.database.url is None)
        database = Database(
            url=urls.database_url,
            direct_url=direct_url(settings),
            application_name="billing-cli",
            statement_timeout=OPERATORS_WAIT,
            transaction_timeout=OPERATORS_WAIT,
        )
        pool = await database.open_pool(size=_CONNECTIONS)
        try:
            yield Tools(settings=settings, database=database, pool=pool)
        finally:
            await _close(pool)


async def _close(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Close connections politely, or drop them when the server does not answer."""
    try:
        async with asyncio.timeout(_POLITELY.total_seconds()):
            await pool.close()
    except (TimeoutError, OSError):
        pool.terminate()


async def find_durability_risks(settings: Settings) -> Sequence[DurabilityRisk]:
    """Return the settings of the database under which a crash loses what was acknowledged. StoreUnavailableError."""
    from billing_postgres.durability import durability_risks

    async with resolve_servers(without_stream(settings)) as urls:
        return await durability_risks(urls.database_url)
