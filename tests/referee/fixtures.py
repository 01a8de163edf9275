"""The events of tests/fixtures/stripe whose version is near the one that Stripe's specification describes."""

from pathlib import Path
from typing import Final

from tests.stripe_openapi.differences import CHECKED_SINCE

_FOLDER: Final = Path(__file__).parents[1] / "fixtures" / "stripe"
FIXTURES: Final = sorted(
    path for folder in _FOLDER.iterdir() if folder.name >= CHECKED_SINCE for path in folder.iterdir()
)
"""Files named by their event type, in folders named by their API version."""
