"""The pause before a bus that was lost is followed again."""

import random
from typing import Final

_FIRST_SECONDS: Final = 0.05
_LONGEST_SECONDS: Final = 2.0


def pause_before(attempt: int) -> float:
    """Return the seconds before an attempt, after so many that failed: doubled by each, and spread over processes."""
    return min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(attempt, 10)) * random.uniform(0.5, 1)  # noqa: S311
