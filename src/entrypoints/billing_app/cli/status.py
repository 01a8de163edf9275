"""`billing status`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import attrs
import click

from billing_app.cli.lists import relative
from billing_app.cli.terminal import json_option, plain, print_json
from billing_app.settings import Settings
from billing_app.spans import span

if TYPE_CHECKING:
    from billing_core.oversight.inspection import EventTally, StoredEvent
    from billing_core.oversight.ports import Backlog

_RECENT: Final = timedelta(hours=24)
_ANSWER_SECONDS: Final = 2.0
_PENDING_SHOWN: Final = 1000


@attrs.frozen(kw_only=True)
class _Standing:
    """The state of a deployment at one moment."""

    server: str
    """Whether the server at BILLING_HOST and BILLING_PORT answers: ready, not ready, or no answer."""
    recent: Sequence[EventTally]
    last: StoredEvent | None
    backlog: Backlog
    unpublished: timedelta
    generation: int
    pending: int


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show on one screen how things are: server, events of the last 24 hours, backlog, messages and operations.

    `billing doctor` says what to do about what is wrong.

    \b
    billing status
    watch -n 10 billing status
    billing status --json | jq .inbox.dead
    """
    settings = Settings.for_command()
    standing = asyncio.run(_read(settings))
    if as_json:
        print_json(_to_json(standing, settings))
        return
    for title, text, color in _lines(standing, settings):
        click.echo(f"{title:<11} {click.style(plain(text), fg=color)}")


async def _read(settings: Settings) -> _Standing:
    from billing_app.container import open_tools
    from billing_core.inbox.selection import EventFilter

    async with open_tools(settings) as tools:
        log = tools.event_log()
        newest = await log.find(EventFilter(), before=None, limit=1)
        recent = EventFilter(since=datetime.now(UTC) - _RECENT)
        active = await tools.rules_register().active()
        return _Standing(
            server=await asyncio.to_thread(_ask_server, settings),
            recent=await log.tally(recent, by="status"),
            last=newest[0] if newest else None,
            backlog=await tools.inbox_backlog().backlog(),
            unpublished=await tools.outbox().oldest(),
            generation=0 if active is None else active.generation,
            pending=len(await tools.operation_log().unresolved(limit=_PENDING_SHOWN)),
        )


def _ask_server(settings: Settings) -> str:
    try:
        with urlopen(f"{settings.server.local_url}/readyz", timeout=_ANSWER_SECONDS):  # noqa: S310 - a fixed scheme
            return "ready"
    except HTTPError:
        return "not ready"
    except (URLError, OSError, HTTPException):
        return "no answer"


def _counts(standing: _Standing) -> Mapping[str, int]:
    """Return the events of the last 24 hours by status."""
    counts: dict[str, int] = {}
    for tally in standing.recent:
        for status_, count in tally.counts.items():
            counts[status_.value] = counts.get(status_.value, 0) + count
    return counts


def _lines(standing: _Standing, settings: Settings) -> Iterator[tuple[str, str, str | None]]:
    """Yield the title, the text and the color of each line."""
    mode = {True: "live mode", False: "test mode", None: "no STRIPE_SECRET_KEY"}[settings.stripe.livemode]
    on = settings.switches.billing
    yield "billing", f"{'on' if on else 'off (ENABLE_BILLING)'}, {mode}", None if on else "yellow"
    where = f"local, in {settings.embedded.data_dir}" if settings.database.url is None else "DATABASE_URL"
    yield "database", where, None
    answers = standing.server == "ready"
    yield "server", f"{settings.server.local_url}: {standing.server}", "green" if answers else "yellow"
    counts = ", ".join(f"{count} {name}" for name, count in sorted(_counts(standing).items())) or "none"
    last = "" if standing.last is None else f"; the last one {relative(standing.last.received_at)}"
    yield "events", f"{counts} in 24 h{last}", None
    backlog = standing.backlog
    yield "inbox", f"{backlog.due} due, the oldest since {span(backlog.oldest_due)}; {backlog.parked} parked", None
    dead = ", ".join(f"{count} {reason}" for reason, count in sorted(backlog.dead.items()))
    yield "dead", dead or "none", "red" if dead else "green"
    yield "messages", f"the oldest unpublished one has waited {span(standing.unpublished)}", None
    more = " or more" if standing.pending == _PENDING_SHOWN else ""
    yield "operations", f"{standing.pending}{more} without an outcome", None
    yield "rules", f"generation {standing.generation}" if standing.generation else "none in force yet", None


def _to_json(standing: _Standing, settings: Settings) -> Mapping[str, Any]:
    backlog = standing.backlog
    return {
        "billing": settings.switches.billing,
        "livemode": settings.stripe.livemode,
        "server": {"url": settings.server.local_url, "state": standing.server},
        "events": {
            "last_24h": _counts(standing),
            "last_received_at": None if standing.last is None else standing.last.received_at,
        },
        "inbox": {
            "due": backlog.due,
            "oldest_due_seconds": backlog.oldest_due.total_seconds(),
            "parked": backlog.parked,
            "dead": dict(backlog.dead),
        },
        "oldest_unpublished_seconds": standing.unpublished.total_seconds(),
        "operations_without_outcome": standing.pending,
        "rules_generation": standing.generation,
    }
