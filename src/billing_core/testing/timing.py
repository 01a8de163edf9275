"""Spans of time for suites that a binding runs on a clock it sets, or on a server whose rows it makes older."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

Elapse = Callable[[timedelta], Awaitable[None]]
"""Lets a span of the adapters' time pass. Each binding with leases or delays provides one as the fixture `elapse`."""

LEASE = timedelta(seconds=2)
"""Long enough that it does not end while a busy machine pauses a test, and short enough to wait for where one must."""
LONG = timedelta(minutes=5)
"""A lease that does not end during a test."""
TICK = timedelta(milliseconds=10)
