"""The activity page has words for everything that it may show, in each of its languages."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from billing_core.events import BillingEventType
from billing_core.model import AccessReason, AccessState, FeatureReason

FOLDER = files("billing_app").joinpath("web", "activity")
LANGUAGES = ("en", "de")

every_language = pytest.mark.parametrize("language", LANGUAGES)


def keys(language: str) -> list[tuple[int, str]]:
    """Return the keys of a language's words in their order, each with its depth."""
    text = FOLDER.joinpath(f"words-{language}.js").read_text(encoding="utf-8")
    found = re.findall(r'^( +)"?([\w.-]*)"?: ', text[text.index("export const") :], re.MULTILINE)
    return [(len(indent) // 2, key) for indent, key in found]


def group(language: str, name: str) -> set[str]:
    """Return the keys of one group of words."""
    listed = keys(language)
    start = listed.index((1, name)) + 1
    end = next((at for at in range(start, len(listed)) if listed[at][0] == 1), len(listed))
    return {key for depth, key in listed[start:end] if depth == 2}


def test_every_language_has_the_same_words() -> None:
    """A language may leave out what is the same in English; a key that English does not have is never read."""
    english = keys("en")
    assert {key for key in keys("de") if key not in english} == set()
    assert {name for depth, name in english if depth == 1} - {name for depth, name in keys("de") if depth == 1} == {
        "pdf"
    }


@every_language
def test_every_message_has_a_title(language: str) -> None:
    """A type without one is shown as its code."""
    replaced = {BillingEventType.WITHDRAWN}  # whose text says all
    assert {each.value for each in set(BillingEventType) - replaced} - group(language, "events") == set()


@every_language
def test_every_verdict_is_explained(language: str) -> None:
    """A tenant reads no codes."""
    assert {each.value for each in AccessState} <= group(language, "access")
    assert {each.value for each in AccessReason} <= group(language, "reasons")
    refusals = set(FeatureReason) - {FeatureReason.INCLUDED, FeatureReason.OVER_INCLUDED}
    assert {each.value for each in refusals} <= group(language, "refused")
