"""Places in a stream, and whose history they belong to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.model.epoch import FIRST_EPOCH, Epoch

tokens = st.from_regex(r"[a-z][a-z0-9]{0,31}", fullmatch=True)
epochs = st.builds(Epoch, number=st.integers(1, 1000), token=tokens)
sequences = st.integers(0, 10**18 - 1)


@given(epochs, sequences)
def test_a_place_leads_back_to_its_number(epoch: Epoch, sequence: int) -> None:
    """In the epoch that named it."""
    assert epoch.sequence(epoch.position(sequence)) == sequence


@given(epochs, epochs, sequences)
def test_a_place_in_another_history_is_none_here(epoch: Epoch, other: Epoch, sequence: int) -> None:
    """But for first epochs, which name places by the number alone."""
    place = other.position(sequence)
    same = epoch.number == other.number == 1 or (min(epoch.number, other.number) > 1 and epoch.token == other.token)
    assert epoch.sequence(place) == (sequence if same else None)


@given(st.text(max_size=40))
def test_whatever_a_client_sends_is_a_place_or_an_error(text: str) -> None:
    """Nothing else comes out."""
    try:
        sequence = FIRST_EPOCH.sequence(text)
    except ValueError:
        return
    assert sequence is None or str(sequence) == text.lstrip("0").rjust(1, "0")


@pytest.mark.parametrize(
    "text",
    ["", "-", "1-", "-a", "1-0", "1-0a", "1-A", "1-a-b", " 1", "1\n", "+1", "٣", "1e3", "9" * 19, "1-" + "a" * 33],
)
def test_what_is_no_place_is_an_error(text: str) -> None:
    """Neither what Redis would take for an id, nor other scripts' digits."""
    with pytest.raises(ValueError, match="not a position"):
        FIRST_EPOCH.sequence(text)
