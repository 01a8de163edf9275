"""Occasions: what happens once is announced at most once, by whichever event reports it first.

A change is a difference of folded state, so it depends on the order of arrival. An occasion does not: its key is made
from what the event itself shows. It is announced also by a stale event, and beside a change, unless it is over.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import attrs

from billing_core.events import BillingEventType as Type
from billing_core.events import Notice, ProviderEvent, Translation
from billing_core.model import InvoiceSnapshot, Snapshot, SubscriptionSnapshot
from billing_core.state.announcements import Announcement, notice_announcement, payment_failure


@attrs.frozen(kw_only=True)
class Occasion:
    """Something that happened once."""

    key: str
    announcement: Announcement
    object_id: str | None = None
    """The subscription or invoice it is about."""
    at: datetime | None = None
    """Of the end of a trial: that end. Of a renewal: the start of the period."""
    until: datetime | None = None
    """Of a renewal: the end of the period, if it is known."""

    @property
    def is_renewal(self) -> bool:
        """Whether it is a new period of a subscription."""
        return self.announcement.event_type is Type.SUBSCRIPTION_RENEWED

    def is_over(self, known: Snapshot | None) -> bool:
        """Tell whether its object, as it stands, has moved on, so that announcing it would mislead."""
        over = _OVER.get(self.announcement.event_type)
        return known is not None and over is not None and over(self, known)


def _trial_is_over(occasion: Occasion, known: Snapshot) -> bool:
    if not isinstance(known, SubscriptionSnapshot):
        return False
    return known.status != "trialing" or known.trial_ends_at != occasion.at


def _nothing_is_owed(_: Occasion, known: Snapshot) -> bool:
    return isinstance(known, InvoiceSnapshot) and not known.outstanding


def _has_ended(_: Occasion, known: Snapshot) -> bool:
    return isinstance(known, SubscriptionSnapshot) and known.ended


_OVER: Final[Mapping[Type, Callable[[Occasion, Snapshot], bool]]] = {
    Type.SUBSCRIPTION_TRIAL_ENDING: _trial_is_over,
    Type.SUBSCRIPTION_RENEWED: _has_ended,
    Type.INVOICE_PAYMENT_FAILED: _nothing_is_owed,
    Type.INVOICE_PAYMENT_ACTION_REQUIRED: _nothing_is_owed,
    Type.INVOICE_OVERDUE: _nothing_is_owed,
    Type.INVOICE_UPCOMING: _has_ended,
}
"""When an occasion is over, by the type that announces it. A reached usage threshold never is."""


def reported(translation: Translation, event: ProviderEvent) -> Sequence[Occasion]:
    """Return the notice of an event and the failed payment that it reports, if any."""
    found = [] if translation.notice is None else [_noticed(translation.notice, translation, event)]
    if translation.payment_failed:
        found += [
            Occasion(
                key=key_of(Type.INVOICE_PAYMENT_FAILED, seen.invoice_id, seen.attempt_count, event.created_at),
                announcement=payment_failure(seen),
                object_id=seen.invoice_id,
            )
            for seen in translation.snapshots
            if isinstance(seen, InvoiceSnapshot)
        ]
    return found


def _noticed(notice: Notice, translation: Translation, event: ProviderEvent) -> Occasion:
    type_ = notice.value
    for seen in translation.snapshots:
        match seen:
            case SubscriptionSnapshot():
                return Occasion(
                    key=key_of(type_, seen.subscription_id, seen.trial_ends_at),
                    announcement=notice_announcement(notice, seen),
                    object_id=seen.subscription_id,
                    at=seen.trial_ends_at,
                )
            case InvoiceSnapshot():
                # The attempt alone does not do: one that the customer makes does not raise the count.
                attempt = (seen.attempt_count, event.created_at)
                return Occasion(
                    key=key_of(type_, seen.invoice_id, *((seen.due_at,) if notice is Notice.OVERDUE else attempt)),
                    announcement=notice_announcement(notice, seen),
                    object_id=seen.invoice_id,
                )
    return Occasion(
        key=key_of(type_, translation.notice_of or event.event_id),
        announcement=notice_announcement(notice),
        object_id=next(iter(translation.about), None),
    )


def key_of(type_: Type, object_id: str, *parts: int | datetime | None) -> str:
    """Name an occasion: `invoice.payment_failed:in_1:2:1793577600`."""
    shown = (str(int(part.timestamp())) if isinstance(part, datetime) else str(part or 0) for part in parts)
    return ":".join((type_.value, object_id, *shown))
