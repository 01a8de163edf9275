"""A change loads what it needs of subscriptions for which a later one of equal standing stands.

See "Reader | Needs" in docs/adr/0049-load-what-decides.md.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest
from tests.unit.core.conftest import (
    ACME,
    ALICE,
    AT,
    BOB,
    GLOBEX,
    MONTH,
    Loop,
    customer,
    invoice,
    item,
    line,
    metered,
    subscription,
)

from billing_app.settings import AccessSettings
from billing_core.events import Disposition, Translation
from billing_core.model import (
    AccessState,
    AccessVerdict,
    Answer,
    CreditNoteSnapshot,
    InvoiceId,
    InvoiceSnapshot,
    Period,
    PlanCatalog,
    ProductScope,
    ScopeRule,
    SubscriptionId,
    SubscriptionSnapshot,
    TenantRules,
)
from billing_core.state.provisional import ProvisionalBasis
from billing_memory.gateway import MemoryGateway

DAY = timedelta(days=1)
LAST_MONTH = Period(start=MONTH.start - 31 * DAY, end=MONTH.start)
NEWS = ProductScope(ignore=ScopeRule(products=("prod_news",)))
NOTE = CreditNoteSnapshot(
    credit_note_id="cn_1", invoice_id=InvoiceId("in_1"), amount=700, currency="usd", status="issued"
)


def earlier(status: str = "active", **fields: Any) -> SubscriptionSnapshot:
    """Return the subscription for which the later one stands, unless something asks for it."""
    return subscription("sub_earlier", status, items=(item(period=LAST_MONTH, **fields),))


def later(status: str = "active", **fields: Any) -> SubscriptionSnapshot:
    """Return the subscription that stands for the earlier one."""
    return subscription("sub_later", status, items=(item(period=MONTH, **fields),))


async def answer(loop: Loop, shown: Answer) -> None:
    """Take in the provider's answer to an operation."""
    basis = ProvisionalBasis(tenant_id=ACME, operation_key=f"bo_{shown.object_id}", answered_at=AT + 60 * DAY)
    match shown:
        case SubscriptionSnapshot():
            await loop.service().ingest_subscription_snapshot(shown, basis)
        case InvoiceSnapshot():
            await loop.service().ingest_invoice_snapshot(shown, basis)


def access(loop: Loop) -> AccessVerdict:
    """Return the access that the tenant was last notified of."""
    return loop.database.tables.access[ACME].verdict


# --- access ---------------------------------------------------------------------------------------------------------

UNRELATED = subscription("sub_unrelated", "canceled", ended_at=AT)


async def by_event(loop: Loop) -> None:
    """Process an event of another subscription."""
    await loop.arrive(loop.says(UNRELATED, at=100))


async def by_answer(loop: Loop) -> None:
    """Take in an answer that shows another subscription."""
    await answer(loop, UNRELATED)


async def by_review(loop: Loop) -> None:
    """Review the access of all tenants by a policy that is another one, although not for this tenant."""
    loop.access = AccessSettings(open_dispute=AccessState.READ_ONLY)
    assert (await loop.service().review_access()).count == 1


async def by_grant(loop: Loop) -> None:
    """Grant access and revoke it, which leaves what is paid for."""
    granted = await loop.service().grant(ACME, plan_code="pro", reason="goodwill")
    assert await loop.service().revoke_grant(granted.grant.grant_id, reason="over") is not None


decisions = pytest.mark.parametrize("decide", [by_event, by_answer, by_review, by_grant])
Decide = Callable[[Loop], Awaitable[None]]


@decisions
async def test_each_subscription_in_grace_decides_by_its_own_invoices(loop: Loop, decide: Decide) -> None:
    """The grace of the later one is over, that of the earlier one is not."""
    bills = [
        invoice("in_1", subscription_id=SubscriptionId("sub_earlier"), due_at=AT - 2 * DAY),
        invoice("in_2", subscription_id=SubscriptionId("sub_later"), due_at=AT - 10 * DAY),
    ]
    await loop.arrive(*map(loop.says, (earlier("past_due"), later("past_due"))), *map(loop.says, bills))
    in_grace = access(loop)
    assert (in_grace.state, in_grace.until) == (AccessState.GRACE, AT + 5 * DAY)
    await decide(loop)
    assert access(loop) == in_grace


@decisions
async def test_a_subscription_that_a_view_ended_stands_for_no_other(loop: Loop, decide: Decide) -> None:
    """Its row still has the standing of the earlier one, which gives access from then on."""
    await loop.arrive(loop.says(earlier()), loop.says(later()))
    await answer(loop, attrs.evolve(later(), status="canceled", ended_at=AT))
    await decide(loop)
    assert access(loop).state is AccessState.FULL


# --- scope ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def newsletters(loop: Loop) -> Loop:
    """A tenant with two subscriptions of another product."""
    loop.plans = PlanCatalog(scope=NEWS)
    theirs = (earlier(product_id="prod_news"), later(product_id="prod_news"))
    await loop.arrive(loop.says(customer()), *map(loop.says, theirs))
    return loop


@pytest.mark.parametrize("shown_by", ["event", "answer"])
async def test_a_credit_note_is_of_the_product_that_its_invoice_bills(newsletters: Loop, shown_by: str) -> None:
    """Only the subscription says so, and only the invoice names it: as stored, or as the answer to an operation."""
    loop = newsletters
    bill = invoice("in_1", subscription_id=SubscriptionId("sub_earlier"))
    if shown_by == "event":
        await loop.arrive(loop.says(bill, at=1))
    else:
        await answer(loop, bill)
    before = await loop.notified()
    note = loop.says(NOTE, customer_id=ALICE, at=2)  # type: ignore[arg-type]
    await loop.arrive(note)
    assert (loop.row(note).disposition, loop.row(note).reason) == (Disposition.IGNORED, "out_of_scope")
    assert await loop.notified() == before


# --- billed usage ---------------------------------------------------------------------------------------------------


async def test_usage_is_deleted_of_an_invoice_whose_answer_shows_no_subscription(loop: Loop) -> None:
    """The subscription that the stored invoice names says what usage was stored."""
    loop.gateway = MemoryGateway()
    billing = attrs.evolve(earlier(), items=(item(period=LAST_MONTH), metered(period=LAST_MONTH)))
    bill = invoice("in_1", subscription_id=billing.subscription_id, lines=(line(),), lines_complete=False)
    await loop.arrive(loop.says(billing), loop.says(later()), loop.says(bill))
    assert len(await loop.usage()) == 1
    whole = attrs.evolve(bill, subscription_id=None, lines_complete=True)
    loop.gateway.invoices[InvoiceId("in_1")] = Translation(customer_id=ALICE, snapshots=(whole,))
    assert await loop.refetch() == ["refetched"]
    assert await loop.usage() == []


# --- shared customers -----------------------------------------------------------------------------------------------


async def test_a_deleted_customer_pays_for_a_tenant_whose_latest_subscription_is_not_its_own(loop: Loop) -> None:
    """The tenant is notified of the deletion."""
    loop.tenants = TenantRules(link="subscription")
    await loop.arrive(
        loop.says(earlier(), tenant=GLOBEX), loop.says(attrs.evolve(later(), customer_id=BOB), tenant=GLOBEX)
    )
    await loop.arrive(loop.says(customer(deleted=True), tenant=None, at=1))
    assert (await loop.notified(GLOBEX))[2:] == ["customer.deleted"]
