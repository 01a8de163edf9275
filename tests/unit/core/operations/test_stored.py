"""Requests and keys of operations."""

import attrs
import pytest

from billing_core.model import TenantId
from billing_core.operations.stored import OperationRequest, operation_key

REQUEST = OperationRequest(
    tenant_id=TenantId("acme"),
    operation="start",
    request_id="r1",
    subject="acme/main",
    arguments_hash="a1",
    actor="ada",
)


def test_a_key_is_the_same_in_every_process() -> None:
    """Frozen: a release that made other keys would send unresolved operations a second time."""
    assert operation_key(REQUEST, 1) == "bo_897cc8c2685312ff7e182c5c87771a36c03de138"


@pytest.mark.parametrize(
    "other",
    [
        attrs.evolve(REQUEST, tenant_id=TenantId("globex")),
        attrs.evolve(REQUEST, operation="pause"),
        attrs.evolve(REQUEST, request_id="r2"),
        attrs.evolve(REQUEST, tenant_id=TenantId("acm"), operation="estart"),
    ],
)
def test_each_decision_has_a_key_of_its_own(other: OperationRequest) -> None:
    """By tenant, operation and request id, which do not run into one another."""
    assert operation_key(other, 1) != operation_key(REQUEST, 1)


def test_each_try_has_a_key_of_its_own() -> None:
    """The key of one that was not done may be spent on a stored failure."""
    assert len({operation_key(REQUEST, number) for number in range(1, 13)}) == 12


def test_a_key_does_not_depend_on_subject_or_actor() -> None:
    """They describe the decision, and are none of its identity."""
    assert operation_key(attrs.evolve(REQUEST, subject="x", actor="bob"), 1) == operation_key(REQUEST, 1)


@pytest.mark.parametrize("request_id", ["", " ", "a" * 256, "a\nb", "a\x00"])
def test_request_ids_are_short_texts(request_id: str) -> None:
    """They are keys, and people read them in listings."""
    with pytest.raises(ValueError, match="request_id"):
        attrs.evolve(REQUEST, request_id=request_id)
