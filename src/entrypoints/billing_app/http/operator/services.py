"""The objects that the handlers of the operator's API use, built by the container."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol, runtime_checkable

import attrs

from billing_app.http.operations.problems import Problem
from billing_app.http.operator.feed import OperatorFeed
from billing_app.http.operator.identity import OperatorAuthenticator
from billing_app.http.operator.jobs import ReplayJobs
from billing_app.http.operator.measures import Checked, Flow, Standing
from billing_app.http.operator.remembering import Remembered
from billing_core.events import BillingEvent
from billing_core.operations.ports import OperationLog
from billing_core.oversight.ports import (
    AuditLog,
    DelayTally,
    EventLog,
    InboxBacklog,
    InboxFlow,
    InboxUpkeep,
    InvariantLog,
    ProcessRegister,
    StateUpkeep,
)
from billing_core.state.service import BillingService
from billing_core.stream.ports import Outbox

_AT_ONCE: Final = 4
"""Requests of operators that a server works on at a time: their searches share its connections with streams."""
_PATIENCE: Final = 5.0
"""Seconds that another one waits."""


@runtime_checkable
class ReadBody(Protocol):
    """Read the body of an event as JSON for display; with `redacted`, without personal data and secrets."""

    def __call__(self, body: bytes, *, redacted: bool) -> object:
        """Raises ValueError for bytes that are no JSON."""
        ...


class Admission:
    """The limit of requests at a time."""

    def __init__(self, at_once: int = _AT_ONCE, patience: float = _PATIENCE) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._patience = patience

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it for the length of the block. Raises Problem (503) if none gets free in time."""
        try:
            async with asyncio.timeout(self._patience):
                await self._slots.acquire()
        except TimeoutError:
            detail = "This server works on other requests of operators. Try again in a moment."
            raise Problem(503, "busy", detail, headers={"Retry-After": "2"}, retryable=True) from None
        try:
            yield
        finally:
            self._slots.release()


@attrs.frozen(kw_only=True)
class OperatorServices:
    """The objects behind the operator's API; their owner opens and closes them."""

    authenticator: OperatorAuthenticator
    events: EventLog
    audits: AuditLog
    flow: InboxFlow
    delays: DelayTally
    backlog: InboxBacklog
    inbox_upkeep: InboxUpkeep
    state_upkeep: StateUpkeep
    service: BillingService
    publish: Callable[[Sequence[BillingEvent]], None]
    """Takes messages after their commit."""
    replays: ReplayJobs
    invariants: InvariantLog
    processes: ProcessRegister
    outbox: Outbox
    operation_log: OperationLog
    read_body: ReadBody
    feed: OperatorFeed
    admission: Admission = attrs.field(factory=Admission)
    flows: Remembered[str, Flow] = attrs.field(factory=Remembered)
    """The flow of each window."""
    standings: Remembered[str, Standing] = attrs.field(factory=Remembered)
    checks: Remembered[str, Checked] = attrs.field(factory=Remembered)
