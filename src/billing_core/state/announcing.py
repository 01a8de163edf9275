"""Turn what a statement changed into numbered messages."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from billing_core.events import BillingEvent, Effect
from billing_core.frozen import frozen
from billing_core.model import Answer, InvoiceSnapshot, SubscriptionSnapshot, TenantId, TenantOccasion, UsageRecord
from billing_core.state.announcements import LINKED, Announcement, invoice_announcement, visible_announcement
from billing_core.state.messages import billing_event
from billing_core.state.occasion_book import OccasionBook
from billing_core.state.occasions import Occasion
from billing_core.state.ports import LockedTenants
from billing_core.state.provisional import OperationAnswer
from billing_core.state.reading import RulesChange, Statement
from billing_core.state.verdicts import Verdicts
from billing_core.state.visibility import Visibility


@frozen
class Folded:
    """The result of folding one snapshot: its effect, the news, and what a message about it shows."""

    effect: Effect
    announcement: Announcement | None = None
    subscription: SubscriptionSnapshot | None = None
    invoice: InvoiceSnapshot | None = None
    usage: tuple[UsageRecord, ...] = ()
    new_items: bool = False
    """Whether the snapshot is of a subscription and shows items that were not known."""
    others: tuple["Folded", ...] = ()
    """The news of subscriptions that show a part of its object; each has a message of its own."""

    @property
    def object_id(self) -> str | None:
        """The subscription or invoice that a message about it shows."""
        shown = self.subscription or self.invoice
        return None if shown is None else shown.object_id


class Announcer:
    """Numbers the messages of a ledger: what changed of what tenants see, and occasions."""

    def __init__(
        self,
        *,
        visibility: Visibility,
        verdicts: Verdicts,
        occasions: OccasionBook,
        tenants: LockedTenants,
        notify: bool,
    ) -> None:
        """Without `notify` no message is created, and no number used."""
        self._visibility = visibility
        self._verdicts = verdicts
        self._occasions = occasions
        self._counters = dict(tenants.counters)
        self._notify = notify
        self.events: list[BillingEvent] = []

    @property
    def kept(self) -> Sequence[TenantOccasion]:
        """The occasions that this ledger adds."""
        return self._occasions.kept

    def publish(self, tenant_id: TenantId, statement: Statement, folded: Sequence[Folded], *, linked: bool) -> bool:
        """Announce the first change that a statement made, and its new occasions; tell whether there is anything.

        A change that says only that an object changed is left out beside an occasion of the same object. A statement
        that does nothing else may have `linked` its customer.
        """
        fresh = self._fresh_occasions(tenant_id, statement, new_items=any(each.new_items for each in folded))
        change = next(iter([each for each in folded if each.announcement is not None]), None)
        news = None if change is None else change.announcement
        if change is not None and news is not None and news.is_update:
            news = None if change.object_id in {each.object_id for each in fresh} else news
        if change is None and not fresh and linked:
            news = LINKED
        if news is not None:
            self.announce(tenant_id, statement, news, folded)
        others = [(each.announcement, each) for first in folded for each in first.others]
        for announcement, each in others:
            if announcement is not None:
                self.announce(tenant_id, statement, announcement, [each])
        for occasion in fresh:
            self._occasions.keep(tenant_id, occasion, self._announce_occasion(tenant_id, statement, occasion))
        return news is not None or bool(others) or bool(fresh)

    def announce(
        self, tenant_id: TenantId, statement: Statement, announcement: Announcement, folded: Sequence[Folded] = ()
    ) -> None:
        """Create the message about what a statement changed."""
        subscription = next(filter(None, [each.subscription for each in folded]), None)
        invoice = next(filter(None, [each.invoice for each in folded]), None)
        if subscription is None and invoice is None:
            shown = (self._visibility.object(each.object_id) for each in statement.translation.snapshots)
            subscription, invoice = next(filter(any, shown), (None, None))
        usage = [record for each in folded for record in each.usage]
        self.create(tenant_id, statement, announcement, subscription, invoice, usage=usage)

    def announce_shown(
        self, tenant_id: TenantId, cause: OperationAnswer, before: Answer | None, object_id: str
    ) -> None:
        """Announce the difference between an object as it was shown and as it is shown now."""
        after = self._visibility.either(object_id)
        news: Announcement | None = None
        match before, after:
            case SubscriptionSnapshot() | None, SubscriptionSnapshot():
                news = visible_announcement(before, after)
            case InvoiceSnapshot() | None, InvoiceSnapshot() if not self._visibility.is_hidden(object_id):
                news = invoice_announcement(before, after)
        if news is not None:
            self.create(tenant_id, cause, news, *self._visibility.object(object_id))

    def create(
        self,
        tenant_id: TenantId,
        cause: Statement | RulesChange | OperationAnswer,
        announcement: Announcement,
        subscription: SubscriptionSnapshot | None,
        invoice: InvoiceSnapshot | None,
        *,
        usage: Iterable[UsageRecord] = (),
        period: tuple[datetime, datetime | None] | None = None,
    ) -> int | None:
        """Create a message and return its number; None if there are no messages."""
        if not self._notify:
            return None
        sequence = self._counters[tenant_id] = self._counters[tenant_id] + 1
        self.events.append(
            billing_event(
                announcement,
                cause.source,
                occurred_at=cause.created_at,
                tenant_id=tenant_id,
                sequence=sequence,
                subscription=subscription,
                invoice=invoice,
                usage=usage,
                access=self._verdicts.tell(tenant_id),
                period=period,
            )
        )
        return sequence

    def _fresh_occasions(self, tenant_id: TenantId, statement: Statement, *, new_items: bool) -> Collection[Occasion]:
        """Return the new occasions. One of an object that is out of scope is kept without a message."""
        fresh = []
        for occasion in self._occasions.take(tenant_id, statement, new_items=new_items):
            if occasion.object_id is not None and self._visibility.is_hidden(occasion.object_id):
                self._occasions.keep(tenant_id, occasion, None)
            else:
                fresh.append(occasion)
        return fresh

    def _announce_occasion(self, tenant_id: TenantId, statement: Statement, occasion: Occasion) -> int | None:
        """Create the message about an occasion, with its object as it stands, and return its number."""
        period = (occasion.at, occasion.until) if occasion.at is not None and occasion.is_renewal else None
        shown = self._visibility.object(occasion.object_id)
        return self.create(tenant_id, statement, occasion.announcement, *shown, period=period)
