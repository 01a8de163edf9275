"""Any signed body is accepted or refused as malformed, and an accepted one is finished at the first attempt."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.core.conftest import AT, Loop
from tests.unit.stripe.test_translate_hostile import ANYTHING, damaged, places

from billing_core.errors import MalformedEventError
from billing_core.events import Disposition, ReceiptStatus
from billing_core.inbox.intake import Intake
from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.testing import encode, fixtures, samples, sign
from billing_stripe.translate import TRANSLATORS, StripeTranslator

pytestmark = pytest.mark.stripe

SECRET = "whsec_any"
ENDS = {Disposition.APPLIED, Disposition.IGNORED, Disposition.PARKED, Disposition.DEAD}
untimed = settings(deadline=None)

EVENTS = [
    event | {"livemode": True}
    for version in (fixtures.FIXTURE_VERSIONS[0], fixtures.FIXTURE_VERSIONS[-1])
    for type_ in samples.SAMPLES
    if (event := samples.sample_event(type_, version)) is not None
]
TYPES = st.sampled_from(sorted(TRANSLATORS)) | st.text(max_size=20)


@st.composite
def damaged_events(draw: st.DrawFn) -> bytes:
    """Events of any type with arbitrary values in some places."""
    event: Any = draw(st.sampled_from(EVENTS)) | {"id": f"evt_damaged{draw(st.integers(0, 10))}"}
    for _ in range(draw(st.integers(1, 3))):
        event = damaged(event, draw(st.sampled_from(list(places(event))[1:])), draw(ANYTHING))
    return json.dumps(event).encode()


@st.composite
def enveloped(draw: st.DrawFn) -> bytes:
    """Valid envelopes around arbitrary content."""
    envelope = {
        "id": "evt_1",
        "object": draw(st.sampled_from(["event", "v2.core.event"]) | ANYTHING),
        "type": draw(TYPES),
        "created": draw(st.integers(0, 2**63 - 1)),
        "livemode": True,
        "data": draw(ANYTHING | st.fixed_dictionaries({"object": ANYTHING, "previous_attributes": ANYTHING})),
        "related_object": draw(ANYTHING),
    }
    return json.dumps(envelope).encode()


async def assert_it_comes_to_an_end(*bodies: bytes) -> None:
    """Each event alone and after the others, which it may contradict."""
    loop = Loop(translator=StripeTranslator())
    verifier = StripeWebhookVerifier((SECRET,), tolerance=timedelta(minutes=5), clock=loop.clock)
    intake = Intake(verifier=verifier, inbox=loop.inbox)
    for body in bodies:
        try:
            receipt = await intake.receive(body, sign(body, SECRET, AT))
        except MalformedEventError:
            continue
        assert receipt.status in ReceiptStatus
        while await loop.work():  # an event may release others that waited for it
            pass
    for row in loop.database.tables.dispatch.values():
        assert row.disposition in ENDS, row.error
        assert row.reason != "bug", row.error
        assert row.attempt <= 2  # a second time if it waited for a link or an object


@untimed
@given(body=st.binary() | ANYTHING.map(lambda value: json.dumps(value).encode()))
@example(body=b"[" * 100_000)
@example(body=b'{"id": "evt_1", "type": "invoice.paid", "livemode": true, "created": 1, "data": ' + b"9" * 5_000 + b"}")
async def test_anything_at_all(body: bytes) -> None:
    """A signature does not imply a sensible body."""
    await assert_it_comes_to_an_end(body)


@untimed
@given(body=enveloped())
async def test_anything_in_a_sound_envelope(body: bytes) -> None:
    """Events of every handled type, and of others."""
    await assert_it_comes_to_an_end(body)


@untimed
@given(bodies=st.lists(damaged_events(), min_size=1, max_size=4))
async def test_damaged_events_on_top_of_sound_ones(bodies: list[bytes]) -> None:
    """Valid events come first, so that the damaged ones can contradict stored objects."""
    await assert_it_comes_to_an_end(*SOUND, *bodies)


SOUND = [
    encode(event | {"livemode": True})
    for type_ in ("customer.created", "customer.subscription.updated", "invoice.paid", "invoice_payment.paid")
    if (event := samples.sample_event(type_, fixtures.FIXTURE_VERSIONS[-1])) is not None
]


async def test_every_fixture_is_applied_or_ignored_for_good_reason() -> None:
    """All events of a version, in the order of their files, are assigned to their tenant."""
    for version in fixtures.FIXTURE_VERSIONS:
        loop = Loop(translator=StripeTranslator())
        verifier = StripeWebhookVerifier((SECRET,), tolerance=timedelta(minutes=5), clock=loop.clock)
        intake = Intake(verifier=verifier, inbox=loop.inbox)
        for path in sorted(Path(__file__).parents[3].joinpath(fixtures.FOLDER, version).iterdir()):
            body = path.read_bytes().replace(b'"livemode": false', b'"livemode": true')
            await intake.receive(body, sign(body, SECRET, AT))
            await loop.work()
        await loop.work()
        ends = {row.event.type: row for row in loop.database.tables.dispatch.values()}
        unapplied = {type_: row.reason for type_, row in ends.items() if row.disposition is not Disposition.APPLIED}
        assert unapplied == {
            "checkout.session.async_payment_failed": "unfinished_checkout",
            "checkout.session.expired": "unfinished_checkout",
            "plan.created": "price_twin",
            "plan.deleted": "price_twin",
            "plan.updated": "price_twin",
        }
