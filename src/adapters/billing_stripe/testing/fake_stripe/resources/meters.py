"""Meters, and the sums of what they have counted."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import attrs

from billing_stripe.testing import metering, objects
from billing_stripe.testing.fake_stripe.billing.usage import aggregated, events_in
from billing_stripe.testing.fake_stripe.errors import StripeError, invalid, refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import MOMENT, TEXT, Form, Required, Text, choice, listing
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, Resource, Route

KIND = Kind(
    source=objects.Meter,
    noun="billing.meter",
    key=lambda source: source.meter_id,
    render=lambda source, api_version: metering.meter(source),
    since="2024-04-10",
)
CREATE = Form(
    default_aggregation=Required(Form(formula=Required(choice("sum", "count", "last")))),
    display_name=Required(Text(250)),
    event_name=Required(Text(100)),
    customer_mapping=Form(event_payload_key=Required(Text(100)), type=Required(choice("by_id"))),
    event_time_window=choice("day", "hour"),
    value_settings=Form(event_payload_key=Required(Text(100))),
)
UPDATE = Form(display_name=Text(250))
SUMMARIES = listing(
    customer=Required(TEXT),
    start_time=Required(MOMENT),
    end_time=Required(MOMENT),
    value_grouping_window=choice("day", "hour"),
)
_WINDOWS = {None: timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}


def create(call: Call) -> objects.Meter:
    """POST /v1/billing/meters; no other active meter may count the same events."""
    account, params = call.account, call.params
    _claim(call, params["event_name"])
    return account.create(
        objects.Meter(
            meter_id=account.new_id("mtr"),
            display_name=params["display_name"],
            event_name=params["event_name"],
            created_at=call.now,
            formula=params["default_aggregation"]["formula"],
            customer_key=params.get("customer_mapping", {}).get("event_payload_key", "stripe_customer_id"),
            value_key=params.get("value_settings", {}).get("event_payload_key", "value"),
            event_time_window=params.get("event_time_window"),
        )
    )


def retrieve(call: Call) -> objects.Meter:
    """GET /v1/billing/meters/:id"""
    return call.account.get(objects.Meter, call.id)


def update(call: Call) -> objects.Meter:
    """POST /v1/billing/meters/:id; only its name can change."""
    meter = retrieve(call)
    name = call.params.get("display_name", meter.display_name)
    return call.account.update(attrs.evolve(meter, display_name=name, updated_at=call.now))


def deactivate(call: Call) -> objects.Meter:
    """POST /v1/billing/meters/:id/deactivate; it takes no more events, and keeps those that it has."""
    meter = retrieve(call)
    if meter.deactivated_at is not None:
        raise refused("This meter is already inactive.")
    inactive = attrs.evolve(meter, deactivated_at=call.now, updated_at=call.now)
    return call.account.update(inactive, "billing.meter.deactivated")


def reactivate(call: Call) -> objects.Meter:
    """POST /v1/billing/meters/:id/reactivate"""
    meter = retrieve(call)
    if meter.deactivated_at is None:
        raise refused("This meter is already active.")
    _claim(call, meter.event_name)
    active = attrs.evolve(meter, deactivated_at=None, updated_at=call.now)
    return call.account.update(active, "billing.meter.reactivated")


def meters(call: Call) -> Listing:
    """GET /v1/billing/meters"""
    asked = select(call, objects.Meter, status=lambda meter: "inactive" if meter.deactivated_at else "active")
    return Listing(asked, KIND.noun)


def summaries(call: Call) -> Listing:
    """GET /v1/billing/meters/:id/event_summaries: one for the whole time, or one per window; none without usage."""
    account, params, meter = call.account, call.params, retrieve(call)
    customer = account.get(objects.Customer, params["customer"], "customer")
    found = []
    for period in reversed(list(_periods(call))):
        events = list(events_in(account, meter, customer.customer_id, period))
        if events:
            value = aggregated(meter, events)
            found.append(metering.meter_event_summary(meter, customer.customer_id, period, value))
    return Listing(found, "billing.meter_event_summary")


def active_meter(call: Call, event_name: str) -> objects.Meter | None:
    """Return the meter that counts events of this name, or None."""
    for meter in call.account.all(objects.Meter):
        if meter.event_name == event_name and meter.deactivated_at is None:
            return meter
    return None


def _claim(call: Call, event_name: str) -> None:
    other = active_meter(call, event_name)
    if other is not None:
        raise refused(f"There is already an active meter for event name `{event_name}`: {other.meter_id}.")


def _periods(call: Call) -> Iterator[objects.Span]:
    """Yield the periods that are asked for. Raises StripeError unless both ends are ends of windows."""
    start, end = call.params["start_time"], call.params["end_time"]
    window = call.params.get("value_grouping_window")
    step = _WINDOWS[window]
    for name in ("start_time", "end_time"):
        if call.params[name].timestamp() % step.total_seconds():
            raise _unaligned(name, window)
    if start >= end:
        raise invalid("`start_time` must be before `end_time`.", param="start_time")
    if window is None:
        step = end - start
    at: datetime = start
    while at < end:
        yield objects.Span(at, at + step)
        at += step


def _unaligned(name: str, window: str | None) -> StripeError:
    return invalid(f"`{name}` must be aligned with {window or 'minute'} boundaries in UTC.", param=name)


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/billing/meters", create, CREATE),
        Route("GET", "/v1/billing/meters", meters, listing(status=choice("active", "inactive"))),
        Route("GET", "/v1/billing/meters/{id}", retrieve),
        Route("POST", "/v1/billing/meters/{id}", update, UPDATE),
        Route("POST", "/v1/billing/meters/{id}/deactivate", deactivate),
        Route("POST", "/v1/billing/meters/{id}/reactivate", reactivate),
        Route("GET", "/v1/billing/meters/{id}/event_summaries", summaries, SUMMARIES),
    ],
)
