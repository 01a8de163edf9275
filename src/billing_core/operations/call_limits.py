"""Limits of calls to the provider, kept before it has to refuse them: how many at once, and how many in a second."""

from datetime import timedelta
from typing import Final, Literal

import attrs

Priority = Literal["interactive", "background"]
"""Whether a user waits for the answer; `background` is for reconciliation and backfills."""


@attrs.frozen(kw_only=True)
class CallLimits:
    """Limits of one key, over all processes.

    Rates are calls per second. A quarter of a second's calls (two at least) may begin at once, so that no more than
    125 % of the rate begin in any second: set it to 80 % of the rate that the provider allows. Background calls leave
    half of the calls that may begin at once, and half of those in flight, to interactive ones.
    """

    rate: float = attrs.field(validator=attrs.validators.gt(0))
    """Of all calls together."""
    endpoint_rate: float = attrs.field(validator=attrs.validators.gt(0))
    """Of the calls to one endpoint."""
    in_flight: int = attrs.field(validator=attrs.validators.ge(1))
    """Calls to one endpoint at the same time."""
    lease: timedelta = timedelta(minutes=1)
    """How long a call counts as in flight if its process died; longer than any call takes."""
    slowed_for: timedelta = timedelta(seconds=30)
    """How long limits stay halved after the provider refused a call for load."""

    def share(self, processes: int) -> "CallLimits":
        """Return the limits of one of so many processes that cannot ask each other."""
        return attrs.evolve(
            self,
            rate=self.rate / processes,
            endpoint_rate=self.endpoint_rate / processes,
            in_flight=max(1, self.in_flight // processes),
        )


UNLIMITED: Final = CallLimits(rate=1e6, endpoint_rate=1e6, in_flight=1_000_000)
"""Limits that no process reaches, for tests against a fake that has none."""


@attrs.frozen(kw_only=True)
class CallRefusal:
    """The limit that has no room, and when to try again; for calls in flight that is a guess."""

    limit: Literal["rate", "endpoint_rate", "in_flight"]
    retry_after: timedelta
