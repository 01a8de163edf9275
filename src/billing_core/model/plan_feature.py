"""Features as plans list them."""

from typing import Literal

import attrs

FeatureKind = Literal["switch", "limit", "metered"]
Enforcement = Literal["soft", "hard"]
Reset = Literal["period", "day", "week", "month", "year"]
"""`period` is the billing period of the subscription; the others are those of the calendar, in UTC."""


@attrs.frozen(kw_only=True)
class PlanFeature:
    """The content of a plan under one key: a switch, a number, or metered usage."""

    key: str
    enabled: bool = True
    limit: int | None = None
    """The most that the plan allows of a counted thing; None if it is not counted or not limited."""
    metered: bool = False
    included: int | None = None
    """Metered usage that is included per `reset`; None if all of it is billed."""
    enforcement: Enforcement | None = None
    """Whether more is allowed, and billed if it is metered, or refused; None: soft if it is metered, else hard."""
    reset: Reset | None = None
    """The span after which included usage starts over; None for the billing period."""
    per_seat: bool = False
    """Whether the numbers are for each seat of the subscription."""
    read_only: Literal["allow", "refuse"] | None = None
    """Its use while access is `read_only`; None: a switch stays on, and nothing counted may grow."""

    @property
    def kind(self) -> FeatureKind:
        """The kind of feature."""
        return "metered" if self.metered else "switch" if self.limit is None else "limit"

    @property
    def most(self) -> int | None:
        """The number that it allows or includes; None for no limit."""
        return self.included if self.metered else self.limit

    @property
    def hard(self) -> bool:
        """Whether more than that is refused."""
        return self.enforcement == "hard" if self.metered else self.enforcement != "soft"
