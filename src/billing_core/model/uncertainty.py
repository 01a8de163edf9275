"""Objects whose state may be wrong until the provider is asked again, and what of a tenant needs attention."""

from typing import Final

import attrs

from billing_core.model.ordering import Provenance
from billing_core.model.tracked import Tracked

UNCERTAIN_KINDS: Final = ("subscription", "invoice", "customer", "entitlements")
"""The kinds that can be uncertain: those of the refetchable snapshots."""
UNCERTAIN_SHOWN: Final = 100
"""How many uncertain objects of one tenant are listed."""


@attrs.frozen(kw_only=True)
class Uncertainty:
    """An object that needs a refetch: a tie is undecided, or part of a list is missing."""

    kind: str
    """Of a refetchable snapshot."""
    object_id: str
    basis: Provenance
    """The events that the uncertain state rests on. Once it rests on others, this uncertainty is settled."""
    complete: bool = attrs.field(default=True, eq=False)
    """False if lines or features are missing."""
    view: str | None = None
    """The key of the operation whose provisional view is due to be replaced; None if the row itself is uncertain."""


def uncertainty_of(held: Tracked) -> Uncertainty | None:
    """Return what is uncertain of an object; None if nothing is, or the provider cannot be asked about its kind."""
    seen, basis = held.snapshot, held.provenance
    if seen is None or basis is None or not seen.refetchable:
        return None
    if not (basis.ambiguous or seen.partial):
        return None
    return Uncertainty(kind=seen.kind, object_id=seen.object_id, basis=basis, complete=not seen.partial)


@attrs.frozen(kw_only=True)
class Attention:
    """The reasons for which the state of a tenant may be wrong, as operators see them."""

    dead_events: int = 0
    uncertain: tuple[Uncertainty, ...] = ()
    """By object id, at most `UNCERTAIN_SHOWN`."""

    @property
    def needed(self) -> bool:
        """Whether an operator has to act. Dead events stay until then; uncertain objects are refetched."""
        return self.dead_events > 0
