"""`billing consumers enable`, `disable` and `remove`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from billing_app.cli.consumers.arguments import (
    name_argument,
    reason_option,
    unknown_consumer,
    why_option,
)
from billing_app.cli.options import by_option, yes_option
from billing_app.cli.terminal import confirm, json_option, print_json
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_app.container import Tools
    from billing_core.consumers.values import ConsumerName


@click.command()
@name_argument
@why_option
@by_option()
@json_option
def enable(*, name: ConsumerName, why: str | None, by: str, as_json: bool) -> None:
    """Hand messages to CONSUMER again. Those that waited come first, in order.

    \b
    billing consumers enable crm

    Exit status: 0 done or already enabled, 1 failed, 2 wrong usage or configuration, 3 unknown consumer.
    """
    done = asyncio.run(_enable(Settings.for_command(), name, actor=by, reason=why))
    if as_json:
        print_json({"consumer": name, "enabled": done})
    else:
        click.echo(f"Enabled {name}." if done else f"{name} is enabled already.")


@click.command()
@name_argument
@reason_option
@by_option()
@json_option
def disable(*, name: ConsumerName, why: str, by: str, as_json: bool) -> None:
    """Hand nothing to CONSUMER until it is enabled. Its messages wait, and none is lost.

    \b
    billing consumers disable crm --why 'the CRM is being moved'

    Exit status: 0 done or already disabled, 1 failed, 2 wrong usage or configuration, 3 unknown consumer.
    """
    done = asyncio.run(_disable(Settings.for_command(), name, actor=by, reason=why))
    if as_json:
        print_json({"consumer": name, "disabled": done})
    else:
        click.echo(f"Disabled {name}." if done else f"{name} is disabled already.")


@click.command()
@name_argument
@yes_option
@why_option
@by_option()
@json_option
def remove(*, name: ConsumerName, yes: bool, why: str | None, by: str, as_json: bool) -> None:
    """Remove CONSUMER with its positions and, if it has one, its receiver. A handler in code registers it again.

    \b
    billing consumers remove crm

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 unknown consumer.
    """
    waiting = asyncio.run(_remove(Settings.for_command(), name, yes=yes, actor=by, reason=why))
    if as_json:
        print_json({"consumer": name, "removed": True, "waiting_tenants": waiting})
    else:
        click.echo(f"Removed {name}.")


async def _require(tools: Tools, name: ConsumerName) -> None:
    if all(each.consumer.name != name for each in await tools.consumer_register().registered()):
        unknown_consumer(name)


async def _enable(settings: Settings, name: ConsumerName, *, actor: str, reason: str | None) -> bool:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        await _require(tools, name)
        return await tools.receiver_administration().enable(name, actor=actor, reason=reason)


async def _disable(settings: Settings, name: ConsumerName, *, actor: str, reason: str) -> bool:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        await _require(tools, name)
        return await tools.receiver_administration().disable(name, actor=actor, reason=reason)


async def _remove(settings: Settings, name: ConsumerName, *, yes: bool, actor: str, reason: str | None) -> int:
    """Remove a consumer; return how many tenants waited for it."""
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        standings = {each.registered.consumer.name: each for each in await tools.consumer_oversight().standings()}
        waiting = standings[name].waiting if name in standings else 0
        if name not in standings and await tools.receiver_administration().find(name) is None:
            unknown_consumer(name)
        lost = f" The messages of {waiting} tenants that wait are never handed over." if waiting else ""
        confirm(f"Remove {name} with its positions?{lost}", yes=yes)
        await tools.receiver_administration().remove(name, actor=actor, reason=reason)
    return waiting
