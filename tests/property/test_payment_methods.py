"""Payment methods of subscriptions: in every order of arrival what the provider charges, and no change told twice.

A customer with several subscriptions adds cards, replaces and removes them, and chooses defaults for itself and for
single subscriptions. Each event shows one of these objects; a message about a subscription shows parts of three.
"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from random import Random
from types import SimpleNamespace

import attrs
from hypothesis import given, settings
from tests.containers import container_with
from tests.property.choices import choices, scaled, shrinks_slowly

from billing_app.container import Adapters, memory_adapters
from billing_app.settings import Settings
from billing_core.events import Claim, ProviderEvent, Translation
from billing_core.inbox.policy import Scope
from billing_core.model import (
    CustomerId,
    CustomerSnapshot,
    PaymentMethodSnapshot,
    PlanCatalog,
    Snapshot,
    SubscriptionSnapshot,
)
from billing_core.payloads import PaymentMethodSection, SubscriptionSection, loads, subscription_section
from billing_core.testing.builders import ACME, AT, item, subscription
from billing_core.testing.scripted import ScriptedProvider
from billing_core.testing.timing import LONG
from billing_memory.clock import ManualClock

CUSTOMER = CustomerId("cus_1")
CARDS = ("pm_1", "pm_2")
SUBSCRIPTIONS = ("sub_1", "sub_2")


class World:
    """A customer, its cards and subscriptions as the provider has them, and the events of all changes."""

    def __init__(self, random: Random) -> None:
        self.provider = ScriptedProvider()
        self.events: list[ProviderEvent] = []
        self._random = random
        self._objects: dict[str, Snapshot] = {}
        self._put(CustomerSnapshot(customer_id=CUSTOMER))
        for number, subscription_id in enumerate(SUBSCRIPTIONS):
            bare = subscription(subscription_id, items=(item(f"si_{number}"),), payment_method_id=self._choice())
            self._put(PlanCatalog().read_subscription(bare.snapshot))
        for _ in range(random.randint(3, 15)):
            self._put(self._change())

    @property
    def charged(self) -> dict[str, PaymentMethodSection | None]:
        """Return what each subscription is charged to, as far as events showed it."""
        return {id_: self._charged(id_) for id_ in SUBSCRIPTIONS}

    def _charged(self, subscription_id: str) -> PaymentMethodSection | None:
        seen, customer = self._objects[subscription_id], self._objects[CUSTOMER]
        assert isinstance(seen, SubscriptionSnapshot)
        assert isinstance(customer, CustomerSnapshot)
        if seen.status == "canceled" or seen.collection_method == "send_invoice":
            return None
        card = self._objects.get(seen.payment_method_id or customer.payment_method_id or "")
        if not isinstance(card, PaymentMethodSnapshot) or card.detached:
            return None
        return PaymentMethodSection(
            type=card.type, brand=card.brand, last4=card.last4, exp_month=card.exp_month, exp_year=card.exp_year
        )

    def _change(self) -> Snapshot:
        changed = self._random.choice((*CARDS, CUSTOMER, *SUBSCRIPTIONS))
        seen = self._objects.get(changed)
        match seen:
            case CustomerSnapshot():
                return attrs.evolve(seen, payment_method_id=self._choice())
            case SubscriptionSnapshot() if self._random.random() < 0.1:
                return attrs.evolve(seen, status="canceled")
            case SubscriptionSnapshot() if self._random.random() < 0.1:
                return attrs.evolve(seen, collection_method="send_invoice")
            case SubscriptionSnapshot():
                return attrs.evolve(seen, payment_method_id=self._choice(), collection_method=None)
            case PaymentMethodSnapshot() if self._random.random() < 0.2:
                return attrs.evolve(seen, detached=True)
        year = self._random.randint(2030, 2032)
        return PaymentMethodSnapshot(payment_method_id=changed, type="card", brand="visa", last4="4242", exp_year=year)

    def _choice(self) -> str | None:
        return self._random.choice((None, None, *CARDS))

    def _put(self, seen: Snapshot) -> None:
        before = self._objects.get(seen.object_id)
        if before is not None and (before == seen or before.precedence > seen.precedence):
            return
        self._objects[seen.object_id] = seen
        removed = isinstance(seen, PaymentMethodSnapshot) and seen.detached
        says = Translation(
            customer_id=None if removed else CUSTOMER,
            about=(seen.object_id,) if removed else (),
            tenant_hint=ACME if isinstance(seen, CustomerSnapshot | SubscriptionSnapshot) else None,
            snapshots=(seen,),
            creation=before is None,
        )
        number = len(self.events)
        at = AT + timedelta(seconds=number)
        self.events.append(self.provider.event(f"evt_{number:02}", says, at=at, before=before))


def batches(world: World, random: Random) -> Iterator[Sequence[ProviderEvent]]:
    """Yield all events in some order, a few at a time, some of them twice."""
    events = [*world.events, *(each for each in world.events if random.random() < 0.2)]
    random.shuffle(events)
    while events:
        count = random.randint(1, 4)
        yield events[:count]
        events = events[count:]


async def play(world: World, random: Random) -> None:
    """Process all events; compare what is shown with what was told all along, and with the provider at the end."""
    adapters = memory_adapters(Settings(), clock=ManualClock(AT))
    with container_with(
        **adapters,
        settings=Settings(),
        translator=world.provider,
        gateway=None,
        scope=Scope(livemode=True),
        publish=lambda _: None,
        observers=SimpleNamespace(processed=lambda _: None, refetched=lambda _: None),
    ) as container:
        processor = container.batches()
    announced: dict[str, list[SubscriptionSection]] = {}
    for batch in batches(world, random):
        receipts = [await adapters["inbox"].record(event, lease=LONG) for event in batch]
        due: Sequence[Claim] = [each.claim for each in receipts if each.claim is not None]
        while due:
            await processor.process(due)
            due = await adapters["queue"].claim(limit=10, lease=LONG)
        state = await adapters["tenant_reader"].state(ACME)
        announced = await messages(adapters)
        shown = {each.object_id: subscription_section(each.snapshot) for each in state.subscriptions}
        assert {id_: sections[-1] for id_, sections in announced.items()} == shown
        assert all(one != other for sections in announced.values() for one, other in pairwise(sections))
    assert {id_: sections[-1].default_payment_method for id_, sections in announced.items()} == world.charged


async def messages(adapters: Adapters) -> dict[str, list[SubscriptionSection]]:
    """Return the subscriptions as messages showed them, by id, in the order of the messages."""
    announced: dict[str, list[SubscriptionSection]] = {}
    for event in await adapters["history"].events(ACME, after=0, limit=1_000):
        if (shown := loads(event.payload).subscription) is not None:
            announced.setdefault(shown.subscription_id, []).append(shown)
    return announced


@shrinks_slowly
@settings(max_examples=scaled(300))
@given(decisions=choices(96), arrival=choices(96))
def test_what_is_charged_is_shown_in_any_order_and_each_change_told_once(decisions: Random, arrival: Random) -> None:
    """Also where the events of a card come before anything names it, or after it was removed."""
    asyncio.run(play(World(decisions), arrival))
