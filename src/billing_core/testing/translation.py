"""What a WebhookVerifier and an EventTranslator must do, whoever the provider is.

Bind the suites by subclassing them with the fixtures they ask for. They need hypothesis.
"""

import json
from datetime import timedelta

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_core.errors import MalformedEventError, SignatureVerificationError, WebhookError
from billing_core.events import ProviderEvent
from billing_core.inbox.ports import WebhookVerifier
from billing_core.state.ports import EventTranslator

_CLOCK_LEEWAY = timedelta(hours=1)

over_one_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
"""Verifiers and translators keep nothing between calls, so all examples may share one. No verdict hangs on time."""

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@attrs.frozen(kw_only=True)
class Delivery:
    """A webhook that the provider signed just now, and a rightly signed one whose body is no event."""

    body: bytes
    signature: str
    garbage: bytes
    garbage_signature: str


class WebhookVerifierContract:
    """Only what the provider signed gets in, byte for byte. Fixtures: `verifier`, and a `delivery` made for it."""

    def test_a_signed_event_is_read(self, verifier: WebhookVerifier, delivery: Delivery) -> None:
        """The bytes stay as they are; the stamp is of a time that has been."""
        event = verifier.verify(delivery.body, delivery.signature)
        assert event.body == delivery.body
        assert event.event_id
        assert event.type
        assert event.created_at <= event.received_at + _CLOCK_LEEWAY

    def test_verifying_again_gives_the_same(self, verifier: WebhookVerifier, delivery: Delivery) -> None:
        """Telling a duplicate is the store's business."""
        first, second = (verifier.verify(delivery.body, delivery.signature) for _ in range(2))
        assert first == attrs.evolve(second, received_at=first.received_at)

    @over_one_fixture
    @given(data=st.data())
    def test_no_byte_may_change(self, verifier: WebhookVerifier, delivery: Delivery, data: st.DataObject) -> None:
        """Wherever it stands and whatever it becomes."""
        position = data.draw(st.integers(0, len(delivery.body) - 1))
        other = data.draw(st.integers(0, 255).filter(lambda byte: byte != delivery.body[position]))
        altered = delivery.body[:position] + bytes([other]) + delivery.body[position + 1 :]
        try:
            verifier.verify(altered, delivery.signature)
        except SignatureVerificationError:
            return
        raise AssertionError(f"accepted with byte {position} changed to {other}")

    def test_signed_garbage_is_malformed(self, verifier: WebhookVerifier, delivery: Delivery) -> None:
        """The sender is right and the content is not: another alarm than a wrong signature."""
        try:
            verifier.verify(delivery.garbage, delivery.garbage_signature)
        except MalformedEventError:
            return
        raise AssertionError("accepted a body that is no event")

    @over_one_fixture
    @given(body=st.binary(), signature=st.text(st.characters()))
    def test_nothing_but_a_webhook_error_is_raised(
        self, verifier: WebhookVerifier, body: bytes, signature: str
    ) -> None:
        """Whatever strangers send."""
        try:
            verifier.verify(body, signature)
        except WebhookError:
            return
        raise AssertionError("accepted what nobody signed")


class EventTranslatorContract:
    """Pure and unshakeable. Fixtures: `translator`, and an `update`: an event that tells what its object was before."""

    def test_an_event_says_whose_it_is_and_what_it_shows(
        self, translator: EventTranslator, update: ProviderEvent
    ) -> None:
        """An understood event is not ignored."""
        said = translator.translate(update)
        assert said.ignored is None
        assert said.customer_id is not None
        assert said.snapshots != ()

    def test_the_same_event_says_the_same(self, translator: EventTranslator, update: ProviderEvent) -> None:
        """Equal, and fit for the sets in which ties are decided."""
        assert translator.translate(update) == translator.translate(update)
        assert hash(translator.translate(update).snapshots) == hash(translator.translate(update).snapshots)

    def test_an_update_shows_the_same_object_before_it(
        self, translator: EventTranslator, update: ProviderEvent
    ) -> None:
        """Another content, the same identity."""
        now, before = translator.translate(update), translator.translate_previous(update)
        assert before is not None
        assert before.snapshots != now.snapshots
        assert {seen.object_id for seen in before.snapshots} == {seen.object_id for seen in now.snapshots}

    @over_one_fixture
    @given(type=st.text(max_size=20))
    def test_an_unknown_type_is_ignored_with_a_reason(
        self, translator: EventTranslator, update: ProviderEvent, type: str
    ) -> None:
        """Providers invent types; none of them is an error."""
        unknown = attrs.evolve(update, type=f"invented.{type}")
        said = translator.translate(unknown)
        assert said.ignored is not None
        assert (said.snapshots, said.notice) == ((), None)
        assert translator.translate_previous(unknown) is None

    @over_one_fixture
    @given(body=st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
    def test_no_body_makes_it_raise(self, translator: EventTranslator, update: ProviderEvent, body: bytes) -> None:
        """What lies in the store may be anything; what cannot be read is ignored with a reason."""
        broken = attrs.evolve(update, body=body, content=None)
        assert translator.translate(broken).ignored is not None
        assert translator.translate_previous(broken) is None
