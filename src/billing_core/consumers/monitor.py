"""Measures how far behind consumers are."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import attrs

from billing_core.consumers.ports import ConsumerOversight, Lag
from billing_core.consumers.values import ConsumerName
from billing_core.periodic import Periodic


@attrs.frozen(kw_only=True)
class ConsumerReport:
    """The consumers of a deployment at one instant."""

    lags: Mapping[ConsumerName, Lag]


class ConsumerMonitor(Periodic[ConsumerReport]):
    """Reports at an interval; cheap however many tenants wait."""

    def __init__(
        self, *, oversight: ConsumerOversight, every: timedelta, observe: Callable[[ConsumerReport], None]
    ) -> None:
        super().__init__(every=every, observe=observe)
        self._oversight = oversight

    async def run_once(self) -> ConsumerReport:
        """Return how far behind each consumer is."""
        return ConsumerReport(lags=await self._oversight.lags())
