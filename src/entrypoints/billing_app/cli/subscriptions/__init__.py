"""`billing subscriptions`: operations on a tenant's subscriptions, for operators."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from billing_app.cli.lists import Output
from billing_app.cli.subscriptions.asking import Site, about_one, decision, plan_terms, run, terms_of, yes_option
from billing_app.cli.subscriptions.rendering import SUBSCRIPTIONS, preview_lines
from billing_app.cli.terminal import confirm, require_known
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.model import SubscriptionSnapshot
    from billing_core.operations.runner import OperationOutcome

_FEEDBACK: Final = (
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
)


@click.group()
def subscriptions() -> None:
    """List, start, change and end subscriptions of tenants, at Stripe.

    Each command is one decision, stored before Stripe is asked. If Stripe does not answer, a worker finds out what
    happened: see `billing gateway pending`.
    """


@subscriptions.command(name="list")
@click.argument("tenant")
@SUBSCRIPTIONS.options
def list_(tenant: str, output: Output[SubscriptionSnapshot]) -> None:
    """List the subscriptions of TENANT as the tenant sees them, ended ones too.

    \b
    billing subscriptions list acme

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 unknown tenant.
    """
    output.show(asyncio.run(_list(Settings.for_command(), tenant)), nothing="The tenant has no subscription.")


async def _list(settings: Settings, tenant: str) -> Sequence[SubscriptionSnapshot]:
    from billing_app.container import open_tools
    from billing_core.model import TenantId

    async with open_tools(settings) as tools:
        await require_known(tools.state_upkeep(), tenant)
        state = await tools.tenant_reader().state(TenantId(tenant))
        return [each.snapshot for each in state.subscriptions]


@subscriptions.command()
@decision
@click.option("--plan", required=True, help="The code of the plan.")
@plan_terms
@click.option("--addon", multiple=True, help="The code of an add-on; may be repeated.")
@click.option("--trial/--no-trial", default=None, help="Demand or decline a trial; by default the plan's, once.")
@click.option(
    "--payment",
    type=click.Choice(["off_session", "on_file", "confirm"]),
    default="off_session",
    show_default=True,
    help="Charge the default payment method, at once or with the customer; or let the customer confirm.",
)
@click.option("--promotion-code", help="As the customer writes it.")
@click.option("--email", help="The email of the customer, if it has to be created.")
def start(*, tenant: str, by: str, as_json: bool, **wanted: Any) -> None:
    """Start a subscription of TENANT.

    \b
    billing subscriptions start acme --plan pro --interval month --seats 5
    """

    async def ask(site: Site) -> OperationOutcome:
        from billing_core.operations.decisions.starting import NewSubscription

        new = NewSubscription(
            plan_code=wanted["plan"],
            terms=terms_of(wanted),
            seats=wanted["seats"],
            addons=wanted["addon"],
            trial=wanted["trial"],
        )
        options = {name: wanted[name] for name in ("payment", "promotion_code", "email")}
        return await site.operations.subscriptions.start(site.caller, new, **options)

    run(ask, tenant=tenant, by=by, as_json=as_json)


@subscriptions.command()
@about_one
@click.option("--plan", help="The code of the new plan.")
@plan_terms
@click.option(
    "--when",
    type=click.Choice(["auto", "now", "period_end"]),
    default="auto",
    show_default=True,
    help="`auto`: a downgrade at the end of the period, everything else now.",
)
@yes_option
def change(*, tenant: str, by: str, as_json: bool, subscription: str | None, yes: bool, **wanted: Any) -> None:
    """Change plan, interval or seats of TENANT: show what it costs, ask, and do just that.

    \b
    billing subscriptions change acme --plan pro
    billing subscriptions change acme --plan starter --when period_end --yes
    """

    async def ask(site: Site) -> OperationOutcome:
        from billing_core.operations.decisions.changing import PlanChange

        new = PlanChange(
            subscription_id=await site.subscription(subscription),
            plan_code=wanted["plan"],
            terms=terms_of(wanted),
            seats=wanted["seats"],
            when=wanted["when"],
        )
        preview = await site.operations.subscriptions.preview_change(site.tenant_id, new)
        click.echo("\n".join(preview_lines(preview)), err=as_json)
        confirm("Change the subscription?", yes=yes)
        return await site.operations.subscriptions.change(site.caller, new, preview=preview.preview_id)

    run(ask, tenant=tenant, by=by, as_json=as_json)


@subscriptions.command()
@about_one
@click.argument("seats", type=click.IntRange(0))
@yes_option
def seats(*, tenant: str, by: str, as_json: bool, subscription: str | None, seats: int, yes: bool) -> None:
    """Set the number of seats of TENANT: show what it costs, ask, and do just that.

    \b
    billing subscriptions seats acme 9
    """

    async def ask(site: Site) -> OperationOutcome:
        subscription_id = await site.subscription(subscription)
        preview = await site.operations.subscriptions.preview_seats(site.tenant_id, subscription_id, seats)
        click.echo("\n".join(preview_lines(preview)), err=as_json)
        confirm(f"Set {seats} seats?", yes=yes)
        return await site.operations.subscriptions.set_seats(
            site.caller, subscription_id, seats, preview=preview.preview_id
        )

    run(ask, tenant=tenant, by=by, as_json=as_json)


@subscriptions.command()
@about_one
@click.option("--now", is_flag=True, help="End it at once; by default it ends with its period.")
@click.option("--feedback", type=click.Choice(_FEEDBACK), help="The customer's reason.")
@click.option("--comment", help="The customer's words.")
@yes_option
def cancel(*, tenant: str, by: str, as_json: bool, subscription: str | None, yes: bool, **wanted: Any) -> None:
    """Let the subscription of TENANT end with its period, or now.

    \b
    billing subscriptions cancel acme
    billing subscriptions cancel acme --now --feedback unused --yes
    """

    async def ask(site: Site) -> OperationOutcome:
        from billing_core.operations.commands import Cancellation

        subscription_id = await site.subscription(subscription)
        reason = Cancellation(feedback=wanted["feedback"], comment=wanted["comment"])
        confirm(f"End {subscription_id} {'now' if wanted['now'] else 'with its period'}?", yes=yes)
        operations = site.operations.subscriptions
        end = operations.cancel_now if wanted["now"] else operations.cancel_at_period_end
        return await end(site.caller, subscription_id, reason=reason)

    run(ask, tenant=tenant, by=by, as_json=as_json)


@subscriptions.command()
@about_one
@click.option(
    "--what",
    type=click.Choice(["cancellation", "plan_change", "pending_update"]),
    help="By default a scheduled end, else a planned change, else an update that is not paid.",
)
def undo(*, tenant: str, by: str, as_json: bool, subscription: str | None, what: Any) -> None:
    """Withdraw what is scheduled for the subscription of TENANT.

    \b
    billing subscriptions undo acme --what cancellation
    """

    async def ask(site: Site) -> OperationOutcome:
        subscription_id = await site.subscription(subscription)
        return await site.operations.subscriptions.undo(site.caller, subscription_id, what)

    run(ask, tenant=tenant, by=by, as_json=as_json)


@subscriptions.command()
@about_one
@click.option("--collection", is_flag=True, help="Keep it running, and stop collecting payments.")
@yes_option
def pause(*, tenant: str, by: str, as_json: bool, subscription: str | None, collection: bool, yes: bool) -> None:
    """Pause the subscription of TENANT, or the collection of its payments.

    \b
    billing subscriptions pause acme --collection
    """

    async def ask(site: Site) -> OperationOutcome:
        subscription_id = await site.subscription(subscription)
        confirm(f"Pause {'payments of ' if collection else ''}{subscription_id}?", yes=yes)
        operations = site.operations.subscriptions
        if collection:
            return await operations.pause_collection(site.caller, subscription_id)
        return await operations.pause(site.caller, subscription_id)

    run(ask, tenant=tenant, by=by, as_json=as_json)


@subscriptions.command()
@about_one
@click.option("--collection", is_flag=True, help="Collect payments again.")
def resume(*, tenant: str, by: str, as_json: bool, subscription: str | None, collection: bool) -> None:
    """Resume the paused subscription of TENANT, or the collection of its payments.

    \b
    billing subscriptions resume acme --collection
    """

    async def ask(site: Site) -> OperationOutcome:
        subscription_id = await site.subscription(subscription)
        operations = site.operations.subscriptions
        if collection:
            return await operations.resume_collection(site.caller, subscription_id)
        return await operations.resume(site.caller, subscription_id)

    run(ask, tenant=tenant, by=by, as_json=as_json)
