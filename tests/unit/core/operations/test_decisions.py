"""Decisions: an account and what is wanted in, one command or a refusal out. Values only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest
from tests.unit.core.operations.accounts import account, item, subscription, usage_item

from billing_core.model import (
    CustomerId,
    ItemId,
    Phase,
    PlannedItem,
    PriceId,
    SubscriptionId,
    TenantSubscription,
)
from billing_core.operations.account import Account
from billing_core.operations.commands import (
    CancelAtPeriodEnd,
    Cancellation,
    CancelNow,
    ChangeItems,
    Command,
    ItemChange,
    PauseCollection,
    PauseSubscription,
    ResumeCollection,
    ResumeSubscription,
    ScheduleChange,
    SetSeats,
    StartSubscription,
    Trial,
    WithdrawCancellation,
    WithdrawPendingUpdate,
    WithdrawScheduledChange,
)
from billing_core.operations.decisions import ending
from billing_core.operations.decisions.changing import PlanChange, decide_change, decide_seats
from billing_core.operations.decisions.starting import NewSubscription, decide_start
from billing_core.operations.errors import OperationRefusedError, Refusal
from billing_core.operations.items import Terms
from billing_core.testing.builders import AT, customer, month

SUB = SubscriptionId("sub_1")
CUS = CustomerId("cus_1")
SCHEDULED = {
    "schedule_id": "sub_sched_1",
    "planned": (Phase(starts_at=month(2).start, items=(PlannedItem(price_id=PriceId("price_basic"), quantity=1),)),),
}
PENDING = {"pending_change": Phase(items=(PlannedItem(price_id=PriceId("price_pro"), quantity=1),))}
CANCELED_LATER = {"cancel_at_period_end": True}


def refused(decide: Callable[[], object]) -> Refusal:
    """Return the reason for which something is refused."""
    with pytest.raises(OperationRefusedError) as raised:
        decide()
    return raised.value.refusal


# --- start ------------------------------------------------------------------------------------------------------------


VAULT_USAGE: tuple[str, int | None] = ("price_vault_storage", None)


def start(state: Account, plan_code: str, **fields: Any) -> StartSubscription:
    """Decide on a start of a plan."""
    options = {key: fields.pop(key) for key in ("payment", "promotion_code_id") if key in fields}
    terms = Terms(**{key: fields.pop(key) for key in ("interval", "interval_count", "currency") if key in fields})
    return decide_start(state, NewSubscription(plan_code=plan_code, terms=terms, **fields), customer_id=CUS, **options)


def shape(command: StartSubscription | ScheduleChange) -> list[tuple[str | None, int | None]]:
    """Return prices and quantities."""
    return [(each.price.price_id or each.price.lookup_key, each.quantity) for each in command.items]


@pytest.mark.parametrize(
    ("plan_code", "wanted", "items"),
    [
        ("basic", {}, [("price_basic", 1), ("price_basic_calls", None)]),
        ("pro", {"interval": "month"}, [("price_pro", 1), ("price_pro_calls", None)]),
        ("pro", {"interval": "year"}, [("price_pro_year", 1), ("price_pro_calls", None)]),
        ("pro", {"interval": "month", "interval_count": 3}, [("price_pro_quarter", 1), ("price_pro_calls", None)]),
        ("team", {}, [("price_team", 1), ("price_team_seat", 2)]),
        ("team", {"seats": 50}, [("price_team", 1), ("price_team_seat", 50)]),
        ("solo_seat", {"seats": 7}, [("price_solo", 7)]),
        ("counted", {"seats": 9}, [("price_counted", 9)]),
        ("metered", {}, [("price_usage", None), ("price_storage", None)]),
        ("euro", {"currency": "eur"}, [("price_eur", 1)]),
        ("unpriced", {"interval": "year", "currency": "chf"}, [("unpriced_monthly", 1)]),
    ],
)
def test_a_plan_starts_with_all_of_its_prices(
    plan_code: str, wanted: dict[str, Any], items: list[tuple[str, int | None]]
) -> None:
    """The base price, seats and metered ones, for the wanted interval and currency; the fewest seats by default."""
    assert shape(start(account(), plan_code, **wanted)) == items


@pytest.mark.parametrize(
    ("plan_code", "wanted", "reason"),
    [
        ("gone", {}, Refusal.UNKNOWN_PLAN),
        ("pro", {"interval": "week"}, Refusal.UNKNOWN_PRICE),
        ("pro", {"interval": "month", "currency": "eur"}, Refusal.UNKNOWN_PRICE),
        ("pro", {}, Refusal.PRICE_NOT_UNIQUE),
        ("euro", {}, Refusal.PRICE_NOT_UNIQUE),
        ("basic", {"seats": 2}, Refusal.NO_SEATS),
        ("team", {"seats": 1}, Refusal.SEATS_OUT_OF_BOUNDS),
        ("team", {"seats": 51}, Refusal.SEATS_OUT_OF_BOUNDS),
        ("solo_seat", {"seats": 0}, Refusal.SEATS_OUT_OF_BOUNDS),
        ("basic", {"trial": True}, Refusal.NO_TRIAL),
    ],
)
def test_what_a_plan_does_not_have_is_refused(plan_code: str, wanted: dict[str, Any], reason: Refusal) -> None:
    """Before anything is sent."""
    assert refused(lambda: start(account(), plan_code, **wanted)) is reason


@pytest.mark.parametrize(
    ("plan_code", "wanted", "items"),
    [
        ("metered", {"addons": ("support",)}, [("price_usage", None), ("price_storage", None), ("price_support", 1)]),
        ("counted", {"addons": ("support", "support")}, [("price_counted", 3), ("price_support", 1)]),
        ("counted", {"seats": 7, "addons": ("vault",)}, [("price_counted", 7), ("price_vault", 7), VAULT_USAGE]),
        ("counted", {"addons": ("vault",)}, [("price_counted", 3), ("price_vault", 3), VAULT_USAGE]),
        (
            "basic",
            {"addons": ("vault", "audit")},
            [("price_basic", 1), ("price_basic_calls", None), ("price_vault", 1), VAULT_USAGE, ("price_audit", 1)],
        ),
    ],
)
def test_addons_start_with_their_plan(
    plan_code: str, wanted: dict[str, Any], items: list[tuple[str, int | None]]
) -> None:
    """Each once, with all of its prices; those that are sold by the seat get as many seats as the plan."""
    command = start(account(), plan_code, **wanted)
    assert shape(command) == items
    assert command.plan_code == plan_code


@pytest.mark.parametrize(
    ("held", "plan_code", "wanted", "reason"),
    [
        ((), "basic", {"addons": ("gone",)}, Refusal.UNKNOWN_PLAN),
        ((), "basic", {"addons": ("team",)}, Refusal.NOT_AN_ADDON),
        ((), "support", {"addons": ("support",)}, Refusal.NOT_AN_ADDON),
        ((), "team", {"seats": 21, "addons": ("vault",)}, Refusal.SEATS_OUT_OF_BOUNDS),
        ((), "pro", {"interval": "year", "addons": ("support",)}, Refusal.UNKNOWN_PRICE),
        ((subscription(item("si_1", "support")),), "basic", {"addons": ("support",)}, Refusal.ALREADY_SUBSCRIBED),
    ],
)
def test_what_cannot_be_added_is_refused(
    held: tuple[TenantSubscription, ...], plan_code: str, wanted: dict[str, Any], reason: Refusal
) -> None:
    """Before anything is sent: nothing is left out without a word."""
    assert refused(lambda: start(account(*held), plan_code, **wanted)) is reason


@pytest.mark.parametrize(("seats", "text"), [(1, "It is sold with 2 to 50."), (51, "It is sold with 2 to 50.")])
def test_a_refusal_of_seats_names_the_bounds(seats: int, text: str) -> None:
    """So that the customer can choose again."""
    with pytest.raises(OperationRefusedError, match=text):
        start(account(), "team", seats=seats)


def test_one_seat_of_a_plan_without_seats_is_no_fault() -> None:
    """It is what the plan is."""
    assert shape(start(account(), "basic", seats=1))[0] == ("price_basic", 1)


def test_a_start_has_everything_that_performing_needs() -> None:
    """Tenant, customer, payment and promotion."""
    command = start(account(), "basic", payment="off_session", promotion_code_id="promo_1", currency="usd")
    assert (command.tenant_id, command.customer_id, command.plan_code) == ("acme", CUS, "basic")
    assert (command.payment, command.promotion_code_id, command.currency) == ("off_session", "promo_1", "usd")


ENDED_TRIAL = subscription(status="canceled", trial_ends_at=AT, subscription_id="sub_0")


@pytest.mark.parametrize(
    ("held", "wanted", "trial"),
    [
        ((), None, Trial(days=14)),
        ((), True, Trial(days=14)),
        ((), False, None),
        ((ENDED_TRIAL,), None, None),
        ((ENDED_TRIAL,), False, None),
    ],
)
def test_a_tenant_has_one_trial(held: tuple[TenantSubscription, ...], wanted: bool | None, trial: Trial | None) -> None:
    """Also if the subscription that had it has ended."""
    assert start(account(*held), "pro", interval="month", trial=wanted).trial == trial


def test_a_second_trial_that_is_demanded_is_refused() -> None:
    """The customer would expect not to pay."""
    assert refused(lambda: start(account(ENDED_TRIAL), "pro", interval="month", trial=True)) is Refusal.TRIAL_USED


@pytest.mark.parametrize(
    ("held", "plan_code", "reason"),
    [
        (subscription(), "basic", Refusal.ALREADY_SUBSCRIBED),
        (subscription(), "team", Refusal.ALREADY_SUBSCRIBED),
        (subscription(status="trialing"), "team", Refusal.ALREADY_SUBSCRIBED),
        (subscription(status="past_due"), "team", Refusal.ALREADY_SUBSCRIBED),
        (subscription(status="paused"), "team", Refusal.ALREADY_SUBSCRIBED),
        (subscription(**CANCELED_LATER), "team", Refusal.ALREADY_SUBSCRIBED),
        (subscription(status="incomplete"), "team", Refusal.PAYMENT_PENDING),
        (subscription(item("si_1", "support")), "support", Refusal.ALREADY_SUBSCRIBED),
    ],
)
def test_a_second_live_subscription_of_a_group_is_refused(
    held: TenantSubscription, plan_code: str, reason: Refusal
) -> None:
    """A plan without a group is a group of its own. One that waits for its first payment is named as the reason."""
    assert refused(lambda: start(account(held), plan_code)) is reason


@pytest.mark.parametrize(
    ("held", "plan_code"),
    [
        (subscription(status="canceled"), "basic"),
        (subscription(status="incomplete_expired"), "basic"),
        (subscription(), "support"),
        (subscription(item("si_1", "audit")), "support"),
        (subscription(item("si_1", "unknown")), "basic"),
    ],
)
def test_other_subscriptions_do_not_matter(held: TenantSubscription, plan_code: str) -> None:
    """Ended ones, other groups, and prices of no plan."""
    assert start(account(held), plan_code).plan_code == plan_code


def test_a_new_subscription_has_the_currency_of_the_others() -> None:
    """A customer has one currency at the provider."""
    held = subscription(item("si_1", "support"), currency="eur")
    assert shape(start(account(held), "euro")) == [("price_eur", 1)]


# --- change -----------------------------------------------------------------------------------------------------------


def change(state: Account, plan_code: str | None = None, **fields: Any) -> ChangeItems | ScheduleChange:
    """Decide on a change of the subscription."""
    terms = Terms(**{key: fields.pop(key) for key in ("interval", "interval_count", "currency") if key in fields})
    amounts = fields.pop("amounts", {})
    wanted = PlanChange(subscription_id=SUB, plan_code=plan_code, terms=terms, **fields)
    return decide_change(state, wanted, amounts=amounts)


def changes(command: Command) -> list[tuple[str, str | None, int | None, bool]]:
    """Return the changed items: id, new price, quantity, removed."""
    assert isinstance(command, ChangeItems)
    return [(each.item_id, each.price and each.price.price_id, each.quantity, each.deleted) for each in command.changed]


def added(command: Command) -> list[tuple[str | None, int | None]]:
    """Return the added items: price and quantity."""
    assert isinstance(command, ChangeItems)
    return [(each.price.price_id, each.quantity) for each in command.added]


TEAM = subscription(item("si_1", "team", unit_amount=2000), item("si_2", "team_seat", quantity=25, unit_amount=900))
COUNTED = subscription(item("si_1", "counted", quantity=5))


def test_items_are_changed_by_id_with_their_quantity() -> None:
    """An item without its id would be a second one, and a price without a quantity would bill one seat."""
    command = change(account(subscription(item("si_1", "basic"), usage_item("si_2", "basic_calls"))), "pro")
    assert changes(command) == [("si_1", "price_pro", 1, False), ("si_2", "price_pro_calls", None, False)]
    assert added(command) == []
    assert isinstance(command, ChangeItems)
    assert (command.only_if_paid, command.proration, command.plan_code) == (True, "invoice_now", "pro")


def test_seats_move_with_the_plan() -> None:
    """From a price per seat to a base price that counts them, and back: never are 25 seats billed as one."""
    to_counted = change(account(TEAM), "solo_seat", when="now")
    assert changes(to_counted) == [("si_1", "price_solo", 25, False), ("si_2", None, None, True)]
    from_counted = change(account(COUNTED), "team", when="now")
    assert changes(from_counted) == [("si_1", "price_team", 1, False)]
    assert added(from_counted) == [("price_team_seat", 5)]
    assert changes(change(account(TEAM), "solo_seat", seats=3, when="now"))[0] == ("si_1", "price_solo", 3, False)


def test_seats_that_do_not_fit_the_new_plan_are_refused() -> None:
    """Rather than billed differently than they are used."""
    assert refused(lambda: change(account(TEAM), "counted")) is Refusal.SEATS_OUT_OF_BOUNDS


def test_a_plan_without_seats_has_one_piece() -> None:
    """The seats of the former plan are no quantity of the new one."""
    command = change(account(COUNTED), "basic", when="now")
    assert changes(command) == [("si_1", "price_basic", 1, False)]


def test_addons_and_usage_that_the_new_plan_does_not_bill_are_kept() -> None:
    """They are not named in the command, so that they stay as they are."""
    held = subscription(
        item("si_1", "basic"), usage_item("si_2", "basic_calls"), item("si_3", "support"), item("si_4", "unknown")
    )
    assert [id_ for id_, *_ in changes(change(account(held), "team"))] == ["si_1"]
    scheduled = change(account(held), "team", when="period_end")
    assert isinstance(scheduled, ScheduleChange)
    assert shape(scheduled) == [
        ("price_team", 1),
        ("price_basic_calls", None),
        ("price_support", 1),
        ("price_unknown", 1),
        ("price_team_seat", 2),
    ]


def test_removed_items_do_not_wait_for_a_payment() -> None:
    """The provider holds back prices and quantities only; and an invoice by mail is paid weeks later."""
    removing = change(account(TEAM), "solo_seat", when="now")
    by_mail = change(account(subscription(collection_method="send_invoice")), "pro")
    assert isinstance(removing, ChangeItems)
    assert isinstance(by_mail, ChangeItems)
    assert (removing.only_if_paid, by_mail.only_if_paid) == (False, False)


@pytest.mark.parametrize(
    ("held", "plan_code", "wanted", "later"),
    [
        (subscription(), "pro", {}, False),
        (subscription(item("si_1", "pro", unit_amount=5000)), "basic", {}, True),
        (subscription(item("si_1", "pro", unit_amount=5000)), None, {"interval": "year"}, False),
        (subscription(item("si_1", "pro_year", unit_amount=48000, interval="year")), None, {"interval": "month"}, True),
        (subscription(item("si_1", "pro", unit_amount=5000)), None, {"interval_count": 3, "interval": "month"}, False),
        (TEAM, "basic", {}, True),
        (TEAM, None, {"seats": 24}, True),
        (TEAM, None, {"seats": 26}, False),
        (subscription(item("si_1", "pro", unit_amount=5000)), "basic", {"when": "now"}, False),
        (subscription(), "pro", {"when": "period_end"}, True),
        (subscription(item("si_1", "pro", unit_amount=5000), status="trialing"), "basic", {}, False),
        (subscription(item("si_1", "pro", unit_amount=None)), "basic", {}, False),
        (subscription(item("si_1", "pro", unit_amount=5000)), "unpriced", {}, False),
        (subscription(item("si_1", "pro", unit_amount=5000)), "unpriced", {"amounts": {"unpriced_monthly": 10}}, True),
    ],
)
def test_a_downgrade_waits_for_the_end_of_the_period(
    held: TenantSubscription, plan_code: str | None, wanted: dict[str, Any], later: bool
) -> None:
    """Less money in the same interval, or a shorter one; what costs more and what cannot be compared is changed now."""
    command = change(account(held), plan_code, **wanted)
    assert isinstance(command, ScheduleChange) is later
    if isinstance(command, ScheduleChange):
        assert command.effective_at == month(1).end


def test_a_change_replaces_what_is_scheduled() -> None:
    """A schedule would undo it."""
    held = subscription(item("si_1", "pro", unit_amount=5000), **SCHEDULED)
    now, later = change(account(held), "team", when="now"), change(account(held), "team", when="period_end")
    assert isinstance(now, ChangeItems)
    assert isinstance(later, ScheduleChange)
    assert now.release_schedule == later.release_schedule == "sub_sched_1"


@pytest.mark.parametrize(
    ("held", "plan_code", "reason"),
    [
        ((), "pro", Refusal.NO_SUBSCRIPTION),
        ((subscription(status="canceled"),), "pro", Refusal.NO_SUBSCRIPTION),
        ((subscription(subscription_id="sub_2"),), "pro", Refusal.NO_SUBSCRIPTION),
        ((subscription(items_complete=False),), "pro", Refusal.STATE_INCOMPLETE),
        ((subscription(**CANCELED_LATER),), "pro", Refusal.CANCELLATION_SCHEDULED),
        ((subscription(**PENDING),), "pro", Refusal.CHANGE_PENDING),
        ((subscription(status="incomplete"),), "pro", Refusal.PAYMENT_PENDING),
        ((subscription(item("si_1", "basic"), usage_item("si_2", "basic_calls")),), "basic", Refusal.NOTHING_TO_CHANGE),
        ((subscription(),), "gone", Refusal.UNKNOWN_PLAN),
        ((subscription(item("si_1", "unknown")),), None, Refusal.UNKNOWN_PLAN),
        (
            (subscription(), subscription(item("si_9", "support"), subscription_id="sub_2")),
            "support",
            Refusal.ALREADY_SUBSCRIBED,
        ),
    ],
)
def test_what_cannot_be_changed_is_refused(
    held: tuple[TenantSubscription, ...], plan_code: str | None, reason: Refusal
) -> None:
    """With the reason that the customer can act on."""
    assert refused(lambda: change(account(*held), plan_code)) is reason


def test_a_change_without_a_known_end_of_the_period_is_not_scheduled() -> None:
    """It would have no date."""
    held = subscription(item("si_1", "basic", period=None))
    assert refused(lambda: change(account(held), "pro", when="period_end")) is Refusal.STATE_INCOMPLETE


# --- seats ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "item_id"),
    [(TEAM, "si_2"), (COUNTED, "si_1"), (subscription(item("si_1", "solo", quantity=4)), "si_1")],
)
def test_seats_are_set_on_the_item_that_counts_them(held: TenantSubscription, item_id: str) -> None:
    """In absolute numbers, whatever the plan is made of."""
    command = decide_seats(account(held), SUB, 8)
    assert (command.item_id, command.quantity, command.reschedule) == (item_id, 8, None)
    assert command.former_quantity == next(each.quantity for each in held.snapshot.items if each.item_id == item_id)
    assert command.plan_code == held.snapshot.plan_code


@pytest.mark.parametrize(
    ("held", "seats", "reason"),
    [
        (TEAM, 1, Refusal.SEATS_OUT_OF_BOUNDS),
        (TEAM, 51, Refusal.SEATS_OUT_OF_BOUNDS),
        (TEAM, 25, Refusal.NOTHING_TO_CHANGE),
        (subscription(), 2, Refusal.NO_SEATS),
        (subscription(item("si_1", "unknown")), 2, Refusal.NO_SEATS),
        (subscription(item("si_1", "team")), 3, Refusal.NO_SEATS),
        (subscription(item("si_1", "team"), item("si_2", "team_seat"), **PENDING), 3, Refusal.CHANGE_PENDING),
        (subscription(item("si_1", "team"), status="incomplete"), 3, Refusal.PAYMENT_PENDING),
        (subscription(status="canceled"), 3, Refusal.NO_SUBSCRIPTION),
    ],
)
def test_seats_have_bounds(held: TenantSubscription, seats: int, reason: Refusal) -> None:
    """The plan's, and there has to be an item that counts them."""
    assert refused(lambda: decide_seats(account(held), SUB, seats)) is reason


def planned(*items: tuple[str, int | None]) -> tuple[Phase, ...]:
    """Return one coming phase."""
    shown = tuple(PlannedItem(price_id=PriceId(f"price_{key}"), quantity=quantity) for key, quantity in sorted(items))
    return (Phase(starts_at=month(2).start, items=shown),)


@pytest.mark.parametrize(
    ("coming", "items"),
    [
        ([("counted", 5), ("support", 1)], [("price_counted", 9), ("price_support", 1)]),
        ([("team", 1), ("team_seat", 5)], [("price_team", 1), ("price_team_seat", 9)]),
        ([("solo", 5)], [("price_solo", 9)]),
        ([("basic", 1)], [("price_basic", 1)]),
    ],
)
def test_a_scheduled_change_keeps_its_date_and_gets_the_seats(
    coming: list[tuple[str, int | None]], items: list[tuple[str, int]]
) -> None:
    """It is scheduled again after the seats are set: it would set them back."""
    held = subscription(item("si_1", "counted", quantity=5), schedule_id="sub_sched_1", planned=planned(*coming))
    again = decide_seats(account(held), SUB, 9).reschedule
    assert again is not None
    assert (again.effective_at, again.release_schedule) == (month(2).start, "sub_sched_1")
    assert shape(again) == items


@pytest.mark.parametrize(
    "coming",
    [(), (Phase(starts_at=month(2).start),), planned(("unknown", 1)), (*planned(("basic", 1)), *planned(("pro", 1)))],
    ids=["unknown phases", "an end", "no plan", "several"],
)
def test_a_schedule_that_cannot_be_made_again_is_not_touched(coming: tuple[Phase, ...]) -> None:
    """The customer withdraws it first."""
    held = subscription(item("si_1", "counted", quantity=5), schedule_id="sub_sched_1", planned=coming)
    assert refused(lambda: decide_seats(account(held), SUB, 9)) is Refusal.CHANGE_SCHEDULED


# --- ends and pauses --------------------------------------------------------------------------------------------------

REASON = Cancellation(feedback="too_expensive", comment="too much")


def test_a_cancellation_keeps_its_reason() -> None:
    """Now or later."""
    state = account(subscription())
    now = ending.decide_cancel_now(state, SUB, reason=REASON, invoice_usage=False, credit_unused_time=True)
    assert now == CancelNow(
        subscription_id=SUB, invoice_usage=False, credit_unused_time=True, reason=REASON, plan_code="basic"
    )
    later = ending.decide_cancel_at_period_end(state, SUB, reason=REASON)
    assert later == CancelAtPeriodEnd(subscription_id=SUB, reason=REASON, plan_code="basic")


def test_an_end_with_several_periods_is_that_of_the_last() -> None:
    """Nothing that was paid for is lost. A schedule and an end exclude each other, so the schedule goes."""
    mixed = subscription(item("si_1", "basic"), item("si_2", "support", interval="year"), **SCHEDULED)
    command = ending.decide_cancel_at_period_end(account(mixed), SUB, reason=REASON)
    assert (command.at, command.release_schedule) == ("latest_item_end", "sub_sched_1")


def test_a_second_end_changes_nothing() -> None:
    """It would hide that the first one holds."""
    state = account(subscription(**CANCELED_LATER))
    refusal = refused(lambda: ending.decide_cancel_at_period_end(state, SUB, reason=REASON))
    assert refusal is Refusal.NOTHING_TO_CHANGE


def test_even_an_incompletely_known_subscription_can_be_canceled() -> None:
    """An end needs no items."""
    state = account(subscription(items_complete=False))
    assert ending.decide_cancel_now(state, SUB, reason=REASON).subscription_id == SUB


@pytest.mark.parametrize(
    ("fields", "what", "command"),
    [
        (
            CANCELED_LATER,
            None,
            WithdrawCancellation(subscription_id=SUB, at_period_end=True, plan_code="basic"),
        ),
        (
            {"cancel_at": month(2).start},
            "cancellation",
            WithdrawCancellation(subscription_id=SUB, at_period_end=False, plan_code="basic"),
        ),
        (
            SCHEDULED,
            None,
            WithdrawScheduledChange(subscription_id=SUB, schedule_id="sub_sched_1", plan_code="basic"),
        ),
        (
            {"schedule_id": "sub_sched_1", "planned": (Phase(starts_at=month(2).start),)},
            "cancellation",
            WithdrawScheduledChange(subscription_id=SUB, schedule_id="sub_sched_1", plan_code="basic"),
        ),
        (PENDING, None, WithdrawPendingUpdate(subscription_id=SUB, plan_code="basic")),
        (
            {**CANCELED_LATER, **PENDING},
            "pending_update",
            WithdrawPendingUpdate(subscription_id=SUB, plan_code="basic"),
        ),
        (
            {**CANCELED_LATER, **PENDING},
            None,
            WithdrawCancellation(subscription_id=SUB, at_period_end=True, plan_code="basic"),
        ),
    ],
)
def test_whatever_is_scheduled_can_be_withdrawn(fields: dict[str, Any], what: Any, command: Command) -> None:
    """By its kind in `scheduled_changes`, else the one that matters most."""
    assert ending.decide_undo(account(subscription(**fields)), SUB, what) == command


@pytest.mark.parametrize(("fields", "what"), [({}, None), (CANCELED_LATER, "plan_change"), (PENDING, "cancellation")])
def test_what_is_not_scheduled_cannot_be_withdrawn(fields: dict[str, Any], what: Any) -> None:
    """Nor is something else withdrawn in its place."""
    state = account(subscription(**fields))
    assert refused(lambda: ending.decide_undo(state, SUB, what)) is Refusal.NOTHING_TO_UNDO


@pytest.mark.parametrize("status", ["active", "trialing", "past_due"])
def test_a_running_subscription_can_be_paused(status: str) -> None:
    """And resumed once it is."""
    assert ending.decide_pause(account(subscription(status=status)), SUB) == PauseSubscription(
        subscription_id=SUB, plan_code="basic"
    )
    paused = account(subscription(status="paused"))
    assert ending.decide_resume(paused, SUB, period="continued", only_if_paid=False) == ResumeSubscription(
        subscription_id=SUB, period="continued", only_if_paid=False, plan_code="basic"
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "paused"}, Refusal.ALREADY_PAUSED),
        ({"status": "unpaid"}, Refusal.NOT_PAUSABLE),
        ({"status": "incomplete"}, Refusal.NOT_PAUSABLE),
        (SCHEDULED, Refusal.CHANGE_SCHEDULED),
        ({"status": "canceled"}, Refusal.NO_SUBSCRIPTION),
    ],
)
def test_what_does_not_run_cannot_be_paused(fields: dict[str, Any], reason: Refusal) -> None:
    """The provider would refuse it in words that no customer understands."""
    assert refused(lambda: ending.decide_pause(account(subscription(**fields)), SUB)) is reason


def test_what_runs_cannot_be_resumed() -> None:
    """Neither itself nor its payments."""
    state = account(subscription())
    assert refused(lambda: ending.decide_resume(state, SUB)) is Refusal.NOT_PAUSED
    assert refused(lambda: ending.decide_resume_collection(state, SUB)) is Refusal.NOT_PAUSED


def test_payments_are_paused_until_a_date_that_is_to_come() -> None:
    """By the time of the subscription: a test clock's where it has one."""
    state = account(subscription())
    until = state.now(state.live[0]) + timedelta(seconds=1)
    assert ending.decide_pause_collection(state, SUB, behavior="void", resumes_at=until) == PauseCollection(
        subscription_id=SUB, behavior="void", resumes_at=until, plan_code="basic"
    )
    on_clock = account(subscription(test_clock="clock_1"), clocks={"clock_1": until})
    for passed in (state, on_clock):
        end = passed.now(passed.live[0])
        refusal = refused(
            lambda passed=passed, end=end: ending.decide_pause_collection(passed, SUB, behavior="void", resumes_at=end)
        )
        assert refusal is Refusal.NOT_PAUSABLE
    held = account(subscription(collection_paused=True))
    assert ending.decide_resume_collection(held, SUB) == ResumeCollection(subscription_id=SUB, plan_code="basic")


# --- account ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "customers", "found"),
    [
        ((), (), None),
        ((), (customer("cus_1"), customer("cus_2")), "cus_1"),
        ((), (customer("cus_1", deleted=True), customer("cus_2")), "cus_2"),
        ((subscription(customer_id=CustomerId("cus_2")),), (customer("cus_1"), customer("cus_2")), "cus_2"),
        (
            (subscription(customer_id=CustomerId("cus_2"), status="canceled"),),
            (customer("cus_1"), customer("cus_2")),
            "cus_1",
        ),
        ((subscription(),), (), "cus_1"),
    ],
)
def test_the_customer_that_pays_is_found(
    held: tuple[TenantSubscription, ...], customers: Any, found: str | None
) -> None:
    """That of a live subscription, else the first linked one that is not deleted."""
    assert account(*held, customers=customers).customer_id == found


def test_an_account_without_a_customer_is_told_so() -> None:
    """Portal and payment methods need one."""
    assert refused(lambda: account(customers=()).require_customer()) is Refusal.NO_CUSTOMER


def test_a_change_of_one_item_names_no_other() -> None:
    """A command for two items would charge for both."""
    command = change(account(TEAM), seats=30)
    assert isinstance(command, ChangeItems)
    assert command.changed == (ItemChange(item_id=ItemId("si_2"), quantity=30),)
    assert isinstance(decide_seats(account(TEAM), SUB, 30), SetSeats)
    assert attrs.evolve(command, changed=()).plan_code is None
