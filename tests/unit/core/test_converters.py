"""JSON: the bytes are frozen, because history, bus and stored records hold what earlier versions wrote."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import attrs
import pytest

from billing_core.converters import dumps, record_from_json, record_to_json, to_plain
from billing_core.events import Effect
from billing_core.model import (
    AccessState,
    AccessVerdict,
    CustomerId,
    EntitlementsSnapshot,
    InvoiceId,
    PaymentSnapshot,
    PriceId,
    PriceSnapshot,
    RecordSnapshot,
)
from billing_core.payloads import (
    AccessSection,
    AdjustmentSection,
    BillingEventPayload,
    InvoiceSection,
    ItemSection,
    SourceSection,
    StatePayload,
    SubscriptionSection,
    UsageSection,
    loads,
)

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
LATER = datetime(2026, 3, 31, 9, 30, 0, 120, tzinfo=UTC)
BILLED_ITEM = ItemSection(
    item_id="si_1",
    price_id="price_pro",
    quantity=3,
    usage_type="licensed",
    feature_key=None,
    current_period_start=AT,
    current_period_end=LATER,
)
SUBSCRIPTION = SubscriptionSection(
    subscription_id="sub_1",
    customer_id="cus_1",
    status="active",
    plan_code="pro",
    price_id="price_pro",
    seat_count=3,
    auto_renew=True,
    cancel_at_period_end=False,
    current_period_start=AT,
    current_period_end=LATER,
    trial_ends_at=None,
    cancel_at=None,
    canceled_at=None,
    ended_at=None,
    collection_paused=False,
    currency="usd",
    items=(BILLED_ITEM,),
)
INVOICE = InvoiceSection(
    invoice_id="in_1",
    subscription_id="sub_1",
    customer_id=None,
    number='Ä-1\u2028"\\</script>',
    status="open",
    amount_due=1999,
    amount_paid=-(2**63),
    amount_remaining=2**63 - 1,
    total=1999,
    tax=0,
    currency="usd",
    billing_reason=None,
    collection_method=None,
    hosted_invoice_url="https://invoice.example/1?a=b&c",
    period_start=AT,
    period_end=LATER,
    due_at=None,
    paid_at=None,
    attempt_count=0,
    next_payment_attempt_at=None,
)
USAGE_LINE = UsageSection(
    feature_key="api_calls",
    quantity=120,
    quantity_decimal="120.5",
    amount=240,
    currency="jpy",
    period_start=AT,
    period_end=None,
    invoice_id="in_1",
    line_id="il_1",
)
ACCESS = AccessSection(state="grace", reason="past_due", until=LATER)
MESSAGE = BillingEventPayload(
    schema_version=2,
    sequence=7,
    tenant_id="acme",
    event_type="invoice.finalized",
    source=SourceSection(kind="webhook", id="evt_1"),
    stripe_event_id="evt_1",
    occurred_at=AT,
    summary="\r\n\t\x00\x7f 💶",
    status="open",
    subscription=None,
    invoice=INVOICE,
    usage=(USAGE_LINE,),
    access=ACCESS,
)
STATE = StatePayload(
    tenant_id="acme",
    sequence=7,
    position="7",
    access=ACCESS,
    subscriptions=(SUBSCRIPTION,),
    invoices=(),
    usage=(),
    features=("api", "sso"),
)
ADJUSTMENT = AdjustmentSection(
    kind="refund", adjustment_id="re_1", status="failed", amount=500, currency="usd", observed_at=LATER
)
MESSAGE_JSON = (
    '{"schema_version":2,"sequence":7,"tenant_id":"acme","event_type":"invoice.finalized",'
    '"source":{"kind":"webhook","id":"evt_1"},"stripe_event_id":"evt_1","occurred_at":"2026-03-01T09:30:00Z",'
    '"summary":"\\r\\n\\t\\u0000\x7f \U0001f4b6","status":"op'
    'en","subscription":null,"invoice":{"invoice_id":"in_1","subscription_id":"sub_1","customer_id":null,'
    '"number":"\xc4-1\u2028\\"\\\\</script>","status":"open","amount_due":1999,"amount_paid":-922337203685477'
    '5808,"amount_remaining":9223372036854775807,"total":1999,"tax":0,"currency":"usd","billing_reason":n'
    'ull,"collection_method":null,"hosted_invoice_url":"https://invoice.example/1?a=b&c","period_start":"'
    '2026-03-01T09:30:00Z","period_end":"2026-03-31T09:30:00.000120Z","due_at":null,"paid_at":null,"attem'
    'pt_count":0,"next_payment_attempt_at":null,"subtotal":null,"created_at":null,"finalized_at":null,'
    '"invoice_pdf":null},"usage":[{"feature_key":"api_calls","quantity":120,"quan'
    'tity_decimal":"120.5","amount":240,"currency":"jpy","period_start":"2026-03-01T09:30:00Z","period_end":null,"invoice_id":"in_1"'
    ',"line_id":"il_1"}],"access":{"state":"grace","reason":"past_due","until":"2026-03-31T09:30:00.00012'
    '0Z"},"period":null}'
)
STATE_JSON = (
    '{"tenant_id":"acme","sequence":7,"position":"7","access":{"state":"grace","reason":"past_due","until'
    '":"2026-03-31T09:30:00.000120Z"},"subscriptions":[{"subscription_id":"sub_1","customer_id":"cus_1","'
    'status":"active","plan_code":"pro","price_id":"price_pro","seat_count":3,"auto_renew":true,"cancel_a'
    't_period_end":false,"current_period_start":"2026-03-01T09:30:00Z","current_period_end":"2026-03-31T0'
    '9:30:00.000120Z","trial_ends_at":null,"cancel_at":null,"canceled_at":null,"ended_at":null,"collectio'
    'n_paused":false,"currency":"usd","items":[{"item_id":"si_1","price_id":"price_pro","quantity":3,"usa'
    'ge_type":"licensed","feature_key":null,"current_period_start":"2026-03-01T09:30:00Z","current_period'
    '_end":"2026-03-31T09:30:00.000120Z"}],"interval":null,"interval_count":null,"unit_amount":null,'
    '"unit_amount_decimal":null,"collection_method":null,"cancellation_reason":null,'
    '"cancellation_feedback":null,"scheduled_changes":[],'
    '"default_payment_method":null}],"invoices":[],"usage":[],"features":["api","sso"],"grants":[]}'
)
ADJUSTMENT_JSON = (
    '{"kind":"refund","adjustment_id":"re_1","status":"failed","amount":500,"amount_refunded":null,"curre'
    'ncy":"usd","reason":null,"disputed":false,"invoice_id":null,"payment_id":null,"charge_id":null,"obse'
    'rved_at":"2026-03-31T09:30:00.000120Z"}'
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(MESSAGE, MESSAGE_JSON), (STATE, STATE_JSON), (ADJUSTMENT, ADJUSTMENT_JSON)],
    ids=["message", "state", "adjustment"],
)
def test_payloads_are_written_byte_for_byte_as_ever(value: Any, text: str) -> None:
    """Order of fields, instants, escapes and the ends of 64-bit integers."""
    assert dumps(value) == text


FIRST_REVISION = (
    '{"schema_version":1,"sequence":7,"tenant_id":"acme","event_type":"subscription.created","stripe_event_id":"evt_1",'
    '"occurred_at":"2026-03-01T09:30:00Z","summary":"","status":"active","subscription":{"subscription_id":"sub_1",'
    '"customer_id":"cus_1","status":"active","plan_code":"pro","price_id":"price_pro","seat_count":3,"auto_renew":true,'
    '"cancel_at_period_end":false,"current_period_start":"2026-03-01T09:30:00Z",'
    '"current_period_end":"2026-03-31T09:30:00.000120Z","trial_ends_at":null,"cancel_at":null,"canceled_at":null,'
    '"ended_at":null,"collection_paused":false,"currency":"usd","items":[{"item_id":"si_1","price_id":"price_pro",'
    '"quantity":3,"usage_type":"licensed","feature_key":null,"current_period_start":"2026-03-01T09:30:00Z",'
    '"current_period_end":"2026-03-31T09:30:00.000120Z"}]},"invoice":{"invoice_id":"in_1","subscription_id":"sub_1",'
    '"customer_id":null,"number":null,"status":"open","amount_due":1999,"amount_paid":0,"amount_remaining":1999,'
    '"total":1999,"tax":0,"currency":"usd","billing_reason":null,"collection_method":null,"hosted_invoice_url":null,'
    '"period_start":null,"period_end":null,"due_at":null,"paid_at":null,"attempt_count":0,'
    '"next_payment_attempt_at":null},"usage":[{"feature_key":"api_calls","quantity":120,"amount":240,"currency":"jpy",'
    '"period_start":null,"period_end":null,"invoice_id":"in_1","line_id":"il_1"}],'
    '"access":{"state":"full","reason":"active","until":null}}'
)
"""A message as the first revision of the schema wrote it. Never changes, whatever fields are added."""


def test_messages_of_the_first_revision_are_read() -> None:
    """The history keeps them forever, so a field that is added later needs a default."""
    message = loads(FIRST_REVISION)
    assert message.subscription == SUBSCRIPTION
    assert message.invoice is not None
    assert (message.invoice.invoice_id, message.usage[0].line_id) == ("in_1", "il_1")


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (
            PaymentSnapshot(
                payment_id="pi_1", invoice_id=InvoiceId("in_1"), amount_paid=1900, currency="usd", status="paid"
            ),
            ('{"payment_id":"pi_1","invoice_id":"in_1","amount_paid":1900,"currency":"usd","status":"paid"}'),
        ),
        (
            EntitlementsSnapshot(customer_id=CustomerId("cus_1"), features=("sso", "\xe4\u2028pi", "\x1f")),
            ('{"customer_id":"cus_1","features":["\\u001f","sso","\xe4\u2028pi"],"complete":true}'),
        ),
        (
            PriceSnapshot(price_id=PriceId("price_1"), unit_amount=2**63 - 1, unit_amount_decimal="0.1"),
            (
                '{"price_id":"price_1","product_id":null,"lookup_key":null,"metadata":[],"usage_type":"l'
                'icensed","meter_id":null,"currency":null,"unit_amount":9223372036854775807,"unit_amount_de'
                'cimal":"0.1","active":true,"deleted":false}'
            ),
        ),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_records_are_written_byte_for_byte_as_ever(record: RecordSnapshot, text: str) -> None:
    """They are read back as they were."""
    assert record_to_json(record) == text
    assert record_from_json(record.kind, text) == record


@attrs.frozen
class Example:
    """One field of each sort that `--json` prints."""

    verdict: AccessVerdict
    effect: Effect | None
    counts: Mapping[str, int]
    instants: tuple[datetime, ...]


def test_plain_values_are_what_every_json_encoder_accepts() -> None:
    """Enums by value, mappings and tuples as dicts and lists, instants with their offset."""
    verdict = AccessVerdict(state=AccessState.FULL, reason="active", until=LATER)
    example = Example(verdict, Effect.CHANGED, MappingProxyType({"b": 2, "a": 1}), (AT,))
    plain = to_plain(example)
    assert json.loads(json.dumps(plain)) == plain
    assert plain == {
        "verdict": {
            "state": "full",
            "reason": "active",
            "until": "2026-03-31T09:30:00.000120+00:00",
            "test_clock": None,
        },
        "effect": "changed",
        "counts": {"b": 2, "a": 1},
        "instants": ["2026-03-01T09:30:00+00:00"],
    }
    assert to_plain(None) is None
