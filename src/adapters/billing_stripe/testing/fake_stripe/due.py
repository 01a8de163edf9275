"""Time passing: the work that Stripe does by itself, in the order in which it is due."""

from collections.abc import Callable, Sequence
from datetime import datetime

from billing_stripe.testing.fake_stripe.account import Account

_MOST_STEPS = 100_000


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
    for _ in range(_MOST_STEPS):
        tasks = [
            (task, account)
            for account in accounts
            for source in account.due
            for task in source(account, test_clock_id)
            if task.at <= until
        ]
        if not tasks:
            set_time(until)
            return
        task, account = min(tasks, key=lambda pair: pair[0].at)
        set_time(task.at)
        with account.transaction():
            task.run()
    raise RuntimeError("work is due again and again at the same time")
