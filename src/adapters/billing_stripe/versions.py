"""The API versions that are tested."""

from typing import Final

BASIL: Final = "2025-03-31.basil"
"""The largest change: periods moved to items, the origin of invoices and lines to `parent`, prices to `pricing`."""

API_VERSIONS: Final = (
    "2020-08-27",
    "2022-11-15",
    "2024-06-20",
    "2025-02-24.acacia",
    BASIL,
    "2025-09-30.clover",
    "2026-10-28.endive",
)
"""One version per shape, oldest first. Versions in between have the shape of the one before."""


def is_tested(version: str) -> bool:
    """Tell whether the shapes of a version are among the tested ones."""
    return API_VERSIONS[0] <= version <= API_VERSIONS[-1]
