"""Other products of the same account: they give no access, are in no message, and make no link."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import ACME, ALICE, AT, GLOBEX, Loop, customer, invoice, item, line, subscription

from billing_core.events import Disposition, Notice, ProviderEvent
from billing_core.model import (
    AccessFacts,
    AccessPolicy,
    ChargeSnapshot,
    InvoiceId,
    ItemSnapshot,
    Plan,
    PlanCatalog,
    PriceId,
    ProductScope,
    ScopeRule,
    SubscriptionId,
)

NEWS = "prod_news"
SCOPE = ProductScope(ignore=ScopeRule(products=(NEWS,)))
PRO = Plan.of_prices("pro", base=["price_pro"])


def news_item(item_id: str = "si_news", **fields: Any) -> ItemSnapshot:
    """Build an item of the newsletter."""
    return item(item_id, "price_news", product_id=NEWS, **fields)


@pytest.fixture
def loop(loop: Loop) -> Loop:
    """The loop, in an account that also sells a newsletter."""
    loop.plans = PlanCatalog([PRO], SCOPE)
    return loop


def outcomes(loop: Loop, *events: ProviderEvent) -> Sequence[tuple[Disposition, str | None]]:
    """Return how events ended."""
    return [(loop.row(event).disposition, loop.row(event).reason) for event in events]


IGNORED = (Disposition.IGNORED, "out_of_scope")


class TestRules:
    """Which prices are left out."""

    @pytest.mark.parametrize(
        "rule",
        [
            ScopeRule(products=("prod_x", NEWS)),
            ScopeRule(prices=(PriceId("price_news"),)),
            ScopeRule(metadata=(("app", "news"),)),
            ScopeRule(plans=("news",)),
        ],
        ids=["product", "price", "metadata", "plan"],
    )
    def test_any_condition_names_a_price(self, rule: ScopeRule) -> None:
        """To ignore it, or to accept nothing else."""
        plans = [PRO, Plan.of_prices("news", base=["price_news"])]
        theirs = subscription(items=(news_item(price_metadata=(("app", "news"), ("x", "y"))),))
        ours = subscription(items=(item(product_id="prod_app", price_metadata=(("app", "main"),)),))
        for scope, left_out in ((ProductScope(ignore=rule), theirs), (ProductScope(only=rule), ours)):
            catalog = PlanCatalog(plans, scope)
            for seen in (theirs, ours):
                assert catalog.read_subscription(seen).out_of_scope is (seen is left_out)

    def test_ignore_outranks_only(self) -> None:
        """A test product of our own app is not ours."""
        scope = ProductScope(only=ScopeRule(products=(NEWS,)), ignore=ScopeRule(prices=(PriceId("price_news"),)))
        assert PlanCatalog([], scope).read_subscription(subscription(items=(news_item(),))).out_of_scope

    def test_one_price_of_ours_keeps_a_subscription(self) -> None:
        """Other items beside it do not matter. Without items, or while some are missing, it is kept as well."""
        catalog = PlanCatalog([PRO], SCOPE)
        for items in ((news_item(), item()), ()):
            assert not catalog.read_subscription(subscription(items=items)).out_of_scope
        assert not catalog.read_subscription(subscription(items=(news_item(),), items_complete=False)).out_of_scope

    @pytest.mark.parametrize(
        ("scope", "verdict"),
        [
            (SCOPE, True),
            (ProductScope(), None),
            (ProductScope(ignore=ScopeRule(products=("prod_x",))), False),
            (ProductScope(ignore=ScopeRule(metadata=(("app", "x"),))), None),
            (ProductScope(only=ScopeRule(plans=("pro",))), None),
            (ProductScope(only=ScopeRule(products=("prod_x",))), True),
        ],
        ids=["product", "no scope", "another product", "metadata is not shown", "plan is not shown", "only another"],
    )
    def test_an_invoice_is_read_by_its_lines(self, scope: ProductScope, verdict: bool | None) -> None:
        """Lines show no metadata: where that matters, the subscription decides."""
        seen = invoice(lines=(line("il_1", "price_news", product_id=NEWS),))
        assert PlanCatalog([PRO], scope).read_invoice(seen).out_of_scope is verdict

    def test_lines_of_both_keep_an_invoice(self) -> None:
        """And an invoice without priced lines is its subscription's, as one that is not shown whole."""
        catalog = PlanCatalog([PRO], SCOPE)
        both = (line("il_1", "price_news", product_id=NEWS), line("il_2", "price_pro", product_id="prod_app"))
        assert catalog.read_invoice(invoice(lines=both)).out_of_scope is False
        assert catalog.read_invoice(invoice(lines=())).out_of_scope is None
        assert catalog.read_invoice(invoice(lines=both[:1], lines_complete=False)).out_of_scope is None


class TestFolding:
    """Events of another product."""

    async def test_a_subscription_of_another_product_gives_no_access_and_no_message(self, loop: Loop) -> None:
        """Its customer is linked: it also pays for us, or once did."""
        newsletter = loop.says(subscription("sub_news", items=(news_item(),)), tenant=None, at=1)
        bill = loop.says(invoice("in_news", subscription_id="sub_news"), tenant=None, at=2)
        await loop.arrive(loop.says(customer()), newsletter, bill)
        assert outcomes(loop, newsletter, bill) == [IGNORED] * 2
        assert await loop.notified() == ["customer.linked"]
        state = await loop.repository.state(ACME)
        assert (state.subscriptions, state.invoices) == ((), ())
        stored = loop.database.tables.subscriptions.values()
        verdict = AccessPolicy().evaluate(AccessFacts(subscriptions=tuple(stored)), loop.clock.now())
        assert (len(stored), verdict.reason) == (1, "no_subscription")

    async def test_its_metadata_makes_no_link_and_contradicts_none(self, loop: Loop) -> None:
        """Another app may call its tenants by any id; nothing waits for a link either."""
        newsletter = loop.says(subscription("sub_news", items=(news_item(),)), tenant=GLOBEX)
        await loop.arrive(newsletter)
        assert outcomes(loop, newsletter) == [IGNORED]
        assert GLOBEX not in loop.database.tables.counters
        await loop.arrive(loop.says(subscription(), at=1))
        await loop.arrive(loop.says(subscription("sub_news", items=(news_item(),)), tenant=GLOBEX, at=2))
        assert {row.disposition for row in loop.database.tables.dispatch.values()} == {
            Disposition.APPLIED,
            Disposition.IGNORED,
        }

    async def test_its_notices_are_not_published(self, loop: Loop) -> None:
        """Neither with the subscription in the event, nor with an invoice that only its subscription tells apart."""
        newsletter = subscription("sub_news", status="trialing", items=(news_item(),))
        await loop.arrive(loop.says(customer()), loop.says(newsletter, at=1))
        bill = invoice("in_news", subscription_id="sub_news")
        await loop.arrive(
            loop.says(newsletter, at=2, notice=Notice.TRIAL_ENDING),
            loop.says(bill, at=3, notice=Notice.OVERDUE),
            loop.says(attrs.evolve(bill, attempt_count=1), at=4, payment_failed=True),
        )
        assert await loop.notified() == ["customer.linked"]

    async def test_a_late_notice_of_it_is_not_published_of_a_subscription_that_came_to_us(self, loop: Loop) -> None:
        """It was about the other product."""
        trial = {"status": "trialing", "trial_ends_at": AT + timedelta(days=3)}
        theirs = loop.says(subscription(items=(news_item(),), **trial), at=1, notice=Notice.TRIAL_ENDING)
        await loop.arrive(loop.says(subscription(**trial), at=2))
        await loop.arrive(theirs)
        assert await loop.notified() == ["subscription.created"]
        assert outcomes(loop, theirs) == [IGNORED]

    async def test_an_ended_subscription_does_not_leave(self, loop: Loop) -> None:
        """Its end was told."""
        await loop.arrive(loop.says(subscription(status="canceled")))
        await loop.arrive(loop.says(subscription(status="canceled", items=(news_item(),)), at=1))
        assert await loop.notified() == ["subscription.canceled"]

    async def test_a_part_of_its_items_does_not_show_it(self, loop: Loop) -> None:
        """The known items say what it is, until all of them are fetched."""
        await loop.arrive(loop.says(customer()), loop.says(subscription(items=(news_item(),)), at=1))
        await loop.arrive(loop.says(subscription(items=(news_item("si_2"),), items_complete=False), at=2))
        assert (await loop.subscription()).out_of_scope
        assert await loop.notified() == ["customer.linked"]

    async def test_a_refund_of_it_is_not_published(self, loop: Loop) -> None:
        """A record belongs to the invoice that it concerns."""
        await loop.arrive(loop.says(customer()), loop.says(subscription("sub_news", items=(news_item(),)), at=1))
        await loop.arrive(loop.says(invoice("in_news", status="paid", subscription_id="sub_news"), at=2))
        charge = ChargeSnapshot(
            charge_id="ch_1", invoice_id=InvoiceId("in_news"), amount=300, amount_refunded=300, currency="usd"
        )
        refunded = loop.says(charge, customer_id=ALICE, at=3)  # type: ignore[arg-type]
        await loop.arrive(refunded)
        assert outcomes(loop, refunded) == [IGNORED]
        assert await loop.notified() == ["customer.linked"]

    @pytest.mark.parametrize("together", [True, False])
    @pytest.mark.parametrize("leaves", [True, False], ids=["leaves", "comes"])
    async def test_a_subscription_that_moves_between_products_ends_the_same_in_any_order(
        self, together: bool, leaves: bool
    ) -> None:
        """Also if its customer is linked only by the event that is ours, and if that event comes last."""
        ours, theirs = subscription(), subscription(items=(news_item(),))
        found = set()
        for order in permutations(range(3)):
            loop = Loop(plans=PlanCatalog([PRO], SCOPE))
            before, after = (ours, theirs) if leaves else (theirs, ours)
            events = [
                loop.says(before, tenant=ACME if leaves else None),
                loop.says(after, at=5, tenant=None if leaves else ACME),
                loop.says(invoice(), at=6, tenant=None),
            ]
            await loop.arrive_all([events[index] for index in order], together=together)
            state = await loop.repository.state(ACME)
            shown = [tuple(each.snapshot for each in objects) for objects in (state.subscriptions, state.invoices)]
            found.add(tuple(shown))
            stored = loop.database.tables.subscriptions[SubscriptionId("sub_1")]
            assert stored.snapshot.out_of_scope is leaves
        ((subscriptions, invoices),) = found
        assert (len(subscriptions), len(invoices)) == ((0, 0) if leaves else (1, 1))

    async def test_a_tenant_is_told_when_its_subscription_leaves_and_when_one_comes(self, loop: Loop) -> None:
        """The message shows no other product, and the access that is left."""
        await loop.arrive(loop.says(subscription()))
        leaving = loop.says(subscription(items=(news_item(),)), at=1)
        await loop.arrive(leaving)
        last = (await loop.payloads())[-1]
        assert (last.event_type, last.summary) == ("subscription.updated", "Plan pro was replaced by another product.")
        assert (last.subscription, last.access.state) == (None, "blocked")
        assert outcomes(loop, leaving) == [(Disposition.APPLIED, None)]
        await loop.arrive(loop.says(subscription(), at=2))
        assert (await loop.notified())[2:] == ["subscription.created"]
        assert "news" not in str([message.summary for message in await loop.payloads()])

    async def test_replays_of_ignored_events_change_nothing(self, loop: Loop) -> None:
        """However often."""
        newsletter = loop.says(subscription("sub_news", items=(news_item(),)), at=1)
        await loop.arrive(loop.says(customer()), newsletter)
        before = dict(loop.database.tables.subscriptions)
        for _ in range(2):
            await loop.replay(newsletter)
        assert dict(loop.database.tables.subscriptions) == before
        assert await loop.notified() == ["customer.linked"]
        assert outcomes(loop, newsletter) == [IGNORED]
