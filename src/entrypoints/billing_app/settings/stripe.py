"""The connection with Stripe: webhooks in, API calls out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

import attrs

from billing_app.secret import Secret
from billing_app.settings import parsers
from billing_app.settings.declaration import flag, seconds, setting
from billing_app.settings.parsers import UnusableValueError
from billing_app.troubleshooting import KeyTrouble, WebhookTrouble

_ORGANIZATION: Final = "sk_org_"

_IS_KEY: Final = parsers.matching(
    rf"{_ORGANIZATION}(test|live)_\w+|(sk|rk)_(test|live)_\w+",
    "a secret or restricted API key (sk_test_…, rk_live_…), or the key of an organization (sk_org_live_…)",
)
_IS_WEBHOOK_SECRET: Final = parsers.matching(r"whsec_[\w+/=-]+", "the signing secret of a webhook endpoint (whsec_…)")


def _key(text: str) -> str:
    if text.startswith("pk_"):
        raise UnusableValueError("it is a publishable key, which only browsers use", KeyTrouble.KEY_IS_PUBLISHABLE)
    if text.startswith("whsec_"):
        reason = "it is a signing secret, which belongs in STRIPE_WEBHOOK_SECRET"
        raise UnusableValueError(reason, KeyTrouble.KEY_IS_A_WEBHOOK_SECRET)
    return _IS_KEY.parse(text)


def _webhook_secret(text: str) -> str:
    if text.startswith(("sk_", "rk_")):
        reason = "it is an API key, which belongs in STRIPE_SECRET_KEY"
        raise UnusableValueError(reason, WebhookTrouble.WEBHOOK_SECRET_IS_AN_API_KEY)
    return _IS_WEBHOOK_SECRET.parse(text)


_API_KEY: Final = parsers.secret(parsers.Parser(_IS_KEY.expects, _key))
_WEBHOOK_SECRETS: Final = parsers.comma_list(
    parsers.secret(parsers.Parser(_IS_WEBHOOK_SECRET.expects, _webhook_secret)),
    blank=WebhookTrouble.WEBHOOK_SECRET_IS_BLANK,
)


@attrs.frozen(kw_only=True)
class StripeSettings:
    """The Stripe account: its keys, the events accepted from it, and calls to its API."""

    secret_key: Secret | None = setting(
        "STRIPE_SECRET_KEY",
        _API_KEY,
        None,
        "API key; a restricted key is enough. Its mode, live or test, decides which events are accepted.",
        example="sk_test_…",
        secret=True,
        trouble=KeyTrouble.KEY_IS_MALFORMED,
    )
    webhook_secrets: tuple[Secret, ...] = setting(
        "STRIPE_WEBHOOK_SECRET",
        _WEBHOOK_SECRETS,
        (),
        "Signing secret of the webhook endpoint; during a rotation both, the old and the new one.",
        example="whsec_…",
        secret=True,
        trouble=WebhookTrouble.WEBHOOK_SECRET_IS_MALFORMED,
    )
    replaced_secret: str | None = setting(
        "STRIPE_REPLACED_WEBHOOK_SECRET",
        parsers.matching(r"[0-9a-f]{8}", "the fingerprint of a signing secret, eight hexadecimal digits"),
        None,
        "The signing secret that is being replaced by the last one of STRIPE_WEBHOOK_SECRET, by its fingerprint. "
        "`billing stripe rotate` writes it, and servers do not use it.",
        example="1a2b3c4d",
    )
    account_id: str | None = setting(
        "STRIPE_ACCOUNT_ID",
        parsers.matching(r"acct_\w+", "an account id (acct_…)"),
        None,
        "Accept events of this account only. Required for the key of an organization, which calls in its name.",
        example="acct_…",
    )
    api_version: str = setting(
        "STRIPE_API_VERSION",
        parsers.matching(r"\d{4}-\d{2}-\d{2}(\.[a-z0-9_]+)?", "an API version like 2026-10-28.endive"),
        "2026-10-28.endive",
        "API version of our own calls and of webhook endpoints that we create.",
    )
    webhook_tolerance: timedelta = seconds(
        "STRIPE_WEBHOOK_TOLERANCE_SECONDS", 300, "Oldest signature that is accepted.", minimum=1, maximum=3600
    )
    fetch: bool = flag(
        "STRIPE_FETCH",
        "Call Stripe: to carry out operations, and to fetch objects when events alone do not settle their state: ties "
        "within a second, long invoices and feature lists, events without an object. When off, operations are refused, "
        "such state stays marked as uncertain and such events stay parked.",
        default=True,
    )
    portal_configuration: str | None = setting(
        "STRIPE_PORTAL_CONFIGURATION",
        parsers.matching(r"bpc_\w+", "the id of a portal configuration (bpc_…)"),
        None,
        "Configuration of the customer portal, which `billing stripe setup` records. Without it the portal opens with "
        "the account's default configuration, which has to be saved once in the dashboard.",
        example="bpc_…",
    )
    api_base: str | None = setting(
        "STRIPE_API_BASE",
        parsers.url("http", "https", example="http://127.0.0.1:12111"),
        None,
        "Another address for the Stripe API, for tests against a local fake.",
        example="http://127.0.0.1:12111",
    )
    cli: Path | None = setting(
        "STRIPE_CLI_PATH",
        parsers.FILE,
        None,
        "The program of the Stripe CLI, for `billing stripe`. Without it, the one in PATH or in node_modules.",
        example="/usr/local/bin/stripe",
    )

    @property
    def livemode(self) -> bool | None:
        """Whether the API key is a live one; None without a key."""
        return None if self.secret_key is None else "_live_" in self.secret_key.reveal()[:12]

    @property
    def is_of_organization(self) -> bool:
        """Whether the API key opens several accounts."""
        return self.secret_key is not None and self.secret_key.reveal().startswith(_ORGANIZATION)

    @property
    def context(self) -> str | None:
        """The account that calls are made for, where the API key alone does not say it."""
        return self.account_id if self.is_of_organization else None
