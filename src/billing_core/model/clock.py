"""Test clocks: simulated time at the provider, in test mode. They belong to no tenant."""

from datetime import datetime
from typing import ClassVar

import attrs

from billing_core.model.ordering import Ordered
from billing_core.model.time import aware


@attrs.frozen(kw_only=True)
class ClockSnapshot(Ordered):
    """A test clock, and where it stands. While it advances, it stands where it was until all of its objects follow."""

    kind: ClassVar[str] = "test_clock"

    clock_id: str
    frozen_at: datetime = attrs.field(validator=aware)

    @property
    def object_id(self) -> str:
        """The provider's id."""
        return self.clock_id

    @property
    def precedence(self) -> int:
        """Its time only moves forward, so the latest one counts, whichever event arrives last."""
        return int(self.frozen_at.timestamp())
