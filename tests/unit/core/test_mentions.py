"""Which texts name an erased tenant."""

import pytest

from billing_core.state.mentions import Mentions


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("acme", "acme called"),
        ("acme", "Is this ACME's invoice?"),
        ("acme", "(acme)"),
        ("acme", "ticket 7: acme."),
        ("cus_1", "cus_1"),
        ("cus_1", "see cus_1/in_1"),
        ("ada@acme.example", "Asked by ADA@ACME.EXAMPLE."),
        ("ada@acme.example", "<ada@acme.example>, twice"),
        ("Ada", "Ada Lovelace called"),
        ("Al", "al called"),
        ("Ada Lovelace", "ada  lovelace, by phone"),
        ("Lovelace, Ada", "for Lovelace Ada"),
        ("Zoë Straße", "ZOE\u0308 STRASSE wrote"),
        ("דנה", "דנה התקשרה"),
        ("team 1", "for team 1"),
        ("o'brien@x.com", "O'Brien@x.com asked"),
        ("-acme-", "moved -acme- again"),
    ],
)
def test_a_name_is_found_at_word_boundaries_in_any_case(name: str, text: str) -> None:
    """Punctuation around it does not hide it."""
    assert Mentions([name]).found_in(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cus_1", "cus_11 and cus_12"),
        ("bo@x.com", "jimbo@x.com asked"),
        ("ada@acme.example", "lada@acme.example.org asked"),
        ("ada@acme.example", "x.ada@acme.example asked"),
        ("ada@acme.example", "x+ada@acme.example asked"),
        ("acme", "acme-eu called"),
        ("acme", "acmes"),
        ("Ada", "Adam called"),
        ("Ada Lovelace", "Ada met Lovelace"),
        ("team 1", "for team 12"),
        ("1", "replay 1 of 2"),
        ("***", "nothing"),
        ("", "nothing"),
    ],
)
def test_a_part_of_another_word_is_no_mention(name: str, text: str) -> None:
    """Nor is a single character, which is found everywhere."""
    assert not Mentions([name]).found_in(text)


def test_those_of_several_texts_are_returned_that_contain_any_name() -> None:
    """In their order."""
    texts = ["globex called", "sub_1 again", "acme called"]
    assert Mentions(["acme", "sub_1"]).among(texts) == ["sub_1 again", "acme called"]
    assert Mentions([]).among(texts) == []
