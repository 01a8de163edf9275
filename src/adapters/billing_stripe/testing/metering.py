"""Meters and what they count, rendered as Stripe's JSON objects. They look the same in all API versions."""

from decimal import Decimal

from billing_stripe.testing import objects
from billing_stripe.testing.builders import Json, seconds
from billing_stripe.testing.builders.values import optional_seconds
from billing_stripe.testing.events import make_id
from billing_stripe.testing.thin import iso


def meter(source: objects.Meter) -> Json:
    """Render a `billing.meter` object."""
    return {
        "id": source.meter_id,
        "object": "billing.meter",
        "created": seconds(source.created_at),
        "customer_mapping": {"event_payload_key": source.customer_key, "type": "by_id"},
        "default_aggregation": {"formula": source.formula},
        "display_name": source.display_name,
        "event_name": source.event_name,
        "event_time_window": source.event_time_window,
        "livemode": False,
        "status": "active" if source.deactivated_at is None else "inactive",
        "status_transitions": {"deactivated_at": optional_seconds(source.deactivated_at)},
        "updated": seconds(source.updated_at),
        "value_settings": {"event_payload_key": source.value_key},
    }


def meter_event(source: objects.MeterEvent) -> Json:
    """Render a `billing.meter_event` object, which has no id."""
    return {
        "object": "billing.meter_event",
        "created": seconds(source.created_at),
        "event_name": source.event_name,
        "identifier": source.identifier,
        "livemode": False,
        "payload": dict(source.payload),
        "timestamp": seconds(source.used_at),
    }


def newer_meter_event(source: objects.MeterEvent) -> Json:
    """Render a `v2.billing.meter_event` object."""
    times = {"created": iso(source.created_at), "timestamp": iso(source.used_at)}
    return {**meter_event(source), **times, "object": "v2.billing.meter_event"}


def meter_event_session(session_id: str, token: str, span: objects.Span) -> Json:
    """Render a `v2.billing.meter_event_session` object with its token."""
    return {
        "id": session_id,
        "object": "v2.billing.meter_event_session",
        "authentication_token": token,
        "created": iso(span.start),
        "expires_at": iso(span.end),
        "livemode": False,
    }


def meter_event_adjustment(source: objects.MeterEvent) -> Json:
    """Render the `billing.meter_event_adjustment` object that withdraws an event."""
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": source.identifier},
        "event_name": source.event_name,
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }


def meter_event_summary(source: objects.Meter, customer_id: str, period: objects.Span, value: Decimal) -> Json:
    """Render a `billing.meter_event_summary` object."""
    return {
        "id": make_id("mtrusg", source.meter_id, customer_id, period),
        "object": "billing.meter_event_summary",
        "aggregated_value": int(value) if value == int(value) else float(value),
        "end_time": seconds(period.end),
        "livemode": False,
        "meter": source.meter_id,
        "start_time": seconds(period.start),
    }
