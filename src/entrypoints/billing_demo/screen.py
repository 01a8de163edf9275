"""How a run looks: live figures on a terminal, plain lines on standard error elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import Final, Protocol, TextIO

import attrs
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from billing_demo.figures import Figures

_PLAIN_EVERY: Final = 5.0
_LINK_EVERY: Final = 600.0
_KEPT_LINES: Final = 4
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
class Invitation:
    """How to look in from a browser and a shell, as one tenant; link and token are made when they are asked for."""

    tenant_id: str
    base_url: str
    sign_in_path: Callable[[], str]
    token: Callable[[], str] = attrs.field(repr=False)

    @property
    def link(self) -> str:
        """A link that signs in to the live page."""
        return f"{self.base_url}{self.sign_in_path()}"

    @property
    def curl(self) -> str:
        """A command that follows the tenant's stream from its first message."""
        return (
            f"curl -N -H 'Authorization: Bearer {self.token()}' -H 'Last-Event-ID: 0' "
            f"{self.base_url}/api/v1/billing/stream"
        )


class Screen(Protocol):
    """Where a run reports to."""

    def say(self, line: str) -> None:
        """Something happened."""
        ...

    def invite(self, invitation: Invitation) -> None:
        """Tell how to look in: when the server is ready, and when other tenants take over."""
        ...

    def show(self, figures: Figures) -> None:
        """The present figures; called again and again."""
        ...


class PlainScreen:
    """Lines for a log or a pipe, figures every few seconds."""

    def __init__(self, out: TextIO = sys.stderr) -> None:
        self._out = out
        self._next_figures_at = 0.0

    def say(self, line: str) -> None:
        """See Screen."""
        print(line, file=self._out, flush=True)

    def invite(self, invitation: Invitation) -> None:
        """See Screen."""
        self.say(f"live page of {invitation.tenant_id}: {invitation.link}")
        self.say(f"stream of {invitation.tenant_id}: {invitation.curl}")

    def show(self, figures: Figures) -> None:
        """See Screen."""
        now = time.monotonic()
        if now < self._next_figures_at:
            return
        self._next_figures_at = now + _PLAIN_EVERY
        tally = figures.tally
        statuses = ", ".join(f"{count} {status}" for status, count in sorted(figures.statuses.items()))
        self.say(
            f"{figures.seconds:.0f} s: {tally.accepted} events accepted, {figures.applied} applied, "
            f"{tally.duplicates} duplicates, {tally.failed} sent again, "
            f"{figures.messages} messages streamed; tenants: {statuses or 'none yet'}"
        )


class LiveScreen:
    """A panel that is redrawn in place; use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._lines: list[str] = []
        self._figures: Figures | None = None
        self._invitation: Invitation | None = None
        self._next_link_at = 0.0

    def __enter__(self) -> "LiveScreen":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """See Screen."""
        self._lines = [*self._lines, line][-_KEPT_LINES:]
        if self._invitation is None:
            self._console.print(Text(line, style="dim"))
        elif self._figures is not None:
            self.show(self._figures)  # nobody may draw again, as when all is being stopped

    def invite(self, invitation: Invitation) -> None:
        """See Screen. It is printed above the panel, where it can be copied: no frame cuts it in pieces."""
        self._invitation = invitation
        self._next_link_at = 0.0
        self._lines = []
        self._console.print(Text(f"stream of {invitation.tenant_id}: {invitation.curl}"), soft_wrap=True)

    def show(self, figures: Figures) -> None:
        """See Screen."""
        self._figures = figures
        parts: list[RenderableType] = [
            self._numbers(figures),
            self._statuses(figures),
            *(Text(line, style="dim") for line in self._lines),
        ]
        panel = Panel(Group(*parts), title="billing demo", subtitle="Ctrl-C stops everything", border_style="cyan")
        self._offer_link()
        self._live.update(panel, refresh=True)

    def _offer_link(self) -> None:
        """Print the link to the live page, and a new one before it runs out."""
        now = time.monotonic()
        if self._invitation is not None and now >= self._next_link_at:
            self._next_link_at = now + _LINK_EVERY
            line = f"live page of {self._invitation.tenant_id}: {self._invitation.link}"
            self._console.print(Text(line, style="bold"), soft_wrap=True)

    def _numbers(self, figures: Figures) -> Table:
        tally = figures.tally
        table = Table.grid(padding=(0, 3))
        notified = "" if figures.played_until is None else f"{figures.played_until:%d %B %Y}"
        rate = tally.accepted / figures.seconds if figures.seconds else 0.0
        rows = (
            ("the tenants' calendar", notified, "accepted events", f"{tally.accepted:,} ({rate:.0f}/s)"),
            ("applied events", f"{figures.applied:,}", "duplicates recognised", f"{tally.duplicates:,}"),
            (
                "messages seen on streams",
                f"{figures.messages:,} by {figures.listeners} clients",
                "of them out of order or twice",
                f"{figures.violations:,}",
            ),
            (
                "oldest unprocessed event",
                _age(figures.backlog_seconds),
                "oldest unpublished message",
                _age(figures.unpublished_seconds),
            ),
            ("sent again after a failure", f"{tally.failed:,}", "server restarts", f"{figures.restarts:,}"),
        )
        for row in rows:
            table.add_row(Text(row[0], style="dim"), row[1], Text(row[2], style="dim"), row[3])
        return table

    def _statuses(self, figures: Figures) -> Table:
        table = Table.grid(padding=(0, 1))
        whole = max(1, sum(figures.statuses.values()))
        for status, count in sorted(figures.statuses.items(), key=lambda entry: (-entry[1], entry[0])):
            style = _STATUS_STYLES.get(status, "white")
            bar = Text("█" * max(1, round(40 * count / whole)), style=style)
            table.add_row(Text(status, style=style), f"{count:>3}", bar)
        return table


def _age(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds:.1f} s"
