"""When a program searches for garbage: seldom, and not among what it has imported."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Run a whole program in this block: start without a search, search seldom while it runs, end without one.

    With the default thresholds, searches take two fifths of the processor time that it takes to import a server, and
    slow down the 99th percentile of responses more than they cost throughput.
    """
    gc.set_threshold(300_000, 20, 100)
    try:
        yield
    finally:
        gc.freeze()  # Python would search everything as it ends


def exempt_start() -> None:
    """Remove the garbage of the start, 5 MB, and search no more among what it leaves."""
    gc.collect()
    gc.freeze()
