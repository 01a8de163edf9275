"""Consumers, their patience, and the ids of messages."""

from datetime import UTC, datetime, timedelta

import pytest

from billing_core.consumers.values import Consumer, ConsumerMessage, MessageId, OnDead, consumer_name, unknown_types
from billing_core.events import BillingEventType
from billing_core.model import TenantId
from billing_core.testing.builders import ACME, message


@pytest.mark.parametrize("name", ["a", "0", "welcome-mails", "crm_2", "a" * 63])
def test_names_that_are_accepted(name: str) -> None:
    """They can be typed, are labels of metrics, and stay what they are."""
    assert consumer_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "_a", "A", "a b", "a.b", "ä", "a\n", "a" * 64])
def test_names_that_are_refused(name: str) -> None:
    """The error says which characters a name may have."""
    with pytest.raises(ValueError, match="is no name of a consumer: use up to 63"):
        Consumer(name=name)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"event_types": ()}, "at least one event type"),
        ({"event_types": ("invoice paid",)}, "'invoice paid' is no event type"),
        ({"event_types": ("invoice.[a-z]",)}, "is no event type"),
        ({"start": "yesterday"}, "start must be"),
        ({"start": datetime(2026, 1, 1)}, "start must be an aware datetime"),  # noqa: DTZ001 - that is the point
        ({"attempts": 0}, "attempts"),
        ({"timeout": timedelta(0)}, "timeout must be longer than zero"),
        ({"backoff_base": timedelta(seconds=-1)}, "backoff_base must be longer than zero"),
        ({"backoff_cap": timedelta(0)}, "backoff_cap must be longer than zero"),
        ({"on_dead": "drop"}, "drop"),
    ],
)
def test_consumers_that_are_refused(fields: dict[str, object], complaint: str) -> None:
    """Before they are registered anywhere."""
    with pytest.raises(ValueError, match=complaint.replace("[", r"\[")):
        Consumer(name="crm", **fields)


def test_one_text_is_not_taken_for_several() -> None:
    """Its characters would be types that no message has."""
    with pytest.raises(TypeError, match="must be several texts"):
        Consumer(name="crm", event_types="*")


def test_defaults_suit_most() -> None:
    """All messages from now on; a dead one holds its tenant back."""
    given = Consumer(name="crm", event_types=["*"], on_dead="hold")
    assert given == Consumer(name="crm")
    assert (given.start, given.on_dead) == ("now", OnDead.HOLD)


@pytest.mark.parametrize(
    ("glob", "wanted", "unwanted"),
    [
        ("*", ["invoice.paid", "withdrawn"], []),
        ("invoice.*", ["invoice.paid", "invoice.dispute_closed"], ["invoice", "invoicexpaid", "access.changed"]),
        ("*.canceled", ["subscription.canceled"], ["subscription.canceled_twice", "canceled"]),
        ("subscription.plan_changed", ["subscription.plan_changed"], ["subscription.planXchanged"]),
        ("invoice.*_failed", ["invoice.payment_failed"], ["invoice.paid"]),
    ],
)
def test_types_are_matched_as_a_whole(glob: str, wanted: list[str], unwanted: list[str]) -> None:
    """`*` stands for any characters, and everything else for itself."""
    consumer = Consumer(name="crm", event_types=("no.such", glob))
    assert [each for each in [*wanted, *unwanted] if consumer.wants(each)] == wanted


def test_types_that_no_message_has_are_found() -> None:
    """So that a typing error is noticed where a consumer is declared."""
    known = [each.value for each in BillingEventType]
    assert unknown_types(("*", "invoice.*", "invoice.payed", "subscripton.*"), known) == [
        "invoice.payed",
        "subscripton.*",
    ]


@pytest.mark.parametrize(("attempt", "least", "most"), [(1, 2.5, 5), (2, 5, 10), (5, 40, 80), (12, 1800, 3600)])
def test_pauses_double_up_to_a_limit(attempt: int, least: float, most: float) -> None:
    """Half of each is random, so that receivers that failed together do not come back together."""
    pauses = [Consumer(name="crm").backoff(attempt).total_seconds() for _ in range(50)]
    assert least <= min(pauses) < max(pauses) <= most


def test_the_longest_life_of_a_message_has_no_overflow() -> None:
    """However many attempts are allowed."""
    assert Consumer(name="crm").backoff(10_000) <= timedelta(hours=1)


@pytest.mark.parametrize("tenant", ["acme", "a:b", ":", "1"])
def test_ids_are_read_back(tenant: str) -> None:
    """Even if a tenant's id holds the separator."""
    given = MessageId(epoch="k3f", tenant_id=TenantId(tenant), sequence=17)
    assert str(given) == f"k3f:{tenant}:17"
    assert MessageId.parse(str(given)) == given


@pytest.mark.parametrize("text", ["", "a", "a:b", "a:b:", ":b:1", "a::1", "a:b:x", "a:b:-1", "a:b:١"])
def test_texts_that_are_no_ids(text: str) -> None:
    """Are refused."""
    with pytest.raises(ValueError, match="is no id of a message"):
        MessageId.parse(text)


def test_a_message_reads_its_content() -> None:
    """Once, as the payload that streams carry."""
    text = (
        '{"schema_version":2,"sequence":1,"tenant_id":"acme","event_type":"access.changed","source":{"kind":"clock",'
        '"id":null},"stripe_event_id":null,"occurred_at":"2026-03-01T09:30:00Z","summary":"Ended.","status":null,'
        '"subscription":null,"invoice":null,"usage":[],"access":{"state":"blocked","reason":"no_subscription",'
        '"until":null}}'
    )
    event = message(ACME, 1, event_type="access.changed", payload=text)
    received = ConsumerMessage(id=MessageId(epoch="k3f", tenant_id=ACME, sequence=1), event=event)
    assert (received.tenant_id, received.event_type, received.sequence) == (ACME, "access.changed", 1)
    assert received.payload.occurred_at == datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    assert received.payload is received.payload
