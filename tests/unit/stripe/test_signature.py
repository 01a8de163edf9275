"""Signatures that are accepted, and the envelope that an event needs to be stored."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_core.errors import (
    ConfigurationError,
    MalformedEventError,
    SignatureFault,
    SignatureVerificationError,
    StaleSignatureError,
    WebhookError,
)
from billing_core.events import ProviderEvent
from billing_memory.clock import ManualClock
from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.testing import sign

pytestmark = pytest.mark.stripe

NOW = datetime(2026, 3, 1, 9, 30, 15, 250_000, tzinfo=UTC)
OLD_SECRET, SECRET = "whsec_old", "whsec_current"
ENVELOPE: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "api_version": "2026-10-28.endive",
    "created": int(NOW.timestamp()) - 5,
    "data": {"object": {}},
    "livemode": False,
    "type": "customer.updated",
}
BODY = json.dumps(ENVELOPE).encode()


def verifier(*secrets: str) -> StripeWebhookVerifier:
    return StripeWebhookVerifier(secrets or (SECRET,), tolerance=timedelta(minutes=5), clock=ManualClock(NOW))


def signature(body: bytes, secret: str = SECRET, *, timestamp: str | None = None) -> str:
    """Return only the `v1` value."""
    stamp = str(int(NOW.timestamp())) if timestamp is None else timestamp
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def read(**changed: object) -> ProviderEvent:
    """Read a correctly signed envelope with some fields changed; `...` omits a field."""
    envelope = {key: value for key, value in {**ENVELOPE, **changed}.items() if value is not ...}
    return read_body(json.dumps(envelope).encode())


def read_body(body: bytes) -> ProviderEvent:
    return verifier().verify(body, sign(body, SECRET, NOW))


# --- signatures -------------------------------------------------------------------------------------------------


def test_a_header_made_by_the_sdk_is_accepted() -> None:
    """The SDK and our code sign the same text."""
    header = stripe.WebhookSignature.generate_signature_header(BODY.decode(), SECRET, int(NOW.timestamp()))
    assert verifier().verify(BODY, header).event_id == "evt_1"


@pytest.mark.parametrize(
    ("secrets", "slot"), [((SECRET, OLD_SECRET), 0), ((OLD_SECRET, SECRET), 1), ((SECRET, SECRET), 0)]
)
def test_the_event_names_the_secret_that_matched(secrets: tuple[str, ...], slot: int) -> None:
    """An old secret can be retired once it is no longer used."""
    assert verifier(*secrets).verify(BODY, sign(BODY, SECRET, NOW)).secret_slot == slot


def test_one_matching_signature_among_several_is_enough() -> None:
    """During a rotation Stripe signs with both secrets, in any order."""
    stamp = int(NOW.timestamp())
    header = f"t={stamp},v1={signature(BODY, 'whsec_other')},v1={signature(BODY)},v0=ignored"
    assert verifier().verify(BODY, header).event_id == "evt_1"


@pytest.mark.parametrize(("before", "accepted"), [(7, True), (8, False)])
def test_only_the_first_eight_signatures_are_compared(before: int, accepted: bool) -> None:
    """A forger cannot make us compare many guesses."""
    header = f"t={int(NOW.timestamp())},{'v1=00,' * before}v1={signature(BODY)}"
    if accepted:
        assert verifier().verify(BODY, header).event_id == "evt_1"
    else:
        with pytest.raises(SignatureVerificationError):
            verifier().verify(BODY, header)


STAMP = str(int(NOW.timestamp()))
GOOD = signature(BODY)


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        "nonsense",
        f"v1={GOOD}",
        f"t={STAMP}",
        f"t={STAMP},v1=",
        f"t={STAMP},v0={GOOD}",
        f"t={STAMP},v1={GOOD.upper()}",
        f"t={STAMP}, v1={GOOD}",
        f"t={STAMP},v1={GOOD} ",
        f"t={STAMP},v1={GOOD[:-1]}",
        f"t={STAMP},v1=é{GOOD[1:]}",
        f"t={STAMP},v1=\udce9{GOOD[1:]}",
        f"t=,v1={signature(BODY, timestamp='')}",
        f"t=-{STAMP},v1={signature(BODY, timestamp='-' + STAMP)}",
        f"t={STAMP}.0,v1={signature(BODY, timestamp=STAMP + '.0')}",
        f"t=١٢٣,v1={GOOD}",
        f"t={'9' * 5000},v1={signature(BODY, timestamp='9' * 5000)}",
        f"t={STAMP},t={STAMP},v1={GOOD}",
    ],
)
def test_a_header_without_a_valid_signature_is_refused(header: str) -> None:
    """Missing, malformed or foreign parts all give the same error."""
    with pytest.raises(SignatureVerificationError):
        verifier().verify(BODY, header)


@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1], b"", BODY.replace(b"false", b"true")])
def test_bytes_other_than_the_signed_ones_are_refused(body: bytes) -> None:
    """Even if they are the same JSON."""
    with pytest.raises(SignatureVerificationError):
        verifier().verify(body, sign(BODY, SECRET, NOW))


@pytest.mark.parametrize("seconds", [-301, 301, -31_536_000, 31_536_000])
def test_a_valid_signature_from_another_time_is_stale(seconds: int) -> None:
    """A recorded request or a wrong clock, in the past or in the future."""
    with pytest.raises(StaleSignatureError):
        verifier().verify(BODY, sign(BODY, SECRET, NOW + timedelta(seconds=seconds)))


@pytest.mark.parametrize("seconds", [-299, 299])
def test_clocks_may_differ_within_the_tolerance(seconds: int) -> None:
    """Five minutes in either direction."""
    assert verifier().verify(BODY, sign(BODY, SECRET, NOW + timedelta(seconds=seconds))).event_id == "evt_1"


def test_an_invalid_signature_from_another_time_is_not_stale() -> None:
    """Only a sender who knows the secret learns that a signature is stale."""
    with pytest.raises(SignatureVerificationError) as caught:
        verifier().verify(BODY, sign(BODY, "whsec_guess", NOW - timedelta(days=1)))
    assert caught.value.code == "bad_signature"


@pytest.mark.parametrize("secrets", [(), ("",), (SECRET, ""), (" ",), (SECRET + "\n",)])
def test_a_blank_secret_cannot_be_configured(secrets: tuple[str, ...]) -> None:
    """With an empty key anyone could sign."""
    with pytest.raises(ConfigurationError, match="STRIPE_WEBHOOK_SECRET"):
        StripeWebhookVerifier(secrets, tolerance=timedelta(minutes=5), clock=ManualClock(NOW))


def test_the_timestamp_check_cannot_be_switched_off() -> None:
    """The SDK takes a tolerance of 0 for no limit."""
    with pytest.raises(ConfigurationError):
        StripeWebhookVerifier((SECRET,), tolerance=timedelta(0), clock=ManualClock(NOW))


def test_no_error_carries_the_body_or_the_secret() -> None:
    """Logging an error and its cause logs neither."""
    body = b"{'private': 'data'"
    with pytest.raises(MalformedEventError) as caught:
        verifier().verify(body, sign(body, SECRET, NOW))
    assert caught.value.__cause__ is None
    assert "private" not in str(caught.value)
    assert SECRET not in repr(verifier())


# --- envelopes --------------------------------------------------------------------------------------------------


def test_the_envelope_is_read() -> None:
    """All columns that are stored beside the bytes."""
    event = read(account="acct_1", livemode=True)
    assert (event.key.event_id, event.key.livemode, event.key.account) == ("evt_1", True, "acct_1")
    assert (event.type, event.api_version) == ("customer.updated", "2026-10-28.endive")
    assert (event.created_at, event.received_at) == (datetime(2026, 3, 1, 9, 30, 10, tzinfo=UTC), NOW)


@pytest.mark.parametrize("account", [None, ...])
def test_an_event_of_our_own_account_has_no_account(account: object) -> None:
    """Null equals absent."""
    assert read(account=account).key.account == ""


def test_every_secret_that_a_webhook_was_signed_with_is_reported() -> None:
    """While one secret replaces another, Stripe signs with both; a refused webhook reports none."""
    matched: list[tuple[Sequence[int], float]] = []
    rotating = StripeWebhookVerifier(
        ("whsec_old", SECRET, "whsec_other"),
        tolerance=timedelta(minutes=5),
        clock=ManualClock(NOW),
        on_match=lambda slots, ahead: matched.append((slots, ahead)),
    )
    stamp = int(NOW.timestamp())
    both = f"t={stamp},v1={signature(BODY, 'whsec_old')},v1={signature(BODY)}"
    assert rotating.verify(BODY, both).secret_slot == 0
    assert rotating.verify(BODY, sign(BODY, SECRET, NOW - timedelta(seconds=7))).secret_slot == 1
    for refused in (sign(BODY, "whsec_unknown", NOW), sign(BODY, SECRET, NOW - timedelta(hours=1))):
        with pytest.raises(SignatureVerificationError):
            rotating.verify(BODY, refused)
    fraction = NOW.timestamp() - stamp
    assert matched == [([0, 1], fraction), ([1], 7 + fraction)]


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("", SignatureFault.MISSING),
        ("hello", SignatureFault.MALFORMED),
        ("t=1,v1=é", SignatureFault.MALFORMED),
        ("t=1", SignatureFault.MALFORMED),
        (sign(BODY, "whsec_unknown", NOW), SignatureFault.NO_MATCH),
        (sign(BODY, SECRET, NOW - timedelta(hours=1)), SignatureFault.STALE),
        (sign(BODY, SECRET, NOW + timedelta(hours=1)), SignatureFault.EARLY),
    ],
)
def test_a_refused_signature_names_its_fault(header: str, fault: SignatureFault) -> None:
    """For metrics; the sender learns nothing of it."""
    verifier = StripeWebhookVerifier((SECRET,), tolerance=timedelta(minutes=5), clock=ManualClock(NOW))
    with pytest.raises(SignatureVerificationError) as refused:
        verifier.verify(BODY, header)
    assert refused.value.fault is fault


@pytest.mark.parametrize("version", [None, ..., 7, "", "x" * 121, "2020\x00", "\ud800"])
def test_a_malformed_api_version_is_dropped(version: object) -> None:
    """It is for people only."""
    assert read(api_version=version).api_version is None


@pytest.mark.parametrize("created", [2**33, 2**63 - 1, int(NOW.timestamp()) + 3600])
def test_a_timestamp_from_the_future_is_clamped(created: int) -> None:
    """It would outrank all later snapshots of its object."""
    assert read(created=created).created_at == datetime(2026, 3, 1, 10, 30, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        ("2026-03-01T09:30:10.123Z", datetime(2026, 3, 1, 9, 30, 10, tzinfo=UTC)),
        ("2026-03-01T10:30:10+01:00", datetime(2026, 3, 1, 9, 30, 10, tzinfo=UTC)),
        ("9999-01-01T00:00:00Z", datetime(2026, 3, 1, 10, 30, 15, tzinfo=UTC)),
    ],
)
def test_a_thin_event_has_an_iso_timestamp_and_a_context(created: str, expected: datetime) -> None:
    """`v2.core.event` has ISO timestamps and names the account `context`."""
    event = read(object="v2.core.event", created=created, context="acct_1", type="v1.billing.meter.no_meter_found")
    assert (event.created_at, event.key.account) == (expected, "acct_1")


@pytest.mark.parametrize(
    "changed",
    [
        {"id": ...},
        {"id": None},
        {"id": 7},
        {"id": "evt_"},
        {"id": "evt_ü"},
        {"id": "evt_1\n"},
        {"id": "in_1"},
        {"id": "evt_" + "x" * 252},
        {"type": ...},
        {"type": ""},
        {"type": ["invoice.paid"]},
        {"type": "x" * 121},
        {"type": "invoice.paid\x00"},
        {"type": "invoice\x85paid"},
        {"type": "\ud800"},
        {"created": ...},
        {"created": True},
        {"created": 1.5},
        {"created": -1},
        {"created": 2**63},
        {"created": 10**30},
        {"created": "2026-03-01T09:30:10Z"},
        {"object": "v2.core.event", "created": "yesterday"},
        {"object": "v2.core.event", "created": "2026-03-01T09:30:10"},
        {"object": "v2.core.event", "created": "0001-01-01T00:00:00+23:59"},
        {"livemode": ...},
        {"livemode": "false"},
        {"account": 7},
        {"account": ""},
        {"account": "acct_\x00"},
    ],
)
def test_an_envelope_without_its_essentials_is_malformed(changed: dict[str, object]) -> None:
    """It cannot be stored without id, type, time and mode."""
    with pytest.raises(MalformedEventError):
        read(**changed)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b'"evt_1"',
        BODY[:-1],
        BODY + b"{}",
        BODY.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + BODY,
        BODY.replace(b"{}", b'"\xff"'),
        BODY.replace(b"{}", b'"\xed\xa0\x80"'),
        BODY.replace(b"{}", b"NaN"),
        BODY.replace(b"{}", b"-Infinity"),
        BODY.replace(b"{}", b"[" * 900 + b"]" * 900),
        BODY.replace(b"{}", b'{"a":' * 900 + b"1" + b"}" * 900),
        BODY.replace(b"{}", b"[" * 100_000 + b"]" * 100_000),
        b"[" * 100_000,
    ],
)
def test_signed_bytes_that_are_not_an_event_are_malformed(body: bytes) -> None:
    """A bug at the sender or a leaked secret is not our error."""
    with pytest.raises(MalformedEventError):
        read_body(body)


@pytest.mark.parametrize(
    "value", [b'"\\u0000"', b'"\\ud800"', b"1e400", b"123456789012345678901234567890", b"[" * 50 + b"]" * 50]
)
def test_strange_content_is_stored_verbatim(value: bytes) -> None:
    """Everything beyond the envelope is left to the translator."""
    body = BODY.replace(b"{}", value)
    assert read_body(body).body == body


def test_the_last_of_repeated_keys_counts() -> None:
    """For id, type and all other fields, since the body is parsed once."""
    assert read_body(BODY[:-1] + b', "id": "evt_2"}').event_id == "evt_2"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()), header=st.text(st.characters()))
def test_any_input_ends_as_an_event_or_a_webhook_error(body: bytes, header: str) -> None:
    """No input, signed or not, has another outcome."""
    for claim in (header, f"t={STAMP},v1={header}", sign(body, SECRET, NOW)):
        with pytest.raises(WebhookError):
            verifier().verify(body, claim)


@settings(deadline=None)
@given(
    changed=st.dictionaries(st.sampled_from(sorted(ENVELOPE)) | st.just("account") | st.just("context"), JSON),
    thin=st.booleans(),
)
def test_a_signed_envelope_with_any_content_is_read_or_malformed(changed: dict[str, object], thin: bool) -> None:
    """The result can be stored: no control characters, a valid time, not in the future."""
    if thin:
        changed = {"object": "v2.core.event", **changed}
    try:
        event = read(**changed)
    except MalformedEventError:
        return
    for text in (event.event_id, event.type, event.api_version or "", event.key.account):
        assert "\x00" not in text
        text.encode()
    assert event.created_at <= NOW + timedelta(hours=1)
