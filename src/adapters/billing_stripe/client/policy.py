"""Limits of one call: attempts, timeouts and waits."""

import random
from datetime import timedelta

import attrs


@attrs.frozen
class Backoff:
    """Waits that double with each attempt, up to a maximum. The latter half of each is random, to spread the load."""

    initial: timedelta
    maximum: timedelta

    def after(self, attempt: int) -> timedelta:
        """Return the wait after the attempt with this number, counted from 1."""
        full = min(self.maximum, self.initial * float(2 ** min(attempt - 1, 20)))
        return full * random.uniform(0.5, 1)  # noqa: S311 - spreads load


@attrs.frozen(kw_only=True)
class CallPolicy:
    """Limits of one call."""

    attempts: int = 4
    connect_timeout: timedelta = timedelta(seconds=3)
    attempt_timeout: timedelta = timedelta(seconds=20)
    """Limit of one attempt: connect, send, and read the whole answer."""
    deadline: timedelta = timedelta(seconds=40)
    """Limit of the whole call, attempts and waits included."""
    background_deadline: timedelta = timedelta(minutes=10)
    """The same for background calls: many of them may wait for room."""
    backoff: Backoff = Backoff(timedelta(milliseconds=500), timedelta(seconds=5))
    lock_backoff: Backoff = Backoff(timedelta(seconds=1), timedelta(seconds=2))
    """Waits for an object that another request has locked, or for a key that is in use."""
    load_backoff: Backoff = Backoff(timedelta(seconds=2), timedelta(seconds=32))
    """Waits after a refusal for load that names no time."""
    longest_retry_after: timedelta = timedelta(seconds=10)
    """If Stripe asks for a longer wait, the call fails and the caller can do something else in the meantime."""
