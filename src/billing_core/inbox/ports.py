"""Ports of intake, dispatch and replay. The docstrings are the contracts."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

import attrs

from billing_core.events import Claim, EventKey, ProviderEvent, Receipt, Translation
from billing_core.inbox.selection import EventFilter
from billing_core.model import CustomerId, EventId, TenantId


@runtime_checkable
class WebhookVerifier(Protocol):
    """Checks the provider's signatures and reads its envelopes."""

    def verify(self, body: bytes, signature: str) -> ProviderEvent:
        """Check that the provider signed exactly these bytes, and read the envelope; pure computation.

        Raises: SignatureVerificationError (StaleSignatureError among them); MalformedEventError for signed bytes that
        are no event. Nothing else, whatever the bytes are.
        """
        ...

    def is_plausible(self, signature: str) -> bool:
        """Return whether `verify` could accept a signature at this moment, with some body or other.

        Never False for a signature that `verify` would accept: a caller may refuse to read the body then.
        """
        ...


@attrs.frozen(kw_only=True)
class FetchedEvent:
    """The provider's answer about a thin event."""

    snapshot_event_id: EventId | None
    """The event that reports the same change and shows the object, where the provider sends both."""
    translation: Translation | None
    """The object as it is now, not as it was at the event; None when it no longer exists."""


@runtime_checkable
class ThinEventGateway(Protocol):
    """Fetches the objects of thin events.

    Raises: as `billing_core.state.ports.PaymentGateway`.
    """

    async def fetch_checkout_session(self, session_id: str) -> Translation | None:
        """Fetch the customer that a completed Checkout session created or used; ignored with a reason before that."""
        ...

    async def fetch_event(self, event_id: EventId) -> FetchedEvent | None:
        """Fetch a thin event and its object; None for an unknown event, and for every snapshot event."""
        ...


@runtime_checkable
class EventInbox(Protocol):
    """Durable storage of received events."""

    async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
        """Store an event and its dispatch row durably, in one transaction; return after the commit.

        With `lease`, a new event is also claimed for the caller (attempt 1) and the receipt carries the claim; that of
        a duplicate never does. Of concurrent records of one key exactly one is ACCEPTED.
        Raises StoreUnavailableError when the outcome is not certain: recording again is safe.
        """
        ...


@runtime_checkable
class EventQueue(Protocol):
    """The events that wait to be processed, and the claims on them. Time is the store's own."""

    async def claim(self, *, limit: int, lease: timedelta) -> Sequence[Claim]:
        """Claim up to `limit` events that are due or whose lease has run out, oldest due first.

        Counts the attempt and commits. No event is claimed twice at a time.
        """
        ...

    async def retry(self, claim: Claim, *, after: timedelta, reason: str, error: str) -> bool:
        """Return a claim; its event is due again `after` from now. False if it was lost meanwhile: nothing changes."""
        ...

    async def bury(
        self,
        claim: Claim,
        *,
        reason: str,
        error: str,
        customer_id: CustomerId | None = None,
        about: Sequence[str] = (),
    ) -> bool:
        """End a claim as dead, visible and replayable. False if it was lost meanwhile: nothing changes.

        The row keeps the customer and the tenant that the customer is linked to. An event that names no customer is
        the tenant's that owns the known ones of the objects it is `about`, if that is one tenant.
        """
        ...

    async def restore(self, claim: Claim, *, reason: str, error: str) -> bool:
        """End the claim of a replay that failed: its event stays applied with its effect, and the attempt is kept.

        False if it was lost meanwhile, or its event was never applied: nothing changes.
        """
        ...

    async def release(self, claims: Collection[Claim]) -> None:
        """Return unprocessed claims at once, uncounted: for an orderly shutdown. Lost ones are left alone."""
        ...

    async def unpark(self) -> int:
        """Make events due whose customer or object has a tenant by now; return their number.

        A unit of work does so for the objects it saves itself. Events that are parked meanwhile are found here.
        """
        ...

    async def lapse(self, *, after: timedelta, limit: int) -> int:
        """End up to `limit` events as ignored (`no_tenant`) that have been parked for `after`; return their number.

        The longest waiting ones first. They become due all the same if their customer or object gets a tenant later,
        as long as their bodies are kept. Events that wait for neither (thin ones) stay parked.
        """
        ...

    async def wait(self, *, at_most: timedelta) -> None:
        """Wait until events may have become due, at most `at_most`. A hint: it may return early."""
        ...


@runtime_checkable
class KnownEvents(Protocol):
    """The keys of recorded events."""

    async def known(self, keys: Collection[EventKey]) -> Collection[EventKey]:
        """Return those of the keys that are stored, whatever their status."""
        ...


@runtime_checkable
class ReplayQueue(Protocol):
    """Stored events, claimed for a replay whatever their status."""

    async def reclaim(self, dispatch_ids: Collection[int], *, lease: timedelta) -> Sequence[Claim]:
        """Claim these events for a replay, whatever their status, with fresh attempts.

        Events that are being processed elsewhere and events whose bodies are gone are left out. If an applied event
        does nothing now, its earlier effect stays on record.
        """
        ...

    async def read(self, dispatch_ids: Collection[int]) -> Sequence[Claim]:
        """Return what `reclaim` would claim, for a dry run. The attempt is the one the event has now.

        Events that are being processed elsewhere are included, those whose bodies are gone are not.
        """
        ...


@attrs.frozen(kw_only=True)
class HeldPlan:
    """A plan that live subscriptions are on, as stored."""

    plan_code: str
    subscriptions: int
    tenant_id: TenantId
    """The first of their tenants, by id."""


@runtime_checkable
class EventSelector(Protocol):
    """Selects events for a replay. Only reads."""

    async def select(self, wanted: EventFilter, *, limit: int | None = None) -> Sequence[int]:
        """Return the dispatch ids of matching events by the provider's clock: the order in which they happened."""
        ...

    async def fingerprint(self, dispatch_ids: Sequence[int]) -> str:
        """Identify these events with their present ends, in short text, however many they are.

        Another set of events has another fingerprint, and so have the same ones after any of them reached an end, or
        left it. Attempts at an unfinished event change nothing.
        """
        ...

    async def plans(self, dispatch_ids: Collection[int]) -> Sequence[HeldPlan]:
        """Return the plans of the live subscriptions of all tenants to which these events belong, by code."""
        ...


@runtime_checkable
class AuditTrail(Protocol):
    """The log of operators' actions. A finished entry is never changed."""

    async def begin(self, action: str, *, actor: str, reason: str | None, filter: Mapping[str, object]) -> int:
        """Record durably that an action begins; return the entry's number."""
        ...

    async def advance(self, audit_id: int, progress: Mapping[str, object]) -> bool:
        """Record the progress of a running action; return whether it was canceled meanwhile. A sign of life, too."""
        ...

    async def finish(self, audit_id: int, result: Mapping[str, object]) -> None:
        """Record the result of an action."""
        ...
