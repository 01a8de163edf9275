"""Ports of consumers. The docstrings are the contracts."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Protocol, runtime_checkable

import attrs

from billing_core.consumers.values import Consumer, ConsumerMessage, ConsumerName, Start
from billing_core.model import TenantId


@attrs.frozen(kw_only=True)
class RegisteredConsumer:
    """A consumer as all processes know it."""

    consumer: Consumer
    registered_at: datetime
    disabled_at: datetime | None = None
    """Set while nothing is handed to it. Its messages wait meanwhile."""
    disabled_reason: str | None = None
    catching_up: bool = False
    """Whether tenants are still being looked for that have messages from before its start."""


@runtime_checkable
class ConsumerRegister(Protocol):
    """The consumers of a deployment. Every method raises StoreUnavailableError."""

    async def register(self, consumer: Consumer) -> RegisteredConsumer:
        """Add a consumer, or update one that is known: its types and limits, never its position.

        A new consumer gets each message that is numbered once this call has returned, and those from before that its
        start demands. Types apply to messages that are numbered after a change; those that wait are handed over if
        the new types match them, too.
        """
        ...

    async def registered(self) -> Sequence[RegisteredConsumer]:
        """Return all consumers by name."""
        ...

    async def remove(self, name: ConsumerName) -> bool:
        """Forget a consumer with its positions; return whether it was known. Its name begins again if it is reused."""
        ...

    async def disable(self, name: ConsumerName, *, reason: str) -> bool:
        """Hand nothing to a consumer until it is enabled; return whether it was enabled. Messages wait meanwhile."""
        ...

    async def enable(self, name: ConsumerName) -> bool:
        """Hand messages to a consumer again; return whether it was disabled. Those that waited come first."""
        ...


@attrs.frozen(kw_only=True)
class ConsumerClaim:
    """The right to hand a tenant's messages to a consumer, until the lease runs out and another process has it."""

    consumer: ConsumerName
    tenant_id: TenantId
    position: int
    """The number of the last message that was handled or passed over."""
    last: int
    """The number up to which messages waited at the time of the claim."""
    fence: int
    """Unique per claim: the holder of a lost claim can change nothing."""
    attempt: int
    """Of the next message, counted in the claim, so that a message that kills its process runs out of attempts too."""


@attrs.frozen(kw_only=True)
class Want:
    """The tenants that a process can take on for a consumer."""

    consumer: ConsumerName
    limit: int
    lease: timedelta


@attrs.frozen(kw_only=True)
class Waiting:
    """The next messages of a claim."""

    messages: Sequence[ConsumerMessage]
    """The messages that the consumer wants, lowest numbers first; none if all that waited were of other types."""
    until: int
    """Nothing else waits up to this number: the position once all of them are handled."""


class Step(Enum):
    """The end of one attempt."""

    CONTINUE = "continue"
    """Handled up to the position. The claim holds on for the next message, whose first attempt begins."""
    SKIP = "skip"
    """As `CONTINUE`; the message at the position was passed over, which is kept for operators."""
    DONE = "done"
    """Handled up to the position. The claim ends; what waits beyond it is due at once."""
    RETRY = "retry"
    """The message right after the position is tried again after a while. The claim ends."""
    HOLD = "hold"
    """The message right after the position is dead, and holds its tenant back. The claim ends."""


@attrs.frozen(kw_only=True)
class Progress:
    """A new position of a claim, or the reason that it has none."""

    claim: ConsumerClaim
    step: Step
    position: int
    """The number of the last message that was handled or passed over; at least the claim's."""
    attempts: int = 0
    """Attempts at the next message that count."""
    after: timedelta = timedelta(0)
    """After a retry: the pause. With a claim that holds on: its lease from now."""
    error: str | None = None
    """A text for operators."""

    @classmethod
    def untried(cls, claim: ConsumerClaim) -> "Progress":
        """Return a claim to the queue as it was: no attempt counts that no handler has seen."""
        return cls(claim=claim, step=Step.DONE, position=claim.position, attempts=claim.attempt - 1)


@runtime_checkable
class ConsumerQueue(Protocol):
    """Positions of consumers, one per tenant that has messages waiting. Methods raise StoreUnavailableError.

    A tenant without messages for a consumer costs it nothing. The messages of a tenant reach a consumer in the order of
    their numbers, each at least once; one process at a time has a tenant of a consumer.
    """

    async def catch_up(self, consumers: Collection[ConsumerName], *, limit: int) -> Collection[ConsumerName]:
        """Find the next `limit` tenants for each of these consumers that starts in the past; return the unfinished.

        Several processes may do the same at the same time.
        """
        ...

    async def claim(self, wants: Sequence[Want]) -> Sequence[ConsumerClaim]:
        """Claim tenants whose messages are due, for each consumer those that have been due longest.

        Tenants that are claimed, held back or waiting for a retry are left out, and so are disabled consumers.
        """
        ...

    async def messages(self, claims: Sequence[ConsumerClaim], *, limit: int) -> Sequence[Waiting]:
        """Return the next messages of each claim, `limit` at most, as they are now: some may have been withdrawn.

        Read apart from the claim: every message up to `ConsumerClaim.last` is visible by then.
        """
        ...

    async def settle(self, progress: Sequence[Progress]) -> Sequence[bool]:
        """Store new positions, one per claim, in one commit; return for each whether its claim still held.

        Nothing changes for a claim that was lost. A tenant is forgotten once nothing waits beyond its position, no
        matter how a message is numbered at the same time.
        """
        ...

    def settling(self, progress: Progress, *, limit: timedelta) -> AbstractAsyncContextManager[Any]:
        """Open a transaction of the database in which the position is stored at the end of the block.

        Yields its connection. The block may take as long as `limit`, however it spends the time. Everything is rolled
        back by an exception of the block, and by ClaimLostError if the claim was lost: together with the position, the
        writes of the block happen exactly once. Raises TransactionLostError, and stores no position, if the
        transaction was over or had failed by the end of the block.
        """
        ...

    def notify(self) -> None:
        """Wake everything that waits for due messages, in this process at once and in others soon."""
        ...

    async def wait(self, *, at_most: timedelta) -> None:
        """Return when messages may have become due since the last `claim`, and at the latest after `at_most`."""
        ...


@attrs.frozen(kw_only=True)
class Lag:
    """How far a consumer is behind."""

    oldest: timedelta = timedelta(0)
    """Time since the oldest message that was not handled was numbered, dead ones included; zero if there is none."""
    held: int = 0
    """Tenants whose next message is dead."""


@attrs.frozen(kw_only=True)
class ConsumerStanding:
    """A consumer, and the tenants that wait for it."""

    registered: RegisteredConsumer
    lag: Lag
    waiting: int
    """Tenants with messages that were not handled, those held back included."""
    skipped: int
    """Messages that were passed over, by policy or by operators."""


@attrs.frozen(kw_only=True)
class WaitingTenant:
    """A tenant with messages that a consumer has not handled."""

    consumer: ConsumerName
    tenant_id: TenantId
    position: int
    last: int
    attempts: int
    due_at: datetime
    """When the next attempt is due; while one is made, when its lease runs out."""
    waiting_since: datetime
    """When the first message of those that wait was numbered."""
    dead_at: datetime | None
    """Set if its next message is dead and holds the others back."""
    error: str | None
    """The last failure of the next message."""


@attrs.frozen(kw_only=True)
class SkippedMessage:
    """A message that a consumer never handled, because it was passed over."""

    consumer: ConsumerName
    tenant_id: TenantId
    sequence: int
    skipped_at: datetime
    attempts: int
    error: str | None
    actor: str | None
    """The operator who skipped it; None if the consumer passes dead messages over by itself."""
    reason: str | None


@runtime_checkable
class ConsumerOversight(Protocol):
    """The view of operators, and their actions, which are logged. Every method raises StoreUnavailableError."""

    async def standings(self) -> Sequence[ConsumerStanding]:
        """Return all consumers by name. Its cost grows with the tenants that wait."""
        ...

    async def lags(self) -> Mapping[ConsumerName, Lag]:
        """Return how far behind each consumer is. Cheap however many tenants wait, for gauges."""
        ...

    async def waiting(
        self, name: ConsumerName, *, held: bool = False, tenant_id: TenantId | None = None, limit: int
    ) -> Sequence[WaitingTenant]:
        """Return tenants that wait, the longest first; with `held`, those that a dead message holds back."""
        ...

    async def skipped(self, name: ConsumerName, *, limit: int) -> Sequence[SkippedMessage]:
        """Return messages that were passed over, the last one first."""
        ...

    async def retry(
        self, name: ConsumerName, *, tenant_id: TenantId | None = None, actor: str, reason: str | None
    ) -> int:
        """Try dead messages again, with all attempts: of one tenant or of all. Return how many tenants are due."""
        ...

    async def skip(
        self, name: ConsumerName, *, tenant_id: TenantId, sequence: int, actor: str, reason: str | None
    ) -> bool:
        """Pass over a tenant's dead message of this number; return whether that is what held the tenant back."""
        ...

    async def rewind(
        self,
        name: ConsumerName,
        *,
        to: Start | int,
        tenant_id: TenantId | None = None,
        actor: str,
        reason: str | None,
    ) -> bool:
        """Set a consumer's position, for one tenant or for all; return whether there is anything to set.

        A number, for one tenant only, is that of the first message to hand over; "now" passes over what waits, and what
        a start in the past or an earlier rewind would still find. Claims that others hold are lost. All tenants are set
        one after another, as for a consumer that starts in the past. Repeat a call that ended with an error.
        Raises ValueError for a number without a tenant, and for one beyond the tenant's next message.
        """
        ...
