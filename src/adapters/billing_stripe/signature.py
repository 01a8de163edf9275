"""Stripe's webhook signature.

Source: https://docs.stripe.com/webhooks#verify-manually. We do not use the SDK's code: it raises TypeError,
AttributeError and RecursionError for hostile input, accepts timestamps from the future, and builds a tree of objects.
"""

import hmac
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from billing_core.errors import (
    ConfigurationError,
    SignatureFault,
    SignatureVerificationError,
    StaleSignatureError,
)
from billing_core.events import ProviderEvent
from billing_core.state.ports import Clock
from billing_stripe.envelope import read_envelope

_MAX_SIGNATURES = 8
"""Stripe sends one signature per active secret, at most two; the limit bounds the work a forger can cause."""
_MAX_TIMESTAMP_DIGITS = 12


class StripeWebhookVerifier:
    """A `WebhookVerifier` that accepts any of the endpoint's secrets, within `tolerance` of now in either direction.

    `on_match` is called with the positions of the secrets that a webhook was signed with: while one replaces another,
    Stripe signs with both. It also gets how many seconds our clock is ahead of the signature's timestamp.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        tolerance: timedelta,
        clock: Clock,
        on_match: Callable[[Sequence[int], float], None] | None = None,
    ) -> None:
        if not secrets or any(not secret or secret != secret.strip() for secret in secrets):
            raise ConfigurationError("STRIPE_WEBHOOK_SECRET must hold signing secrets (whsec_…) without blanks")
        if tolerance <= timedelta(0):
            raise ConfigurationError("the tolerance for webhook timestamps must be positive")
        self._keys = tuple(secret.encode() for secret in secrets)
        self._tolerance = tolerance.total_seconds()
        self._clock = clock
        self._on_match = on_match

    def verify(self, body: bytes, signature: str) -> ProviderEvent:
        """See WebhookVerifier."""
        received_at = self._clock.now()
        timestamp, candidates = _read_header(signature)
        slots = self._matching_slots(timestamp + b"." + body, candidates)
        if not slots:
            raise SignatureVerificationError("no secret matches the signature")
        ahead = received_at.timestamp() - int(timestamp)
        if abs(ahead) > self._tolerance:
            fault = SignatureFault.STALE if ahead > 0 else SignatureFault.EARLY
            raise StaleSignatureError("the signature's timestamp is too far from now", fault=fault)
        if self._on_match is not None:
            self._on_match(slots, ahead)
        return read_envelope(body, received_at, slots[0])

    def is_plausible(self, signature: str) -> bool:
        """See `billing_core.inbox.ports.WebhookVerifier`."""
        try:
            timestamp, _ = _read_header(signature)
        except SignatureVerificationError:
            return False
        return abs(self._clock.now().timestamp() - int(timestamp)) <= self._tolerance

    def _matching_slots(self, signed: bytes, candidates: Sequence[bytes]) -> list[int]:
        """Return the indexes of the secrets that match a candidate; compare all of them, for constant time."""
        slots: list[int] = []
        for index, key in enumerate(self._keys):
            expected = hmac.digest(key, signed, "sha256").hex().encode()
            if sum(hmac.compare_digest(expected, candidate) for candidate in candidates):
                slots.append(index)
        return slots


def sign(body: bytes, secret: str, timestamp: datetime) -> str:
    """Return the `Stripe-Signature` header of a body that is sent at `timestamp`."""
    seconds = int(timestamp.timestamp())
    digest = hmac.digest(secret.encode(), f"{seconds}.".encode() + body, "sha256").hex()
    return f"t={seconds},v1={digest}"


def _read_header(header: str) -> tuple[bytes, list[bytes]]:
    """Return the timestamp as signed and the `v1` signatures of `t=<unix>,v1=<hex>[,v1=<hex>]…`."""
    if not header:
        raise SignatureVerificationError("there is no signature header", fault=SignatureFault.MISSING)
    if not header.isascii():
        raise _malformed("the signature header is not ASCII")
    timestamps: list[bytes] = []
    candidates: list[bytes] = []
    for part in header.encode().split(b","):
        scheme, _, value = part.partition(b"=")
        if scheme == b"v1":
            candidates.append(value)
        elif scheme == b"t":
            timestamps.append(value)
    if len(timestamps) != 1 or not timestamps[0].isdigit() or len(timestamps[0]) > _MAX_TIMESTAMP_DIGITS:
        raise _malformed("the signature header has no usable timestamp")
    if not candidates:
        raise _malformed("the signature header has no v1 signature")
    return timestamps[0], candidates[:_MAX_SIGNATURES]


def _malformed(reason: str) -> SignatureVerificationError:
    return SignatureVerificationError(reason, fault=SignatureFault.MALFORMED)
