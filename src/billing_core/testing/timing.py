"""Spans of time for suites that a binding runs on a clock it sets, or on a server whose time it must wait for."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

Elapse = Callable[[timedelta], Awaitable[None]]
"""Lets a span of the adapters' time pass. Each binding with leases or delays provides one as the fixture `elapse`."""

LEASE = timedelta(milliseconds=200)
"""Short enough to wait for on a real server."""
LONG = timedelta(minutes=5)
"""A lease that does not end during a test."""
TICK = timedelta(milliseconds=10)
