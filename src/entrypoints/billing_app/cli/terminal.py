"""Terminal output, prompts and the option --json. Nothing in a payload may control the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from billing_core.model import TenantId
    from billing_core.oversight.ports import StateUpkeep

NOTHING_MATCHED: Final = 3
"""Exit status of a command that found nothing."""

WARNINGS: Final = 4
"""Exit status of a command that was told to be strict, and has only warnings."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def print_json(value: object) -> None:
    """Print a value as `--json` does: one line of ASCII, with instants in ISO 8601."""
    from billing_core.converters import to_plain

    click.echo(json.dumps(to_plain(value)))


def plain(text: object) -> str:
    """Escape control and invisible characters, so that they do not act on the terminal."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode() for each in str(text)
    )


def moment(instant: datetime | None) -> str:
    """Format an instant in UTC, to the second."""
    return "–" if instant is None else instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def confirm(question: str, *, yes: bool) -> None:
    """Ask for confirmation, and abort without it. Without a terminal, `--yes` is required."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Not a terminal. Pass --yes to confirm.")
    click.confirm(question, abort=True, err=True)


async def owner_of(upkeep: StateUpkeep, object_id: str) -> TenantId:
    """Return the tenant that an id belongs to, its own or that of one of its objects; else end with `NOTHING_MATCHED`.

    The object may be a customer, a subscription, an invoice or a stored event.
    """
    owner = await upkeep.owner(object_id)
    if owner is None:
        click.echo(_unowned(object_id), err=True)
        raise click.exceptions.Exit(NOTHING_MATCHED)
    return owner


def _unowned(object_id: str) -> str:
    shown = plain(object_id)
    if object_id.startswith("evt_"):
        return f"No tenant is known for the event {shown}. See `billing events show {shown}`."
    if object_id.startswith(("cus_", "sub_", "in_")):
        return f"No tenant is known for {shown}. See `billing tenants list --unlinked`."
    return f"Unknown tenant {shown!r}. See `billing tenants list`."


async def require_known(upkeep: StateUpkeep, tenant: str) -> None:
    """End the command with `NOTHING_MATCHED` for a tenant that is not known."""
    from billing_core.model import TenantId

    _, known = await upkeep.knows(payer="", tenant=TenantId(tenant))
    if not known:
        click.echo(f"Unknown tenant {plain(tenant)!r}. See `billing tenants list`.", err=True)
        raise click.exceptions.Exit(NOTHING_MATCHED)


@contextmanager
def progress(title: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error, if it is a terminal, and yield the function that advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
