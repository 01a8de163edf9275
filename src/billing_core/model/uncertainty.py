"""Objects whose state may be wrong until the provider is asked again."""

import attrs

from billing_core.model.ordering import Provenance
from billing_core.model.tracked import Tracked


@attrs.frozen(kw_only=True)
class Uncertainty:
    """An object that needs a refetch: a tie is undecided, or part of a list is missing."""

    kind: str
    """Of a refetchable snapshot."""
    object_id: str
    basis: Provenance
    """The events that the uncertain state rests on. Once it rests on others, this uncertainty is settled."""


def uncertainty_of(held: Tracked) -> Uncertainty | None:
    """Return what is uncertain of an object; None if nothing is, or the provider cannot be asked about its kind."""
    seen, basis = held.snapshot, held.provenance
    if seen is None or basis is None or not seen.refetchable:
        return None
    if not (basis.ambiguous or seen.partial):
        return None
    return Uncertainty(kind=seen.kind, object_id=seen.object_id, basis=basis)
