"""The ports that one adapter class usually satisfies together, for contracts that need several of them."""

from typing import Protocol

from billing_core.inbox.ports import EventInbox, EventQueue, KnownEvents, ReplayQueue, ThinEventGateway
from billing_core.oversight.ports import InboxBacklog, InboxUpkeep, StateUpkeep
from billing_core.state.ports import PaymentGateway, TenantReader, UncertainObjects, UnitOfWork
from billing_core.stream.ports import MessageHistory


class Repository(UnitOfWork, TenantReader, UncertainObjects, MessageHistory, StateUpkeep, Protocol):
    """State, its history and what operators look up across tenants."""


class Inbox(EventInbox, EventQueue, KnownEvents, InboxBacklog, ReplayQueue, InboxUpkeep, Protocol):
    """Stored events in every role."""


class Gateway(PaymentGateway, ThinEventGateway, Protocol):
    """Everything that is fetched from the provider."""
