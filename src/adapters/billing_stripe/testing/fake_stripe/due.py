"""Time passing: the work that Stripe does by itself, in the order in which it is due."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import attrs

from billing_stripe.testing.fake_stripe.account import Account, Task

_MOST_STEPS = 1_000_000


def pass_time(
    accounts: Sequence[Account],
    *,
    test_clock_id: str | None,
    until: datetime,
    set_time: Callable[[datetime], None],
) -> None:
    """Do all work that is due until an instant, with the clock at each work's own time; then set the clock there.

    Args:
        accounts: that share the clock.
        test_clock_id: the test clock that moves; None for the accounts' own.
        until: the end.
        set_time: moves the clock.

    Raises: RuntimeError if the work never ends, which is a mistake in a resource.
    """
    agenda = _Agenda(accounts, test_clock_id)
    for _ in range(_MOST_STEPS):
        following = agenda.next(until)
        if following is None:
            set_time(until)
            return
        account, task = following
        set_time(task.at)
        with account.transaction():
            task.run()
    raise RuntimeError("work is due again and again at the same time")


@attrs.frozen(order=True)
class _Entry:
    """One task. At the same time the order is that of the resources, then that in which an object yields its tasks."""

    at: datetime
    rank: int
    position: int
    number: int
    task: Task = attrs.field(order=False)
    account: Account = attrs.field(order=False)
    object_id: str = attrs.field(order=False)


class _Agenda:
    """The tasks of all objects on a clock. Those of an object are planned again whenever it changes."""

    def __init__(self, accounts: Sequence[Account], test_clock_id: str | None) -> None:
        self._accounts = accounts
        self._clock = test_clock_id
        self._entries: list[_Entry] = []
        self._plans: dict[tuple[str, str], int] = {}
        """The number of the current plan of each object, by account and id."""
        self._planned = 0
        for account in accounts:
            account.take_changed()
            for rank, due in enumerate(account.due):
                for source in account.all(due.source):
                    self._plan(account, rank, source)

    def next(self, until: datetime) -> tuple[Account, Task] | None:
        """Return the first task up to an instant, with its account, or None."""
        for account in self._accounts:
            for object_id in account.take_changed():
                self._plan_again(account, object_id)
        while self._entries and self._entries[0].at <= until:
            entry = heapq.heappop(self._entries)
            if self._plans.get((entry.account.account_id, entry.object_id)) == entry.number:
                return entry.account, entry.task
        return None

    def _plan_again(self, account: Account, object_id: str) -> None:
        self._plans.pop((account.account_id, object_id), None)
        source = account.by_id(object_id)
        for rank, due in enumerate(account.due):
            if isinstance(source, due.source):
                self._plan(account, rank, source)

    def _plan(self, account: Account, rank: int, source: Any) -> None:
        due = account.due[rank]
        if due.clock(account, source) != self._clock:
            return
        object_id = account.kind_of(type(source)).key(source) or ""
        self._planned += 1
        self._plans[account.account_id, object_id] = self._planned
        for position, task in enumerate(due.tasks(account, source)):
            entry = _Entry(task.at, rank, position, self._planned, task, account, object_id)
            heapq.heappush(self._entries, entry)
