"""Time passing: the work that Stripe does by itself, in the order in which it is due."""

from collections.abc import Callable, Iterable
from datetime import datetime

from billing_stripe.testing.fake_stripe.account import Account, Due

_MOST_STEPS = 100_000


def pass_time(
    account: Account,
    due: Iterable[Due],
    *,
    test_clock_id: str | None,
    until: datetime,
    set_time: Callable[[datetime], None],
) -> None:
    """Do all work that is due until an instant, with the clock at each work's own time; then set the clock there.

    Raises: RuntimeError if the work never ends, which is a mistake in a resource.
    """
    sources = tuple(due)
    for _ in range(_MOST_STEPS):
        tasks = [task for source in sources for task in source(account, test_clock_id) if task.at <= until]
        if not tasks:
            set_time(until)
            return
        task = min(tasks, key=lambda task: task.at)
        set_time(task.at)
        with account.transaction():
            task.run()
    raise RuntimeError("work is due again and again at the same time")
