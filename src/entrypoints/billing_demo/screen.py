"""The output of a run: a live panel on a terminal, plain lines on standard error elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import Final, Protocol, TextIO

import attrs
from rich.console import Console, Group
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from billing_demo.progress import Progress

_PLAIN_EVERY: Final = 5.0
_LINK_EVERY: Final = 600.0
_KEPT_LINES: Final = 4
_FRAME_LINES: Final = 3
"""The lines above and below the panel, and the one that the cursor stands in."""
_STATUSES_SHOWN: Final = 6
_STATUS_STYLES: Final = {
    "active": "green",
    "trialing": "cyan",
    "past_due": "yellow",
    "unpaid": "red",
    "paused": "blue",
    "incomplete": "magenta",
    "canceled": "dim",
    "incomplete_expired": "dim",
}


@attrs.frozen(kw_only=True)
class TenantAccess:
    """Access to one tenant's data from a browser and a shell; ticket and token are issued when they are read."""

    tenant_id: str
    base_url: str
    sign_in_path: Callable[[], str] = attrs.field(repr=False)
    stream_command: Callable[[], str] = attrs.field(repr=False)
    """Returns a command that follows the tenant's stream from its first message."""
    look: str
    """A command that lists the events of the demo."""

    @property
    def link(self) -> str:
        """A link that signs a browser in to the activity page."""
        return f"{self.base_url}{self.sign_in_path()}"


class Screen(Protocol):
    """The output of a run."""

    def log(self, line: str) -> None:
        """Show a line about what happened."""
        ...

    def show_access(self, access: TenantAccess) -> None:
        """Show how to follow a tenant: when the server is ready, and when new tenants replace the old ones."""
        ...

    def update(self, progress: Progress) -> None:
        """Show the current figures; called repeatedly."""
        ...


class PlainScreen:
    """Lines for a log or a pipe, with figures every few seconds."""

    def __init__(self, out: TextIO = sys.stderr) -> None:
        self._out = out
        self._next_figures_at = 0.0

    def log(self, line: str) -> None:
        """See Screen."""
        print(line, file=self._out, flush=True)

    def show_access(self, access: TenantAccess) -> None:
        """See Screen."""
        self.log(f"activity page of {access.tenant_id}: {access.link}")
        self.log(f"stream of {access.tenant_id}: {access.stream_command()}")
        self.log(f"look into it: {access.look}")

    def update(self, progress: Progress) -> None:
        """See Screen."""
        now = time.monotonic()
        if now < self._next_figures_at:
            return
        self._next_figures_at = now + _PLAIN_EVERY
        counts = progress.deliveries
        statuses = ", ".join(f"{count} {status}" for status, count in sorted(progress.statuses.items()))
        self.log(
            f"{progress.seconds:.0f} s: {counts.accepted} events accepted, {progress.applied} applied, "
            f"{counts.duplicates} duplicates, {counts.failed} retries, "
            f"{progress.messages} messages streamed; tenants: {statuses or 'none yet'}"
        )


class LiveScreen:
    """A panel that is redrawn in place; use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._lines: list[str] = []
        self._shown: Progress | None = None
        self._access: TenantAccess | None = None
        self._ways: list[Text] = []
        self._next_ways_at = 0.0

    def __enter__(self) -> "LiveScreen":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def log(self, line: str) -> None:
        """See Screen."""
        self._lines = [*self._lines, line][-_KEPT_LINES:]
        if self._access is None:
            self._console.print(Text(line, style="dim"))
        elif self._shown is not None:
            self.update(self._shown)  # the line may be the last one, as at a shutdown, so draw it now

    def show_access(self, access: TenantAccess) -> None:
        """See Screen."""
        self._access = access
        self._next_ways_at = 0.0
        self._lines = []

    def update(self, progress: Progress) -> None:
        """See Screen."""
        self._shown = progress
        ways = self._current_ways()
        figures, statuses = self._figures(progress), self._statuses(progress)
        width = self._console.width
        used = sum(len(text.wrap(self._console, width)) for text in ways) + figures.row_count + statuses.row_count
        room = max(1, self._console.height - used - _FRAME_LINES)
        lines = [Text(line, style="dim", overflow="ellipsis", no_wrap=True) for line in self._lines[-room:]]
        # Lines above and below only: a frame at the sides would break long lines into pieces that cannot be copied.
        title, end = Rule("billing demo", style="cyan"), Rule("Ctrl-C stops everything", style="cyan")
        self._live.update(Group(title, *ways, figures, statuses, *lines, end), refresh=True)

    def _current_ways(self) -> list[Text]:
        """Return the link to the activity page and the commands, with a new ticket and token before they expire."""
        now = time.monotonic()
        access = self._access
        if access is not None and now >= self._next_ways_at:
            self._next_ways_at = now + _LINK_EVERY
            lines = (access.link, access.stream_command(), access.look)
            self._ways = [Text(line, style="bold", overflow="fold") for line in lines]
        return self._ways

    def _figures(self, progress: Progress) -> Table:
        counts = progress.deliveries
        table = Table.grid(padding=(0, 2))
        date = "" if progress.simulated_until is None else f"{progress.simulated_until:%d %B %Y}"
        rate = counts.accepted / progress.seconds if progress.seconds else 0.0
        rows = (
            ("simulated date", date, "events accepted", f"{counts.accepted:,} ({rate:.0f}/s)"),
            ("events applied", f"{progress.applied:,}", "duplicates recognized", f"{counts.duplicates:,}"),
            (
                "messages received",
                f"{progress.messages:,} by {progress.clients} clients",
                "duplicate or out of order",
                f"{progress.violations:,}",
            ),
            (
                "oldest unprocessed event",
                _age(progress.backlog_seconds),
                "oldest unpublished message",
                _age(progress.unpublished_seconds),
            ),
            ("deliveries retried", f"{counts.failed:,}", "server restarts", f"{progress.restarts:,}"),
        )
        for row in rows:
            table.add_row(Text(row[0], style="dim"), row[1], Text(row[2], style="dim"), row[3])
        return table

    def _statuses(self, progress: Progress) -> Table:
        table = Table.grid(padding=(0, 1))
        total = max(1, sum(progress.statuses.values()))
        most = sorted(progress.statuses.items(), key=lambda item: (-item[1], item[0]))[:_STATUSES_SHOWN]
        for status, count in most:
            style = _STATUS_STYLES.get(status, "white")
            bar = Text("█" * max(1, round(40 * count / total)), style=style)
            table.add_row(Text(status, style=style), f"{count:>3}", bar)
        return table


def _age(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.1f} s"
