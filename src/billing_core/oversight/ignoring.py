"""Mark stored events that will never be applied as ignored."""

from collections.abc import Sequence
from typing import Final

import attrs

from billing_core.inbox.selection import EventFilter
from billing_core.oversight.ports import AuditLog, InboxUpkeep

ACTION: Final = "ignore"
"""The action in the audit log."""
REASON: Final = "by_operator"
"""The reason of such events."""
_BATCH: Final = 500


@attrs.frozen(kw_only=True)
class IgnoredEvents:
    """The result of ignoring events, and its entry in the audit log."""

    audit_id: int
    matched: int
    ignored: int

    @property
    def left(self) -> int:
        """Events that were applied or ignored before, or are being processed."""
        return self.matched - self.ignored


async def ignore_events(
    numbers: Sequence[int], *, wanted: EventFilter, actor: str, reason: str, upkeep: InboxUpkeep, audits: AuditLog
) -> IgnoredEvents:
    """Ignore the events with these numbers, which `wanted` has selected, and note it in the audit log.

    Raises: StoreUnavailableError; the audit entry then stays unfinished.
    """
    audit_id = await audits.begin(ACTION, actor=actor, reason=reason, filter=wanted.describe())
    ignored = 0
    for start in range(0, len(numbers), _BATCH):
        ignored += len(await upkeep.ignore(numbers[start : start + _BATCH], reason=REASON))
    await audits.finish(audit_id, {"matched": len(numbers), "ignored": ignored})
    return IgnoredEvents(audit_id=audit_id, matched=len(numbers), ignored=ignored)
