"""Outgoing webhooks as values: the secrets that sign them, the message as it is sent, and the result of an attempt.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import json
import os
from datetime import datetime, timedelta
from enum import Enum
from typing import Final
from urllib.parse import quote, urlsplit

import attrs

from billing_core.consumers.values import ConsumerName
from billing_core.model.time import aware

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - a prefix, no secret
_BYTES: Final = 32
"""Bytes of a generated secret. The specification asks for 24 to 64."""
_SHORTEST, _LONGEST = 24, 64
_LONGEST_URL: Final = 2000
_KEPT_IN_IDS: Final = ":-_.~@+"
"""Characters of a message's id that a header may carry as they are, beside letters and digits."""


def fault_of_secret(text: str) -> str | None:
    """Return why a text cannot sign webhooks, as the end of a sentence about it; None if it can. Never repeats it."""
    if not text.startswith(SECRET_PREFIX):
        return f"does not begin with {SECRET_PREFIX}"
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return f"is not base64 after {SECRET_PREFIX}"
    if not _SHORTEST <= len(key) <= _LONGEST:
        return f"has {len(key)} bytes; it takes {_SHORTEST} to {_LONGEST}"
    return None


def fault_of_url(text: str) -> str | None:
    """Return why webhooks cannot be sent to a URL, as the end of a sentence about it; None if they can.

    The addresses of its host are checked whenever it is connected to, because they may change at any time.
    """
    if len(text) > _LONGEST_URL:
        return f"is longer than {_LONGEST_URL} characters"
    if not text.isascii() or not text.isprintable() or " " in text:
        return "contains characters that must be percent-encoded"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "is not a URL"
    faults = (
        (parts.scheme not in ("http", "https"), "must begin with https://"),
        (not parts.hostname, "has no host"),
        (port == 0, "must not have the port 0"),
        (
            parts.username is not None or parts.password is not None,
            "must not contain a user or a password: receivers verify the signature",
        ),
        (bool(parts.fragment) or text.endswith("#"), "must not contain a fragment"),
    )
    return next((fault for found, fault in faults if found), None)


def _secret_text(_instance: object, _attribute: object, value: str) -> None:
    if (fault := fault_of_secret(value)) is not None:
        raise ValueError(f"the secret {fault}")


@attrs.frozen(kw_only=True)
class SigningSecret:
    """A secret that signs webhooks: `whsec_` and base64, until it expires."""

    text: str = attrs.field(validator=_secret_text, repr=False)
    created_at: datetime = attrs.field(validator=aware)
    expires_at: datetime | None = attrs.field(default=None, validator=attrs.validators.optional(aware))
    """None for the current one; the end of the overlap for a replaced one."""

    @classmethod
    def generate(cls, now: datetime) -> "SigningSecret":
        """Return a new random secret."""
        return cls(text=SECRET_PREFIX + base64.b64encode(os.urandom(_BYTES)).decode(), created_at=now)

    def signs(self, now: datetime) -> bool:
        """Tell whether it still signs."""
        return self.expires_at is None or now < self.expires_at

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that distinguish secrets without showing a part of one."""
        return hashlib.sha256(b"outgoing webhook secret\0" + self.text.encode()).hexdigest()[:8]


def shown_url(url: str) -> str:
    """Return a URL as logs and lists show it: without its query, which may hold a token."""
    address, query, _ = url.partition("?")
    return f"{address}?…" if query else address


@attrs.frozen(kw_only=True)
class WebhookEndpoint:
    """The receiver of a consumer's messages."""

    consumer: ConsumerName
    url: str = attrs.field(repr=False)
    secrets: tuple[SigningSecret, ...] = attrs.field(validator=attrs.validators.min_len(1))
    """The latest first. During the overlap of a rotation the replaced ones sign as well."""
    failing_since: datetime | None = attrs.field(default=None, validator=attrs.validators.optional(aware))
    """The first failure since the receiver last took a message; None if it took the last one."""
    failure: str | None = None
    """The last failure since then, as a text for operators."""


@attrs.frozen(kw_only=True)
class OutgoingWebhook:
    """A message as it is sent: the same bytes in every attempt, under the same id."""

    message_id: str
    """Equal in every attempt, and in deliveries after a crash: receivers recognize duplicates by it."""
    event_type: str
    occurred_at: datetime = attrs.field(validator=aware)
    payload: str = attrs.field(repr=False)
    """`BillingEventPayload` as JSON, as on the stream."""

    @property
    def header_id(self) -> str:
        """The id in the form of a header: other characters than ASCII letters and digits are percent-encoded."""
        return quote(self.message_id, safe=_KEPT_IN_IDS)

    @property
    def body(self) -> str:
        """The envelope that Standard Webhooks recommends, around the payload as it was published."""
        kind, time = json.dumps(self.event_type), self.occurred_at.isoformat().replace("+00:00", "Z")
        return f'{{"type":{kind},"timestamp":"{time}","data":{self.payload}}}'


class DeliveryResult(Enum):
    """The results of an attempt. A closed set: they are metric labels."""

    DELIVERED = "delivered"
    """The receiver answered 2xx."""
    GONE = "gone"
    """It answered 410: it wants no more webhooks."""
    LIMITED = "limited"
    """It answered 429 or 503 and may have said when to come back."""
    REFUSED = "refused"
    """It answered with another status, a redirect included."""
    TIMED_OUT = "timed_out"
    """It did not answer in time. It may have received the message."""
    UNREACHABLE = "unreachable"
    """There was no connection, or none that could be trusted."""
    ADDRESS_REFUSED = "address_refused"
    """Its host has an address that must not be reached."""


@attrs.frozen(kw_only=True)
class Delivery:
    """The result of one attempt."""

    result: DeliveryResult
    detail: str
    """A text for operators, without anything that the receiver wrote."""
    seconds: float
    status: int | None = None
    retry_after: timedelta | None = None
    """The receiver's own wish, at most a day."""

    @property
    def delivered(self) -> bool:
        """Whether the receiver took the message."""
        return self.result is DeliveryResult.DELIVERED
