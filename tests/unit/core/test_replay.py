"""Replays: without a trace where all is well, and with one message for each row that was wrong."""

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import ACME, ALICE, AT, GLOBEX, Loop, customer, invoice, item, line, subscription

from billing_core.errors import GatewayError, GatewayUnavailableError
from billing_core.events import Claim, Disposition, Effect, Notice, Outcome, ProviderEvent, Translation
from billing_core.inbox.policy import Scope
from billing_core.inbox.ports import FetchedEvent
from billing_core.inbox.replay import Replayer, ReplayReport, ReplayRequest
from billing_core.inbox.selection import EventFilter
from billing_core.model import BillingRules, InvoiceId, Plan, PlanCatalog, PlanPrice, SubscriptionId
from billing_core.state.rules import RulesBook
from billing_memory.gateway import MemoryGateway
from billing_memory.oversight.event_log import MemoryEventLog

pytestmark = pytest.mark.stripe

ACTIVE, PAST_DUE, CANCELED = (subscription(status=status) for status in ("active", "past_due", "canceled"))
SUB = SubscriptionId("sub_1")


def replayer(loop: Loop, **given: Any) -> Replayer:
    """Build a replayer over the loop's own adapters."""
    log = MemoryEventLog(loop.database, loop.clock)
    known = {"events": log, "queue": loop.inbox, "audits": log, "batches": loop.batches(), "reader": loop.repository}
    known["rules"] = RulesBook(BillingRules(plans=loop.plans.plans))
    return Replayer(**{**known, "policy": loop.policy, **given})


async def replay(loop: Loop, wanted: EventFilter | None = None, **given: Any) -> ReplayReport:
    """Replay matching events, or all."""
    wanted = wanted or EventFilter()
    it = replayer(loop, **given)
    return await it.replay(ReplayRequest(wanted=wanted, actor="ann"), await it.find(wanted), observe=lambda _: None)


def a_history(loop: Loop) -> Sequence[ProviderEvent]:
    """Build events that change, confirm, notify and come late."""
    return [
        loop.says(customer(name="Alice")),
        loop.says(ACTIVE, creation=True),
        loop.says(invoice(), at=1),
        loop.says(PAST_DUE, at=2, before=ACTIVE),
        loop.says(invoice(status="paid"), at=3),
        loop.says(customer_id=ALICE, at=3, notice=Notice.UPCOMING),
        loop.says(PAST_DUE, at=2, notice=Notice.ACTION_REQUIRED),
        loop.says(ACTIVE, at=4),
    ]


def tables(loop: Loop) -> Sequence[object]:
    """Return the state and the messages of all tenants."""
    known = loop.database.tables
    rows = (known.subscriptions, known.invoices, known.customers, known.usage, known.records, known.messages)
    return [dict(table) for table in rows]


class TestReplay:
    """Through the same path as everything else."""

    async def test_applied_events_change_nothing_and_publish_nothing(self, loop: Loop) -> None:
        """And the effect of each event stays on record."""
        events = a_history(loop)
        await loop.arrive(*events)
        before, done = tables(loop), [loop.row(event).outcome for event in events]
        report = await replay(loop)
        assert (report.matched, report.confirmed + report.stale, report.messages) == (8, 8, 0)
        assert not report.failed
        assert tables(loop) == before
        after = [loop.row(event).outcome for event in events]
        assert [(one and one.effect, one and one.sequence) for one in after] == [
            (one and one.effect, one and one.sequence) for one in done
        ]

    async def test_rows_that_are_gone_come_back_with_one_message_each(self, loop: Loop) -> None:
        """Not with one for each step: those were published before."""
        await loop.arrive(*a_history(loop))
        before, notified = tables(loop), await loop.notified()
        loop.database.tables.subscriptions.clear()
        loop.database.tables.invoices.clear()
        report = await replay(loop)
        assert (report.changed, report.messages) == (2, 2)
        assert tables(loop)[:5] == before[:5]
        assert len(await loop.notified()) == len(notified) + 2
        assert (await replay(loop)).messages == 0

    async def test_usage_that_is_gone_comes_back(self, loop: Loop) -> None:
        """With the invoice that billed it."""
        metered = item("si_calls", "price_calls", usage_type="metered")
        await loop.arrive(loop.says(subscription(items=(metered,))), loop.says(invoice(lines=(line(),)), at=1))
        usage = await loop.usage()
        assert usage
        for damaged in ({InvoiceId("in_1")}, set()):
            loop.database.tables.usage.clear()
            for invoice_id in damaged:
                loop.database.tables.invoices.pop(invoice_id)
            assert (await replay(loop)).messages == 1
            assert await loop.usage() == usage
            assert (await replay(loop)).messages == 0

    async def test_a_dead_event_gets_new_attempts_but_not_forever(self, loop: Loop) -> None:
        """Each replay forgives earlier attempts; an event that still fails is dead again."""
        await loop.arrive(loop.says(customer(), tenant=GLOBEX))
        event = loop.says(ACTIVE)
        await loop.arrive(event)
        assert loop.row(event).disposition is Disposition.DEAD
        report = await replay(loop, EventFilter(statuses=(Disposition.DEAD,)))
        assert (report.dead, report.failed) == (1, True)
        assert loop.row(event).claim.tries == 1
        loop.database.tables.customers.clear()
        report = await replay(loop, EventFilter(reasons=("tenant_conflict",)))
        assert (report.changed, report.messages) == (1, 1)
        assert (await loop.subscription()).status == "active"

    async def test_events_that_are_processed_elsewhere_are_skipped(self, loop: Loop) -> None:
        """And counted as busy."""
        event = loop.says(ACTIVE)
        await loop.inbox.record(event, lease=loop.policy.lease)
        report = await replay(loop)
        assert (report.busy, report.seen, report.failed) == (1, 1, False)
        loop.clock.advance(loop.policy.lease)
        assert (await replay(loop)).changed == 1

    async def test_a_body_that_is_gone_cannot_be_replayed(self, loop: Loop) -> None:
        """The event stays as it is, and the report says so."""
        event = loop.says(ACTIVE)
        await loop.arrive(event)
        row = loop.row(event)
        loop.database.tables.dispatch[row.dispatch_id] = attrs.evolve(row, event=row.event.without_body())
        report = await replay(loop)
        assert (report.pruned, report.failed) == (1, True)
        assert loop.row(event).disposition is Disposition.APPLIED

    async def test_an_event_that_can_no_longer_be_read_stays_applied(self, loop: Loop) -> None:
        """The provider has forgotten a thin event, cannot be asked, or the settings are of another mode."""
        loop.gateway = MemoryGateway()
        thin = loop.provider.event("evt_thin", Translation(thin=True), at=AT)
        shown = Translation(customer_id=ALICE, tenant_hint=ACME, snapshots=(ACTIVE,))
        loop.gateway.events[thin.event_id] = FetchedEvent(snapshot_event_id=None, translation=shown)
        await loop.arrive(thin)
        before = tables(loop)
        it = replayer(loop)
        assert (await it.dry_run(await it.find(EventFilter()))).report.confirmed == 1
        loop.gateway.events.clear()
        assert (await replay(loop)).confirmed == 1
        loop.gateway = None
        assert (await replay(loop)).confirmed == 1
        loop.scope = Scope(livemode=False)
        assert (await replay(loop)).confirmed == 1
        assert tables(loop) == before
        outcome = loop.row(thin).outcome
        assert outcome is not None
        assert (outcome.effect, outcome.tenant_id) == (Effect.CHANGED, ACME)

    async def test_without_publishing_state_is_written_and_no_message_created(self, loop: Loop) -> None:
        """No number is used: the next message has the next one."""
        await loop.arrive(*a_history(loop))
        before = tables(loop)
        loop.database.tables.subscriptions.clear()
        loop.notify = False
        report = await replay(loop)
        assert (report.changed, report.messages) == (1, 0)
        assert tables(loop) == before
        loop.notify = True
        last = len(await loop.notified())
        await loop.arrive(loop.says(CANCELED, at=9))
        assert [message.sequence for message in loop.messages] == list(range(1, last + 2))


@pytest.mark.parametrize(
    ("left", "seen", "failed"),
    [
        ({"busy": 2}, 7, False),
        ({"pruned": 2}, 7, True),
        ({"unfinished": 2}, 7, True),
        ({"dead": 2}, 7, True),
        ({"not_confirmed": 2}, 7, True),
        ({"unfinished": 1, "dead": 1}, 7, True),
        ({}, 5, False),
        ({"interrupted": True}, 5, True),
    ],
    ids=str,
)
def test_a_report_counts_each_event_once_and_fails_for_what_needs_an_operator(
    left: dict[str, int], seen: int, failed: bool
) -> None:
    """Events that others process need none."""
    report = ReplayReport(matched=9, changed=1, confirmed=1, stale=1, ignored=1, parked=1, **left)
    assert (report.seen, report.failed) == (seen, failed)


class TestPace:
    """Bounded batches, no faster than asked for."""

    async def test_the_rate_is_kept(self, loop: Loop) -> None:
        """No batch holds more than a second's worth, and each waits until the ones before have used up their time."""
        waits: list[float] = []
        sizes: list[int] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        await loop.arrive(*a_history(loop))
        it = replayer(loop, sleep=sleep)
        request = ReplayRequest(wanted=EventFilter(), actor="ann", rate=3)
        await it.replay(request, await it.find(EventFilter()), observe=lambda report: sizes.append(report.seen))
        assert sizes == [3, 6, 8]
        assert [round(wait) for wait in waits] == [0, 1, 1, 1]  # the clock stands still: two seconds come in parts

    async def test_a_stopped_replay_ends_after_its_batch_and_says_so(self, loop: Loop) -> None:
        """The remaining events stay as they were."""
        await loop.arrive(*a_history(loop))
        loop.policy = attrs.evolve(loop.policy, batch=2)
        it = replayer(loop)
        request = ReplayRequest(wanted=EventFilter(), actor="ann")
        report = await it.replay(request, await it.find(EventFilter()), observe=lambda _: it.stop())
        assert (report.seen, report.interrupted, report.failed) == (2, True, True)


class TestAudit:
    """The operator, the filter, the reason and the result."""

    async def test_every_replay_is_recorded(self, loop: Loop) -> None:
        """From its beginning: the entry of one that died stays unfinished."""
        await loop.arrive(loop.says(ACTIVE))
        log = MemoryEventLog(loop.database, loop.clock)
        it = replayer(loop)
        wanted = EventFilter(tenant_id=ACME)
        request = ReplayRequest(wanted=wanted, actor="ann", reason="ticket 7", publishes=False)
        await it.replay(request, await it.find(wanted), observe=lambda _: None)
        (audit,) = await log.latest(limit=9)
        assert (audit.action, audit.actor, audit.reason) == ("replay", "ann", "ticket 7")
        assert dict(audit.filter) == {"tenant": "acme", "publish": False}
        assert audit.result is not None
        assert (audit.result["matched"], audit.result["confirmed"]) == (1, 1)

        class Dies:
            async def process(self, claims: Sequence[Claim]) -> Sequence[Outcome]:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await replay(loop, batches=Dies())
        assert (await log.latest(limit=1))[0].finished_at is None


class Raises:
    """A translator that fails for some events."""

    def __init__(self, loop: Loop, error: Exception, *events: ProviderEvent) -> None:
        self._loop = loop
        self._error = error
        self._fails = {event.event_id for event in events}

    def translate(self, event: ProviderEvent) -> Translation:
        """Fail, or translate as the provider does."""
        if event.event_id in self._fails:
            raise self._error
        return self._loop.provider.translate(event)

    def translate_previous(self, event: ProviderEvent) -> Any:
        """Translate as the provider does."""
        return self._loop.provider.translate_previous(event)


class TestAppliedStaysApplied:
    """A replay never demotes what was applied."""

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (ValueError("cannot be read"), "bug"),
            (GatewayUnavailableError("read"), "transient"),
            (GatewayError("read"), "permanent"),
        ],
        ids=lambda value: value if isinstance(value, str) else type(value).__name__,
    )
    @pytest.mark.parametrize("dry_run", [True, False], ids=["dry_run", "replay"])
    async def test_an_applied_event_that_fails_is_not_confirmed(
        self, loop: Loop, error: Exception, reason: str, *, dry_run: bool
    ) -> None:
        """Its effect, its message and the row stay; no attempt is left over, and the tenant is not notified."""
        event = loop.says(ACTIVE, creation=True)
        await loop.arrive(event)
        before, done = tables(loop), loop.row(event)
        loop.translator = Raises(loop, error, event)
        it = replayer(loop)
        report = (await it.dry_run(await it.find(EventFilter()))).report if dry_run else await replay(loop)
        assert (report.not_confirmed_by_reason, report.dead, report.unfinished) == ({reason: 1}, 0, 0)
        assert report.failed
        row = loop.row(event)
        assert (row.disposition, row.outcome, row.reason) == (Disposition.APPLIED, done.outcome, None)
        assert tables(loop) == before
        assert [failure.reason for failure in row.failures] == ([] if dry_run else [reason])

    async def test_an_event_that_contradicts_a_link_by_now_is_not_confirmed(self, loop: Loop) -> None:
        """Its customer was linked elsewhere by hand: the event stays applied, and its tenant keeps its rows."""
        event = loop.says(ACTIVE, creation=True)
        await loop.arrive(event)
        customers = loop.database.tables.customers
        customers[ALICE] = attrs.evolve(customers[ALICE], tenant_id=GLOBEX)
        before = tables(loop)
        report = await replay(loop)
        assert report.not_confirmed_by_reason == {"tenant_conflict": 1}
        assert loop.row(event).disposition is Disposition.APPLIED
        assert tables(loop) == before

    async def test_an_event_that_kills_its_process_when_it_is_replayed_stays_applied(self, loop: Loop) -> None:
        """After its attempts it is not dead."""
        event = loop.says(ACTIVE, creation=True)
        await loop.arrive(event)
        log = MemoryEventLog(loop.database, loop.clock)
        (claim,) = await loop.inbox.reclaim(await log.select(EventFilter()), lease=loop.policy.lease)
        for _ in range(loop.policy.max_attempts):
            loop.clock.advance(loop.policy.lease)
            (claim,) = await loop.inbox.claim(limit=1, lease=loop.policy.lease)
        (outcome,) = await loop.batches().process([claim])
        assert (outcome.unconfirmed, loop.row(event).disposition) == ("bug", Disposition.APPLIED)

    async def test_an_ended_subscription_keeps_its_plan(self, loop: Loop) -> None:
        """Plans were renamed since: a replay of its events changes no row and notifies no tenant."""
        loop.plans = PlanCatalog(
            [Plan(plan_code="starter", prices=(PlanPrice(price_id=item().price_id, role="base"),))]
        )
        await loop.arrive(loop.says(ACTIVE, creation=True), loop.says(CANCELED, at=1))
        assert (await loop.subscription()).plan_code == "starter"
        before = tables(loop)
        for plans in ([Plan(plan_code="basic", prices=(PlanPrice(price_id=item().price_id, role="base"),))], []):
            loop.plans = PlanCatalog(plans)
            report = await replay(loop)
            assert (report.changed, report.messages) == (0, 0)
            assert tables(loop) == before

    async def test_plans_that_a_replay_would_take_away_are_found(self, loop: Loop) -> None:
        """The rules in force do not know a plan of live subscriptions; or they list no plan at all."""
        price = PlanPrice(price_id=item().price_id, role="base")
        loop.plans = PlanCatalog([Plan(plan_code="starter", prices=(price,))])
        await loop.arrive(loop.says(ACTIVE, creation=True))
        it = replayer(loop)
        numbers = await it.find(EventFilter())
        assert await it.find_lost_plans(numbers) == []
        for plans in ([Plan(plan_code="basic", prices=(price,))], []):
            loop.plans = PlanCatalog(plans)
            (lost,) = await replayer(loop).find_lost_plans(numbers)
            assert (lost.plan_code, lost.subscriptions, lost.tenant_id) == ("starter", 1, ACME)

    async def test_an_open_catalog_that_read_a_plan_itself_takes_nothing_away(self, loop: Loop) -> None:
        """It names plans by lookup keys and prices."""
        await loop.arrive(loop.says(ACTIVE, creation=True))
        it = replayer(loop)
        assert await it.find_lost_plans(await it.find(EventFilter())) == []


class TestDryRun:
    """A replay that is rolled back."""

    @pytest.mark.parametrize("reason", ["tenant_conflict", "bug", "permanent", "transient"])
    async def test_a_dead_event_that_would_fail_again_is_named_with_its_reason(self, loop: Loop, reason: str) -> None:
        """An error that ends an event at once makes it dead; one that a retry may cure has it tried again."""
        await loop.arrive(loop.says(customer(), tenant=GLOBEX))
        event = loop.says(ACTIVE)
        await loop.arrive(event)
        if reason != "tenant_conflict":
            errors = {
                "bug": ValueError("boom"),
                "permanent": GatewayError("read"),
                "transient": GatewayUnavailableError("read"),
            }
            loop.translator = Raises(loop, errors[reason], event)
        row = loop.row(event)
        it = replayer(loop)
        found = await it.dry_run(await it.find(EventFilter(statuses=(Disposition.DEAD,))))
        again = {reason: 1} if reason in ("tenant_conflict", "permanent") else {}
        assert (found.report.dead_by_reason, found.report.unfinished) == (again, 0 if again else 1)
        assert [(failure.event_id, failure.reason) for failure in found.failures] == [(event.event_id, reason)]
        assert loop.row(event) == row

    async def test_a_dry_run_shows_everything_and_leaves_nothing(self, loop: Loop) -> None:
        """The rows, field by field, and the messages with the numbers they would get."""
        await loop.arrive(*a_history(loop))
        whole = loop.database.tables.subscriptions[SUB]
        damaged = attrs.evolve(whole, snapshot=attrs.evolve(whole.snapshot, status="canceled"))
        loop.database.tables.subscriptions[SUB] = damaged
        before, dispatch, notified = tables(loop), dict(loop.database.tables.dispatch), len(loop.messages)
        it = replayer(loop)
        found = await it.dry_run(await it.find(EventFilter()))
        (change,) = found.trial.differences
        assert (change.kind, change.object_id, change.tenant_id) == ("subscription", "sub_1", ACME)
        assert [(field.field, field.before, field.after) for field in change.fields] == [
            ("status", "canceled", "active")
        ]
        (message,) = found.trial.events
        assert message.sequence == notified + 1
        assert (found.report.changed, found.report.messages, found.report.matched) == (1, 1, 8)
        assert (tables(loop), dict(loop.database.tables.dispatch), len(loop.messages)) == (before, dispatch, notified)
        assert loop.database.audits == []

    async def test_one_event_that_fails_hides_no_other(self, loop: Loop) -> None:
        """Each failure is shown with its error."""
        events = [loop.says(subscription(f"sub_{number}"), at=number) for number in range(5)]
        await loop.arrive(*events)
        loop.database.tables.subscriptions.clear()

        class Fails:
            def translate(self, event: ProviderEvent) -> Any:
                if event.event_id == events[3].event_id:
                    raise ValueError("cannot be read")
                return loop.provider.translate(event)

            def translate_previous(self, event: ProviderEvent) -> Any:
                return loop.provider.translate_previous(event)

        loop.translator = Fails()
        it = replayer(loop)
        found = await it.dry_run(await it.find(EventFilter()))
        assert [(failure.event_id, failure.error) for failure in found.failures] == [
            (events[3].event_id, "ValueError: cannot be read")
        ]
        assert (found.report.changed, found.report.unfinished) == (4, 0)
        assert found.report.not_confirmed_by_reason == {"bug": 1}

    async def test_events_that_are_processed_elsewhere_are_left_out(self, loop: Loop) -> None:
        """Without waiting for the other worker."""
        await loop.inbox.record(loop.says(ACTIVE), lease=loop.policy.lease)
        it = replayer(loop)
        found = await it.dry_run(await it.find(EventFilter()))
        assert (found.report.busy, found.trial.outcomes) == (1, [])

    async def test_events_whose_bodies_are_gone_are_counted(self, loop: Loop) -> None:
        """A replay could not read them either."""
        gone, kept = loop.says(ACTIVE), loop.says(PAST_DUE, at=1)
        await loop.arrive(gone, kept)
        row = loop.row(gone)
        loop.database.tables.dispatch[row.dispatch_id] = attrs.evolve(row, event=row.event.without_body())
        it = replayer(loop)
        report = (await it.dry_run(await it.find(EventFilter()))).report
        assert (report.matched, report.pruned, report.confirmed, report.busy) == (2, 1, 1, 0)
