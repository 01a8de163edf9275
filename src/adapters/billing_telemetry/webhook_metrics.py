"""Metrics of webhooks: from the request to the stored event."""

import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

from billing_core.errors import SignatureFault
from billing_core.events import ProviderEvent
from billing_core.oversight.delays import DELAY_BOUNDS
from billing_telemetry.declaring import Bounded, Declarations, Label

REFUSED: Final = (
    "bad_signature",
    "stale_signature",
    "malformed_event",
    "too_large",
    "unsupported_encoding",
    "read_timeout",
    "broken_body",
    "too_many_refusals",
)
"""Results of webhooks that are refused before their type is known."""
_STORED: Final = ("accepted", "duplicate", "store_unavailable", "dispatch_failed")
_KIB: Final = 1024
_SIZES: Final = tuple(_KIB * 4**power for power in range(9))
"""1 KiB to 64 MiB."""
_ANSWERS: Final = ("2xx", "4xx", "5xx")


class WebhookMetrics:
    """Counts webhooks by what became of them."""

    def __init__(
        self, declare: Declarations, *, event_types: Collection[str] = (), api_versions: Sequence[str] = ()
    ) -> None:
        """Types and versions that are not among these are counted as `other`."""
        types, known = tuple(sorted(event_types)), tuple(api_versions)
        self._webhooks = declare.counter(
            "stripe_webhook_events_total",
            "Webhooks by event type and result. `dispatch_failed` counts failed attempts at events that were stored.",
            Label("event_type", (*types, "other", "unknown"), "The handled types, and `unknown` for refused webhooks."),
            Label("result", (*_STORED, *REFUSED)),
            born=[
                *((event_type, result) for event_type in (*types, "other") for result in _STORED),
                *(("unknown", result) for result in REFUSED),
            ],
        )
        self._event_type = Bounded(types)
        self._answers = declare.counter(
            "billing_webhook_responses_total",
            "Answers to POST /webhooks/stripe. 4xx is the sender's fault, 5xx ours.",
            Label("status", _ANSWERS),
        )
        self._answered = declare.histogram("billing_webhook_response_seconds", "Time to answer a webhook.")
        self._failures = declare.counter(
            "stripe_webhook_signature_failures_total",
            "Webhooks whose signature header is missing, repeated or malformed, matches no secret, or has a timestamp "
            "that is too old (stale) or too far ahead (early).",
            Label("cause", [fault.value for fault in SignatureFault]),
        )
        self._refused_bytes = declare.histogram(
            "stripe_webhook_refused_bytes",
            "Sizes of the bodies of refused webhooks, as far as they are known.",
            Label("reason", REFUSED),
            buckets=_SIZES,
        )
        self._versions = declare.counter(
            "stripe_webhook_api_versions_total",
            "Stored events by API version: `between` is one within the tested range that is not tested itself, `other` "
            "is outside of it.",
            Label("api_version", (*known, "between", "other", "none"), "The tested versions."),
        )
        self._tested = known
        self._delay = declare.histogram(
            "billing_event_to_stored_seconds",
            "From the event's creation at Stripe, in whole seconds, to our commit. Delays and repeats of Stripe show.",
        )
        self.storing = declare.histogram(
            "billing_received_to_stored_seconds",
            "From the verified signature of a new event to its commit.",
            buckets=DELAY_BOUNDS,
        )
        self._stored_at = 0.0
        declare.read(
            "stripe_webhook_last_stored_timestamp_seconds",
            "Time at which this process stored its last new event (Unix time); zero if there was none.",
            lambda: self._stored_at,
        )
        fingerprints = Label("secret", others="A fingerprint, from the start.")
        self._secret_matches = declare.counter(
            "stripe_webhook_secret_matches_total",
            "Webhooks signed with a secret, by its fingerprint; both while one replaces another.",
            fingerprints,
        )
        self._secret_matched = declare.gauge(
            "stripe_webhook_secret_last_match_timestamp_seconds",
            "Time of the last webhook signed with a secret (Unix time); zero if there was none.",
            fingerprints,
        )
        self._matched_at: dict[str, float] = {}

    def webhook_stored(self, event: ProviderEvent, result: str, *, seconds: float) -> None:
        """Count a verified webhook: `accepted`, `duplicate`, or the code of the error that prevented its storage."""
        self._webhooks(self._event_type(event.type), result).inc()
        if result == "accepted":
            self._stored_at = now = time.time()
            self.storing.observe(seconds)
            self._delay.observe(now - event.created_at.timestamp())
            self._versions(self._version(event.api_version)).inc()

    def webhook_answered(self, status: int, seconds: float) -> None:
        """Count and time an answer."""
        self._answers(f"{status // 100}xx").inc()
        self._answered.observe(seconds)

    def webhook_refused(self, reason: str, *, fault: SignatureFault | None = None, size: int | None = None) -> None:
        """Count a webhook that was refused before its type was known; `size` is that of its body in bytes."""
        self._webhooks("unknown", reason).inc()
        if fault is not None:
            self._failures(fault.value).inc()
        if size is not None:
            self._refused_bytes.observe(size, reason)

    def dispatch_failed(self, event_type: str) -> None:
        """Count a failed attempt at a stored event."""
        self._webhooks(self._event_type(event_type), "dispatch_failed").inc()

    def webhook_secrets_configured(self, fingerprints: Sequence[str]) -> None:
        """Show the signing secrets that this process verifies with, before anything matched them."""
        for fingerprint in fingerprints:
            self._secret_matches(fingerprint)
            self._matched_at[fingerprint] = 0.0
            self._secret_matched(fingerprint).set_function(partial(self._matched_at.__getitem__, fingerprint))

    def webhook_secrets_matched(self, fingerprints: Sequence[str]) -> None:
        """Count a webhook for every secret that it was signed with, all at the same time."""
        now = time.time()
        for fingerprint in fingerprints:
            self._secret_matches(fingerprint).inc()
            self._matched_at[fingerprint] = now

    def _version(self, version: str | None) -> str:
        tested = self._tested
        if version is None:
            return "none"
        if version in tested:
            return version
        return "between" if tested and tested[0] < version < tested[-1] else "other"
