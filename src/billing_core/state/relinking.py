"""Carry out operators' decisions about links, inside a unit of work.

The locks are taken in the common order: events, customer, tenants. The link is read again under them.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

import attrs

from billing_core.converters import dumps
from billing_core.cooperate import cooperate
from billing_core.errors import LinkRefusedError
from billing_core.events import BillingEvent, EventKey, MessageSource, SourceKind, Translation
from billing_core.model import (
    AccessVerdict,
    CustomerId,
    InvoiceSnapshot,
    LinkAction,
    LinkDecision,
    ProvisionalView,
    RulesInForce,
    SubscriptionId,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantCustomer,
    TenantId,
    TenantRecord,
    TenantSubscription,
    Tracked,
    view_invoices,
    view_subscriptions,
)
from billing_core.state.announcements import (
    LINKED,
    SUBSCRIPTION_UNLINKED,
    UNLINKED,
    WITHDRAWN,
    Announcement,
    subscription_linked,
)
from billing_core.state.clocks import read_clocks
from billing_core.state.diff import ObjectChange, changed_object, removed_object
from billing_core.state.erasing import require_not_erased
from billing_core.state.loading import LinksMovedError
from billing_core.state.messages import billing_event
from billing_core.state.moving import Selection, Selector, Translations
from billing_core.state.ports import BillingTransaction, Changes, EventTranslator, LockedTenants, TenantEvent, Transfer
from billing_core.state.rules import require_current
from billing_core.state.shelf import Shelf
from billing_core.state.verdicts import Verdicts

_BODIES_AT_A_TIME: Final = 500


@attrs.frozen(kw_only=True)
class LinkChange:
    """The result of a decision about a link."""

    decision: LinkDecision
    decision_id: int
    differences: Sequence[ObjectChange] = ()
    """The changes object by object, by object id. Billed usage follows its invoices."""
    reprocessed: int = 0
    """Events that were applied and are processed again, because their objects were removed."""
    withdrawn: int = 0
    """Messages of the former tenant whose content was removed."""
    events: Sequence[BillingEvent] = ()
    """The new messages."""

    @property
    def fingerprint(self) -> str:
        """Identify the decision and its differences, so that what was confirmed can be compared with what happens."""
        decided = (self.decision.action, self.decision.object_id, self.decision.from_tenant, self.decision.to_tenant)
        return hashlib.sha256(dumps([decided, self.differences]).encode()).hexdigest()[:16]


@attrs.frozen(kw_only=True)
class _Subject:
    """The object of a decision, and its tenant."""

    customer_id: CustomerId
    subscription: SubscriptionSnapshot | None
    """None if the customer itself is the object."""
    tenant_id: TenantId | None


class TenantsBehindError(Exception):
    """Earlier rules read the state of these tenants, and a move would take that along. Read it again first."""

    def __init__(self, tenants: Collection[TenantId]) -> None:
        super().__init__(*tenants)
        self.tenants = tenants


class LinkMover:
    """Carries out decisions, one per unit of work."""

    def __init__(self, *, translator: EventTranslator, rules: RulesInForce, notify: bool) -> None:
        self._translator = translator
        self._rules = rules
        self._shared = rules.tenants.link == "subscription"
        self._notify = notify

    async def carry_out(
        self, transaction: BillingTransaction, decision: LinkDecision, *, keep_history: bool
    ) -> LinkChange:
        """Record a decision and do what follows from it; what its object's former tenant had goes as a whole.

        Args:
            transaction: a unit of work that has locked nothing.
            decision: the decision; the tenant that a moved object leaves is filled in.
            keep_history: whether the former tenant keeps the content of its messages.

        Raises: LinkRefusedError; LinksMovedError, RulesMovedError and TenantsBehindError if it has to begin again.
        """
        await require_not_erased(transaction, decision.object_id)
        subject = await self._find(transaction, decision.object_id)
        await transaction.lock_events([] if subject.tenant_id is None else [subject.tenant_id])
        customer = (await transaction.lock_customers([subject.customer_id]))[subject.customer_id]
        concerned = {subject.tenant_id, decision.from_tenant, decision.to_tenant}
        locked = await transaction.lock_tenants({id_ for id_ in concerned if id_ is not None})
        if locked.overtaken or await self._find(transaction, decision.object_id) != subject:
            raise LinksMovedError
        require_current(self._rules, locked)
        if locked.behind:
            raise TenantsBehindError(locked.behind)
        leaves = decision.from_tenant if decision.action is LinkAction.UNLINK else subject.tenant_id
        if decision.action is not LinkAction.UNLINK:
            decision = attrs.evolve(decision, from_tenant=leaves)
        if leaves is None or leaves in (None, decision.to_tenant) or leaves != subject.tenant_id:
            return await self._decide_alone(transaction, decision, customer)
        return await self._transfer(transaction, decision, subject, locked, keep_history=keep_history)

    async def _find(self, transaction: BillingTransaction, object_id: str) -> _Subject:
        found = await transaction.subscriptions(tenants=(), ids=[SubscriptionId(object_id)])
        if found and not self._shared:
            raise LinkRefusedError(
                f"{object_id} belongs to the tenant of its customer: name {found[0].snapshot.customer_id} instead."
            )
        if found:
            seen = found[0].snapshot
            return _Subject(customer_id=seen.customer_id, subscription=seen, tenant_id=found[0].tenant_id)
        customer_id = CustomerId(object_id)
        customer = (await transaction.customers([customer_id])).get(customer_id)
        if customer is None and self._shared:
            raise LinkRefusedError(f"{object_id} is neither a customer nor a subscription that is stored.")
        return _Subject(
            customer_id=customer_id, subscription=None, tenant_id=None if customer is None else customer.tenant_id
        )

    async def _decide_alone(
        self, transaction: BillingTransaction, decision: LinkDecision, customer: TenantCustomer
    ) -> LinkChange:
        """Record a decision that takes nothing away from any tenant; it may link a customer that has none."""
        number = await transaction.decide(decision, customers=[customer.customer_id])
        linked = attrs.evolve(customer, tenant_id=decision.to_tenant)
        if decision.to_tenant is None or customer.tenant_id is not None:
            return LinkChange(decision=decision, decision_id=number)
        await transaction.save(Changes(customers=[linked]))
        difference = changed_object(customer, linked)
        return LinkChange(
            decision=decision, decision_id=number, differences=() if difference is None else (difference,)
        )

    async def _transfer(
        self,
        transaction: BillingTransaction,
        decision: LinkDecision,
        subject: _Subject,
        locked: LockedTenants,
        *,
        keep_history: bool,
    ) -> LinkChange:
        leaves, to = decision.from_tenant, decision.to_tenant
        if leaves is None:
            raise LookupError(f"{decision.object_id} leaves no tenant")
        holdings = await transaction.holdings(leaves)
        selector = Selector(holdings, shared=self._shared, views=locked.views.get(leaves, ()))
        selected = selector.select(
            decision.object_id, await self._read(transaction, selector.unread(decision.object_id))
        )
        if to is None:
            _demand_bodies(decision, selected)
        number = await transaction.decide(decision, customers=[subject.customer_id])
        source = MessageSource(kind=SourceKind.LINK, id=str(number))
        verdicts = await self._verdicts(transaction, selected, locked, leaves=leaves, to=to)
        withdrawn: Sequence[BillingEvent] = ()
        if not keep_history:
            about = await transaction.messages_about(leaves, events=selected.event_ids, objects=selected.object_ids)
            withdrawn = [
                _message(WITHDRAWN, source, leaves, each.sequence, at=locked.now, access=verdicts.of(leaves))
                for each in about
            ]
        await transaction.transfer(
            Transfer(
                from_tenant=leaves,
                to_tenant=to,
                customers=selected.customers,
                subscriptions=selected.subscriptions,
                invoices=selected.invoices,
                records=selected.records,
                views=selected.views,
                events=[event.dispatch_id for event in selected.events],
                occasions_of=selected.object_ids | selected.event_ids,
                withdrawn=withdrawn,
            )
        )
        news = self._messages(subject, source, locked, verdicts, leaves=leaves, to=to) if self._notify else []
        access = verdicts.changes([leaves] if to is None else [leaves, to])
        await transaction.save(Changes(events=news, access=access))
        return LinkChange(
            decision=decision,
            decision_id=number,
            differences=sorted(
                (_change(each, to) for each in selected.objects), key=lambda change: (change.kind, change.object_id)
            ),
            reprocessed=sum(event.applied for event in selected.events) if to is None else 0,
            withdrawn=len(withdrawn),
            events=news,
        )

    async def _read(self, transaction: BillingTransaction, events: Sequence[TenantEvent]) -> Translations:
        """Read events again whose rows do not say what they are about. Those that cannot be read are left out."""
        found: dict[EventKey, Translation] = {}
        waiting = iter(events)
        while page := list(islice(waiting, _BODIES_AT_A_TIME)):
            async for event in cooperate(await transaction.stored_events([each.key for each in page])):
                try:
                    found[event.key] = self._translator.translate(event)
                except Exception:  # noqa: S112 - it was dead of this, or another release applied it
                    continue
        return found

    async def _verdicts(
        self,
        transaction: BillingTransaction,
        selected: Selection,
        locked: LockedTenants,
        *,
        leaves: TenantId,
        to: TenantId | None,
    ) -> Verdicts:
        """Decide on access as it is after the transfer."""
        tenants = [leaves] if to is None else [leaves, to]
        views = [view for tenant_id in tenants for view in locked.views.get(tenant_id, ())]
        held = view_subscriptions(views, await transaction.subscriptions(tenants=tenants, ids=()))
        viewed = [view.snapshot.invoice_id for view in views if isinstance(view.snapshot, InvoiceSnapshot)]
        stored = await transaction.invoices(ids=viewed, subscriptions=[each.snapshot.subscription_id for each in held])
        bills = view_invoices(views, stored)
        subscriptions = [after for each in held if isinstance(after := _after(each, selected, to), TenantSubscription)]
        invoices = [after for each in bills if isinstance(after := _after(each, selected, to), SubscriptionInvoice)]
        known = await transaction.disputes(tenants) if self._rules.policy.open_dispute is not None else ()
        disputes = [after for each in known if isinstance(after := _after(each, selected, to), TenantRecord)]
        records = [*disputes, *await read_clocks(transaction, subscriptions)]
        return Verdicts(
            Shelf(subscriptions), Shelf(invoices), Shelf(records), policy=self._rules.policy, tenants=locked
        )

    def _messages(
        self,
        subject: _Subject,
        source: MessageSource,
        locked: LockedTenants,
        verdicts: Verdicts,
        *,
        leaves: TenantId,
        to: TenantId | None,
    ) -> list[BillingEvent]:
        """Tell the former tenant, and the new one: each loads its state again."""
        seen = None if subject.subscription is None else _as_shown(subject.subscription, locked.views.get(leaves, ()))
        left = UNLINKED if seen is None else SUBSCRIPTION_UNLINKED
        parts: list[tuple[TenantId, Announcement, SubscriptionSnapshot | None]] = [(leaves, left, None)]
        if to is not None:
            parts.append((to, LINKED if seen is None else subscription_linked(seen), seen))
        return [
            _message(
                announcement,
                source,
                tenant_id,
                locked.counters[tenant_id] + 1,
                at=locked.now,
                access=verdicts.tell(tenant_id),
                subscription=shown,
            )
            for tenant_id, announcement, shown in parts
        ]


def _demand_bodies(decision: LinkDecision, selected: Selection) -> None:
    """Refuse to remove objects that could not be built again. Raises LinkRefusedError."""
    gone = [event for event in (*selected.events, *selected.unclear) if event.applied and not event.body_kept]
    if gone:
        raise LinkRefusedError(
            f"The stored bodies of {len(gone)} events of {decision.object_id} were pruned, so they cannot be processed "
            f"again. Move it to its right tenant instead: `billing tenants move {decision.object_id} --to …`."
        )


def _as_shown(seen: SubscriptionSnapshot, views: Iterable[ProvisionalView]) -> SubscriptionSnapshot:
    """Return a subscription as the answer to an operation shows it, if that stands beside its row."""
    answers = (view.snapshot for view in views if view.object_id == seen.subscription_id)
    return next((answer for answer in answers if isinstance(answer, SubscriptionSnapshot)), seen)


def _after(held: Tracked, selected: Selection, to: TenantId | None) -> Tracked | None:
    if held.object_id not in selected.object_ids:
        return held
    return None if to is None else attrs.evolve(held, tenant_id=to)


def _change(held: Tracked, to: TenantId | None) -> ObjectChange:
    moved = None if to is None else changed_object(held, attrs.evolve(held, tenant_id=to))
    return removed_object(held) if moved is None else moved


def _message(
    announcement: Announcement,
    source: MessageSource,
    tenant_id: TenantId,
    sequence: int,
    *,
    at: datetime,
    access: AccessVerdict,
    subscription: SubscriptionSnapshot | None = None,
) -> BillingEvent:
    return billing_event(
        announcement,
        source,
        occurred_at=at,
        tenant_id=tenant_id,
        sequence=sequence,
        subscription=subscription,
        invoice=None,
        usage=(),
        access=access,
    )
