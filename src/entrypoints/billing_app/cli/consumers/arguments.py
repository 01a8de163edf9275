"""Arguments and options that commands about consumers share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

import click

from billing_app.cli.options import not_blank
from billing_app.cli.terminal import NOTHING_MATCHED, plain
from billing_app.settings.parsers import parse_moment

if TYPE_CHECKING:
    from billing_core.consumers.values import ConsumerName, Start


def _name(_ctx: click.Context, _param: click.Parameter, text: str) -> ConsumerName:
    from billing_core.consumers.values import consumer_name

    try:
        return consumer_name(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc


name_argument = click.argument("name", metavar="CONSUMER", callback=_name)
why_option = click.option("--why", help="Why, for the audit log.")
reason_option = click.option("--why", required=True, callback=not_blank, help="Why, for the audit log.")


def parse_start(text: str) -> Start:
    """Parse a start: now, beginning, a date, or a duration before now. Raises click.BadParameter."""
    if text == "now":
        return "now"
    if text == "beginning":
        return "beginning"
    instant = parse_moment(text, datetime.now(UTC))
    if instant is None:
        raise click.BadParameter(f"{text!r} is none of now, beginning, a date (2026-03-01) and a time before now (3d)")
    return instant


def unknown_consumer(name: str) -> NoReturn:
    """End the command for a consumer that is not known."""
    click.echo(f"Unknown consumer {plain(name)!r}. See `billing consumers list`.", err=True)
    raise click.exceptions.Exit(NOTHING_MATCHED)
