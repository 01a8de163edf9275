"""The wire schema: what is written is read back, on one line, and both encoders write the same bytes."""

import importlib.util
import json
import sys
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.wire_schema import words_of
from billing_core import converters
from billing_core.payloads import (
    AccessSection,
    AdjustmentSection,
    BillingEventPayload,
    GrantSection,
    InvoiceSection,
    ItemSection,
    PaymentMethodSection,
    PeriodSection,
    ScheduledChangeSection,
    SourceSection,
    StatePayload,
    SubscriptionSection,
    UsageSection,
    dumps,
    loads,
)

HOSTILE = st.sampled_from(
    ["", "\r\n", "\x00", "\x7f\x1b[31m", "\u2028\u2029\x85", '"\\/', "</script>", "data: x\n\n", "💶 日本", "\ufeff"]
)
TEXT = HOSTILE | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.integers(-(2**63), 2**63 - 1)
INSTANT = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis asks for naive bounds


def section(cls: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw instances of a section, each field by its type unless a strategy is given."""
    by_type: dict[str, st.SearchStrategy[Any]] = {
        "str": TEXT,
        "int": NUMBER,
        "bool": st.booleans(),
        "datetime": INSTANT,
    }
    drawn = {}
    for field in attrs.fields(cls):
        if field.name in fields:
            continue
        if (words := words_of(field.type)) is not None:
            drawn[field.name] = st.sampled_from(words)
        else:
            name = field.type.__name__ if isinstance(field.type, type) else str(field.type)
            base = name.removesuffix(" | None").rsplit(".", 1)[-1]
            drawn[field.name] = by_type[base] | st.none() if name.endswith("| None") else by_type[base]
    return st.builds(cls, **drawn, **fields)


ITEMS = st.lists(section(ItemSection), max_size=3).map(tuple)
SCHEDULED = st.lists(section(ScheduledChangeSection), max_size=2).map(tuple)
SUBSCRIPTIONS = section(
    SubscriptionSection,
    items=ITEMS,
    scheduled_changes=SCHEDULED,
    default_payment_method=st.none() | section(PaymentMethodSection),
)
INVOICES = section(InvoiceSection)
USAGE = st.lists(section(UsageSection), max_size=2).map(tuple)
PAYLOADS = section(
    BillingEventPayload,
    source=section(SourceSection),
    subscription=st.none() | SUBSCRIPTIONS,
    invoice=st.none() | INVOICES,
    usage=USAGE,
    access=section(AccessSection),
    period=st.none() | section(PeriodSection),
)
STATES = section(
    StatePayload,
    subscriptions=st.lists(SUBSCRIPTIONS, max_size=2).map(tuple),
    invoices=st.lists(INVOICES, max_size=2).map(tuple),
    usage=USAGE,
    access=section(AccessSection),
    grants=st.lists(section(GrantSection), max_size=2).map(tuple),
    features=st.lists(TEXT, max_size=2).map(tuple),
)
ADJUSTMENTS = section(AdjustmentSection)


def reference(value: Any) -> Any:
    """Return a value as plain JSON, built independently of the converter."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        return [reference(member) for member in value]
    if attrs.has(type(value)):
        return {field.name: reference(getattr(value, field.name)) for field in attrs.fields(type(value))}
    return value


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    """The JSON module as it is where orjson is not installed."""
    spec = importlib.util.spec_from_file_location("converters_without_orjson", converters.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "orjson", None)
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
    assert not hasattr(module, "orjson")
    assert hasattr(converters, "orjson")
    return module


@given(payload=PAYLOADS)
def test_a_payload_is_read_back_as_it_was_written(payload: BillingEventPayload, plain: ModuleType) -> None:
    """Its strings may hold anything; with either encoder, as text and as bytes."""
    text = dumps(payload)
    assert loads(text) == payload
    assert loads(text.encode()) == payload
    assert plain.loads(text, BillingEventPayload) == payload


@given(value=PAYLOADS | STATES | ADJUSTMENTS)
def test_both_encoders_write_the_same_line(value: Any, plain: ModuleType) -> None:
    """The bytes in the history do not depend on what is installed, and no line break is among them."""
    text = converters.dumps(value)
    assert plain.dumps(value) == text
    assert text == json.dumps(reference(value), ensure_ascii=False, separators=(",", ":"))
    assert "\n" not in text
    assert "\r" not in text


@given(payload=PAYLOADS)
def test_the_wire_form_is_made_of_plain_json(payload: BillingEventPayload) -> None:
    """Every field is there, under its own name."""
    wire = json.loads(dumps(payload))
    assert list(wire) == [field.name for field in attrs.fields(BillingEventPayload)]
    assert wire["occurred_at"].endswith("Z")


def written(**fields: Any) -> str:
    """Return a small payload as JSON, with some fields replaced."""
    payload = BillingEventPayload(
        schema_version=2,
        sequence=7,
        tenant_id="acme",
        event_type="customer.linked",
        source=SourceSection(kind="webhook", id="evt_1"),
        stripe_event_id="evt_1",
        occurred_at=datetime(2026, 3, 1, tzinfo=UTC),
        summary="",
        status=None,
        subscription=None,
        invoice=None,
        usage=(),
        access=AccessSection(state="full", reason="active", until=None),
    )
    return json.dumps({**json.loads(dumps(payload)), **fields})


def test_fields_of_later_revisions_are_ignored() -> None:
    """Old readers continue to work while new writers send more."""
    access = {"state": "grace", "reason": "past_due", "until": None, "added_later": 1}
    assert loads(written(added_later={"x": 1}, access=access)).access.state == "grace"


@pytest.mark.parametrize(
    "damage",
    [
        {"sequence": None},
        {"sequence": "x"},
        {"occurred_at": "2026-03-01T09:30:00"},
        {"occurred_at": "now"},
        {"access": {}},
    ],
    ids=str,
)
def test_a_damaged_payload_is_refused(damage: dict[str, Any]) -> None:
    """An instant without a time zone counts as damage."""
    assert loads(written()).sequence == 7
    with pytest.raises((ValueError, KeyError, TypeError)):
        loads(written(**damage))
