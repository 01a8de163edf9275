"""What commands print for people: nothing that a payload holds may act on a terminal."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click


def plain(text: object) -> str:
    """Text whose control and invisible characters are spelt out instead of sent to the terminal."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode() for each in str(text)
    )


def moment(instant: datetime | None) -> str:
    """An instant in UTC, to the second."""
    return "–" if instant is None else instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def operator() -> str:
    """Who sits at the terminal, as far as the system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if somebody agrees. Where nobody can be asked, `--yes` has to say so beforehand."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody can be asked here: repeat the command with --yes.")
    click.confirm(question, abort=True, err=True)


@contextmanager
def progress(title: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error; yields what moves it on. Nothing is drawn where nobody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
