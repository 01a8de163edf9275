"""From signed bytes to a durable row."""

from datetime import timedelta

import attrs
import pytest
from tests.unit.core.conftest import Loop, subscription

from billing_core.errors import MalformedEventError, SignatureVerificationError, StoreUnavailableError, WebhookError
from billing_core.events import Claim, Disposition, ProviderEvent, Receipt, ReceiptStatus
from billing_core.inbox.intake import Intake
from billing_memory.inbox.event_inbox import MemoryEventInbox

pytestmark = pytest.mark.stripe

LEASE = timedelta(seconds=60)


@attrs.frozen
class Verifier:
    """A verifier that accepts one signature."""

    event: ProviderEvent
    refusal: WebhookError = attrs.field(factory=lambda: SignatureVerificationError("not ours"))

    def verify(self, body: bytes, signature: str) -> ProviderEvent:
        """See WebhookVerifier."""
        if (body, signature) != (self.event.body, "good"):
            raise self.refusal
        return self.event

    def is_plausible(self, signature: str) -> bool:
        """See WebhookVerifier."""
        return signature == "good"


@attrs.define
class Hand:
    """A dispatcher that takes events while it has a lease to give."""

    time: timedelta | None = LEASE
    taken: list[Claim] = attrs.field(factory=list)

    def lease(self) -> timedelta | None:
        """See Handoff."""
        return self.time

    def offer(self, claim: Claim) -> None:
        """See Handoff."""
        self.taken.append(claim)


class AbsentStore(MemoryEventInbox):
    """A store that does not answer."""

    async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
        """See EventInbox."""
        raise StoreUnavailableError("record")


@pytest.fixture
def event(loop: Loop) -> ProviderEvent:
    """The event that the provider sent."""
    return loop.says(subscription())


async def test_a_webhook_is_stored_and_left_due(loop: Loop, event: ProviderEvent) -> None:
    """Without a dispatcher in the process, any worker processes it."""
    receipt = await Intake(verifier=Verifier(event), inbox=loop.inbox).receive(event.body, "good")
    assert receipt == Receipt(status=ReceiptStatus.ACCEPTED, event_id=event.event_id)
    assert (loop.row(event).disposition, loop.row(event).attempt) == (Disposition.DUE, 0)


async def test_a_dispatcher_in_the_process_gets_the_claim(loop: Loop, event: ProviderEvent) -> None:
    """No other worker may claim it while its lease lasts."""
    hand = Hand()
    receipt = await Intake(verifier=Verifier(event), inbox=loop.inbox, handoff=hand).receive(event.body, "good")
    assert hand.taken == [receipt.claim]
    assert (loop.row(event).disposition, loop.row(event).due_at) == (Disposition.LEASED, loop.clock.now() + LEASE)
    assert await loop.inbox.claim(limit=10, lease=LEASE) == []


async def test_a_dispatcher_that_is_busy_gets_nothing(loop: Loop, event: ProviderEvent) -> None:
    """The event is due for any worker at once."""
    hand = Hand(time=None)
    await Intake(verifier=Verifier(event), inbox=loop.inbox, handoff=hand).receive(event.body, "good")
    assert hand.taken == []
    assert loop.row(event).disposition is Disposition.DUE


async def test_a_duplicate_is_recognized_and_not_handed_over(loop: Loop, event: ProviderEvent) -> None:
    """The first delivery is being processed, or has been."""
    hand = Hand()
    intake = Intake(verifier=Verifier(event), inbox=loop.inbox, handoff=hand)
    await intake.receive(event.body, "good")
    assert (await intake.receive(event.body, "good")).status is ReceiptStatus.DUPLICATE
    assert len(hand.taken) == 1


@pytest.mark.parametrize("refusal", [SignatureVerificationError("not ours"), MalformedEventError("no event")])
async def test_a_refused_webhook_is_not_stored(loop: Loop, event: ProviderEvent, refusal: WebhookError) -> None:
    """The refusal is raised as it is."""
    hand = Hand()
    intake = Intake(verifier=Verifier(event, refusal), inbox=loop.inbox, handoff=hand)
    with pytest.raises(type(refusal)):
        await intake.receive(event.body, "bad")
    assert (loop.database.tables.dispatch, hand.taken) == ({}, [])


async def test_a_webhook_that_cannot_be_stored_is_not_processed(loop: Loop, event: ProviderEvent) -> None:
    """The error reaches the provider, which delivers again."""
    hand = Hand()
    intake = Intake(verifier=Verifier(event), inbox=AbsentStore(loop.database, loop.clock), handoff=hand)
    with pytest.raises(StoreUnavailableError):
        await intake.receive(event.body, "good")
    assert hand.taken == []
