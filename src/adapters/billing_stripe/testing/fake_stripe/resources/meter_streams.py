"""Reports of usage in the second generation: one by one, or many at once through a session."""

from billing_stripe.testing import metering, objects
from billing_stripe.testing.fake_stripe.errors import Json
from billing_stripe.testing.fake_stripe.forms import INSTANT, Form, Listed, Required, Text
from billing_stripe.testing.fake_stripe.meter_sessions import LASTS, STREAM, open_session
from billing_stripe.testing.fake_stripe.resources.meter_events import Payload, record
from billing_stripe.testing.fake_stripe.routing import Call, Resource, Route

EVENT = Form(event_name=Required(Text(100)), payload=Required(Payload()), identifier=Text(100), timestamp=INSTANT)
SEND = Form(events=Required(Listed(EVENT, longest=100)))


def create(call: Call) -> Json:
    """POST /v2/billing/meter_events"""
    return metering.newer_meter_event(record(call, call.params))


def begin(call: Call) -> Json:
    """POST /v2/billing/meter_event_session"""
    token, ends_at = open_session(call.account)
    session_id = call.account.new_id("mes_test")
    return metering.meter_event_session(session_id, token, objects.Span(ends_at - LASTS, ends_at))


def send(call: Call) -> Json:
    """POST /v2/billing/meter_event_stream: Stripe checks the events later, the fake at once, and takes all or none."""
    for params in call.params["events"]:
        record(call, params)
    return {}


RESOURCE = Resource(
    routes=[
        Route("POST", "/v2/billing/meter_events", create, EVENT),
        Route("POST", "/v2/billing/meter_event_session", begin),
        Route("POST", STREAM, send, SEND),
    ],
)
