"""The single writer: every change of a tenant's billing goes through `BillingService`, whatever caused it."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final, TypeVar

import attrs

from billing_core.cooperate import cooperate
from billing_core.errors import TenantConflictError
from billing_core.events import BillingEvent, Claim, Outcome, Translation
from billing_core.model import (
    UNDECIDED,
    Answer,
    BillingRules,
    CustomerId,
    GrantId,
    InvoiceSnapshot,
    LinkAction,
    LinkDecision,
    RulesInForce,
    Snapshot,
    SubscriptionSnapshot,
    TenantId,
    Uncertainty,
    standings,
)
from billing_core.state.due_access import decide_due
from billing_core.state.erasing import ErasedTenant, erase_tenant, leave_out_erased, require_not_erased
from billing_core.state.granting import end_grant, make_grant
from billing_core.state.ledger import Ledger
from billing_core.state.loading import LinksMovedError, StateLoader, lock_uncertain
from billing_core.state.ports import BillingTransaction, Changes, EventTranslator, Held, UnitOfWork
from billing_core.state.provisional import Basis, EventBasis, ProvisionalBasis, UncertaintyBasis, read_answer
from billing_core.state.reading import ClaimedEvent, ProviderAnswer, read_batch
from billing_core.state.relinking import LinkChange, LinkMover, TenantsBehindError
from billing_core.state.results import (
    AppliedBatch,
    ComparedAccess,
    DryRun,
    GrantResult,
    Ingested,
    RefetchOutcome,
    RefetchResult,
    ReviewedTenants,
)
from billing_core.state.rules import RulesBook, RulesMovedError

T = TypeVar("T")

LIBRARY: Final = "library"
"""The actor of decisions for which a caller names none."""


REVIEWED_AT_ONCE: Final = 100
"""Tenants whose access one transaction reviews."""


@attrs.frozen(kw_only=True)
class _Loaded:
    """A batch with the state that it concerns, before anything of it is folded."""

    ledger: Ledger
    events: Sequence[ClaimedEvent]
    erased: Sequence[Outcome]
    """The outcomes of events that are left out, because they concern erased tenants."""


class _RollBack(Exception):  # noqa: N818 - a signal, not an error
    """Ends a dry run: everything it wrote is rolled back."""


class BillingService:
    """Folds provider events into the state of tenants and numbers the messages that follow, per tenant.

    A batch is one transaction: state, messages, counters and the dispatch rows commit together or not at all.
    """

    def __init__(
        self,
        *,
        unit_of_work: UnitOfWork,
        translator: EventTranslator,
        rules: RulesBook,
        notify: bool = True,
    ) -> None:
        """Compose the single writer.

        Args:
            unit_of_work: begins transactions.
            translator: reads stored events again where a tie asks for it.
            rules: the plans, access, scope and tenants by which state is read; those in force are followed.
            notify: whether messages are created. Without it state is written and no number is used.
        """
        self._unit_of_work = unit_of_work
        self._translator = translator
        self._rules = rules
        self._notify = notify

    async def apply(self, translated: Sequence[tuple[Claim, Translation]]) -> AppliedBatch:
        """Apply claimed events. Those whose lease was lost meanwhile are left to their new holder.

        Raises: StoreUnavailableError, TenantConflictError when an object turned out to be another tenant's while
        saving. Nothing is written then.
        """

        async def attempt(rules: RulesInForce) -> tuple[Ledger, Sequence[Outcome], bool]:
            batch = await read_batch(translated, rules.catalog, rules.tenants)
            async with self._unit_of_work.transaction() as transaction:
                held = await transaction.hold([claim for claim, _ in translated], customers=_customers_of(batch))
                return await self._fold(transaction, batch, held, rules)

        ledger, outcomes, released = await self._follow(attempt)
        return AppliedBatch(
            outcomes=outcomes,
            events=ledger.events,
            released=released,
            uncertainties=[*ledger.uncertainties(), *ledger.unexplained_grace()],
        )

    async def dry_run(self, translated: Sequence[tuple[Claim, Translation]]) -> DryRun:
        """Do to stored events, whatever their status, what `apply` does, then roll it back.

        The claims need not be held: events that are not being processed elsewhere are held until the rollback.
        Raises: as `apply`.
        """

        async def attempt(rules: RulesInForce) -> DryRun:
            batch = await read_batch(translated, rules.catalog, rules.tenants)
            async with self._rolled_back() as transaction:
                free = await transaction.take([claim for claim, _ in translated])
                held = Held(claims=free, customers=await transaction.customers(_customers_of(batch)))
                loaded = await self._load(transaction, _claimed_by(batch, free), held, rules)
                before = loaded.ledger.access()
                outcomes, _ = await self._fold_loaded(transaction, loaded)
            after = loaded.ledger.access()
            return DryRun(
                outcomes=outcomes,
                events=loaded.ledger.events,
                differences=loaded.ledger.differences(),
                access={id_: ComparedAccess(before=before[id_], after=after[id_]) for id_ in before},
            )

        return await self._follow(attempt)

    async def reread(self, tenants: Collection[TenantId]) -> Sequence[BillingEvent]:
        """Read the stored state of tenants by the rules in force, where earlier ones read it, and notify each change.

        Returns the messages. Raises: StoreUnavailableError. Nothing is written then.
        """

        async def attempt(rules: RulesInForce) -> Ledger:
            async with self._unit_of_work.transaction() as transaction:
                ledger, _, _ = await self._fold(transaction, (), Held(), rules, also=tenants)
                return ledger

        return (await self._follow(attempt)).events

    async def preview(self, tenants: Collection[TenantId], rules: BillingRules) -> DryRun:
        """Return what reading the stored state of tenants by other rules would change. Nothing is written.

        Raises: StoreUnavailableError.
        """

        async def attempt(current: RulesInForce) -> DryRun:
            own = rules.with_catalog_of(current.rules)
            tried = RulesInForce(own, current.generation)
            async with self._rolled_back() as transaction:
                ledger = await self._loader(tried).load(transaction, (), customers={}, also=tenants)
                ledger.reread(tenants)
            return DryRun(outcomes=(), events=ledger.events, differences=ledger.differences())

        return await self._follow(attempt)

    async def apply_refetch(self, uncertainty: Uncertainty, found: Translation) -> RefetchOutcome:
        """Replace the uncertain state of an object with the provider's answer, unless the object has changed since.

        The state keeps the stamp of the events it rests on, so that later ones outrank it as before.
        Raises: StoreUnavailableError. Nothing is written then.
        """
        shown = found.find(uncertainty.object_id)
        if shown is None:
            return RefetchOutcome(result=RefetchResult.UNKNOWN)
        return await self._follow(lambda rules: self._settle(uncertainty, found, shown, rules))

    async def ingest_subscription_snapshot(self, snapshot: SubscriptionSnapshot, basis: Basis) -> Ingested:
        """Take in a subscription as the provider shows it, on one of three bases.

        On an event's or an uncertainty's basis it is written under that stamp, as `apply` and `apply_refetch` do. On a
        provisional one it is shown beside the row until an event of the operation, a later one or a refetch arrives;
        the coming phases of a schedule are shown as the answer tells them, if it does.

        Raises: StoreUnavailableError; on a provisional basis TenantConflictError when the subscription is another
        tenant's. Nothing is written then.
        """
        return await self._ingest(snapshot, basis)

    async def ingest_invoice_snapshot(self, snapshot: InvoiceSnapshot, basis: Basis) -> Ingested:
        """Take in an invoice as the provider shows it. See `ingest_subscription_snapshot`."""
        return await self._ingest(snapshot, basis)

    async def _ingest(self, snapshot: Answer, basis: Basis) -> Ingested:
        shown = Translation(customer_id=snapshot.customer_id, snapshots=(snapshot,))
        match basis:
            case EventBasis():
                batch = await self.apply([(basis.claim, shown)])
                outcome = next(iter(batch.outcomes), None)
                return Ingested(events=batch.events, outcome=outcome, uncertainties=batch.uncertainties)
            case UncertaintyBasis():
                refetched = await self.apply_refetch(basis.uncertainty, shown)
                return Ingested(events=refetched.events, refetch=refetched.result)
            case ProvisionalBasis():
                return await self._follow(lambda rules: self._show(snapshot, basis, rules))

    async def _show(self, answer: Answer, basis: ProvisionalBasis, rules: RulesInForce) -> Ingested:
        async with self._unit_of_work.transaction() as transaction:
            loader = self._loader(rules)
            await loader.lock_owner(transaction, basis.tenant_id, answer)
            seen = read_answer(answer, rules.catalog)
            ledger = await loader.load_around(transaction, basis.tenant_id, seen)
            echoes = await loader.shown_by_operation(transaction, basis.operation_key, seen.object_id)
            view = ledger.show(seen, basis, echoes)
            await transaction.save(ledger.changes())
        due = () if view is None else ledger.due_refetch(view)
        return Ingested(events=ledger.events, view=view, uncertainties=due)

    async def _settle(
        self, uncertainty: Uncertainty, found: Translation, shown: Snapshot, rules: RulesInForce
    ) -> RefetchOutcome:
        seen = rules.catalog.read(shown)
        async with self._unit_of_work.transaction() as transaction:
            held = await lock_uncertain(transaction, uncertainty)
            if held is None or held.provenance != uncertainty.basis or held.tenant_id is None or held.snapshot is None:
                return RefetchOutcome(result=RefetchResult.OVERTAKEN)
            if seen.precedence < held.snapshot.precedence:
                return RefetchOutcome(result=RefetchResult.UNKNOWN)
            answer = ProviderAnswer(
                translation=attrs.evolve(found, snapshots=(seen,)), basis=uncertainty.basis, view=uncertainty.view
            )
            ledger = await self._loader(rules).load_around(transaction, held.tenant_id, seen, answer)
            ledger.settle(held.tenant_id, answer)
            await transaction.save(ledger.changes())
        result = RefetchResult.INCOMPLETE if ledger.uncertainties() else RefetchResult.REFETCHED
        return RefetchOutcome(result=result, events=ledger.events)

    async def review_access(self, *, limit: int = REVIEWED_AT_ONCE) -> ReviewedTenants:
        """Decide again on the access of some tenants that are due, and notify those for whom it changed.

        Raises: StoreUnavailableError. Nothing is written then.
        """

        async def attempt(rules: RulesInForce) -> ReviewedTenants:
            async with self._unit_of_work.transaction() as transaction:
                due = await decide_due(transaction, rules, limit=limit)
                await transaction.save(due.changes)
            return ReviewedTenants(count=due.count, events=due.changes.events, states=due.states)

        return await self._follow(attempt)

    async def grant(
        self,
        tenant_id: TenantId,
        *,
        plan_code: str,
        until: datetime | None = None,
        reason: str,
        actor: str = LIBRARY,
        grant_id: GrantId | None = None,
    ) -> GrantResult:
        """Grant a tenant full access to a plan, beside what it pays for, and notify it. Events do not undo it.

        With a `grant_id` of the caller's own, a repeated call grants nothing more and returns the first grant.
        Raises: ValueError if `until` has passed or a text is blank; StoreUnavailableError. Nothing is written then.
        """

        async def attempt(rules: RulesInForce) -> GrantResult:
            async with self._unit_of_work.transaction() as transaction:
                change = await make_grant(
                    transaction,
                    rules,
                    tenant_id,
                    plan_code=plan_code,
                    until=until,
                    reason=reason,
                    actor=actor,
                    grant_id=grant_id,
                )
                await transaction.save(change.changes)
            return GrantResult(grant=change.grant, events=change.changes.events)

        return await self._follow(attempt)

    async def revoke_grant(self, grant_id: GrantId, *, reason: str, actor: str = LIBRARY) -> GrantResult | None:
        """Revoke a grant and notify its tenant; None if there is no such grant. One that is revoked stays as it is.

        Raises: ValueError if the reason is blank; StoreUnavailableError. Nothing is written then.
        """

        async def attempt(rules: RulesInForce) -> GrantResult | None:
            async with self._unit_of_work.transaction() as transaction:
                change = await end_grant(transaction, rules, grant_id, reason=reason, actor=actor)
                if change is None:
                    return None
                await transaction.save(change.changes)
            return GrantResult(grant=change.grant, events=change.changes.events)

        return await self._follow(attempt)

    async def link(
        self, customer_id: CustomerId, tenant_id: TenantId, *, actor: str = LIBRARY, reason: str | None = None
    ) -> bool:
        """Link a customer to its tenant; the events that waited for it are then due. False if it was linked already.

        Either way the link is an operator's from now on: metadata that names another tenant no longer contradicts it.
        Raises: TenantConflictError when the customer is another tenant's; LinkRefusedError when it belonged to one that
        was erased; StoreUnavailableError.
        """
        decision = LinkDecision(
            action=LinkAction.LINK, object_id=customer_id, to_tenant=tenant_id, actor=actor, reason=reason
        )
        async with self._unit_of_work.transaction() as transaction:
            await require_not_erased(transaction, customer_id)
            customer = (await transaction.lock_customers([customer_id]))[customer_id]
            if customer.tenant_id not in (None, tenant_id):
                raise TenantConflictError(
                    f"customer {customer_id} belongs to {customer.tenant_id!r}: use `billing tenants move`"
                )
            await transaction.lock_tenants([tenant_id])
            before = standings(await transaction.decisions([customer_id])).get(customer_id, UNDECIDED)
            if before.tenant_id != tenant_id:
                await transaction.decide(decision, customers=[customer_id])
            if customer.tenant_id is None:
                await transaction.save(Changes(customers=[attrs.evolve(customer, tenant_id=tenant_id)]))
        return customer.tenant_id is None

    async def move(
        self,
        object_id: str,
        to: TenantId,
        *,
        actor: str = LIBRARY,
        reason: str | None = None,
        keep_history: bool = False,
        dry_run: bool = False,
        approve: Callable[[LinkChange], None] | None = None,
    ) -> LinkChange:
        """Give a customer, or a subscription where those name their tenants, to another tenant with all that is its.

        Both tenants get a message. Metadata that names the former tenant no longer counts. Messages about it that the
        former tenant has keep their numbers and lose their content.

        Args:
            object_id: the customer or the subscription.
            to: its tenant from now on.
            actor: who decides, for the log of decisions.
            reason: why, for the same log.
            keep_history: whether the former tenant keeps the content of its messages.
            dry_run: whether everything is rolled back.
            approve: takes the change before it is committed; an error that it raises undoes everything.

        Raises: LinkRefusedError, StoreUnavailableError, and those of `approve`. Nothing is written then.
        """
        decision = LinkDecision(action=LinkAction.MOVE, object_id=object_id, to_tenant=to, actor=actor, reason=reason)
        return await self._carry_out(decision, keep_history=keep_history, dry_run=dry_run, approve=approve)

    async def unlink(
        self,
        object_id: str,
        from_tenant: TenantId,
        *,
        actor: str = LIBRARY,
        reason: str | None = None,
        keep_history: bool = False,
        dry_run: bool = False,
        approve: Callable[[LinkChange], None] | None = None,
    ) -> LinkChange:
        """Take a customer, or a subscription where those name their tenants, away from a tenant.

        Its objects are removed, and its events processed again: they wait until metadata names another tenant, or an
        operator links it. Metadata that names this tenant counts for nothing, also if it was not linked to it.
        Arguments and errors as of `move`; it is refused if the body of one of its events is gone.
        """
        decision = LinkDecision(
            action=LinkAction.UNLINK, object_id=object_id, from_tenant=from_tenant, actor=actor, reason=reason
        )
        return await self._carry_out(decision, keep_history=keep_history, dry_run=dry_run, approve=approve)

    async def erase(
        self,
        tenant_id: TenantId,
        *,
        actor: str = LIBRARY,
        reason: str,
        token_lifetime: timedelta = timedelta(days=30),
        dry_run: bool = False,
    ) -> ErasedTenant:
        """Erase a tenant: state, messages, bodies of its events, operations, links and everything else of it.

        Events that come for its customers afterwards are ignored. Its number stays, so that clients of a tenant that
        comes back load its state again. It gets no message. Its tokens are revoked in the same transaction, and its log
        on the bus goes within seconds by a worker.

        Args:
            tenant_id: the tenant.
            actor: who decides, for the audit log.
            reason: why, for the same log. It stays, so it should name no person.
            token_lifetime: how long a token may live: the revocation is kept for so long.
            dry_run: whether everything is rolled back.

        Raises: ErasureRefusedError, StoreUnavailableError. Nothing is written then.
        """

        async def attempt(_: RulesInForce) -> ErasedTenant:
            begun = self._rolled_back() if dry_run else self._unit_of_work.transaction()
            async with begun as transaction:
                erased = await erase_tenant(
                    transaction, tenant_id, actor=actor, reason=reason, token_lifetime=token_lifetime
                )
            return erased

        return await self._follow(attempt)

    async def _carry_out(
        self,
        decision: LinkDecision,
        *,
        keep_history: bool,
        dry_run: bool,
        approve: Callable[[LinkChange], None] | None,
    ) -> LinkChange:
        async def attempt(rules: RulesInForce) -> LinkChange:
            mover = LinkMover(translator=self._translator, rules=rules, notify=self._notify)
            begun = self._rolled_back() if dry_run else self._unit_of_work.transaction()
            async with begun as transaction:
                change = await mover.carry_out(transaction, decision, keep_history=keep_history)
                if approve is not None and not dry_run:
                    approve(change)
            return change

        while True:
            try:
                return await self._follow(attempt)
            except TenantsBehindError as behind:
                await self.reread(behind.tenants)

    async def _fold(
        self,
        transaction: BillingTransaction,
        batch: Sequence[ClaimedEvent],
        held: Held,
        rules: RulesInForce,
        *,
        also: Collection[TenantId] = (),
    ) -> tuple[Ledger, Sequence[Outcome], bool]:
        """Fold the events of a batch that are held, and save everything that follows.

        Returns the ledger, the outcomes, and whether events that waited became due.
        """
        loaded = await self._load(transaction, batch, held, rules, also=also)
        return loaded.ledger, *await self._fold_loaded(transaction, loaded)

    async def _load(
        self,
        transaction: BillingTransaction,
        batch: Sequence[ClaimedEvent],
        held: Held,
        rules: RulesInForce,
        *,
        also: Collection[TenantId] = (),
    ) -> _Loaded:
        """Lock and load the state that the held events of a batch concern."""
        ours = {claim.dispatch_id for claim in held.claims}
        events, erased = await leave_out_erased(
            transaction,
            [event for event in batch if event.claim.dispatch_id in ours],
            held.customers,
            shared=rules.tenants.link == "subscription",
        )
        ledger = await self._loader(rules).load(transaction, events, customers=held.customers, also=also)
        return _Loaded(ledger=ledger, events=events, erased=erased)

    async def _fold_loaded(self, transaction: BillingTransaction, loaded: _Loaded) -> tuple[Sequence[Outcome], bool]:
        ledger = loaded.ledger
        ledger.catch_up()
        ledger.link_customers(loaded.events)
        outcomes = [*loaded.erased, *[ledger.fold(event) async for event in cooperate(loaded.events)]]
        released = await transaction.settle(outcomes, ledger.changes())
        return outcomes, released

    @asynccontextmanager
    async def _rolled_back(self) -> AsyncIterator[BillingTransaction]:
        """Begin a unit of work that leaves no trace."""
        with contextlib.suppress(_RollBack):
            async with self._unit_of_work.transaction() as transaction:
                yield transaction
                raise _RollBack

    def _loader(self, rules: RulesInForce) -> StateLoader:
        return StateLoader(translator=self._translator, rules=rules, notify=self._notify)

    async def _follow(self, attempt: Callable[[RulesInForce], Awaitable[T]]) -> T:
        """Repeat a unit of work until no link was moved and no other rules were put in force meanwhile."""
        while True:
            try:
                return await attempt(self._rules.current)
            except LinksMovedError:
                continue
            except RulesMovedError:
                await self._rules.reload()


def _customers_of(batch: Iterable[ClaimedEvent]) -> set[CustomerId]:
    return {id_ for event in batch if (id_ := event.translation.customer_id) is not None}


def _claimed_by(batch: Iterable[ClaimedEvent], claims: Iterable[Claim]) -> Sequence[ClaimedEvent]:
    """Return those events of a batch that are claimed, under these claims."""
    held = {claim.dispatch_id: claim for claim in claims}
    return [
        attrs.evolve(event, claim=held[event.claim.dispatch_id]) for event in batch if event.claim.dispatch_id in held
    ]
