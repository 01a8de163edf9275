"""The steps from what exists to what is desired."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

from billing_stripe.client import Json, StripeRequest

Kind = Literal[
    "meter",
    "product",
    "price",
    "feature",
    "product feature",
    "portal configuration",
    "webhook endpoint",
    "webhook secret",
]


@attrs.frozen
class Ref:
    """The id of an object that may not exist yet, within the parameters of a call."""

    kind: Kind
    name: str


@attrs.frozen(kw_only=True)
class Call:
    """The request of a step."""

    operation: str
    ids: tuple[str, ...] = ()
    params: Json = attrs.field(factory=dict)
    basis: Json | None = None
    """The object that the step changes or replaces. A decision that rests on another one has another key."""


@attrs.frozen(kw_only=True)
class Step:
    """One object: what happens to it, in a sentence, and by which request."""

    kind: Kind
    name: str
    """The object's name in the catalog: its lookup key, event name or URL."""
    action: Literal["create", "change", "keep"]
    text: str
    object_id: str | None = None
    """The object at Stripe; None before it is created."""
    call: Call | None = attrs.field(default=None, repr=False)
    """None if the object is kept."""

    @property
    def ref(self) -> Ref:
        """The reference by which other steps name the object."""
        return Ref(self.kind, self.name)


SETUP_KEY: Final = "setup_key"
"""The metadata of an endpoint whose secret was not handed over yet: the key by which its creation can be repeated."""


def request_of(call: Call, ids: Mapping[Ref, str], *, tried: int) -> StripeRequest:
    """Return the request of a step.

    Its idempotency key is derived from its content, so that a step which is repeated after an interruption is the same
    request. If that had no effect the key is another one: Stripe kept the answer of an earlier run, and the object was
    deleted or changed by hand in the meantime.

    Args:
        call: of the step.
        ids: of the objects that it refers to.
        tried: the number of times that the step was carried out before without effect.
    """
    params = _resolved(call.params, ids)
    content = {
        "operation": call.operation,
        "ids": call.ids,
        "params": params,
        "basis": call.basis,
        "tried": tried,
    }
    encoded = json.dumps(content, sort_keys=True, default=str).encode()
    key = f"setup-{hashlib.sha256(encoded).hexdigest()[:40]}"
    if call.operation == "create_webhook_endpoint":
        params = {**params, "metadata": {**params["metadata"], SETUP_KEY: key}}
    return StripeRequest(operation=call.operation, ids=call.ids, params=params, idempotency_key=key)


def _resolved(value: Any, ids: Mapping[Ref, str]) -> Any:
    """Return parameters with ids in place of references. Raises KeyError for an object that does not exist."""
    match value:
        case Ref():
            return ids[value]
        case Mapping():
            return {name: _resolved(each, ids) for name, each in value.items()}
        case list() | tuple():
            return [_resolved(each, ids) for each in value]
    return value
