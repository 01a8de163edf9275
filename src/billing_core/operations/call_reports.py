"""Reports about calls to the provider, for metrics and the log. Labels come from closed sets."""

from enum import Enum

import attrs


@attrs.frozen(kw_only=True)
class GatewayCall:
    """Result of one call, all of its attempts included."""

    operation: str
    plan_code: str = ""
    """The plan that the call was about; empty if there is none."""
    result: str
    """`ok`, `canceled`, `bug`, or the code of the error."""
    seconds: float
    attempts: int
    """0 if nothing was sent."""
    request_id: str | None = None
    """The provider's id of the last request."""
    original_request: str | None = None
    """The id of the first request with this idempotency key, which may be the same; None for a read."""
    retries: tuple[str, ...] = ()
    """For each retry, the code of the error before it."""
    limited: tuple[str, ...] = ()
    """The provider's reason for each refusal for load; `own_` and its name for each limit of ours that made it wait."""


class Circuit(Enum):
    """Whether calls are sent at all."""

    CLOSED = "closed"
    """They are."""
    HALF_OPEN = "half_open"
    """One reading call is, to find out whether the provider answers again."""
    OPEN = "open"
    """They fail at once: the provider is away, or refuses our key."""


@attrs.frozen(kw_only=True)
class CircuitChange:
    """A change of the circuit."""

    state: Circuit
    cause: str | None
    """The code of the error for which it is open; None while it is closed."""
