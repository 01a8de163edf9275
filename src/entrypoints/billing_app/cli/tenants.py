"""`billing tenants`: the links between Stripe's customers, or subscriptions, and tenants."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from billing_app.cli.lists import Column, Listing, Output
from billing_app.cli.options import by_option, dry_run_option, yes_option
from billing_app.cli.tenant_erasure import erase
from billing_app.cli.tenant_views import list_, show
from billing_app.cli.terminal import NOTHING_MATCHED, confirm, json_option, plain
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.model import CustomerId, LinkAction, TenantId
    from billing_core.oversight.ports import LoggedDecision
    from billing_core.state.relinking import LinkChange

Command = TypeVar("Command", bound=Callable[..., Any])


def _decision_to_json(logged: LoggedDecision) -> dict[str, Any]:
    from billing_core.converters import to_plain

    shown: dict[str, Any] = to_plain(logged)
    decision: dict[str, Any] = shown.pop("decision")
    return {**shown, **decision}


DECISIONS: Final = Listing["LoggedDecision"](
    "decisions",
    [
        Column("number", lambda logged: logged.number),
        Column("made", lambda logged: logged.made_at),
        Column("action", lambda logged: logged.decision.action.value),
        Column("object", lambda logged: logged.decision.object_id),
        Column("from", lambda logged: logged.decision.from_tenant),
        Column("to", lambda logged: logged.decision.to_tenant),
        Column("by", lambda logged: logged.decision.actor),
        Column("why", lambda logged: logged.decision.reason),
    ],
    _decision_to_json,
)


@click.group()
def tenants() -> None:
    """List, show and erase tenants, link Stripe's customers to them, and correct links."""


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
@by_option()
@json_option
def link(*, customer: str, tenant: str, force: bool, yes: bool, why: str | None, by: str, as_json: bool) -> None:
    """Link CUSTOMER (cus_…) to TENANT.

    Events that were waiting for the link are processed, and metadata that names another tenant no longer counts.
    Repeating the command is harmless. If the customer is linked to another tenant, nothing changes and the exit status
    is 1.

    \b
    billing tenants link cus_123 acme
    """
    from billing_core.model import CustomerId, TenantId

    settings, wanted = Settings.for_command(), (CustomerId(customer), TenantId(tenant))
    if (fault := settings.tenants.fault_of(tenant)) is not None:
        raise click.BadParameter(f"the id {fault}", param_hint="TENANT")
    made = asyncio.run(_link(settings, *wanted, actor=by, reason=why, force=force, yes=yes))
    if as_json:
        click.echo(json.dumps({"customer_id": customer, "tenant_id": tenant, "made": made}))
    elif made:
        click.echo(f"Linked {customer} to {tenant}.")
    else:
        click.echo(f"{customer} is already linked to {tenant}.")


def _decision_options(command: Command) -> Command:
    """Add the options of commands that correct a link."""
    for option in reversed(
        (
            click.option("--why", required=True, help="Why the link is wrong; for the audit log."),
            by_option(),
            click.option("--keep-history", is_flag=True, help="Leave the former tenant the content of its messages."),
            dry_run_option,
            yes_option,
            json_option,
        )
    ):
        command = option(command)
    return command


@tenants.command()
@click.argument("object_id", metavar="CUSTOMER|SUBSCRIPTION", callback=_identifier)
@click.option("--to", metavar="TENANT", required=True, callback=_identifier, help="The tenant that it belongs to.")
@_decision_options
def move(object_id: str, to: str, **options: Any) -> None:
    """Give a customer (cus_…) to another tenant, with everything that belongs to it.

    Subscriptions, invoices, usage and payments go along in one step; both tenants get a message. Where subscriptions
    name their tenants, a subscription (sub_…) goes with what belongs to it, and a customer with what is known of it
    alone. Metadata that names the former tenant no longer counts. Messages of the former tenant about it keep their
    numbers and lose their content.

    \b
    billing tenants move cus_123 --to globex --why 'two companies shared a card' --dry-run

    Exit status: 0 done, 1 refused, 2 wrong usage or configuration, 3 no event has named it.
    """
    from billing_core.model import LinkAction, TenantId

    _correct(LinkAction.MOVE, object_id, TenantId(to), **options)


@tenants.command()
@click.argument("object_id", metavar="CUSTOMER|SUBSCRIPTION", callback=_identifier)
@click.argument("tenant", callback=_identifier)
@_decision_options
def unlink(object_id: str, tenant: str, **options: Any) -> None:
    """Take a customer (cus_…) away from TENANT without giving it to another.

    Its subscriptions, invoices, usage and payments are removed, and its events wait until metadata names another tenant
    or it is linked by hand. Metadata that names TENANT no longer counts. The command is refused if the body of one of
    its events was pruned: the state could not be built again. Use `billing tenants move` then.

    \b
    billing tenants unlink cus_123 acme --why 'a test account'

    Exit status: 0 done, 1 refused, 2 wrong usage or configuration, 3 no event has named it.
    """
    from billing_core.model import LinkAction, TenantId

    _correct(LinkAction.UNLINK, object_id, TenantId(tenant), **options)


tenants.add_command(list_)
tenants.add_command(show)
tenants.add_command(erase)


@tenants.command()
@click.argument("about", metavar="[CUSTOMER|SUBSCRIPTION|TENANT]", required=False)
@click.option("--before", type=click.IntRange(1), help="Show decisions with lower numbers than this one.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Show at most this many.")
@DECISIONS.options
def decisions(about: str | None, before: int | None, limit: int, output: Output[LoggedDecision]) -> None:
    """List what was decided about links, the last decision first: who, when, why, from where to where.

    Operators decide, and so do operations that create a customer or confirm a checkout: the reason says so.

    \b
    billing tenants decisions cus_123

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 unknown customer, subscription or tenant.
    """
    found = asyncio.run(_list_decisions(Settings.for_command(), about, before=before, limit=limit))
    output.show(found, nothing="Nothing was decided about a link.")
    if len(found) == limit:
        output.hint(f"There may be more. Continue with --before {found[-1].number}")


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
        seen, known = await tools.state_upkeep().knows(payer=customer_id, tenant=tenant_id)
        if not seen and not force:
            raise click.UsageError(f"No event has named {customer_id} yet. Pass --force to link it anyway.")
        if not known:
            confirm(f"The tenant {tenant_id} is not known. Create it?", yes=yes)
        return await tools.service().link(customer_id, tenant_id, actor=actor, reason=reason)


def _correct(
    action: LinkAction,
    object_id: str,
    tenant_id: TenantId,
    *,
    why: str,
    by: str,
    keep_history: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Carry out a decision about a link, and print what it changed or would change."""
    from billing_core.model import LinkAction

    async def run() -> LinkChange | None:
        from billing_app.container import open_tools

        async with open_tools(settings) as tools:
            seen, known = await tools.state_upkeep().knows(payer=object_id, tenant=tenant_id)
            if not seen:
                return None
            service = tools.service()
            verb = service.move if action is LinkAction.MOVE else service.unlink
            decide = partial(verb, object_id, tenant_id, actor=by, reason=why, keep_history=keep_history)
            trial = await decide(dry_run=True)
            if dry_run:
                return trial
            _ask(trial, tenant_known=known, yes=yes)
            return await decide(approve=partial(_require_same, trial))

    settings = Settings.for_command()
    change = asyncio.run(run())
    if change is None:
        click.echo(f"No event has named {plain(object_id)} yet.", err=True)
        sys.exit(NOTHING_MATCHED)
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, **_change_to_json(change)}))
    else:
        _print_change(change, dry_run=dry_run)


def _ask(trial: LinkChange, *, tenant_known: bool, yes: bool) -> None:
    """Ask for confirmation, by what a dry run has found."""
    decision, count = trial.decision, len(trial.differences)
    if decision.to_tenant is None:
        confirm(f"Remove {count} objects of {decision.object_id} from {decision.from_tenant}?", yes=yes)
        return
    new = "" if tenant_known else ", a tenant that is not known"
    confirm(f"Move {count} objects of {decision.object_id} to {decision.to_tenant}{new}?", yes=yes)


def _require_same(trial: LinkChange, change: LinkChange) -> None:
    """Refuse to commit another change than the one that was confirmed."""
    from billing_core.errors import LinkChangedError

    if change.fingerprint != trial.fingerprint:
        raise LinkChangedError(changes=len(change.differences))


def _change_to_json(change: LinkChange) -> dict[str, Any]:
    from billing_app.cli.events.rendering import changes_to_json

    decision = change.decision
    return {
        "object_id": decision.object_id,
        "action": decision.action.value,
        "from_tenant": decision.from_tenant,
        "to_tenant": decision.to_tenant,
        "withdrawn_messages": change.withdrawn,
        "reprocessed_events": change.reprocessed,
        "differences": [
            {"kind": each.kind, "object_id": each.object_id, "fields": changes_to_json(each.fields)}
            for each in change.differences
        ],
        "messages": [json.loads(event.payload) for event in change.events],
    }


def _print_change(change: LinkChange, *, dry_run: bool) -> None:
    from billing_app.cli.events.rendering import value_text

    if dry_run:
        click.echo("Dry run. Nothing was changed:")
    decision = change.decision
    for each in change.differences:
        click.echo(f"{each.kind} {plain(each.object_id)}")
        for field in each.fields if dry_run else ():
            click.echo(f"  {field.field}: {value_text(field.before)} → {value_text(field.after)}")
    for event in change.events:
        summary = json.loads(event.payload)["summary"]
        click.echo(f"message {event.sequence} to {plain(event.tenant_id)}: {event.event_type}, {plain(summary)}")
    if change.withdrawn:
        click.echo(f"{change.withdrawn} messages of {plain(decision.from_tenant)} lose their content.")
    if change.reprocessed:
        click.echo(f"{change.reprocessed} events are processed again, and wait for a tenant.")
    if not change.differences:
        click.echo(f"No row changes. The decision outranks the metadata of {plain(decision.object_id)} from now on.")


async def _list_decisions(
    settings: Settings, about: str | None, *, before: int | None, limit: int
) -> Sequence[LoggedDecision]:
    from billing_app.container import open_tools
    from billing_core.model import TenantId

    async with open_tools(settings) as tools:
        found = await tools.state_upkeep().decisions(about=about, before=before, limit=limit)
        if (
            about is not None
            and not found
            and not any(await tools.state_upkeep().knows(payer=about, tenant=TenantId(about)))
        ):
            click.echo(f"{plain(about)!r} is no known customer, subscription or tenant.", err=True)
            raise click.exceptions.Exit(NOTHING_MATCHED)
        return found
