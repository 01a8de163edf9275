"""What every TenantTimeline must tell. Bind it by subclassing `TenantTimelineContract`; see its fixtures."""

from collections.abc import Sequence
from datetime import timedelta

from billing_core.events import Disposition, Effect, Outcome
from billing_core.model import CustomerId, EventId, TenantId
from billing_core.oversight.explain import TenantHistory
from billing_core.oversight.ports import TenantTimeline
from billing_core.state.ports import Changes
from billing_core.testing.builders import ACME, AT, GLOBEX, customer, message, provider_event, subscription
from billing_core.testing.store import LONG
from billing_core.testing.stores import Inbox, Repository

ALICE = CustomerId("cus_alice")


class TenantTimelineContract:
    """A tenant's events, decisions and messages, and nobody else's.

    A binding gives three fixtures on the same data, empty at first: `historian`, `store` and `repository`.
    """

    async def test_of_an_unknown_tenant_there_is_no_history(self, timeline: TenantTimeline) -> None:
        """Whatever it is called."""
        for name in ("acme", "", "'; DROP TABLE billing_tenants --", "\x00\ud800"):
            assert await timeline.history(TenantId(name), since=None, until=None, limit=10) is None

    async def test_a_tenants_events_come_in_the_order_they_were_received(
        self, timeline: TenantTimeline, store: Inbox, repository: Repository
    ) -> None:
        """With the state, the customers and the failed attempts, and none of another tenant's."""
        await save(repository, ACME, Changes(customers=[customer(ALICE, ACME)], subscriptions=[subscription()]))
        await save(repository, GLOBEX, Changes())
        await finish(store, repository, "evt_1", tenant_id=ACME)
        await finish(store, repository, "evt_2", tenant_id=GLOBEX)
        await finish(store, repository, "evt_3", tenant_id=ACME, fails=True)
        history = await notified(timeline)
        assert ids(history) == ["evt_1", "evt_3"]
        assert [each.customer_id for each in history.customers] == [ALICE]
        assert [each.snapshot.subscription_id for each in history.state.subscriptions] == ["sub_1"]
        assert {number: [each.reason for each in failed] for number, failed in history.attempts.items()} == {
            history.events[1].dispatch_id: ["transient"]
        }

    async def test_events_that_wait_for_a_customer_of_the_tenant_are_its_own(
        self, timeline: TenantTimeline, store: Inbox, repository: Repository
    ) -> None:
        """Those of a customer of nobody are nobody's."""
        await finish(store, repository, "evt_1", parked_on=CustomerId("cus_nobody"))
        await save(repository, ACME, Changes())
        assert ids(await notified(timeline)) == []
        await finish(store, repository, "evt_2", parked_on=ALICE)
        await save(repository, ACME, Changes(customers=[customer(ALICE, ACME)]))
        found = await notified(timeline)
        assert [(str(each.key.event_id), each.status) for each in found.events] in (
            [("evt_2", Disposition.PARKED)],
            [],  # it left the car park with the link, and nobody has processed it yet
        )

    async def test_the_latest_events_of_a_time_are_shown(
        self, timeline: TenantTimeline, store: Inbox, repository: Repository
    ) -> None:
        """And it is said that there are earlier ones."""
        await save(repository, ACME, Changes())
        for number in range(5):
            await finish(store, repository, f"evt_{number}", tenant_id=ACME, received=number)
        assert (ids(await notified(timeline, limit=2)), (await notified(timeline, limit=2)).cut) == (
            ["evt_3", "evt_4"],
            True,
        )
        between = await notified(timeline, since=1, until=4)
        assert (ids(between), between.cut) == (["evt_1", "evt_2", "evt_3"], False)

    async def test_messages_come_with_those_before_them(
        self, timeline: TenantTimeline, store: Inbox, repository: Repository
    ) -> None:
        """Up to the last one that an event in question caused."""
        await save(repository, ACME, Changes(events=[message(ACME, number) for number in range(1, 9)]))
        await finish(store, repository, "evt_4", tenant_id=ACME)
        await finish(store, repository, "evt_6", tenant_id=ACME)
        assert [each.sequence for each in (await notified(timeline)).messages] == [1, 2, 3, 4, 5, 6]
        assert [each.event_id for each in (await notified(timeline)).messages][-1] == EventId("evt_6")


async def notified(
    timeline: TenantTimeline, *, limit: int = 10, since: int | None = None, until: int | None = None
) -> TenantHistory:
    """The history of acme, from and until so many minutes after the beginning."""
    history = await timeline.history(
        ACME,
        since=None if since is None else AT + timedelta(minutes=since),
        until=None if until is None else AT + timedelta(minutes=until),
        limit=limit,
    )
    assert history is not None
    return history


def ids(history: TenantHistory) -> Sequence[str]:
    """The events of a history."""
    return [event.key.event_id for event in history.events]


async def save(repository: Repository, tenant_id: TenantId, changes: Changes) -> None:
    """Write changes of a tenant, which is known from then on."""
    async with repository.transaction() as transaction:
        await transaction.lock_customers([each.customer_id for each in changes.customers])
        await transaction.lock_tenants([tenant_id])
        await transaction.save(changes)


async def finish(
    store: Inbox,
    repository: Repository,
    event_id: str,
    *,
    tenant_id: TenantId | None = None,
    parked_on: CustomerId | None = None,
    received: int = 0,
    fails: bool = False,
) -> None:
    """Store an event, let it fail once if told so, and apply or park it."""
    event = provider_event(event_id, received_at=AT + timedelta(minutes=received))
    receipt = await store.record(event, lease=LONG)
    claim = receipt.claim
    assert claim is not None
    if fails:
        await store.retry(claim, after=timedelta(0), reason="transient", error="boom")
        (claim,) = await store.claim(limit=1, lease=LONG)
    outcome = Outcome(
        claim=claim,
        disposition=Disposition.APPLIED if parked_on is None else Disposition.PARKED,
        effect=Effect.CONFIRMED if parked_on is None else None,
        reason=None if parked_on is None else "unmapped_customer",
        parked_on=parked_on,
        tenant_id=tenant_id,
    )
    async with repository.transaction() as transaction:
        assert await transaction.hold([claim])
        await transaction.settle([outcome])
