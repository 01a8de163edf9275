"""Options that several commands have, and values of options: durations, moments and texts."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from billing_app.settings.parsers import parse_duration, parse_moment

Command = TypeVar("Command", bound=Callable[..., Any])

yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")


def by_option(help: str = "Your name, for the audit log.") -> Callable[[Command], Command]:
    """Return the option that names the operator, by default as the operating system does."""
    return click.option("--by", default=operator, show_default="your user name", help=help)


def operator() -> str:
    """Return the name of the operating system's user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def not_blank(_ctx: click.Context, _param: click.Parameter, text: str) -> str:
    """Refuse a blank text as the value of an option."""
    if not text.strip():
        raise click.BadParameter("must not be blank")
    return text


def moment_option(_ctx: click.Context, _param: click.Parameter, text: str | None) -> datetime | None:
    """Parse the value of an option that takes a moment."""
    moment = None if text is None else parse_moment(text, datetime.now(UTC))
    if text is not None and moment is None:
        raise click.BadParameter(
            f"{text!r} is neither a duration before now (30m, 2h, 3d) nor a date (2026-03-01T12:00)"
        )
    return moment


def duration_option(_ctx: click.Context, _param: click.Parameter, text: str | None) -> timedelta | None:
    """Parse the value of an option that takes a duration."""
    found = None if text is None else parse_duration(text)
    if text is not None and found is None:
        raise click.BadParameter(f"{text!r} is not a duration: a number and s, m, h, d or w, such as 90d")
    return found
