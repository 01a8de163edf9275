"""Checks before a server or worker starts: all at once, before a port opens."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import structlog

from billing_app.doctor.dependencies import check_dependencies
from billing_app.doctor.results import CheckResult, CheckStatus
from billing_app.errors import StartRefusedError
from billing_app.settings import Settings, SettingsFault
from billing_app.troubleshooting import MATRIX, ServerTrouble

log = structlog.get_logger()


@attrs.frozen(kw_only=True)
class Start:
    """A start that nothing speaks against."""

    account_id: str | None
    """The account of the key; None if Stripe was not asked or did not say."""
    warnings: Sequence[CheckResult]


async def check_start(settings: Settings, faults: Sequence[SettingsFault]) -> Start:
    """Check settings and, if billing is on, what they name, and return what is only worth a warning.

    Servers are looked at as far as their settings can be used, so that one report holds everything. Local servers are
    not: we configure them.

    Args:
        settings: the settings, with defaults in place of values that cannot be used.
        faults: the faults of the settings.

    Raises: StartRefusedError with all faults.
    """
    results: Sequence[CheckResult] = ()
    account_id = None
    if settings.switches.billing:
        unusable = {fault.variable for fault in faults}
        found = await check_dependencies(settings, local=False, unusable=unusable)
        results = found.results
        account_id = None if found.account is None else found.account.account_id
    stopping = [each for each in results if each.status is CheckStatus.FAIL and each.stops_start]
    refusals = [*map(str, faults), *map(str, stopping)]
    if refusals:
        raise StartRefusedError(_report(refusals))
    return Start(account_id=account_id, warnings=tuple(each for each in results if each.status is not CheckStatus.OK))


def log_step(doing: str) -> None:
    """Log what a process does before it serves: each may take seconds, and without a line it seems to hang."""
    log.info("start.step", doing=doing)


def log_start(settings: Settings, start: Start) -> None:
    """Log what this process is configured for, with masked secrets, and what an operator should look at."""
    stripe = settings.stripe
    if not settings.switches.billing:
        log.warning(
            "billing.disabled",
            reason="ENABLE_BILLING is false: webhooks are refused and billing routes answer 404",
            remedy="Set ENABLE_BILLING=true with the Stripe secrets, or run `billing stripe setup`.",
            see=str(ServerTrouble.BILLING_IS_OFF),
        )
        return
    log.info(
        "stripe_config",
        key=str(stripe.secret_key),
        mode="live" if stripe.livemode else "test",
        account=start.account_id or stripe.account_id,
        signing=[str(secret) for secret in stripe.webhook_secrets],
        api_version=stripe.api_version,
        calls=stripe.fetch,
        address=stripe.api_base,
        public_url=settings.server.public_url,
        plans=[plan.plan_code for plan in settings.catalog.plans],
    )
    for warning in start.warnings:
        log.warning("start.warning", check=warning.check, detail=str(warning))


def _report(refusals: Sequence[str]) -> str:
    count = f"{len(refusals)} faults" if len(refusals) > 1 else "one fault"
    lines = [f"  - {each}" for each in refusals]
    return "\n".join([f"refusing to start because of {count}:", *lines, f"{MATRIX} explains each of them."])
