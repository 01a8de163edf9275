"""Checks of the endpoint at Stripe that sends us webhooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from billing_app.container import API_VERSIONS, SNAPSHOT_EVENTS, WebhookTarget, is_tested
from billing_app.doctor.results import CheckResult, fail, ok, warn
from billing_app.settings import Settings
from billing_app.troubleshooting import WebhookTrouble

_CHECK: Final = "webhooks"
_SHOWN: Final = 5


def check_targets(settings: Settings, targets: Sequence[WebhookTarget] | None) -> Iterator[CheckResult]:
    """Check that an endpoint sends the handled events to our public URL, in a version that is tested.

    Args:
        settings: the configuration, whose public URL decides which endpoint is ours.
        targets: the endpoints and destinations of the account; None if the key may not read them.
    """
    url = settings.server.webhook_url
    if url is None:
        yield warn(
            _CHECK,
            "BILLING_PUBLIC_URL is not set, so that no endpoint at Stripe can be compared with this server",
            "Set it to the address under which Stripe reaches this server, for example "
            "BILLING_PUBLIC_URL=https://billing.example.com.",
            WebhookTrouble.PUBLIC_URL_IS_UNKNOWN,
        )
    elif targets is None:
        yield warn(
            _CHECK,
            "STRIPE_SECRET_KEY may not read webhook endpoints, so that ours cannot be checked",
            f"Allow Webhook Endpoints: Read, or look in the Stripe dashboard for the endpoint {url}.",
            WebhookTrouble.ENDPOINTS_CANNOT_BE_READ,
        )
    else:
        yield from _check_ours(url, [target for target in targets if target.url == url and not target.thin])


def _check_ours(url: str, ours: Sequence[WebhookTarget]) -> Iterator[CheckResult]:
    if not ours:
        remedy = f"Run `billing stripe setup --webhook-url {url}`, or create the endpoint in the Stripe dashboard."
        yield fail(_CHECK, f"no endpoint at Stripe sends to {url}", remedy, WebhookTrouble.ENDPOINT_IS_MISSING)
        return
    # A disabled endpoint beside one that is enabled is a former one.
    looked_at = [target for target in ours if target.enabled] or ours[:1]
    findings = [finding for target in looked_at for finding in _check_target(target)]
    detail = f"{looked_at[0].target_id} sends the {len(SNAPSHOT_EVENTS)} handled events to {url}"
    yield from findings or [ok(_CHECK, detail)]


def _check_target(target: WebhookTarget) -> Iterator[CheckResult]:
    if not target.enabled:
        detail = f"the endpoint {target.target_id} for {target.url} is disabled"
        remedy = "Enable it in the Stripe dashboard, then resend the events that it missed."
        yield fail(_CHECK, detail, remedy, WebhookTrouble.ENDPOINT_IS_DISABLED)
    yield from _check_events(target)
    yield from _check_version(target)


def _check_events(target: WebhookTarget) -> Iterator[CheckResult]:
    if "*" in target.event_types:
        return
    remedy = "Run `billing stripe setup --webhook-url` with this URL, or edit the endpoint's events in the dashboard."
    missing = sorted(set(SNAPSHOT_EVENTS) - target.event_types)
    if missing:
        detail = f"the endpoint {target.target_id} does not send {_some(missing)}"
        yield fail(_CHECK, detail, remedy, WebhookTrouble.ENDPOINT_LACKS_EVENTS)
    unused = sorted(target.event_types - set(SNAPSHOT_EVENTS))
    if unused:
        detail = f"the endpoint {target.target_id} also sends {_some(unused)}, which are stored and ignored"
        yield warn(_CHECK, detail, remedy, WebhookTrouble.ENDPOINT_SENDS_UNUSED_EVENTS)


def _check_version(target: WebhookTarget) -> Iterator[CheckResult]:
    if target.api_version is not None and is_tested(target.api_version):
        return
    version = target.api_version or "the account's default version"
    yield warn(
        _CHECK,
        f"the endpoint {target.target_id} sends events in {version}, which is not among the tested versions",
        f"Create an endpoint with one of them, for example {API_VERSIONS[-1]}, then remove this one.",
        WebhookTrouble.ENDPOINT_VERSION_IS_UNTESTED,
    )


def check_api_version(version: str) -> CheckResult:
    """Check that our own calls are made in a version that is tested."""
    if is_tested(version):
        return ok("api version", version)
    return warn(
        "api version",
        f"STRIPE_API_VERSION is {version}, which is not among the tested versions",
        f"Remove it, or set one of them, for example STRIPE_API_VERSION={API_VERSIONS[-1]}.",
        WebhookTrouble.API_VERSION_IS_UNTESTED,
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
