"""Values and defaults that objects of all families share."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs

NO_METADATA: Mapping[str, str] = {}
LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""Creation time of what a test does not date."""


def same_as(prefix: str, identifier: str) -> str:
    """Return an id of another kind with the same ending."""
    return f"{prefix}_{identifier.rpartition('_')[2]}"


def derived(prefix: str, owner: str) -> Any:
    """Return a default that is derived from the id in another field."""

    def derive(source: object) -> str:
        return same_as(prefix, getattr(source, owner))

    return attrs.Factory(derive, takes_self=True)


@attrs.frozen
class Span:
    """A period, `[start, end)`."""

    start: datetime
    end: datetime
