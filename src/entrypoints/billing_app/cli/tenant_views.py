"""`billing tenants list` and `billing tenants show`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from billing_app.cli.lists import Column, Listing, Output
from billing_app.cli.terminal import json_option, moment, owner_of, plain, print_json
from billing_app.dashboard import dashboard_url
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.oversight.ports import CustomerLink
    from billing_core.oversight.tenant_details import TenantDetails

_COLORS: Final = {"full": "green", "grace": "yellow", "read_only": "yellow", "blocked": "red"}


def _link_to_json(link: CustomerLink) -> Mapping[str, Any]:
    return {
        "customer_id": link.customer_id,
        "tenant_id": link.tenant_id,
        "plans": link.plans,
        "statuses": link.statuses,
        "access": _access(link),
        "email": link.email,
        "waiting_events": link.waiting,
        "dead_events": link.dead,
        "attention": link.dead > 0,
    }


def _access(link: CustomerLink) -> str | None:
    return None if link.access is None else link.access.value


CUSTOMERS: Final = Listing["CustomerLink"](
    "customers",
    [
        Column("customer", lambda link: link.customer_id),
        Column("tenant", lambda link: link.tenant_id),
        Column("plan", lambda link: ", ".join(link.plans) or None),
        Column("status", lambda link: ", ".join(link.statuses) or None),
        Column("access", _access, color=lambda link: _COLORS.get(_access(link) or "")),
        Column("email", lambda link: link.email),
        Column("waiting", lambda link: link.waiting),
        Column("dead", lambda link: link.dead, color=lambda link: "red" if link.dead else None),
    ],
    _link_to_json,
)


@click.command(name="list")
@click.option("--unlinked", is_flag=True, help="Only customers without a tenant, with their number of waiting events.")
@click.option("--after", default="", help="Start after this customer id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Show at most this many.")
@CUSTOMERS.options
def list_(unlinked: bool, after: str, limit: int, output: Output[CustomerLink]) -> None:
    """List customers by id, with their tenants, what they have, and the number of events that failed permanently.

    The access is the one that was announced to the tenant last; `billing tenants show` decides it now.

    \b
    billing tenants list --sort -dead
    billing tenants list --unlinked
    billing tenants list --limit 10000 --output csv > tenants.csv
    """
    links = asyncio.run(_list(Settings.for_command(), linked=not unlinked, after=after, limit=limit))
    nothing = "Every known customer has a tenant." if unlinked else "No customer is linked to a tenant."
    output.show(links, nothing=nothing)
    if len(links) == limit:
        output.hint(f"There may be more. Continue with --after {links[-1].customer_id}")


async def _list(settings: Settings, *, linked: bool, after: str, limit: int) -> Sequence[CustomerLink]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.state_upkeep().customers(linked=linked, after=after, limit=limit)


@click.command()
@click.argument("tenant", metavar="TENANT|ID")
@json_option
def show(tenant: str, as_json: bool) -> None:
    """Show what TENANT has: access, subscriptions, customers with their addresses, grants, and links to Stripe.

    The id of a customer, a subscription, an invoice or an event stands for the tenant that it belongs to.
    `billing explain` shows how it came to that.

    \b
    billing tenants show acme
    billing tenants show cus_123

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 unknown tenant.
    """
    settings = Settings.for_command()
    shown = asyncio.run(_show(settings, tenant))
    if as_json:
        print_json(_to_json(shown, settings))
    else:
        _print(shown, settings)


async def _show(settings: Settings, object_id: str) -> TenantDetails:
    from billing_app.container import open_tools
    from billing_core.oversight.tenant_details import read_tenant

    async with open_tools(settings) as tools:
        tenant_id = await owner_of(tools.state_upkeep(), object_id)
        policy = (await tools.rules().reload()).policy
        return await read_tenant(tenant_id, reader=tools.tenant_reader(), timeline=tools.timeline(), policy=policy)


def _link(object_id: str, settings: Settings) -> str | None:
    stripe = settings.stripe
    return dashboard_url(object_id, livemode=stripe.livemode, account=stripe.account_id)


def _to_json(shown: TenantDetails, settings: Settings) -> Mapping[str, Any]:
    from billing_core.converters import to_plain

    return {
        "tenant_id": shown.state.tenant_id,
        "sequence": shown.state.sequence,
        "access": to_plain(shown.verdict),
        "attention": shown.attention.needed,
        "dead_events": shown.attention.dead_events,
        "subscriptions": [
            {
                "subscription_id": seen.subscription_id,
                "customer_id": seen.customer_id,
                "status": seen.status,
                "plan_code": seen.plan_code,
                "seat_count": seen.seat_count,
                "current_period_end": seen.current_period_end,
                "dashboard_url": _link(seen.subscription_id, settings),
            }
            for seen in (held.snapshot for held in shown.state.subscriptions)
        ],
        "customers": [
            {
                "customer_id": each.customer_id,
                "email": None if each.snapshot is None else each.snapshot.email,
                "name": None if each.snapshot is None else each.snapshot.name,
                "dashboard_url": _link(each.customer_id, settings),
            }
            for each in shown.customers
        ],
        "grants": [to_plain(each) for each in shown.grants],
    }


def _print(shown: TenantDetails, settings: Settings) -> None:
    state, verdict = shown.state, shown.verdict
    until = f", until {moment(verdict.until)}" if verdict.until else ""
    click.echo(f"{plain(state.tenant_id)}: access {verdict.state.value} ({plain(verdict.reason)}){until}")
    for held in state.subscriptions:
        seen = held.snapshot
        seats = None if seen.seat_count is None else f"{seen.seat_count} seats"
        end = None if seen.ended or seen.current_period_end is None else f"until {moment(seen.current_period_end)}"
        plan = f"plan {seen.plan_code}" if seen.plan_code else "no plan"
        _line(
            "subscription", seen.subscription_id, plan, seen.status, seats, end, _link(seen.subscription_id, settings)
        )
    for each in shown.customers:
        known = each.snapshot
        address = (None, None) if known is None else (known.name, known.email)
        deleted = "deleted" if known is not None and known.deleted else None
        _line("customer", each.customer_id, *address, deleted, _link(each.customer_id, settings))
    for grant in shown.grants:
        if grant.holds(state.as_of):
            end = None if grant.until is None else f"until {moment(grant.until)}"
            _line("grant", grant.grant_id, f"plan {grant.plan_code}", end, f"by {grant.actor}: {grant.reason}")
    _line("last message", state.sequence)
    if shown.attention.needed:
        command = f"billing events list --status dead --tenant {plain(state.tenant_id)}"
        click.echo(f"needs attention: {shown.attention.dead_events} events failed permanently; run `{command}`")


def _line(title: str, *parts: object) -> None:
    click.echo(f"{title:<13} {'  '.join(plain(part) for part in parts if part is not None)}")
