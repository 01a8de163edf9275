"""Reports of usage, and their withdrawal.

Stripe looks into a payload after it has answered, and tells what was wrong with it in an event about the meter. The
fake looks at once and refuses, so that the test that caused it fails.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import attrs

from billing_stripe.testing import metering, objects
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.errors import Json, StripeError, invalid, refused
from billing_stripe.testing.fake_stripe.forms import MOMENT, TEXT, Form, Params, Required, Text, choice
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.resources.meters import active_meter
from billing_stripe.testing.fake_stripe.routing import Call, Resource, Route


@attrs.frozen
class Payload:
    """Keys and texts, none of them empty."""

    def read(self, value: Any, name: str) -> dict[str, str]:
        """Return them."""
        if not isinstance(value, dict):
            raise invalid("Invalid object", param=name)
        return {key: TEXT.read(text, f"{name}[{key}]") for key, text in value.items()}


KIND = Kind(
    source=objects.MeterEvent,
    noun="billing.meter_event",
    key=lambda source: _key(source.identifier),
    render=lambda source, api_version: metering.meter_event(source),
)
CREATE = Form(event_name=Required(Text(100)), payload=Required(Payload()), identifier=Text(100), timestamp=MOMENT)
ADJUST = Form(
    event_name=Required(Text(100)),
    type=Required(choice("cancel")),
    cancel=Required(Form(identifier=Required(Text(100)))),
)
_OLDEST = timedelta(days=35)
_LATEST = timedelta(minutes=5)
_WITHDRAWABLE = timedelta(hours=24)


def create(call: Call) -> objects.MeterEvent:
    """POST /v1/billing/meter_events"""
    return record(call, call.params)


def record(call: Call, params: Params) -> objects.MeterEvent:
    """Record an event; an identifier counts once, and for good. Raises StripeError."""
    account = call.account
    meter = active_meter(call, params["event_name"])
    if meter is None:
        message = f'No active meter found for event name "{params["event_name"]}".'
        raise invalid(message, param="event_name", code="resource_missing")
    identifier = params.get("identifier") or account.new_id("mtrevt")
    if account.find(objects.MeterEvent, _key(identifier)) is not None:
        raise _duplicate(identifier)
    customer_id = _given(params["payload"], meter.customer_key)
    customer = account.get(objects.Customer, customer_id, f"payload[{meter.customer_key}]")
    now = now_on(account, customer.test_clock)
    event = objects.MeterEvent(
        identifier=identifier,
        meter_id=meter.meter_id,
        event_name=meter.event_name,
        customer_id=customer.customer_id,
        value=Decimal(1) if meter.formula == "count" else _value(params["payload"], meter.value_key),
        payload=params["payload"],
        used_at=_checked(params.get("timestamp", now), now),
        created_at=now,
    )
    account.put(event)
    return event


def adjust(call: Call) -> Json:
    """POST /v1/billing/meter_event_adjustments: withdraw an event within a day after it was received."""
    account, identifier = call.account, call.params["cancel"]["identifier"]
    event = account.find(objects.MeterEvent, _key(identifier))
    if event is None or event.event_name != call.params["event_name"]:
        raise invalid(f"No such meter event: '{identifier}'", param="cancel[identifier]", code="resource_missing")
    customer = account.get(objects.Customer, event.customer_id)
    if now_on(account, customer.test_clock) - event.created_at > _WITHDRAWABLE:
        raise refused("A meter event can only be canceled within 24 hours of receiving it.", param="cancel[identifier]")
    account.put(attrs.evolve(event, canceled=True))
    return metering.meter_event_adjustment(event)


def _key(identifier: str) -> str:
    """Return the id under which an event is kept: users choose identifiers, which must not meet ids of objects."""
    return f"meter_event:{identifier}"


def _given(payload: Mapping[str, str], key: str) -> str:
    if key not in payload:
        raise invalid(f"Missing required param: payload[{key}].", param=f"payload[{key}]", code="parameter_missing")
    return payload[key]


def _value(payload: Mapping[str, str], key: str) -> Decimal:
    text = _given(payload, key)
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise invalid(f"Invalid decimal: {text}", param=f"payload[{key}]")
    return value


def _checked(at: datetime, now: datetime) -> datetime:
    """Return the time of an event. Raises StripeError if it is too old, or in the future."""
    oldest, latest = now - _OLDEST, now + _LATEST
    if at < oldest.replace(microsecond=0):
        message = (
            "The event timestamp cannot be more than 35 days in past. Expected a timestamp greater than or equal to "
            f"{int(oldest.timestamp())}."
        )
        raise invalid(message, param="timestamp")
    if at > latest:
        message = (
            "The event timestamp cannot be more than 5 minutes in the future. Expected a timestamp less than or equal "
            f"to {int(latest.timestamp())}."
        )
        raise invalid(message, param="timestamp")
    return at


def _duplicate(identifier: str) -> StripeError:
    error = invalid(f"An event already exists with identifier {identifier}.", param="identifier")
    error.headers["Stripe-Should-Retry"] = "false"
    return error


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/billing/meter_events", create, CREATE),
        Route("POST", "/v1/billing/meter_event_adjustments", adjust, ADJUST),
    ],
)
