"""The circuit breaker: while Stripe is away or refuses our key, calls fail at once instead of after all attempts.

Stripe is away when so many attempts in a row got no answer of its own. A refused key is enough by itself. After a pause
one reading call finds out whether that is over; each time that it is not, the pause doubles.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum

import attrs

from billing_core.errors import GatewayAuthenticationError, GatewayError, GatewayUnavailableError
from billing_core.operations.call_reports import Circuit, CircuitChange


@attrs.frozen(kw_only=True)
class CircuitPolicy:
    """When the circuit opens, and for how long."""

    failures: int = 10
    """Attempts in a row without an answer, over all calls."""
    pause: timedelta = timedelta(seconds=5)
    longest_pause: timedelta = timedelta(minutes=1)


class Passage(Enum):
    """Whether an attempt may be made."""

    FREE = "free"
    PROBE = "probe"
    """It may if it only reads; what it finds decides for all."""
    BLOCKED = "blocked"


class CircuitBreaker:
    """The circuit of one client."""

    def __init__(
        self,
        policy: CircuitPolicy,
        observe: Callable[[CircuitChange], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._observe = observe
        self._monotonic = monotonic
        self._failures = 0
        self._openings = 0
        """Times that it opened since it was last closed."""
        self._until = 0.0
        self._state = Circuit.CLOSED
        self.cause: type[GatewayError] = GatewayUnavailableError
        """The error that opened it last."""

    @property
    def state(self) -> Circuit:
        """The state now."""
        return self._state

    def passage(self) -> Passage:
        """Return whether an attempt may be made now."""
        if self._state is Circuit.CLOSED:
            return Passage.FREE
        probing = self._state is Circuit.HALF_OPEN
        return Passage.BLOCKED if probing or self._monotonic() < self._until else Passage.PROBE

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Let no other attempt through meanwhile. An attempt that ends without a result leaves the circuit open."""
        self._enter(Circuit.HALF_OPEN)
        try:
            yield
        finally:
            if self.state is Circuit.HALF_OPEN:
                self._enter(Circuit.OPEN)

    def answered(self) -> None:
        """Note an answer of Stripe's, whatever it says."""
        self._failures = self._openings = 0
        if self._state is not Circuit.CLOSED:
            self._enter(Circuit.CLOSED)

    def failed(self, error: GatewayError) -> None:
        """Note a failed attempt. Only a lost connection or a server error, and a refused key, open the circuit."""
        if isinstance(error, GatewayAuthenticationError):
            self._open(GatewayAuthenticationError)
        elif isinstance(error, GatewayUnavailableError):
            self._failures += 1
            if self._state is Circuit.HALF_OPEN or self._failures >= self._policy.failures:
                self._open(GatewayUnavailableError)
        else:
            self.answered()

    def _open(self, cause: type[GatewayError]) -> None:
        pause = min(self._policy.pause * float(2 ** min(self._openings, 20)), self._policy.longest_pause)
        self._openings += 1
        self._until = self._monotonic() + pause.total_seconds()
        self.cause = cause
        self._enter(Circuit.OPEN)

    def _enter(self, state: Circuit) -> None:
        if state is not self._state:
            self._state = state
            self._observe(CircuitChange(state=state, cause=None if state is Circuit.CLOSED else self.cause.code))
