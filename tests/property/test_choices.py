"""Failures of the property tests shrink, and show the values that caused them."""

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from tests.property.choices import Choices, choices


def test_decisions_after_the_last_byte_are_the_plainest() -> None:
    """The lowest number, the first of some, "no", no change of order."""
    plain, order = Choices(b""), [1, 2, 3]
    plain.shuffle(order)
    assert (plain.randint(2, 9), plain.choice("abc"), plain.random() < 0.99, order) == (2, "a", False, [1, 2, 3])


def test_bytes_decide_all_there_is_to_decide() -> None:
    """Every number, member and order can come up, evenly enough."""
    drawn = [Choices(bytes([first, second])) for first in range(256) for second in range(0, 256, 8)]
    assert {each.randint(1, 3) for each in drawn} == {1, 2, 3}
    orders = set()
    for first in range(4):
        for second in range(4):
            order = [1, 2, 3]
            Choices(bytes([first, second])).shuffle(order)
            orders.add(tuple(order))
    assert len(orders) == 6
    assert sum(Choices(bytes([byte])).random() < 0.25 for byte in range(256)) == 64


def test_a_failure_shrinks_to_the_decisions_that_it_takes() -> None:
    """Two of a hundred, at any place, are left: the others become the plainest."""

    def fails(story: Choices) -> bool:
        numbers = [story.randint(0, 7) for _ in range(100)]
        return sum(number >= 5 for number in numbers) >= 2

    assert repr(find(choices(), fails, settings=settings(max_examples=500))).count("\\x05") == 2


def test_a_failure_shows_its_values() -> None:
    """Also beside plugins that print nothing to be faster."""

    @given(story=choices(), number=st.integers(0, 100))
    def fails(story: Choices, number: int) -> None:
        assert number < 7

    with pytest.raises(AssertionError) as caught:
        fails()
    assert "story=Choices(b'')" in "".join(caught.value.__notes__)
    assert "number=7" in "".join(caught.value.__notes__)


def test_a_sample_ends_after_the_last_decision() -> None:
    """Random's own asks again for as long as it draws what it has drawn before."""
    assert Choices(b"").sample(range(100), 3) == [0, 1, 2]
    assert sorted(Choices(b"\x07\x03").sample(range(9), 9)) == list(range(9))
