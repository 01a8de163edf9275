"""Previews of a change, and what makes one outdated."""

import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

import attrs

from billing_core.model import ItemId, ScheduledChange, SubscriptionId, SubscriptionSnapshot
from billing_core.model.time import aware, from_timestamp
from billing_core.operations.account import Account
from billing_core.operations.commands import ChangeItems, ScheduleChange, SetSeats
from billing_core.operations.errors import OperationRefusedError, Refusal
from billing_core.operations.requests import hash_of
from billing_core.operations.results import CommandPreview, InvoicePreview

Previewed = ChangeItems | ScheduleChange | SetSeats
LASTS: Final = timedelta(hours=1)
"""How long a preview can be confirmed. Time that was used since it was made is not settled by it."""
_AHEAD: Final = timedelta(minutes=1)
"""How far one clock may be ahead of another."""
_ID: Final = re.compile(r"pv_([0-9]{1,12})_([0-9a-f]{40})")


@attrs.frozen(kw_only=True)
class ChangePreview:
    """The cost of a change. Confirm it by its id: the change is refused if anything has moved since."""

    preview_id: str
    subscription_id: SubscriptionId
    plan_code: str | None
    effective_at: datetime | None = attrs.field(default=None, validator=aware)
    """When the change takes effect; None: at once."""
    now: InvoicePreview | None
    """The invoice that is made at once; None if none is."""
    upcoming: InvoicePreview | None
    """The regular invoice that follows."""
    replaces: tuple[ScheduledChange, ...] = ()
    """Scheduled changes that would be withdrawn."""

    @property
    def total_now(self) -> int:
        """The amount that is due at once."""
        return 0 if self.now is None else self.now.amount_due

    @property
    def next_total(self) -> int | None:
        """The amount of the regular invoice that follows."""
        return None if self.upcoming is None else self.upcoming.amount_due


def describe(account: Account, seen: SubscriptionSnapshot, command: Previewed, found: CommandPreview) -> ChangePreview:
    """Return the preview of a command for the customer."""
    later = command.effective_at if isinstance(command, ScheduleChange) else None
    withdrawn = isinstance(command, ChangeItems | ScheduleChange) and command.release_schedule is not None
    return ChangePreview(
        preview_id=preview_id(account, seen, command, found),
        subscription_id=seen.subscription_id,
        plan_code=command.plan_code or seen.plan_code,
        effective_at=later,
        now=found.now,
        upcoming=found.upcoming,
        replaces=tuple(each for each in seen.scheduled_changes if withdrawn and each.kind == "plan_change"),
    )


def preview_id(account: Account, seen: SubscriptionSnapshot, command: Previewed, found: CommandPreview) -> str:
    """Return an id that holds everything the preview depends on: it is the same only while all of that is.

    Usage in the upcoming invoice is left out, since it grows every second and is no part of the decision.
    """
    metered = {item.item_id for item in seen.items if item.usage_type == "metered"}
    date = None if isinstance(command, ScheduleChange) else command.proration_date
    depends_on = {
        "tenant": account.tenant_id,
        "command": command,
        "items": [(item.item_id, item.price_id, item.quantity, item.period) for item in seen.items],
        "status": seen.status,
        "scheduled": seen.scheduled_changes,
        "schedule": seen.schedule_id,
        "now": _stable(found.now, metered),
        "upcoming": _stable(found.upcoming, metered),
    }
    seconds = 0 if date is None else int(date.timestamp())
    return f"pv_{seconds}_{hash_of(depends_on)[:40]}"


def proration_date_of(preview: str, *, now: datetime) -> datetime | None:
    """Return the instant for which a preview was calculated; None if it does not depend on one.

    Raises: OperationRefusedError for a text that is no id of a preview, for one that is too old, and for one that was
    not made yet: its instant decides how much is paid and credited.
    """
    found = _ID.fullmatch(preview)
    if found is None:
        raise OperationRefusedError(Refusal.PREVIEW_OUTDATED)
    if not int(found[1]):
        return None
    seconds = int(found[1]) - now.timestamp()
    if not -LASTS.total_seconds() <= seconds <= _AHEAD.total_seconds():
        raise OperationRefusedError(Refusal.PREVIEW_OUTDATED)
    return from_timestamp(int(found[1]))


def _stable(invoice: InvoicePreview | None, metered: Collection[ItemId]) -> Mapping[str, object] | None:
    if invoice is None:
        return None
    fixed = [line for line in invoice.lines if line.feature is None and line.item_id not in metered]
    return {
        "currency": invoice.currency,
        "lines": [(line.amount, line.quantity, line.plan_code, line.proration) for line in fixed],
        "tax": invoice.tax if len(fixed) == len(invoice.lines) else None,
        "discounts": invoice.discounts,
        "credit": invoice.credit_applied + invoice.credit_left,
    }
