"""The contract of ThinEventGateway."""

from typing import Protocol

from billing_core.events import Translation
from billing_core.inbox.ports import ThinEventGateway
from billing_core.model import EventId, Snapshot, TenantId
from billing_core.testing.state.payment_gateway import (
    ACME,
    CUSTOMER,
    SUBSCRIPTION,
    UNKNOWN,
    ProviderStage,
    invoice,
)
from billing_core.testing.suite import Suite


class ThinEventStage(ProviderStage, Protocol):
    """A provider that holds checkout sessions and events, too."""

    def hold_checkout(self, session_id: str, *, tenant_id: TenantId, completed: bool) -> None:
        """Store a checkout session of CUSTOMER."""
        ...

    def hold_event(self, event_id: EventId, *, about: Snapshot | None, snapshot_event_id: EventId | None) -> None:
        """Store an event that shows no object, or that is about something unknown to us when `about` is None."""
        ...


class ThinEventGatewayContract(Suite):
    """The objects behind events that only name them.

    A binding provides `stage`, and `thin_events`, which reads what the stage holds.
    """

    async def test_a_completed_checkout_links_customer_and_tenant(
        self, stage: ThinEventStage, thin_events: ThinEventGateway
    ) -> None:
        """It names the customer that the session created or used, and its subscription."""
        stage.hold_checkout("cs_1", tenant_id=ACME, completed=True)
        fetched = await thin_events.fetch_checkout_session("cs_1")
        assert fetched == Translation(customer_id=CUSTOMER.customer_id, about=("sub_1",), tenant_hint=ACME)

    async def test_an_unfinished_checkout_links_no_one(
        self, stage: ThinEventStage, thin_events: ThinEventGateway
    ) -> None:
        """Opening a session is not yet buying."""
        stage.hold_checkout("cs_1", tenant_id=ACME, completed=False)
        fetched = await thin_events.fetch_checkout_session("cs_1")
        assert fetched is not None
        assert fetched.ignored
        assert (fetched.customer_id, fetched.tenant_hint, fetched.snapshots) == (None, None, ())

    async def test_an_unknown_id_is_none(self, stage: ThinEventStage, thin_events: ThinEventGateway) -> None:
        """Unknown ids, and ids that no provider would assign, are an answer and no error."""
        stage.hold(CUSTOMER)
        stage.hold(SUBSCRIPTION)
        stage.hold(invoice("in_1", lines=1))
        for name in UNKNOWN:
            assert await thin_events.fetch_checkout_session(name) is None
            assert await thin_events.fetch_event(EventId(name)) is None

    async def test_an_event_without_its_object_is_resolved(
        self, stage: ThinEventStage, thin_events: ThinEventGateway
    ) -> None:
        """For every kind of object the answer is what fetching it gives, beside the id of the snapshot event."""
        shown = invoice("in_1", lines=12)
        for snapshot in (CUSTOMER, SUBSCRIPTION, shown):
            stage.hold(snapshot, tenant_id=ACME)
            stage.hold_event(EventId("evt_1"), about=snapshot, snapshot_event_id=EventId("evt_twin"))
            event = await thin_events.fetch_event(EventId("evt_1"))
            assert event is not None
            assert event.snapshot_event_id == "evt_twin"
            assert event.translation is not None
            assert event.translation.snapshots == (snapshot,)
            assert event.translation.tenant_hint == ACME

    async def test_an_event_may_have_neither_snapshot_event_nor_known_object(
        self, stage: ThinEventStage, thin_events: ThinEventGateway
    ) -> None:
        """Then it is ignored with a reason, like any event that is not for us."""
        stage.hold_event(EventId("evt_1"), about=None, snapshot_event_id=None)
        event = await thin_events.fetch_event(EventId("evt_1"))
        assert event is not None
        assert event.snapshot_event_id is None
        assert event.translation is not None
        assert event.translation.ignored

    async def test_an_event_may_outlive_its_object(self, stage: ThinEventStage, thin_events: ThinEventGateway) -> None:
        """Then the event is found, and there is nothing to translate."""
        draft = invoice("in_1", lines=1)
        stage.hold(draft)
        stage.hold_event(EventId("evt_1"), about=draft, snapshot_event_id=None)
        stage.forget(draft)
        event = await thin_events.fetch_event(EventId("evt_1"))
        assert event is not None
        assert event.translation is None
