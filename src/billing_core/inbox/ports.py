"""What intake, dispatch and replay need from the outside. The docstrings are the contracts."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

import attrs

from billing_core.events import Claim, EventKey, ProviderEvent, Receipt, Translation
from billing_core.inbox.selection import EventFilter
from billing_core.model import EventId


@runtime_checkable
class WebhookVerifier(Protocol):
    """Knows the provider's signature scheme and its envelope."""

    def verify(self, body: bytes, signature: str) -> ProviderEvent:
        """Check that the provider signed exactly these bytes, and read the envelope; pure computation.

        Raises: SignatureVerificationError (StaleSignatureError among them); MalformedEventError for signed bytes that
        are no event. Nothing else, whatever the bytes are.
        """
        ...


@attrs.frozen(kw_only=True)
class FetchedEvent:
    """What an event that names an object without showing it comes to once the provider was asked."""

    snapshot_event_id: EventId | None
    """The event that tells of the same fact and shows the object, where the provider makes both: they are one."""
    translation: Translation | None
    """The object as it is now, not as it was at the event; None when it does not exist any more."""


@runtime_checkable
class ThinEventGateway(Protocol):
    """Fetches what an event is about that names its object without showing it.

    Raises: as `billing_core.state.ports.PaymentGateway`.
    """

    async def fetch_checkout_session(self, session_id: str) -> Translation | None:
        """Whose customer somebody became in a checkout; ignored with a reason while nobody has completed it."""
        ...

    async def fetch_event(self, event_id: EventId) -> FetchedEvent | None:
        """What an event that shows no object is about. Of snapshot events it knows nothing."""
        ...


@runtime_checkable
class EventInbox(Protocol):
    """Where received events become durable."""

    async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
        """Store an event and its dispatch row durably, in one transaction; return after the commit.

        With `lease`, a new event is claimed for the caller in the same breath (attempt 1) and the receipt carries the
        claim; a duplicate never does. Of concurrent records of one key exactly one is ACCEPTED.
        Raises StoreUnavailableError when the outcome is not certain: recording again is safe.
        """
        ...


@runtime_checkable
class EventQueue(Protocol):
    """The events that wait to be processed, and the right to process one. Time is the store's own."""

    async def claim(self, *, limit: int, lease: timedelta) -> Sequence[Claim]:
        """Claim up to `limit` events that are due or whose lease has run out, oldest due first.

        Counts the attempt and commits. No event is claimed twice at a time. Time is the store's own.
        """
        ...

    async def retry(self, claim: Claim, *, after: timedelta, reason: str, error: str) -> bool:
        """Give a claim back, due again `after` from now. False if it was lost meanwhile: then nothing changes."""
        ...

    async def bury(self, claim: Claim, *, reason: str, error: str) -> bool:
        """End a claim as dead, visible and replayable. False if it was lost meanwhile: then nothing changes."""
        ...

    async def release(self, claims: Collection[Claim]) -> None:
        """Give unprocessed claims back at once, uncounted: for an orderly shutdown. Lost ones are left alone."""
        ...

    async def unpark(self) -> int:
        """Make due what is parked on a customer or an object that has a tenant by now; how many events that were.

        A unit of work does so for what it saves itself. What is parked while another one saves it is found here.
        """
        ...

    async def wait(self, *, at_most: timedelta) -> None:
        """Return when events may have become due, at the latest after `at_most`. A hint: it may return early."""
        ...


@runtime_checkable
class KnownEvents(Protocol):
    """Which events were recorded."""

    async def known(self, keys: Collection[EventKey]) -> Collection[EventKey]:
        """Those of the keys that are stored, however far their events have been processed."""
        ...


@runtime_checkable
class ReplayQueue(Protocol):
    """Stored events, claimed for a replay whatever their status."""

    async def reclaim(self, dispatch_ids: Collection[int], *, lease: timedelta) -> Sequence[Claim]:
        """Claim these events whatever became of them, with fresh attempts: for a replay.

        Left out are those that somebody works on, and those whose bodies are gone. What an event did when it was
        applied stays known should it do nothing now.
        """
        ...

    async def read(self, dispatch_ids: Collection[int]) -> Sequence[Claim]:
        """What `reclaim` would give, without claiming: for a rehearsal. The attempt is the one the event has now.

        Events that somebody works on are among them, those whose bodies are gone are not.
        """
        ...


@runtime_checkable
class EventSelector(Protocol):
    """Finds the events that a replay is for. Only reads."""

    async def select(self, wanted: EventFilter, *, limit: int | None = None) -> Sequence[int]:
        """The numbers of the events that a filter means, by the provider's clock: the order they happened in."""
        ...


@runtime_checkable
class AuditTrail(Protocol):
    """Records what operators do. An entry is never changed once it is finished."""

    async def begin(self, action: str, *, actor: str, reason: str | None, filter: Mapping[str, object]) -> int:
        """Note durably that something begins; the entry's number."""
        ...

    async def finish(self, audit_id: int, result: Mapping[str, object]) -> None:
        """Note what it came to."""
        ...
