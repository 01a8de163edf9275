"""Times of streams, drawn for each: clients that began together must not come back together."""

import random
from datetime import timedelta

from billing_app.settings import StreamSettings


def pause_of_one(settings: StreamSettings) -> timedelta:
    """Return a pause of one to two times the setting before a client reconnects: a plain EventSource adds no jitter."""
    return settings.retry * random.uniform(1, 2)  # noqa: S311


def life_of_one(settings: StreamSettings) -> timedelta:
    """Return the longest life of a stream, from half of the setting to all of it."""
    return settings.max_life * random.uniform(0.5, 1)  # noqa: S311
