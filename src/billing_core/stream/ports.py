"""Ports of publishing and streaming. The docstrings are the contracts."""

import enum
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

import attrs

from billing_core.events import BillingEvent
from billing_core.model import TenantId
from billing_core.model.epoch import Epoch


@attrs.frozen(kw_only=True)
class OutboxEntry:
    """A committed message that the bus has not confirmed yet, and how long ago it was committed."""

    event: BillingEvent
    waited: timedelta


@runtime_checkable
class Outbox(Protocol):
    """The committed messages that the bus has not confirmed yet. Every method raises StoreUnavailableError."""

    async def unpublished(self, *, older_than: timedelta, limit: int) -> Sequence[OutboxEntry]:
        """Return messages that have waited at least `older_than`, lowest numbers of each tenant first."""
        ...

    async def published(self, events: Collection[BillingEvent]) -> None:
        """Remove messages that the bus has taken. Removing one again is harmless."""
        ...

    async def oldest(self) -> timedelta:
        """Return the age of the oldest unpublished message; zero if there is none."""
        ...

    async def history(self, *, after: tuple[TenantId, int], newest: int, limit: int) -> Sequence[BillingEvent]:
        """Return up to `limit` published messages that follow `after`, ordered by tenant and number.

        Only the `newest` messages of each tenant are included.
        """
        ...


@runtime_checkable
class MessageHistory(Protocol):
    """Every message that was ever numbered, unless its tenant was erased.

    Read-only; every method raises StoreUnavailableError.
    """

    async def events(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Return messages numbered strictly above `after`, lowest first, without a gap."""
        ...

    async def sequence(self, tenant_id: TenantId) -> int:
        """Return the number of a tenant's last message; 0 if it has none."""
        ...

    async def erased_until(self, tenant_id: TenantId) -> int:
        """Return the number up to which a tenant's messages are gone because it was erased; 0 if it never was."""
        ...

    async def outdated_logs(self, tenant_ids: Collection[TenantId]) -> Sequence[TenantId]:
        """Return those of these tenants whose log on the bus holds messages that were withdrawn; see `LogRewrites`."""
        ...

    async def sequences(self, tenant_ids: Collection[TenantId]) -> Mapping[TenantId, int]:
        """Return the number of each tenant's last message. Tenants without messages are left out."""
        ...


@attrs.frozen(kw_only=True)
class LogRewrite:
    """A tenant's log on the bus that has to be replaced: messages up to `until` were withdrawn from the history."""

    tenant_id: TenantId
    until: int


@runtime_checkable
class LogRewrites(Protocol):
    """The logs on the bus that have to be replaced, kept until it is done. Methods raise StoreUnavailableError."""

    async def pending(self) -> Sequence[LogRewrite]:
        """Return the logs whose messages up to `until` were all published, the longest waiting first.

        Before that a publisher may still append a message as it was before it was withdrawn.
        """
        ...

    async def finish(self, rewrite: LogRewrite) -> None:
        """Note that a log was replaced. Nothing changes if later messages have been withdrawn since."""
        ...


@runtime_checkable
class EventBus(Protocol):
    """Per-tenant, contiguous log of messages, followed live by every server.

    A cache of the history in the repository: it may lose its tail or everything, it may neither reorder nor skip.
    """

    async def append(
        self, events: Sequence[BillingEvent], *, announced: bool = True, trace_context: str | None = None
    ) -> Mapping[TenantId, int]:
        """Append messages, ordered by number within each tenant; return the last number in each tenant's log.

        A message that is already there is skipped, so repeating a call is safe. A message that would leave a gap is
        rejected together with its successors: the returned number is then lower than the last one sent, and the caller
        sends the missing messages first. An empty log accepts any first number. Followers receive the accepted
        messages unless `announced` is False, each with `trace_context`, the `traceparent` of the span in which they are
        appended; the log does not keep it.

        A tenant whose part of the bus does not answer is missing from the result; its messages may or may not have been
        accepted. Raises EventBusUnavailableError when no part answers.
        """
        ...

    async def read(self, tenant_id: TenantId, *, after: int, limit: int) -> Sequence[BillingEvent]:
        """Return the log's messages numbered strictly above `after`, lowest first; () if it holds none.

        The log may have lost older messages, so the first one returned may leave a gap after `after`.
        """
        ...

    async def replace(self, tenant_id: TenantId, events: Sequence[BillingEvent]) -> None:
        """Replace a tenant's whole log by these consecutive messages, in one step; by nothing if there are none.

        Followers receive nothing. Raises EventBusUnavailableError; repeating the call is safe.
        """
        ...

    def follow(self) -> AsyncGenerator[Sequence[BillingEvent], None]:
        """Yield messages of all tenants as they are appended. Never ends; raises EventBusUnavailableError.

        The first batch is empty and is yielded once the follower is subscribed: from then on no message is missed
        without notice. Any later empty batch means that messages may have been missed, for example while a part of the
        bus was unavailable.
        """
        ...


class BackfillClaim(enum.Enum):
    """The answer to a process that wants to fill the bus."""

    OURS = "ours"
    """This process fills it, until its lease runs out."""
    OTHERS = "others"
    """Another process is filling it."""
    DONE = "done"


@runtime_checkable
class BackfillableBus(EventBus, Protocol):
    """A bus that knows whether it has been filled since it was last empty."""

    async def claim_backfill(self, name: str, *, lease: timedelta) -> BackfillClaim:
        """Take the claim under a process's name, or renew it under the same name; it expires after `lease`.

        Raises EventBusUnavailableError.
        """
        ...

    async def finish_backfill(self) -> None:
        """Record that the bus is filled. The record is lost with the bus's content. Raises EventBusUnavailableError."""
        ...


@runtime_checkable
class EpochLog(Protocol):
    """The epochs of a database; the latest one is current. Every method raises StoreUnavailableError."""

    async def enter(self) -> Epoch:
        """Return the current epoch; begin a new one first if the database shows a restore or a failover.

        A database without an epoch gets its first. Concurrent calls begin one epoch, not several.
        """
        ...

    async def begin(self, reason: str) -> Epoch:
        """Begin a new epoch at an operator's request, for a restore that the database does not show."""
        ...
