"""Test clocks. The same in all versions; they exist in test mode only."""

from billing_core.events import Translation
from billing_core.model import ClockSnapshot
from billing_stripe.translate.reading import Reader
from billing_stripe.translate.reasons import UNREADABLE_OBJECT


def read_clock(seen: Reader) -> Translation:
    """Read a test clock. While it advances, `frozen_time` is still the time that its objects have reached."""
    clock_id = seen.required("id", seen.word("id"))
    frozen_at = seen.required("frozen_time", seen.instant("frozen_time"))
    if clock_id is None or frozen_at is None:
        return Translation(ignored=UNREADABLE_OBJECT)
    return Translation(snapshots=(ClockSnapshot(clock_id=clock_id, frozen_at=frozen_at),))
