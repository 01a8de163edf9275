"""What only the provider can still tell."""

from typing import Literal

import attrs

from billing_core.model.ordering import Provenance

UncertaintyKind = Literal["subscription", "invoice", "customer", "entitlements"]
"""The kinds of objects that can be asked for again."""


@attrs.frozen(kw_only=True)
class Uncertainty:
    """An object whose state may be wrong: a tie was left open, or part of a list is missing."""

    kind: UncertaintyKind
    object_id: str
    basis: Provenance
    """What the doubted state rests on. Once it rests on something else, this doubt is settled."""
