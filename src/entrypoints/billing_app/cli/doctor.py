"""`billing doctor`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from billing_app.cli.terminal import plain
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_app.doctor import Finding


@click.command()
@click.option("--invariants", is_flag=True, help="Also read all stored rows and check what must hold of them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(invariants: bool, as_json: bool) -> None:
    """Look at settings, database, Redis and what waits, and say what to do.

    Exit status: 0 nothing failed, 1 something did, 2 the configuration cannot be read.
    """
    found = asyncio.run(_examine(Settings.load(), invariants=invariants))
    healthy = all(finding.verdict.value != "fail" for finding in found)
    if as_json:
        from billing_core.converters import to_plain

        click.echo(json.dumps({"healthy": healthy, "findings": to_plain(found)}))
    else:
        for finding in found:
            _print(finding)
    if not healthy:
        raise click.exceptions.Exit(1)


async def _examine(settings: Settings, *, invariants: bool) -> Sequence[Finding]:
    from billing_app.doctor import examine

    return [finding async for finding in examine(settings, invariants=invariants)]


def _print(finding: Finding) -> None:
    colour = {"ok": "green", "warn": "yellow", "fail": "red"}[finding.verdict.value]
    mark = click.style(f"{finding.verdict.value:<4}", fg=colour)
    click.echo(f"{mark} {finding.check}: {plain(finding.detail)}")
    if finding.remedy is not None:
        click.echo(f"     → {finding.remedy}")
