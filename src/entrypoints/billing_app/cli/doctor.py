"""`billing doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from billing_app.cli.terminal import json_option, plain, print_json
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_app.doctor import CheckResult


@click.command()
@click.option("--invariants", is_flag=True, help="Also read all stored rows and check their invariants.")
@json_option
def doctor(invariants: bool, as_json: bool) -> None:
    """Check settings, database, Redis and backlog, and say what to fix.

    Exit status: 0 no check failed, 1 a check failed, 2 the configuration cannot be read.
    """
    results = asyncio.run(_run_checks(Settings.load(), invariants=invariants))
    healthy = all(result.status.value != "fail" for result in results)
    if as_json:
        findings = [
            {
                "check": result.check,
                "verdict": result.status.value,
                "detail": result.detail,
                "remedy": result.remedy,
            }
            for result in results
        ]
        print_json({"healthy": healthy, "findings": findings})
    else:
        for result in results:
            _print(result)
    if not healthy:
        raise click.exceptions.Exit(1)


async def _run_checks(settings: Settings, *, invariants: bool) -> Sequence[CheckResult]:
    from billing_app.doctor import run_checks

    return [result async for result in run_checks(settings, invariants=invariants)]


def _print(result: CheckResult) -> None:
    color = {"ok": "green", "warn": "yellow", "fail": "red"}[result.status.value]
    mark = click.style(f"{result.status.value:<4}", fg=color)
    click.echo(f"{mark} {result.check}: {plain(result.detail)}")
    if result.remedy is not None:
        click.echo(f"     → {result.remedy}")
