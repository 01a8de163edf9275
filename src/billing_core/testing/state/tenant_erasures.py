"""The contract of TenantErasures."""

from collections.abc import Mapping
from datetime import timedelta

import attrs
import pytest

from billing_core.consumers.ports import ConsumerQueue, ConsumerRegister
from billing_core.events import Disposition, Outcome
from billing_core.inbox.ports import EventInbox, EventQueue
from billing_core.inbox.selection import EventFilter
from billing_core.model import CustomerId, EventId, LinkAction, LinkDecision, SubscriptionId
from billing_core.operations.ports import OperationLog
from billing_core.oversight.ports import AuditLog, EventLog, InvariantLog
from billing_core.state.ports import ERASED, Changes, Clock, Erasure, TenantReader, UnitOfWork
from billing_core.stream.ports import LogRewrites, MessageHistory, Outbox
from billing_core.stream_access.ports import Revocation, Revocations
from billing_core.testing.arrange import CUSTOMER, applied, claimed, park, save, settle
from billing_core.testing.builders import (
    ACME,
    GLOBEX,
    customer,
    grant,
    invoice,
    message,
    messages,
    provider_event,
    subscription,
    usage,
)
from billing_core.testing.consumers.arrange import MAILS, catch_up, claim, consumer, number, numbers
from billing_core.testing.operations.operation_log import COMMAND, DONE, begun
from billing_core.testing.state.samples import CHARGE, record
from billing_core.testing.suite import Suite
from billing_core.testing.timing import LONG

ADDRESS = "zoe@example.com"
OBJECTS = Changes(
    customers=[customer("cus_1", ACME, name="Zoë", email=ADDRESS)],
    subscriptions=[subscription("sub_1")],
    invoices=[invoice("in_1")],
    usage={invoice("in_1").snapshot.invoice_id: [usage("in_1", "il_1")]},
    records=[record(CHARGE)],
    events=messages(ACME, 1, 3),
    grants=[grant()],
)
ERASURE = Erasure(
    tenant_id=ACME,
    customers=[CUSTOMER],
    objects=["cus_1", "sub_1", "in_1", CHARGE.object_id],
    contacts=["Zoë", ADDRESS],
    actor="grace",
    reason="request 7",
)


class TenantErasuresContract(Suite):
    """Everything of a tenant goes, and what belonged to it is recognized later.

    A binding provides `unit_of_work`, and `inbox`, `queue`, `tenant_reader`, `history`, `outbox`, `log_rewrites`,
    `event_log`, `audit_log`, `operation_log`, `consumer_register`, `consumer_queue`, `invariants` and `revocations` on
    the same data, all empty, and `clock`.
    """

    async def test_nothing_is_left_of_a_tenant_and_others_keep_theirs(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader, history: MessageHistory, invariants: InvariantLog
    ) -> None:
        """The counts say what went; the number rises by one, so that no client takes its position for the last one."""
        await save(unit_of_work, OBJECTS)
        theirs = Changes(
            customers=[customer("cus_9", GLOBEX)],
            subscriptions=[subscription("sub_9", GLOBEX)],
            events=messages(GLOBEX, 1, 2),
        )
        await save(unit_of_work, theirs, tenants=[GLOBEX])
        rows = await self._erase(unit_of_work)
        assert {kind: count for kind, count in rows.items() if count} == {
            "customers": 1,
            "subscriptions": 1,
            "invoices": 1,
            "usage": 1,
            "records": 1,
            "grants": 1,
            "messages": 3,
        }
        state = await tenant_reader.state(ACME)
        assert (state.sequence, [*state.subscriptions, *state.invoices, *state.usage]) == (4, [])
        assert await tenant_reader.customers(ACME) == []
        assert await tenant_reader.grants(ACME, limit=9) == []
        assert await tenant_reader.records(ACME, limit=9) == []
        assert await history.events(ACME, after=0, limit=9) == []
        assert await history.erased_until(ACME) == 4
        assert [each.object_id for each in await tenant_reader.subscriptions(GLOBEX)] == ["sub_9"]
        assert await history.events(GLOBEX, after=0, limit=9) == messages(GLOBEX, 1, 2)
        assert await history.erased_until(GLOBEX) == 0
        assert await invariants.everything() == []

    async def test_a_tenant_that_comes_back_continues_above_its_last_number(
        self, unit_of_work: UnitOfWork, history: MessageHistory, invariants: InvariantLog
    ) -> None:
        """Its history begins there."""
        await save(unit_of_work, OBJECTS)
        await self._erase(unit_of_work)
        await save(unit_of_work, Changes(customers=[customer("cus_2")], events=[message(ACME, 5)]))
        assert await history.events(ACME, after=0, limit=9) == [message(ACME, 5)]
        assert (await history.sequence(ACME), await history.erased_until(ACME)) == (5, 4)
        assert await invariants.everything() == []

    async def test_objects_are_recognized_by_their_ids(self, unit_of_work: UnitOfWork) -> None:
        """Only those of erased tenants."""
        await save(unit_of_work, OBJECTS)
        async with unit_of_work.transaction() as transaction:
            assert list(await transaction.erased(["cus_1"])) == []
        await self._erase(unit_of_work)
        async with unit_of_work.transaction() as transaction:
            assert set(await transaction.erased(["cus_1", "sub_1", "sub_9"])) == {"cus_1", "sub_1"}

    async def test_its_events_keep_their_keys_alone(
        self, inbox: EventInbox, queue: EventQueue, unit_of_work: UnitOfWork, event_log: EventLog
    ) -> None:
        """Applied, dead and waiting ones; another customer's are left alone, and a delivery is a duplicate."""
        await save(unit_of_work, OBJECTS)
        await settle(unit_of_work, applied(await claimed(inbox, provider_event("evt_1")), customer_id=CUSTOMER))
        dead = await claimed(inbox, provider_event("evt_2"))
        assert await queue.bury(dead, reason="bug", error="boom", customer_id=CUSTOMER)
        await park(inbox, unit_of_work, "evt_4", on=CustomerId("cus_2"))
        rows = await self._erase(unit_of_work)
        assert (rows["events"], rows["bodies"]) == (2, 2)
        found = {each.key.event_id: each for each in await event_log.find(EventFilter(), before=None, limit=9)}
        for event_id in (EventId("evt_1"), EventId("evt_2")):
            row = found[event_id]
            assert (row.status, row.reason) == (Disposition.IGNORED, ERASED)
            assert (row.tenant_id, row.customer_id, row.error) == (None, None, None)
            assert await event_log.body(row.dispatch_id) is None
            assert list(await event_log.attempts(row.dispatch_id)) == []
        assert found[EventId("evt_4")].parked_on == "cus_2"
        assert (await inbox.record(provider_event("evt_1"))).status.value == "duplicate"
        assert await queue.claim(limit=9, lease=LONG) == []

    async def test_an_event_that_ends_as_erased_loses_its_body(
        self, inbox: EventInbox, unit_of_work: UnitOfWork, event_log: EventLog
    ) -> None:
        """It came after the erasure, with personal data."""
        claim = await claimed(inbox, provider_event("evt_1"))
        other = await claimed(inbox, provider_event("evt_2"))
        async with unit_of_work.transaction() as transaction:
            await transaction.hold([claim, other])
            await transaction.settle(
                [
                    Outcome(claim=claim, disposition=Disposition.IGNORED, reason=ERASED),
                    Outcome(claim=other, disposition=Disposition.IGNORED, reason="unhandled_type"),
                ]
            )
        assert await event_log.body(claim.dispatch_id) is None
        assert await event_log.body(other.dispatch_id) == other.event.body

    async def test_messages_leave_the_outbox_and_the_bus(
        self, unit_of_work: UnitOfWork, outbox: Outbox, log_rewrites: LogRewrites
    ) -> None:
        """A worker replaces the log at once by what the history holds: nothing."""
        await save(unit_of_work, OBJECTS)
        await self._erase(unit_of_work)
        assert await outbox.unpublished(older_than=timedelta(0), limit=9) == []
        assert [each.tenant_id for each in await log_rewrites.pending()] == [ACME]

    async def test_a_consumer_that_starts_in_the_past_gets_what_came_after_the_erasure(
        self,
        unit_of_work: UnitOfWork,
        consumer_register: ConsumerRegister,
        consumer_queue: ConsumerQueue,
    ) -> None:
        """The numbers before are passed over, and nothing waits for a tenant that did not come back."""
        await save(unit_of_work, OBJECTS)
        await self._erase(unit_of_work)
        await consumer_register.register(consumer(start="beginning"))
        await catch_up(consumer_queue, MAILS)
        assert list(await claim(consumer_queue)) == []
        await number(unit_of_work, message(ACME, 5))
        (held,) = await claim(consumer_queue)
        assert await numbers(consumer_queue, held) == [5]

    async def test_decisions_about_its_objects_are_forgotten(self, unit_of_work: UnitOfWork) -> None:
        """They name the operators' reasons."""
        await save(unit_of_work, OBJECTS)
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_customers([CUSTOMER])
            link = LinkDecision(action=LinkAction.LINK, object_id="cus_1", to_tenant=ACME, actor="ada")
            await transaction.decide(link, customers=[CUSTOMER])
        assert (await self._erase(unit_of_work))["decisions"] == 1
        async with unit_of_work.transaction() as transaction:
            assert await transaction.decisions(["cus_1"]) == []

    @pytest.mark.parametrize(
        ("filter", "reason", "result"),
        [
            ({"tenant": ACME}, "a", {}),
            ({"id": ["sub_1"]}, "a", {}),
            ({}, "a", {"made": [{"object": "cus_1"}]}),
            ({}, f"asked by {ADDRESS.upper()}.", {}),
            ({}, f"{ACME.title()} called", {}),
            ({}, "Zoë Ångström called", {}),
            ({}, "(in_1)", {}),
        ],
        ids=["tenant", "object", "result", "address", "tenant in a reason", "name in a reason", "object in a reason"],
    )
    async def test_an_entry_of_the_audit_log_that_names_it_keeps_what_was_done_by_whom_and_when(
        self,
        unit_of_work: UnitOfWork,
        audit_log: AuditLog,
        filter: Mapping[str, object],
        reason: str,
        result: Mapping[str, object],
    ) -> None:
        """The erasure is an entry, too."""
        await save(unit_of_work, OBJECTS)
        await self._audit(audit_log, filter, reason, result)
        assert (await self._erase(unit_of_work))["audits"] == 1
        erasure, named = await audit_log.latest(limit=9)
        assert (erasure.action, erasure.actor, erasure.reason) == ("erase", "grace", "request 7")
        assert erasure.filter == {"tenant": ACME}
        assert (named.action, named.actor, named.reason, named.filter) == ("replay", "ada", None, {"erased": True})
        assert (named.result, named.progress) == ({"erased": True}, None)
        assert named.finished_at is not None

    async def test_an_unfinished_entry_of_the_audit_log_stays_unfinished(
        self, unit_of_work: UnitOfWork, audit_log: AuditLog
    ) -> None:
        """Its progress goes, also if that alone names the tenant."""
        await save(unit_of_work, OBJECTS)
        audit_id = await audit_log.begin("replay", actor="ada", reason=None, filter={})
        await audit_log.advance(audit_id, {"at": "cus_1"})
        await self._erase(unit_of_work)
        _, named = await audit_log.latest(limit=9)
        assert (named.filter, named.result, named.progress) == ({"erased": True}, None, None)

    @pytest.mark.parametrize(
        ("filter", "reason", "result"),
        [
            ({"tenant": GLOBEX}, "a", {}),
            ({"customer": "cus_11"}, "a", {"made": ["sub_1x", {"tenant": 1}]}),
            ({"note": f"{ACME} and others"}, None, {ACME: 1}),
            ({}, f"al{ADDRESS} asked", {}),
            ({}, f"{ADDRESS}.org asked", {}),
            ({}, f"{ACME}-eu called about cus_12", {}),
            ({}, None, {}),
        ],
        ids=["tenant", "customer", "text and key", "longer address", "longer domain", "longer ids", "no reason"],
    )
    async def test_other_entries_of_the_audit_log_are_left_alone(
        self,
        unit_of_work: UnitOfWork,
        audit_log: AuditLog,
        filter: Mapping[str, object],
        reason: str | None,
        result: Mapping[str, object],
    ) -> None:
        """Also those with an id or an address that contains one of its own."""
        await save(unit_of_work, OBJECTS)
        await self._audit(audit_log, filter, reason, result)
        (before,) = await audit_log.latest(limit=9)
        assert (await self._erase(unit_of_work))["audits"] == 0
        assert (await audit_log.latest(limit=9))[1] == before

    async def _audit(
        self, audit_log: AuditLog, filter: Mapping[str, object], reason: str | None, result: Mapping[str, object]
    ) -> None:
        audit_id = await audit_log.begin("replay", actor="ada", reason=reason, filter=filter)
        await audit_log.advance(audit_id, {"seen": 1})
        await audit_log.finish(audit_id, result)

    async def test_its_tokens_are_revoked(self, unit_of_work: UnitOfWork, revocations: Revocations) -> None:
        """For as long as one of them may live."""
        await save(unit_of_work, OBJECTS)
        await self._erase(unit_of_work, attrs.evolve(ERASURE, token_lifetime=timedelta(days=3)))
        (made,) = await revocations.current()
        assert (made.subject, made.name) == ("tenant", ACME)
        assert made.kept_until - made.revoked_at == timedelta(days=3)

    async def test_a_revocation_that_is_kept_longer_stays(
        self, unit_of_work: UnitOfWork, revocations: Revocations, clock: Clock
    ) -> None:
        """Of both, the later instants hold."""
        await save(unit_of_work, OBJECTS)
        now = clock.now()
        longer = Revocation(
            subject="tenant", name=ACME, revoked_at=now - timedelta(days=1), kept_until=now + timedelta(days=90)
        )
        await revocations.revoke(longer)
        await self._erase(unit_of_work)
        (made,) = await revocations.current()
        assert made.kept_until == longer.kept_until
        assert made.revoked_at > longer.revoked_at

    async def test_operations_with_an_outcome_go_and_others_are_counted(
        self, unit_of_work: UnitOfWork, operation_log: OperationLog
    ) -> None:
        """One without an outcome has to be settled before."""
        await save(unit_of_work, OBJECTS)
        sent = await operation_log.plan(await begun(operation_log), COMMAND, lease=LONG)
        async with unit_of_work.transaction() as transaction:
            assert await transaction.unresolved_operations(ACME) == 1
            assert await transaction.unresolved_operations(GLOBEX) == 0
        await operation_log.resolve(sent, DONE)
        assert (await self._erase(unit_of_work))["operations"] == 1
        assert await operation_log.find(sent.key) is None

    async def test_a_customer_that_pays_for_others_loses_what_is_known_of_it(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader
    ) -> None:
        """And its link; its other tenants keep their subscriptions."""
        await save(unit_of_work, OBJECTS)
        await save(unit_of_work, Changes(subscriptions=[subscription("sub_9", GLOBEX)]), tenants=[GLOBEX])
        await self._erase(
            unit_of_work, attrs.evolve(ERASURE, customers=[], shared_customers=[CUSTOMER], objects=["sub_1"])
        )
        async with unit_of_work.transaction() as transaction:
            (kept,) = (await transaction.customers([CUSTOMER])).values()
            assert (kept.tenant_id, kept.snapshot) == (None, None)
            assert list(await transaction.erased(["cus_1"])) == []
        assert [each.object_id for each in await tenant_reader.subscriptions(GLOBEX)] == ["sub_9"]

    async def test_a_payer_is_locked_whether_it_is_linked_or_not(self, unit_of_work: UnitOfWork) -> None:
        """Where customers are shared, a subscription names its tenant and its customer has none."""
        unlinked = attrs.evolve(customer("cus_2", None))
        paid = subscription("sub_2", customer_id=CustomerId("cus_2"))
        await save(unit_of_work, attrs.evolve(OBJECTS, customers=[*OBJECTS.customers, unlinked], subscriptions=[paid]))
        async with unit_of_work.transaction() as transaction:
            assert set(await transaction.lock_payers(ACME)) == {"cus_1", "cus_2"}

    async def test_nothing_is_erased_if_the_unit_of_work_fails(
        self, unit_of_work: UnitOfWork, tenant_reader: TenantReader, history: MessageHistory, revocations: Revocations
    ) -> None:
        """As in a dry run. Its tokens stay valid."""
        await save(unit_of_work, OBJECTS)
        with pytest.raises(LookupError):
            await self._erase(unit_of_work, failing=True)
        assert [each.object_id for each in await tenant_reader.subscriptions(ACME)] == [SubscriptionId("sub_1")]
        assert await history.events(ACME, after=0, limit=9) == messages(ACME, 1, 3)
        assert await history.erased_until(ACME) == 0
        assert await revocations.current() == []

    async def _erase(
        self, unit_of_work: UnitOfWork, erasure: Erasure = ERASURE, *, failing: bool = False
    ) -> dict[str, int]:
        async with unit_of_work.transaction() as transaction:
            await transaction.lock_payers(ACME)
            await transaction.lock_tenants([ACME])
            rows = dict(await transaction.erase(erasure))
            if failing:
                raise LookupError
            return rows
