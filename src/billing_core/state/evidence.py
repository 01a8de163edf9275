"""Evidence for ties: the events that share a second with one of a batch, read again from the store."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import cast

import attrs

from billing_core.events import EventKey, ProviderEvent, Translation
from billing_core.model import EventId, Order, PlanCatalog, Provenance, Sighting, Snapshot, Tracked, compare
from billing_core.state.ports import BillingTransaction, EventTranslator
from billing_core.state.precedence import S, needs_no_evidence
from billing_core.state.reading import ClaimedEvent


class StoredEvidence:
    """Reads events again when a tie asks for them; each at most once per object."""

    def __init__(self, events: Iterable[ProviderEvent], *, translator: EventTranslator, catalog: PlanCatalog) -> None:
        self._events = {event.event_id: event for event in events}
        self._translator = translator
        self._catalog = catalog
        self._sightings: dict[tuple[EventId, str], Sighting[Snapshot] | None] = {}

    def __call__(self, event_id: EventId, snapshot: S) -> Sighting[S] | None:
        """See `billing_core.state.precedence.Evidence`."""
        event = self._events.get(event_id)
        if event is None:
            return None
        key = event_id, snapshot.object_id
        if key not in self._sightings:
            self._sightings[key] = self._read(event, snapshot.object_id)
        # An id belongs to one kind of object, so what is found under it is of the kind asked for.
        return cast("Sighting[S] | None", self._sightings[key])

    def _read(self, event: ProviderEvent, object_id: str) -> Sighting[Snapshot] | None:
        translation = self._translator.translate(event)
        after = self._find(translation, object_id)
        if after is None:
            return None
        previous = self._translator.translate_previous(event)
        before = None if previous is None else self._find(previous, object_id)
        return Sighting(event_id=event.event_id, after=after, before=before, creation=translation.creation)

    def _find(self, translation: Translation, object_id: str) -> Snapshot | None:
        shown = translation.find(object_id)
        return None if shown is None else self._catalog.read(shown)


def no_evidence(event_id: EventId, snapshot: S) -> Sighting[S] | None:
    """Find nothing: an answer of the provider needs no evidence."""
    return None


async def gather_evidence(
    transaction: BillingTransaction,
    events: Sequence[ClaimedEvent],
    tracked: Iterable[Tracked],
    *,
    translator: EventTranslator,
    catalog: PlanCatalog,
) -> StoredEvidence:
    """Load the stored events that may decide a tie with one of `events`: usually none."""
    known: dict[str, tuple[Snapshot, Provenance]] = {}
    for held in tracked:
        if held.snapshot is not None and held.provenance is not None:
            known[held.snapshot.object_id] = (held.snapshot, held.provenance)
    wanted = _rivals_within(events)
    for event in events:
        for seen in event.translation.snapshots:
            if rivals := _stored_rivals(known.get(seen.object_id), seen, event):
                wanted |= {event.claim.event.key, *rivals}
    if not wanted:
        return StoredEvidence((), translator=translator, catalog=catalog)
    in_batch = {event.claim.event.key: event.claim.event for event in events if event.claim.event.body}
    missing = wanted - in_batch.keys()
    stored = await transaction.stored_events(missing) if missing else ()
    return StoredEvidence([*in_batch.values(), *stored], translator=translator, catalog=catalog)


def _rivals_within(events: Iterable[ClaimedEvent]) -> set[EventKey]:
    """Return the keys of the events that show one object in one second."""
    firsts: dict[tuple[str, datetime], EventKey] = {}
    rivals: set[EventKey] = set()
    for claimed in events:
        event = claimed.claim.event
        for seen in claimed.translation.snapshots:
            first = firsts.setdefault((seen.object_id, event.created_at), event.key)
            if first is not event.key:
                rivals |= {first, event.key}
    return rivals


def _stored_rivals(known: tuple[Snapshot, Provenance] | None, seen: Snapshot, claimed: ClaimedEvent) -> set[EventKey]:
    """Return the keys of the stored events that decide a tie between the known and the seen snapshot."""
    if known is None:
        return set()
    snapshot, provenance = known
    event = claimed.claim.event
    again = event.event_id in provenance.event_ids
    if not again and compare(snapshot, provenance.observed_at, seen, event.created_at) is not Order.TIE:
        return set()
    if needs_no_evidence(snapshot, provenance, seen):
        return set()
    return {attrs.evolve(event.key, event_id=id_) for id_ in provenance.event_ids}
