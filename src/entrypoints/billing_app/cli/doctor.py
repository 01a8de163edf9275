"""`billing doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from billing_app.cli.terminal import WARNINGS, json_option, plain, print_json
from billing_app.settings import Settings, SettingsError, SettingsFault

if TYPE_CHECKING:
    from billing_app.doctor import CheckResult


@click.command()
@click.option("--invariants", is_flag=True, help="Also read all stored rows and check their invariants.")
@click.option("--strict", is_flag=True, help="End with status 4 if there are warnings, as for a deployment pipeline.")
@json_option
def doctor(invariants: bool, strict: bool, as_json: bool) -> None:
    """Check settings, servers, the account at Stripe and the backlog, and say what to fix.

    Nothing is changed, neither here nor at Stripe. Exit status: 0 no check failed, 1 a check failed, 2 the
    settings have faults, 4 there are warnings and --strict was given.

    \b
    billing doctor
    billing doctor --strict --json
    """
    settings, faults = Settings.examine()
    if faults:
        results: Sequence[CheckResult] = _of_settings(faults)
    else:
        results = asyncio.run(_run_checks(settings, invariants=invariants))
    statuses = {result.status.value for result in results}
    healthy = "fail" not in statuses
    if as_json:
        findings = [
            {
                "check": result.check,
                "verdict": result.status.value,
                "detail": result.detail,
                "remedy": result.remedy,
                "see": None if result.trouble is None else str(result.trouble),
            }
            for result in results
        ]
        print_json({"healthy": healthy, "findings": findings})
    else:
        for result in results:
            _print(result)
    if faults:
        raise click.exceptions.Exit(SettingsError.exit_code)
    if not healthy:
        raise click.exceptions.Exit(1)
    if strict and "warn" in statuses:
        raise click.exceptions.Exit(WARNINGS)


def _of_settings(faults: Sequence[SettingsFault]) -> Sequence[CheckResult]:
    from billing_app.doctor.results import fail

    return [fail("settings", f"{fault.variable} {fault.problem}", fault.remedy, fault.trouble) for fault in faults]


async def _run_checks(settings: Settings, *, invariants: bool) -> Sequence[CheckResult]:
    from billing_app.doctor import run_checks

    return [
        *await _check_cli_key(settings),
        *[result async for result in run_checks(settings, invariants=invariants)],
    ]


async def _check_cli_key(settings: Settings) -> Sequence[CheckResult]:
    """Check when our key expires, if it is the one of the Stripe CLI, which alone knows that."""
    from billing_app.doctor.account import check_expiry
    from billing_app.setup.stripe_cli import StripeCli, StripeCliError

    if settings.stripe.livemode is not False:
        return ()
    try:
        program = StripeCli.find(settings.stripe.cli)
        session = await program.whoami()
        if session is None or await program.session_key() != settings.stripe.secret_key:
            return ()
    except StripeCliError:
        return ()
    return (check_expiry(session.test_key_expires_on, datetime.now(UTC).date()),)


def _print(result: CheckResult) -> None:
    color = {"ok": "green", "warn": "yellow", "fail": "red"}[result.status.value]
    mark = click.style(f"{result.status.value:<4}", fg=color)
    first, *others = [plain(line) for line in result.detail.splitlines()]
    click.echo("\n     ".join([f"{mark} {result.check}: {first}", *others]))
    if result.remedy is not None:
        see = "" if result.trouble is None else f" See {result.trouble}."
        click.echo(f"     → {result.remedy}{see}")
