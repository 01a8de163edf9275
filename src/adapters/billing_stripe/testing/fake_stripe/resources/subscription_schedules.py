"""Subscription schedules: the endpoints. What happens as time passes is in `billing.schedules`."""

from datetime import datetime

import attrs

from billing_stripe.testing import accounts, objects
from billing_stripe.testing.fake_stripe.account import Account, Due
from billing_stripe.testing.fake_stripe.billing import collection, ending, schedules
from billing_stripe.testing.fake_stripe.billing.times import later, now_on
from billing_stripe.testing.fake_stripe.errors import invalid, refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    METADATA,
    MOMENT,
    TEXT,
    Either,
    Form,
    Integer,
    Listed,
    Params,
    Period,
    Required,
    choice,
    listing,
    merged_metadata,
    unsupported,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route
from billing_stripe.testing.versions import Shape

KIND = Kind(
    source=objects.SubscriptionSchedule,
    noun="subscription_schedule",
    key=lambda source: source.schedule_id,
    render=accounts.subscription_schedule,
    expandable=frozenset({"customer", "phases.items.price", "subscription", "test_clock"}),
)
_PRORATION = choice("always_invoice", "create_prorations", "none")
_NOT_YET = unsupported(
    "add_invoice_items",
    "application_fee_percent",
    "billing_cycle_anchor",
    "billing_thresholds",
    "collection_method",
    "default_payment_method",
    "discounts",
    "on_behalf_of",
    "transfer_data",
    "trial",
    "trial_end",
)
_PHASE = Form(
    items=Required(
        Listed(
            Form(price=TEXT, plan=TEXT, quantity=INTEGER, metadata=METADATA, tax_rates=ANYTHING, discounts=ANYTHING), 20
        )
    ),
    automatic_tax=ANYTHING,
    currency=TEXT,
    default_tax_rates=ANYTHING,
    description=TEXT,
    duration=Form(interval=Required(choice("day", "week", "month", "year")), interval_count=Integer(least=1)),
    end_date=Either(("now",), MOMENT),
    invoice_settings=ANYTHING,
    iterations=Integer(least=1),
    metadata=METADATA,
    proration_behavior=_PRORATION,
    start_date=Either(("now",), MOMENT),
    **_NOT_YET,
)
CREATE = Form(
    billing_mode=Form(type=Required(choice("classic", "flexible")), flexible=ANYTHING),
    customer=TEXT,
    default_settings=ANYTHING,
    end_behavior=choice("cancel", "release"),
    from_subscription=TEXT,
    metadata=METADATA,
    phases=Listed(_PHASE),
    **unsupported("pause_schedules"),
    start_date=Either(("now",), MOMENT),
)
UPDATE = Form(
    default_settings=ANYTHING,
    end_behavior=choice("cancel", "release"),
    metadata=METADATA,
    phases=Listed(_PHASE),
    proration_behavior=_PRORATION,
)


def create(call: Call) -> objects.SubscriptionSchedule:
    """POST /v1/subscription_schedules: for a subscription as it is, or for a new one of a customer."""
    account, params = call.account, call.params
    if "from_subscription" in params:
        return _adopt(account, params)
    _check_version(call)
    if "customer" not in params:
        raise invalid("You must provide `customer` or `from_subscription`.", param="customer")
    customer = account.get(objects.Customer, params["customer"], "customer")
    now = now_on(account, customer.test_clock)
    given = params.get("start_date", "now")
    start = now if given == "now" else given
    flexible = Shape(call.api_version).flexible_by_default
    if "billing_mode" in params:
        flexible = params["billing_mode"]["type"] == "flexible"
    schedule = objects.SubscriptionSchedule(
        schedule_id=account.new_id("sub_sched"),
        customer_id=customer.customer_id,
        subscription_id=None,
        created_at=now,
        status="not_started",
        phases=_phases(account, params.get("phases", []), start, now),
        end_behavior=params.get("end_behavior", "release"),
        metadata=merged_metadata({}, params),
        flexible_billing=flexible,
        test_clock=customer.test_clock,
    )
    schedule = account.create(schedule)
    return schedules.begin(account, schedule) if start <= now else schedule


def retrieve(call: Call) -> objects.SubscriptionSchedule:
    """GET /v1/subscription_schedules/:id"""
    return call.account.get(objects.SubscriptionSchedule, call.id)


def update(call: Call) -> objects.SubscriptionSchedule:
    """POST /v1/subscription_schedules/:id: its phases are replaced, from the current one on."""
    account, params, schedule = call.account, call.params, retrieve(call)
    _check_live(schedule, "update")
    changed = attrs.evolve(
        schedule,
        end_behavior=params.get("end_behavior", schedule.end_behavior),
        metadata=merged_metadata(schedule.metadata, params),
    )
    if "phases" not in params:
        return account.update(changed)
    _check_version(call)
    phases, current = _replaced(account, schedule, params["phases"])
    before = schedule.phases[schedule.current_phase]
    changed = account.update(attrs.evolve(changed, phases=phases, current_phase=current, expiring=False))
    if changed.status == "active" and (phases[current].prices != before.prices or phases[current].metadata):
        schedules.enter(account, changed, proration=params.get("proration_behavior", "create_prorations"))
    return account.get(objects.SubscriptionSchedule, schedule.schedule_id)


def release(call: Call) -> objects.SubscriptionSchedule:
    """POST /v1/subscription_schedules/:id/release"""
    schedule = retrieve(call)
    _check_live(schedule, "release")
    keep = call.params.get("preserve_cancel_date", False)
    return schedules.release(call.account, schedule, keep_cancellation=keep)


def cancel(call: Call) -> objects.SubscriptionSchedule:
    """POST /v1/subscription_schedules/:id/cancel, and its subscription with it."""
    account, params, schedule = call.account, call.params, retrieve(call)
    _check_live(schedule, "cancel")
    subscription = account.find(objects.Subscription, schedule.subscription_id)
    if subscription is None:
        canceled = attrs.evolve(schedule, status="canceled", ended_at=now_on(account, schedule.test_clock))
        return account.update(canceled, "subscription_schedule.canceled")
    ended = ending.end(account, subscription, prorate=params.get("prorate", True))
    if params.get("invoice_now", True):
        collection.bill_end(account, ended)
    return account.get(objects.SubscriptionSchedule, schedule.schedule_id)


def listed(call: Call) -> Listing:
    """GET /v1/subscription_schedules"""
    asked, scheduled = select(call, objects.SubscriptionSchedule, customer="customer_id"), call.params.get("scheduled")
    return Listing([each for each in asked if not scheduled or each.status == "not_started"], KIND.noun)


def _check_version(call: Call) -> None:
    """Refuse `iterations` of a phase in versions that replaced it."""
    for position, phase in enumerate(call.params.get("phases", ())):
        if "iterations" in phase and Shape(call.api_version).phase_durations:
            param = f"phases[{position}][iterations]"
            raise invalid(f"Received unknown parameter: {param}", param=param, code="parameter_unknown")


def _adopt(account: Account, params: Params) -> objects.SubscriptionSchedule:
    """Create a schedule whose only phase is the current period of a subscription."""
    others = sorted(params.keys() - {"from_subscription", "metadata"})
    if others:
        raise invalid(f"You cannot set `{others[0]}` if `from_subscription` is set.", param=others[0])
    subscription = account.get(objects.Subscription, params["from_subscription"], "from_subscription")
    if subscription.schedule_id is not None:
        raise refused(
            "You cannot migrate a subscription that is already attached to a schedule: "
            f"{subscription.subscription_id} is already attached to {subscription.schedule_id}."
        )
    if subscription.ended_at is not None or subscription.status in ("incomplete", "paused"):
        raise refused(f"You cannot migrate a subscription in the `{subscription.status}` status.")
    schedule = objects.SubscriptionSchedule(
        schedule_id=account.new_id("sub_sched"),
        customer_id=subscription.customer_id,
        subscription_id=subscription.subscription_id,
        created_at=now_on(account, subscription.test_clock),
        phases=(
            objects.SchedulePhase(
                period=subscription.span,
                prices={item.price.price_id: item.quantity for item in subscription.items},
                currency=subscription.currency,
            ),
        ),
        end_behavior="release" if subscription.cancel_at is None else "cancel",
        metadata=merged_metadata({}, params),
        flexible_billing=subscription.flexible_billing,
        test_clock=subscription.test_clock,
    )
    schedule = account.create(schedule)
    account.update(attrs.evolve(subscription, schedule_id=schedule.schedule_id))
    return schedule


def _replaced(
    account: Account, schedule: objects.SubscriptionSchedule, given: list[Params]
) -> tuple[tuple[objects.SchedulePhase, ...], int]:
    """Return the phases of an update, and the position of the current one. Past phases may be left out."""
    now = now_on(account, schedule.test_clock)
    if not given:
        raise invalid("You must pass at least one phase.", param="phases")
    start = given[0].get("start_date")
    if start is None:
        raise invalid("You must pass `start_date` for the first phase.", param="phases[0][start_date]")
    current = schedule.phases[schedule.current_phase]
    first = now if start == "now" else start
    if schedule.status == "active" and first > current.period.start and start != "now":
        raise refused("You can not modify the start date of the current phase.", param="phases[0][start_date]")
    phases = _phases(account, given, first, now)
    past = tuple(phase for phase in schedule.phases[: schedule.current_phase] if phase.period.end <= first)
    everything = (*past, *phases)
    position = next((at for at, phase in enumerate(everything) if phase.period.end > now), None)
    if position is None:
        raise refused("At least one phase must end in the future.", param="phases")
    return everything, position


def _phases(account: Account, given: list[Params], start: datetime, now: datetime) -> tuple[objects.SchedulePhase, ...]:
    """Return phases that follow each other from a start on."""
    if not given:
        raise invalid("You must pass at least one phase.", param="phases")
    phases = []
    for position, each in enumerate(given):
        end = _end(account, each, start, now, f"phases[{position}]")
        prices = {}
        for number, item in enumerate(each["items"]):
            price_id = item.get("price") or item.get("plan")
            if price_id is None:
                param = f"phases[{position}][items][{number}][price]"
                raise invalid(f"Missing required param: {param}.", param=param, code="parameter_missing")
            price = account.get(objects.Price, price_id, f"phases[{position}][items][{number}][price]")
            prices[price.price_id] = None if price.metered else item.get("quantity", 1)
            currency = price.currency
        phases.append(
            objects.SchedulePhase(
                period=objects.Span(start, end),
                prices=prices,
                currency=currency,
                proration_behavior=each.get("proration_behavior", "create_prorations"),
                metadata=merged_metadata({}, each),
            )
        )
        start = end
    return tuple(phases)


def _end(account: Account, phase: Params, start: datetime, now: datetime, param: str) -> datetime:
    """Return the end of a phase; without one of its own, it lasts one period of its first price."""
    if "end_date" in phase and "duration" in phase:
        raise invalid("You may only specify one of `end_date` and `duration`.", param=f"{param}[end_date]")
    if "end_date" in phase:
        end: datetime = now if phase["end_date"] == "now" else phase["end_date"]
        if end <= start:
            raise refused("The phase must end after it starts.", param=f"{param}[end_date]")
        return end
    if not phase["items"]:
        raise invalid("You must pass at least one item.", param=f"{param}[items]")
    if "duration" in phase:
        return later(start, phase["duration"]["interval"], phase["duration"].get("interval_count", 1))
    first = phase["items"][0]
    price = account.get(objects.Price, first.get("price") or first.get("plan") or "", f"{param}[items][0][price]")
    return later(start, price.interval, price.interval_count * phase.get("iterations", 1))


def _check_live(schedule: objects.SubscriptionSchedule, verb: str) -> None:
    if schedule.status not in ("active", "not_started"):
        raise refused(
            f"You cannot {verb} a subscription schedule that is in the `{schedule.status}` status. It must be in the "
            "`active` or `not_started` status."
        )


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/subscription_schedules", create, CREATE),
        Route(
            "GET",
            "/v1/subscription_schedules",
            listed,
            listing(customer=TEXT, scheduled=BOOLEAN, created=Period()),
        ),
        Route("GET", "/v1/subscription_schedules/{id}", retrieve),
        Route("POST", "/v1/subscription_schedules/{id}", update, UPDATE),
        Route("POST", "/v1/subscription_schedules/{id}/release", release, Form(preserve_cancel_date=BOOLEAN)),
        Route("POST", "/v1/subscription_schedules/{id}/cancel", cancel, Form(invoice_now=BOOLEAN, prorate=BOOLEAN)),
    ],
    due=[Due(source=objects.SubscriptionSchedule, tasks=schedules.due)],
)
