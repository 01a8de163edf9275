"""The contract of WebhookVerifier. It needs hypothesis."""

from datetime import timedelta

import attrs
from hypothesis import given
from hypothesis import strategies as st

from billing_core.errors import MalformedEventError, SignatureVerificationError, WebhookError
from billing_core.inbox.ports import WebhookVerifier
from billing_core.testing.examples import share_fixtures
from billing_core.testing.suite import Suite

_CLOCK_LEEWAY = timedelta(hours=1)


@attrs.frozen(kw_only=True)
class Delivery:
    """A webhook that the provider signed just now, and a correctly signed one whose body is not an event."""

    body: bytes
    signature: str
    garbage: bytes
    garbage_signature: str


class WebhookVerifierContract(Suite):
    """Only what the provider signed gets in, byte for byte.

    A binding provides `verifier`, and a `delivery` made for it.
    """

    def test_a_signed_event_is_read(self, verifier: WebhookVerifier, delivery: Delivery) -> None:
        """The bytes stay as they are, and the timestamp lies in the past."""
        event = verifier.verify(delivery.body, delivery.signature)
        assert event.body == delivery.body
        assert event.event_id
        assert event.type
        assert event.created_at <= event.received_at + _CLOCK_LEEWAY

    def test_verifying_again_gives_the_same(self, verifier: WebhookVerifier, delivery: Delivery) -> None:
        """Recognizing a duplicate is the inbox's business."""
        first, second = (verifier.verify(delivery.body, delivery.signature) for _ in range(2))
        assert first == attrs.evolve(second, received_at=first.received_at)

    @share_fixtures
    @given(data=st.data())
    def test_no_byte_may_change(self, verifier: WebhookVerifier, delivery: Delivery, data: st.DataObject) -> None:
        """At any position, to any value."""
        position = data.draw(st.integers(0, len(delivery.body) - 1))
        other = data.draw(st.integers(0, 255).filter(lambda byte: byte != delivery.body[position]))
        altered = delivery.body[:position] + bytes([other]) + delivery.body[position + 1 :]
        try:
            verifier.verify(altered, delivery.signature)
        except SignatureVerificationError:
            return
        raise AssertionError(f"accepted with byte {position} changed to {other}")

    def test_a_genuine_signature_is_plausible(self, verifier: WebhookVerifier, delivery: Delivery) -> None:
        """A check by it alone refuses no webhook that `verify` accepts."""
        assert verifier.is_plausible(delivery.signature)
        assert verifier.is_plausible(delivery.garbage_signature)

    def test_a_missing_signature_is_not_plausible(self, verifier: WebhookVerifier) -> None:
        """No body could make it valid."""
        assert not verifier.is_plausible("")

    def test_signed_garbage_is_malformed(self, verifier: WebhookVerifier, delivery: Delivery) -> None:
        """The sender is right and the content is not, so the alarm is another one than for a wrong signature."""
        try:
            verifier.verify(delivery.garbage, delivery.garbage_signature)
        except MalformedEventError:
            return
        raise AssertionError("accepted a body that is not an event")

    @share_fixtures
    @given(body=st.binary(), signature=st.text(st.characters()))
    def test_only_webhook_errors_are_raised(self, verifier: WebhookVerifier, body: bytes, signature: str) -> None:
        """A stranger can send any bytes and any header."""
        try:
            verifier.verify(body, signature)
        except WebhookError:
            return
        raise AssertionError("accepted an unsigned body")
