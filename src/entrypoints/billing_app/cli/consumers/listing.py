"""`billing consumers list` and `show`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from billing_app.cli.consumers.arguments import name_argument, unknown_consumer
from billing_app.cli.lists import Column, Listing, Output
from billing_app.cli.terminal import moment, plain
from billing_app.settings import Settings
from billing_app.spans import span

if TYPE_CHECKING:
    from billing_core.consumers.ports import ConsumerStanding, SkippedMessage, WaitingTenant
    from billing_core.consumers.values import ConsumerName
    from billing_core.outgoing.values import WebhookEndpoint


@attrs.frozen
class ListedConsumer:
    """A consumer with what waits for it and, if it is one, its receiver."""

    standing: ConsumerStanding
    endpoint: WebhookEndpoint | None

    @property
    def name(self) -> ConsumerName:
        """The consumer's name."""
        return self.standing.registered.consumer.name

    @property
    def target(self) -> str:
        """The receiver's URL without its query, or the word for a handler."""
        from billing_core.outgoing.values import shown_url

        return "code" if self.endpoint is None else shown_url(self.endpoint.url)

    @property
    def state(self) -> str:
        """One word: the worst that is the case."""
        if self.standing.registered.disabled_at is not None:
            return "disabled"
        if self.endpoint is not None and self.endpoint.failing_since is not None:
            return "failing"
        if self.standing.registered.catching_up:
            return "catching up"
        return "enabled"


def _age(standing: ConsumerStanding) -> str | None:
    return span(standing.lag.oldest) if standing.lag.oldest > timedelta(0) else None


def _to_json(listed: ListedConsumer) -> dict[str, Any]:
    registered, endpoint = listed.standing.registered, listed.endpoint
    consumer = registered.consumer
    return {
        "consumer": consumer.name,
        "state": listed.state,
        "url": None if endpoint is None else listed.target,
        "types": list(consumer.event_types),
        "on_dead": consumer.on_dead.value,
        "attempts": consumer.attempts,
        "registered_at": registered.registered_at,
        "disabled_at": registered.disabled_at,
        "disabled_reason": registered.disabled_reason,
        "catching_up": registered.catching_up,
        "waiting_tenants": listed.standing.waiting,
        "held_tenants": listed.standing.lag.held,
        "oldest_seconds": listed.standing.lag.oldest.total_seconds(),
        "skipped_messages": listed.standing.skipped,
        "failing_since": None if endpoint is None else endpoint.failing_since,
        "failure": None if endpoint is None else endpoint.failure,
        "secrets": None
        if endpoint is None
        else [
            {"fingerprint": each.fingerprint, "created_at": each.created_at, "expires_at": each.expires_at}
            for each in endpoint.secrets
        ],
    }


_COLORS: Final = {"disabled": "red", "failing": "yellow"}

CONSUMERS: Final = Listing["ListedConsumer"](
    "consumers",
    [
        Column("consumer", lambda each: each.name),
        Column("to", lambda each: each.target, cut=True),
        Column("types", lambda each: ",".join(each.standing.registered.consumer.event_types), cut=True),
        Column("state", lambda each: each.state, color=lambda each: _COLORS.get(each.state)),
        Column("waiting", lambda each: each.standing.waiting),
        Column(
            "held", lambda each: each.standing.lag.held, color=lambda each: "red" if each.standing.lag.held else None
        ),
        Column("oldest", lambda each: _age(each.standing)),
        Column("skipped", lambda each: each.standing.skipped),
    ],
    _to_json,
)


def _standing(tenant: WaitingTenant) -> str:
    if tenant.dead_at is not None:
        return f"held by dead message {tenant.position + 1}"
    return f"failed {tenant.attempts} times" if tenant.attempts and tenant.error else "due"


def _tenant_to_json(tenant: WaitingTenant) -> dict[str, Any]:
    return {
        "tenant_id": tenant.tenant_id,
        "position": tenant.position,
        "last": tenant.last,
        "attempts": tenant.attempts,
        "due_at": None if tenant.dead_at else tenant.due_at,
        "waiting_since": tenant.waiting_since,
        "dead_at": tenant.dead_at,
        "error": tenant.error,
    }


TENANTS: Final = Listing["WaitingTenant"](
    "tenants",
    [
        Column("tenant", lambda each: each.tenant_id),
        Column("position", lambda each: each.position),
        Column("last", lambda each: each.last),
        Column("waiting since", lambda each: each.waiting_since),
        Column("standing", _standing, color=lambda each: "red" if each.dead_at else None),
        Column("next attempt", lambda each: None if each.dead_at else each.due_at),
        Column("error", lambda each: each.error, cut=True),
    ],
    _tenant_to_json,
)


@click.command(name="list")
@CONSUMERS.options
def list_(output: Output[ListedConsumer]) -> None:
    """List all consumers by name: handlers in code, and receivers of webhooks.

    `waiting` counts tenants with messages that were not handled, `held` those of them whose next message is dead, and
    `oldest` is the age of the oldest message that was not handled.

    \b
    billing consumers list --sort -waiting
    """
    found = asyncio.run(_list(Settings.for_command()))
    output.show(found, nothing="There are no consumers. Add a receiver with `billing consumers add`.")


@click.command()
@name_argument
@click.option("--tenant", help="Show this tenant only.")
@click.option("--held", is_flag=True, help="Show only tenants that a dead message holds back.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Show at most this many.")
@TENANTS.options
def show(*, name: ConsumerName, tenant: str | None, held: bool, limit: int, output: Output[WaitingTenant]) -> None:
    """Show CONSUMER, the tenants that have waited longest for it, and the messages that it passed over.

    \b
    billing consumers show crm --held

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 unknown consumer.
    """
    listed, waiting, skipped = asyncio.run(_show(Settings.for_command(), name, tenant=tenant, held=held, limit=limit))
    if output.form == "table":
        click.echo("\n".join(_summary(listed)))
    output.show(
        waiting,
        beside={"consumer": _to_json(listed), "skipped": [attrs.asdict(each) for each in skipped]},
        nothing="No tenant waits." if not held else "No tenant is held back.",
    )
    if output.form == "table" and skipped:
        click.echo("Passed over last:")
        for each in skipped:
            click.echo(f"  {_skipped_line(each)}")


def _summary(listed: ListedConsumer) -> Iterator[str]:
    registered, endpoint = listed.standing.registered, listed.endpoint
    consumer = registered.consumer
    yield f"{consumer.name}: {listed.state}, {'handled by code' if endpoint is None else plain(listed.target)}"
    if registered.disabled_at is not None:
        yield f"  disabled {moment(registered.disabled_at)}: {plain(registered.disabled_reason)}"
    yield f"  types: {', '.join(consumer.event_types)}"
    yield f"  {consumer.attempts} attempts, then {consumer.on_dead.value}"
    yield f"  registered {moment(registered.registered_at)}"
    if endpoint is not None:
        for secret in endpoint.secrets:
            until = "" if secret.expires_at is None else f", signs until {moment(secret.expires_at)}"
            yield f"  secret {secret.fingerprint}, made {moment(secret.created_at)}{until}"
        if endpoint.failing_since is not None:
            yield f"  failing since {moment(endpoint.failing_since)}: {plain(endpoint.failure)}"
    yield (
        f"  {listed.standing.waiting} tenants wait, {listed.standing.lag.held} of them held back; "
        f"{listed.standing.skipped} messages passed over"
    )


def _skipped_line(each: SkippedMessage) -> str:
    by = "" if each.actor is None else f" by {plain(each.actor)}: {plain(each.reason)}"
    error = "" if each.error is None else f" ({plain(each.error)})"
    return f"{moment(each.skipped_at)}  {plain(each.tenant_id)}  message {each.sequence}{by}{error}"


async def _list(settings: Settings) -> Sequence[ListedConsumer]:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        standings = await tools.consumer_oversight().standings()
        endpoints = {each.consumer: each for each in await tools.webhook_endpoints().current()}
    return [ListedConsumer(each, endpoints.get(each.registered.consumer.name)) for each in standings]


async def _show(
    settings: Settings, name: ConsumerName, *, tenant: str | None, held: bool, limit: int
) -> tuple[ListedConsumer, Sequence[WaitingTenant], Sequence[SkippedMessage]]:
    from billing_app.container import open_tools
    from billing_core.model import TenantId

    async with open_tools(settings) as tools:
        oversight = tools.consumer_oversight()
        standing = next((each for each in await oversight.standings() if each.registered.consumer.name == name), None)
        if standing is None:
            unknown_consumer(name)
        endpoint = await tools.receiver_administration().find(name)
        tenant_id = None if tenant is None else TenantId(tenant)
        waiting = await oversight.waiting(name, held=held, tenant_id=tenant_id, limit=limit)
        return ListedConsumer(standing, endpoint), waiting, await oversight.skipped(name, limit=limit)
