"""`billing consumers retry`, `skip` and `rewind`: what an operator does about messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from billing_app.cli.consumers.arguments import (
    name_argument,
    parse_start,
    reason_option,
    unknown_consumer,
    why_option,
)
from billing_app.cli.options import by_option, dry_run_option, yes_option
from billing_app.cli.terminal import NOTHING_MATCHED, confirm, json_option, moment, plain, print_json
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.consumers.ports import ConsumerOversight, ConsumerStanding, WaitingTenant
    from billing_core.consumers.values import ConsumerName, Start


@click.command()
@name_argument
@click.argument("tenant", required=False)
@click.option("--all", "everyone", is_flag=True, help="Of all tenants that are held back.")
@dry_run_option
@yes_option
@why_option
@by_option()
@json_option
def retry(
    *,
    name: ConsumerName,
    tenant: str | None,
    everyone: bool,
    dry_run: bool,
    yes: bool,
    why: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Try the dead message that holds back TENANT in CONSUMER again, with all its attempts.

    \b
    billing consumers retry crm acme
    billing consumers retry crm --all --dry-run

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 no tenant is held back.
    """
    if (tenant is None) is not everyone:
        raise click.UsageError("Name a tenant, or pass --all.")
    tenants = asyncio.run(_retry(Settings.for_command(), name, tenant, dry_run=dry_run, yes=yes, why=why, by=by))
    if as_json:
        print_json({"consumer": name, "tenants": tenants, "dry_run": dry_run})
    elif tenants:
        click.echo(f"The dead messages of {tenants} tenants {'would be' if dry_run else 'are'} tried again.")
    if not tenants:
        click.echo("No tenant is held back by a dead message.", err=True)
        raise click.exceptions.Exit(NOTHING_MATCHED)


@click.command()
@name_argument
@click.argument("tenant")
@dry_run_option
@yes_option
@reason_option
@by_option()
@json_option
def skip(*, name: ConsumerName, tenant: str, dry_run: bool, yes: bool, why: str, by: str, as_json: bool) -> None:
    """Pass over the dead message that holds back TENANT in CONSUMER: it is never handled, and the next one is due.

    \b
    billing consumers skip crm acme --why 'the account was closed'

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 the tenant is not held back by that message.
    """
    skipped = asyncio.run(_skip(Settings.for_command(), name, tenant, dry_run=dry_run, yes=yes, why=why, by=by))
    if skipped is None:
        click.echo(f"{plain(tenant)} is not held back by a dead message.", err=True)
        raise click.exceptions.Exit(NOTHING_MATCHED)
    if as_json:
        print_json({"consumer": name, "tenant_id": tenant, "sequence": skipped, "dry_run": dry_run})
    else:
        click.echo(f"Message {skipped} of {plain(tenant)} {'would be' if dry_run else 'was'} passed over.")


@click.command()
@name_argument
@click.option(
    "--to",
    required=True,
    metavar="START",
    help="The first message to hand over: its number (with --tenant), a date, a time before now (3d), `beginning` for "
    "the first one, or `now` to pass over what waits, which also stops an earlier rewind.",
)
@click.option("--tenant", help="Of this tenant only.")
@dry_run_option
@yes_option
@reason_option
@by_option()
@json_option
def rewind(
    *,
    name: ConsumerName,
    to: str,
    tenant: str | None,
    dry_run: bool,
    yes: bool,
    why: str,
    by: str,
    as_json: bool,
) -> None:
    """Set the position of CONSUMER, for all tenants or for one. Messages behind it are handled a second time.

    They keep their ids, so that a receiver that remembers ids takes none of them twice.

    \b
    billing consumers rewind crm --to 3d --why 'the CRM lost its data' --dry-run
    billing consumers rewind crm --to 17 --tenant acme --why 'the CRM lost its data'

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 unknown consumer or tenant.
    """
    start: Start | int = int(to) if to.isascii() and to.isdigit() else parse_start(to)
    if isinstance(start, int) and tenant is None:
        raise click.UsageError("A number is that of one tenant's message: add --tenant.")
    asyncio.run(_rewind(Settings.for_command(), name, start, tenant, dry_run=dry_run, yes=yes, why=why, by=by))
    if as_json:
        print_json({"consumer": name, "tenant_id": tenant, "to": start, "dry_run": dry_run})
    else:
        click.echo(f"{'Would set' if dry_run else 'Set'} {name} {_place(start)} for {_whom(tenant)}.")


def _check_number(to: Start | int, last: int) -> None:
    from billing_core.consumers.values import check_number

    if isinstance(to, int):
        try:
            check_number(to, last)
        except ValueError as exc:
            raise click.BadParameter(str(exc), param_hint="--to") from exc


def _place(start: Start | int) -> str:
    if isinstance(start, int):
        return f"to message {start}"
    if start == "now":
        return "to what comes next"
    return "to the first message" if start == "beginning" else f"to the messages since {moment(start)}"


def _whom(tenant: str | None) -> str:
    return "all tenants" if tenant is None else plain(tenant)


async def _standing(oversight: ConsumerOversight, name: ConsumerName) -> ConsumerStanding:
    """Return the standing of a consumer; end the command if it is not known."""
    for each in await oversight.standings():
        if each.registered.consumer.name == name:
            return each
    unknown_consumer(name)


async def _held(oversight: ConsumerOversight, name: ConsumerName, tenant: str) -> WaitingTenant | None:
    from billing_core.model import TenantId

    await _standing(oversight, name)
    return next(iter(await oversight.waiting(name, held=True, tenant_id=TenantId(tenant), limit=1)), None)


async def _retry(
    settings: Settings, name: ConsumerName, tenant: str | None, *, dry_run: bool, yes: bool, why: str | None, by: str
) -> int:
    from billing_app.container import open_tools
    from billing_core.model import TenantId

    async with open_tools(settings) as tools:
        oversight = tools.consumer_oversight()
        if tenant is not None:
            held = int(await _held(oversight, name, tenant) is not None)
        else:
            held = (await _standing(oversight, name)).lag.held
        if dry_run or not held:
            return held
        if held > 1:
            confirm(f"Try the dead messages of {held} tenants again?", yes=yes)
        tenant_id = None if tenant is None else TenantId(tenant)
        return await oversight.retry(name, tenant_id=tenant_id, actor=by, reason=why)


async def _skip(
    settings: Settings, name: ConsumerName, tenant: str, *, dry_run: bool, yes: bool, why: str, by: str
) -> int | None:
    from billing_app.container import open_tools
    from billing_core.model import TenantId

    async with open_tools(settings) as tools:
        oversight = tools.consumer_oversight()
        held = await _held(oversight, name, tenant)
        if held is None:
            return None
        number = held.position + 1
        click.echo(f"Message {number} of {plain(tenant)} failed: {plain(held.error)}", err=True)
        if dry_run:
            return number
        confirm(f"Pass over message {number}? {name} never handles it then.", yes=yes)
        if not await oversight.skip(name, tenant_id=TenantId(tenant), sequence=number, actor=by, reason=why):
            click.echo(
                f"Message {number} no longer holds {plain(tenant)} back. See `billing consumers show {name}`.", err=True
            )
            raise click.exceptions.Exit(NOTHING_MATCHED)
        return number


async def _rewind(
    settings: Settings,
    name: ConsumerName,
    to: Start | int,
    tenant: str | None,
    *,
    dry_run: bool,
    yes: bool,
    why: str,
    by: str,
) -> None:
    from billing_app.container import open_tools
    from billing_core.model import TenantId

    async with open_tools(settings) as tools:
        oversight = tools.consumer_oversight()
        await _standing(oversight, name)
        tenant_id = None if tenant is None else TenantId(tenant)
        if tenant_id is not None:
            last = await tools.history().sequence(tenant_id)
            if not last:
                click.echo(f"{plain(tenant)} has no messages. See `billing tenants list`.", err=True)
                raise click.exceptions.Exit(NOTHING_MATCHED)
            _check_number(to, last)
        if not dry_run:
            confirm(f"Set {name} {_place(to)} for {_whom(tenant)}?", yes=yes)
            await oversight.rewind(name, to=to, tenant_id=tenant_id, actor=by, reason=why)
