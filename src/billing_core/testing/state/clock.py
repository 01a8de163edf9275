"""The contract of Clock."""

from datetime import timedelta

from billing_core.state.ports import Clock
from billing_core.testing.suite import Suite


class ClockContract(Suite):
    """Instants in UTC. A binding provides `clock`."""

    def test_now_is_an_aware_instant_in_utc(self, clock: Clock) -> None:
        """Naive times would be read in the zone of the machine."""
        assert clock.now().utcoffset() == timedelta(0)
