"""Operators' decisions about the tenant of an object. In their order they outrank what metadata says."""

from collections.abc import Iterable, Mapping
from enum import Enum

import attrs

from billing_core.model.identifiers import TenantId


class LinkAction(Enum):
    """The kinds of decisions."""

    LINK = "link"
    MOVE = "move"
    UNLINK = "unlink"


@attrs.frozen(kw_only=True)
class LinkDecision:
    """One decision about a customer, or about a subscription where those name their tenants. Never changed later."""

    action: LinkAction
    object_id: str
    """The customer or the subscription."""
    from_tenant: TenantId | None = None
    """The tenant that had it, if one had; of an `UNLINK` the tenant that is refused from now on, linked or not."""
    to_tenant: TenantId | None = None
    """The tenant that has it from now on; None after an `UNLINK`."""
    actor: str
    reason: str | None = None


@attrs.frozen(kw_only=True)
class LinkStanding:
    """The sum of the decisions about one object: what metadata that names a tenant is worth."""

    tenant_id: TenantId | None = None
    """The tenant that an operator chose, if one is chosen: no metadata counts beside it."""
    refused: frozenset[TenantId] = frozenset()
    """Tenants that operators took the object away from: metadata that names them counts for nothing."""

    def outranks(self, hint: TenantId) -> bool:
        """Tell whether metadata that names this tenant is outdated."""
        return self.tenant_id is not None or hint in self.refused

    def after(self, decision: LinkDecision) -> "LinkStanding":
        """Return the standing once another decision was made."""
        if decision.to_tenant is not None:
            return LinkStanding(tenant_id=decision.to_tenant, refused=self.refused - {decision.to_tenant})
        refused = self.refused if decision.from_tenant is None else self.refused | {decision.from_tenant}
        kept = None if self.tenant_id == decision.from_tenant else self.tenant_id
        return LinkStanding(tenant_id=kept, refused=refused)


UNDECIDED = LinkStanding()
"""No operator has decided about the object."""


def standings(decisions: Iterable[LinkDecision]) -> Mapping[str, LinkStanding]:
    """Return the standing of each object, from its decisions in their order."""
    found: dict[str, LinkStanding] = {}
    for decision in decisions:
        found[decision.object_id] = found.get(decision.object_id, UNDECIDED).after(decision)
    return found
