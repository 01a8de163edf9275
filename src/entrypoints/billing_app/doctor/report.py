"""All checks of an installation: settings, servers, Stripe, backlog and, on request, invariants of stored rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from billing_app.container import StripeInspector, Tools, WebhookTarget, open_inspector, open_tools
from billing_app.doctor import loop
from billing_app.doctor.account import check_permissions
from billing_app.doctor.consumers import check_consumers
from billing_app.doctor.dependencies import check_dependencies
from billing_app.doctor.prices import check_prices
from billing_app.doctor.results import CheckResult, ok, warn
from billing_app.doctor.webhooks import check_targets
from billing_app.settings import Settings
from billing_app.troubleshooting import KeyTrouble, ServerTrouble, SettingTrouble
from billing_core.errors import GatewayError, GatewayPermissionError

_REFUSALS_SHOWN: Final = timedelta(days=7)
"""Warn of webhooks that were refused within this time."""


async def run_checks(settings: Settings, *, invariants: bool) -> AsyncIterator[CheckResult]:
    """Run all checks in order; skip those that depend on a failed one.

    Args:
        settings: the configuration to check.
        invariants: also read all stored rows, which takes seconds per million.
    """
    for warning in settings.warnings:
        yield warn("settings", warning, "Correct or remove the setting.", SettingTrouble.SETTING_IS_SUSPICIOUS)
    yield _check_switch(settings)
    yield ok("billing.toml", str(settings.rules))
    found = await check_dependencies(settings, local=True)
    for result in found.results:
        yield result
    if found.account is not None:
        for result in await _check_live(settings):
            yield result
    if not found.database_usable:
        return
    for result in await loop.check_durability(settings):
        yield result
    async with open_tools(settings) as tools:
        for result in await _check_loop(settings, tools):
            yield result
        if invariants:
            for result in await loop.check_invariants(tools):
                yield result


async def _check_loop(settings: Settings, tools: Tools) -> Sequence[CheckResult]:
    """Check what processes do: what they receive, refuse, process and publish, and whether any of them is alive."""
    now, billing = datetime.now(UTC), settings.switches.billing
    backlog, stored_at = await tools.inbox_backlog().backlog(), await loop.last_stored(tools)
    processes = await tools.process_register().current()
    return [
        *loop.check_backlog(backlog),
        *[await loop.check_dead(tools, reason, backlog) for reason in sorted(backlog.dead)],
        *([loop.check_last_event(stored_at, now=now)] if billing else []),
        *loop.check_processes(processes, billing=billing, used=stored_at is not None),
        *loop.check_refusals(await tools.refusal_tally().since(now - _REFUSALS_SHOWN), now=now),
        loop.check_outbox(await tools.outbox().oldest()),
        *check_consumers(await tools.consumer_oversight().standings()),
        await loop.check_rules(tools),
        loop.check_unmapped(await tools.state_upkeep().unmapped_prices()),
    ]


def _check_switch(settings: Settings) -> CheckResult:
    if settings.switches.billing:
        return ok("settings", "billing is on")
    return warn(
        "settings",
        "billing is off (ENABLE_BILLING is false): webhooks are answered 404, no event is stored or processed, and "
        "billing routes answer 404",
        "Set ENABLE_BILLING=true with the Stripe secrets, or run `billing stripe setup`.",
        ServerTrouble.BILLING_IS_OFF,
    )


async def _check_live(settings: Settings) -> Sequence[CheckResult]:
    """Check the account at Stripe by harmless reads."""
    try:
        async with open_inspector(settings) as inspector:
            missing = await inspector.missing_reads()
            results = [check_permissions(missing), *check_targets(settings, await _targets(inspector))]
            if "Prices" not in missing:
                listed = [price for plan in settings.catalog.plans for price in plan.prices]
                seen = await inspector.prices(
                    price_ids=[price.price_id for price in listed if price.price_id is not None],
                    lookup_keys=[price.lookup_key for price in listed if price.price_id is None and price.lookup_key],
                )
                results += check_prices(settings, seen)
            return results
    except GatewayError as exc:
        remedy = "Run `billing doctor` again in a moment."
        detail = f"a check of the account was not answered ({exc})"
        return [warn("stripe", detail, remedy, KeyTrouble.STRIPE_IS_UNREACHABLE)]


async def _targets(inspector: StripeInspector) -> Sequence[WebhookTarget] | None:
    try:
        return await inspector.webhook_targets()
    except GatewayPermissionError:
        return None
