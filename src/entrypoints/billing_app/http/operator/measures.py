"""The measures that the overview is made of, remembered for a moment."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from billing_core.oversight.delays import Histogram, MeasuredStage
from billing_core.oversight.flow import FlowDelays, FlowStep
from billing_core.oversight.invariants import Violation
from billing_core.oversight.ports import Backlog


@attrs.frozen(kw_only=True)
class Flow:
    """The counts and the delays of a window."""

    since: datetime
    until: datetime
    step: timedelta
    steps: Sequence[FlowStep]
    delays: FlowDelays
    measured: Mapping[MeasuredStage, Histogram]
    """The delays that all processes measured."""

    def total(self, name: str) -> int:
        """Return the sum of a count."""
        return sum(getattr(step, name) for step in self.steps)


@attrs.frozen(kw_only=True)
class Standing:
    """The waiting events and messages at one moment."""

    as_of: datetime
    backlog: Backlog
    unpublished: timedelta
    last_received_at: datetime | None


@attrs.frozen(kw_only=True)
class Checked:
    """The result of a check of the invariants."""

    at: datetime
    violations: Sequence[Violation]
