"""`billing tenants`: whose customers are whose."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.model import CustomerId, TenantId
    from billing_core.oversight.ports import CustomerLink


@click.group()
def tenants() -> None:
    """Show and make the links between Stripe's customers and tenants."""


def _identifier(_ctx: click.Context, _param: click.Parameter, text: str) -> str:
    if not text or text != text.strip() or not text.isprintable():
        raise click.BadParameter("an id is not empty, and has neither blanks around it nor control characters")
    return text


@tenants.command()
@click.argument("customer", callback=_identifier)
@click.argument("tenant", callback=_identifier)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def link(customer: str, tenant: str, as_json: bool) -> None:
    """Say that CUSTOMER (cus_…) is TENANT's; events that waited for it are processed then.

    Doing it again is harmless. A link is never moved: when the customer is another tenant's, nothing changes and the
    exit status is 1.
    """
    from billing_core.model import CustomerId, TenantId

    made = asyncio.run(_link(Settings.load(), CustomerId(customer), TenantId(tenant)))
    if as_json:
        click.echo(json.dumps({"customer_id": customer, "tenant_id": tenant, "made": made}))
    elif made:
        click.echo(f"Linked {customer} to {tenant}.")
    else:
        click.echo(f"{customer} is linked to {tenant} already.")


@tenants.command(name="list")
@click.option("--unlinked", is_flag=True, help="Only customers without a tenant, with the events that wait for it.")
@click.option("--after", default="", help="Begin behind this customer id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Show at most this many.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(unlinked: bool, after: str, limit: int, as_json: bool) -> None:
    """List customers by id, each with its tenant."""
    links = asyncio.run(_list(Settings.load(), linked=not unlinked, after=after, limit=limit))
    if as_json:
        shown = [
            {"customer_id": each.customer_id, "tenant_id": each.tenant_id, "waiting_events": each.waiting}
            for each in links
        ]
        click.echo(json.dumps({"customers": shown}))
        return
    for each in links:
        click.echo(f"{each.customer_id}  {each.tenant_id or f'no tenant, {each.waiting} events wait'}")
    if not links:
        click.echo("Every known customer has a tenant." if unlinked else "No customer is linked to a tenant.")
    elif len(links) == limit:
        click.echo(f"There may be more: go on with --after {links[-1].customer_id}", err=True)


async def _link(settings: Settings, customer_id: CustomerId, tenant_id: TenantId) -> bool:
    from billing_app.container import open_service

    async with open_service(settings) as (service, _):
        return await service.link(customer_id, tenant_id)


async def _list(settings: Settings, *, linked: bool, after: str, limit: int) -> Sequence[CustomerLink]:
    from billing_app.container import open_service

    async with open_service(settings) as (_, upkeep):
        return await upkeep.customers(linked=linked, after=after, limit=limit)
