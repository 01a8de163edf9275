"""The tenants that a process takes on."""

from billing_core.consumers.capacity import Capacity
from billing_core.testing.consumers.arrange import CRM, MAILS


def test_a_consumer_with_as_many_tenants_in_work_as_it_may_have_asks_for_none() -> None:
    """Another one does, and so does the first again once it is done with one."""
    capacity = Capacity(tenants=1, transactions=1)
    capacity.take(MAILS, transactional=False)
    assert list(capacity.limits([MAILS, CRM], [])) == [{CRM: 1}]
    capacity.free(MAILS, transactional=False)
    assert list(capacity.limits([MAILS, CRM], [])) == [{MAILS: 1, CRM: 1}]
