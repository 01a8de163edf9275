"""The page about access is what the policy does."""

from pathlib import Path

import attrs

from billing_app import access_reference
from billing_core.model import AccessPolicy, AccessReason

REPOSITORY = Path(__file__).parents[2]
PAGE = access_reference.render()


def test_the_page_in_the_repository_is_up_to_date() -> None:
    """When this fails, run `python -m billing_app.access_reference`."""
    assert (REPOSITORY / access_reference.DOCUMENT).read_text(encoding="utf-8") == PAGE


def test_the_page_names_every_setting_and_every_reason() -> None:
    """A setting that is not explained cannot be found."""
    for field in attrs.fields(AccessPolicy):
        assert f"\n| `{field.name}` | " in PAGE
    for reason in AccessReason:
        assert f"\n- `{reason.value}`\n" in PAGE
