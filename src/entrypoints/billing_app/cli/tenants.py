"""`billing tenants`: the links between Stripe's customers and tenants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from billing_app.cli.terminal import confirm, json_option, operator
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.model import CustomerId, TenantId
    from billing_core.oversight.ports import CustomerLink


@click.group()
def tenants() -> None:
    """List Stripe's customers and link them to tenants."""


def _identifier(_ctx: click.Context, _param: click.Parameter, text: str) -> str:
    from billing_core.model import TenantRules

    fault = TenantRules().fault_of(text)
    if fault is not None:
        raise click.BadParameter(f"the id {fault}")
    return text


@tenants.command()
@click.argument("customer", callback=_identifier)
@click.argument("tenant", callback=_identifier)
@click.option("--force", is_flag=True, help="Also link a customer that no event has named yet.")
@click.option("--yes", is_flag=True, help="Create a tenant that is not known without asking.")
@click.option("--why", help="Why the customer is linked; for the audit log.")
@click.option("--by", default=operator, show_default="your user name", help="Your name, for the audit log.")
@json_option
def link(*, customer: str, tenant: str, force: bool, yes: bool, why: str | None, by: str, as_json: bool) -> None:
    """Link CUSTOMER (cus_…) to TENANT.

    Events that were waiting for the link are processed, and metadata that names another tenant no longer counts.
    Repeating the command is harmless. If the customer is linked to another tenant, nothing changes and the exit status
    is 1.
    """
    from billing_core.model import CustomerId, TenantId

    settings, wanted = Settings.load(), (CustomerId(customer), TenantId(tenant))
    if (fault := settings.tenants.fault_of(tenant)) is not None:
        raise click.BadParameter(f"the id {fault}", param_hint="TENANT")
    made = asyncio.run(_link(settings, *wanted, actor=by, reason=why, force=force, yes=yes))
    if as_json:
        click.echo(json.dumps({"customer_id": customer, "tenant_id": tenant, "made": made}))
    elif made:
        click.echo(f"Linked {customer} to {tenant}.")
    else:
        click.echo(f"{customer} is already linked to {tenant}.")


@tenants.command(name="list")
@click.option("--unlinked", is_flag=True, help="Only customers without a tenant, with their number of waiting events.")
@click.option("--after", default="", help="Start after this customer id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Show at most this many.")
@json_option
def list_(unlinked: bool, after: str, limit: int, as_json: bool) -> None:
    """List customers by id, with their tenants and the number of their events that failed permanently."""
    links = asyncio.run(_list(Settings.load(), linked=not unlinked, after=after, limit=limit))
    if as_json:
        shown = [
            {
                "customer_id": each.customer_id,
                "tenant_id": each.tenant_id,
                "waiting_events": each.waiting,
                "dead_events": each.dead,
                "attention": each.dead > 0,
            }
            for each in links
        ]
        click.echo(json.dumps({"customers": shown}))
        return
    for each in links:
        dead = f", needs attention: {each.dead} events failed permanently" if each.dead else ""
        click.echo(f"{each.customer_id}  {each.tenant_id or f'no tenant, {each.waiting} events waiting'}{dead}")
    if not links:
        click.echo("Every known customer has a tenant." if unlinked else "No customer is linked to a tenant.")
    elif len(links) == limit:
        click.echo(f"There may be more. Continue with --after {links[-1].customer_id}", err=True)


async def _link(
    settings: Settings,
    customer_id: CustomerId,
    tenant_id: TenantId,
    *,
    actor: str,
    reason: str | None,
    force: bool,
    yes: bool,
) -> bool:
    from billing_app.container import open_tools

    if not force and not customer_id.startswith("cus_"):
        raise click.UsageError(f"{customer_id} is not the id of a customer (cus_…). Pass --force to link it anyway.")
    async with open_tools(settings) as tools:
        seen, known = await tools.state_upkeep().knows(customer=customer_id, tenant=tenant_id)
        if not seen and not force:
            raise click.UsageError(f"No event has named {customer_id} yet. Pass --force to link it anyway.")
        if not known:
            confirm(f"The tenant {tenant_id} is not known. Create it?", yes=yes)
        return await tools.service().link(customer_id, tenant_id, actor=actor, reason=reason)


async def _list(settings: Settings, *, linked: bool, after: str, limit: int) -> Sequence[CustomerLink]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.state_upkeep().customers(linked=linked, after=after, limit=limit)
