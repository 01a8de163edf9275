"""The page about entitlements is what the code does."""

from pathlib import Path

import pytest

from billing_app import entitlements_reference
from billing_core.model import FeatureReason, Freshness

REPOSITORY = Path(__file__).parents[2]
PAGE = entitlements_reference.render()


def test_the_page_in_the_repository_is_up_to_date() -> None:
    """When this fails, run `python -m billing_app.entitlements_reference`."""
    assert (REPOSITORY / entitlements_reference.DOCUMENT).read_text(encoding="utf-8") == PAGE


def test_the_page_explains_and_shows_every_reason() -> None:
    """With an example of each in the table of decisions."""
    for reason in FeatureReason:
        assert f"\n- `{reason.value}`: " in PAGE
        assert f" | `{reason.value}` | " in PAGE


@pytest.mark.parametrize("freshness", Freshness)
def test_the_page_says_how_current_each_answer_is(freshness: Freshness) -> None:
    """The bounds are those of the default policy."""
    assert f"\n| `{freshness.value}` | " in PAGE
