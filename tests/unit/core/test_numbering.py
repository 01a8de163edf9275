"""Numbers of a tenant's messages."""

from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_core.model import TenantId
from billing_core.stream.numbering import numbers_by_tenant
from billing_core.testing.builders import ACME, GLOBEX, message

ranges = st.dictionaries(
    st.sampled_from([ACME, GLOBEX, TenantId("initech")]), st.tuples(st.integers(1, 50), st.integers(1, 9))
)


@given(ranges, st.randoms())
def test_each_tenant_has_a_range_of_its_own(given_ranges: Mapping[TenantId, tuple[int, int]], random: Random) -> None:
    """However the messages of different tenants are mixed."""
    wanted = {tenant_id: range(first, first + length) for tenant_id, (first, length) in given_ranges.items()}
    left = {tenant_id: list(numbers) for tenant_id, numbers in wanted.items()}
    events = []
    while left:
        tenant_id = random.choice(sorted(left))
        events.append(message(tenant_id, left[tenant_id].pop(0)))
        left = {each: numbers for each, numbers in left.items() if numbers}
    assert numbers_by_tenant(events) == wanted


@pytest.mark.parametrize("numbers", [(1, 3), (1, 1), (2, 1), (1, 2, 2), (1, 2, 1), (5, 6, 8)], ids=str)
def test_numbers_that_do_not_ascend_one_by_one_are_refused(numbers: tuple[int, ...]) -> None:
    """A gap, a repetition and a step back alike."""
    with pytest.raises(ValueError, match="follows number"):
        numbers_by_tenant([message(ACME, number) for number in numbers])
