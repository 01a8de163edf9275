"""Texts that can be tenant ids, and texts that cannot."""

import re

import pytest

from billing_core.model import TenantRules


@pytest.mark.parametrize("text", ["acme", "Acme & Söhne", "a b", "t" * 200, "00000000-0000-0000-0000-000000000000"])
def test_any_visible_text_can_be_a_tenant_id(text: str) -> None:
    """Teams choose their own form."""
    assert TenantRules().accepts(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is blank"),
        (" \u2003", "is blank"),
        (" acme", "begins or ends with white space"),
        ("acme\n", "begins or ends with white space"),
        ("acme\u00a0", "begins or ends with white space"),
        ("t" * 201, "is longer than 200 characters"),
        ("ac\x00me", "contains invisible characters"),
        ("ac\x85me", "contains invisible characters"),
        ("acme\u200b", "contains invisible characters"),
        ("\ufeffacme", "contains invisible characters"),
        ("ac\u202eme", "contains invisible characters"),
        ("\ud800", "contains invisible characters"),
    ],
)
def test_a_text_that_people_cannot_see_or_type_again_is_no_tenant_id(text: str, fault: str) -> None:
    """The fault completes a sentence about it."""
    assert TenantRules().fault_of(text) == fault


def test_a_team_may_demand_a_form() -> None:
    """Of the whole id."""
    rules = TenantRules(id_pattern="[a-z]{3}")
    assert rules.accepts("abc")
    assert [rules.fault_of(text) for text in ("abcd", "xabc", "ABC")] == ["does not have the form of a tenant id"] * 3


def test_a_form_that_is_no_regular_expression_is_refused() -> None:
    """When it is configured, not at the first event."""
    with pytest.raises(re.error):
        TenantRules(id_pattern="[a-z")
