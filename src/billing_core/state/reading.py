"""Statements of the provider, read in our terms: events as they are claimed, and answers to a refetch."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import attrs

from billing_core.cooperate import cooperate
from billing_core.events import Claim, MessageSource, SourceKind, Translation
from billing_core.frozen import frozen
from billing_core.model import (
    EventId,
    InvoiceSnapshot,
    PlanCatalog,
    Provenance,
    Snapshot,
    SubscriptionSnapshot,
    TenantRules,
)
from billing_core.state.occasions import Occasion, reported
from billing_core.state.renewals import renewals_by_mail


@frozen(kw_only=True)
class ClaimedEvent:
    """One claimed event and its translation, read in our terms."""

    claim: Claim
    translation: Translation
    out_of_scope: bool = False
    """All that it shows is for other products of the account."""
    occasions: tuple[Occasion, ...] = attrs.field(init=False, eq=False)
    """The occasions that the event itself reports. A paid invoice is one by what is known of its subscription."""

    @occasions.default
    def _reported(self) -> tuple[Occasion, ...]:
        return (*reported(self.translation, self.claim.event), *renewals_by_mail(self.translation))

    @property
    def event_id(self) -> EventId:
        """The provider event's id."""
        return self.claim.event.event_id

    @property
    def created_at(self) -> datetime:
        """The instant at which the provider created the event."""
        return self.claim.event.created_at

    @property
    def source(self) -> MessageSource:
        """The cause of the messages that follow."""
        return MessageSource(kind=SourceKind.WEBHOOK, id=self.event_id)


@attrs.frozen(kw_only=True)
class ProviderAnswer:
    """The provider's answer to a refetch of an uncertain object, read in our terms."""

    translation: Translation
    basis: Provenance
    """The events that the uncertain state rests on; the answer rests on the same ones and settles them."""
    view: str | None = None
    """The key of the operation whose provisional view it replaces."""
    occasions: tuple[Occasion, ...] = attrs.field(init=False, eq=False)
    """The occasions that it shows; as no event, it reports none."""

    @occasions.default
    def _shown(self) -> tuple[Occasion, ...]:
        return tuple(renewals_by_mail(self.translation))

    @property
    def event_id(self) -> EventId:
        """The last of the events that the state rests on."""
        return self.basis.event_ids[-1]

    @property
    def created_at(self) -> datetime:
        """The instant of that event: the answer is dated back, so that later events outrank it."""
        return self.basis.observed_at

    @property
    def source(self) -> MessageSource:
        """The cause of the messages that follow."""
        return MessageSource(kind=SourceKind.REFETCH, id=next(each.object_id for each in self.translation.snapshots))


@attrs.frozen(kw_only=True)
class RulesChange:
    """A change of the rules: the cause of messages about state that is read by others than before."""

    generation: int
    created_at: datetime
    """The instant at which the state was read again."""

    @property
    def source(self) -> MessageSource:
        """The cause of the messages that follow."""
        return MessageSource(kind=SourceKind.CATALOG, id=str(self.generation))


_SHOWN: Final = 60
"""Characters of a refused tenant id that operators see."""

Statement = ClaimedEvent | ProviderAnswer


async def read_batch(
    translated: Sequence[tuple[Claim, Translation]], catalog: PlanCatalog, tenants: TenantRules
) -> Sequence[ClaimedEvent]:
    """Read translated events in our terms, in the order in which they are folded: that of the provider's clock."""
    events = []
    async for claim, translation in cooperate(translated):
        snapshots = tuple([catalog.read(snapshot) for snapshot in translation.snapshots])
        shown = _with_plausible_hint(translation.showing(snapshots), tenants)
        left_out = catalog.scope.limited and _is_out_of_scope(snapshots)
        if left_out:
            # The metadata of other products may name anything, and their notices concern no tenant of ours.
            shown = attrs.evolve(shown, tenant_hint=None, refused_hint=None, notice=None)
        events.append(ClaimedEvent(claim=claim, translation=shown, out_of_scope=left_out))
    events.sort(key=lambda event: (event.created_at, event.claim.dispatch_id))
    return _replayed_backwards(events)


def _is_out_of_scope(snapshots: Iterable[Snapshot]) -> bool:
    """Return whether all subscriptions and invoices of an event are out of scope, by what the event itself shows."""
    shown = [seen.out_of_scope for seen in snapshots if isinstance(seen, SubscriptionSnapshot | InvoiceSnapshot)]
    return bool(shown) and all(shown)


def _with_plausible_hint(translation: Translation, tenants: TenantRules) -> Translation:
    """Return the translation without its hint if that cannot be a tenant id; the reason is kept for operators."""
    hint = translation.tenant_hint
    fault = None if hint is None else tenants.fault_of(hint)
    if hint is None or fault is None:
        return translation
    # Escaped and cut: the text may hold anything, and it is shown on terminals.
    return attrs.evolve(translation, tenant_hint=None, refused_hint=f"The tenant id {hint[:_SHOWN]!a} {fault}.")


def _replayed_backwards(events: Sequence[ClaimedEvent]) -> Sequence[ClaimedEvent]:
    """Move replayed events to the front, latest first: if a row is wrong, one message then corrects it.

    Events that name no customer keep their order: each may need the object that an earlier one shows.
    """
    replayed: list[ClaimedEvent] = []
    others: list[ClaimedEvent] = []
    for event in events:
        backwards = event.claim.applied and event.translation.customer_id is not None
        (replayed if backwards else others).append(event)
    return [*reversed(replayed), *others]
