"""`[access]`: the access that each status gives, and for how long."""

from typing import Final

from billing_app.settings.rules.kinds import choice, days, duration
from billing_app.settings.rules.table import Group, Key, Table
from billing_core.model import AccessPolicy, AccessState

_STATE: Final = choice(AccessState)

ACCESS: Final = Table(
    AccessPolicy,
    (
        Key("trialing", _STATE, "A trial that runs.", "states.trialing"),
        Key("active", _STATE, "A subscription that is paid for.", "states.active"),
        Key(
            "past_due",
            Group(
                (
                    Key("state", _STATE, "A subscription whose latest payment was missed.", "states.past_due"),
                    Key(
                        "days",
                        days(365, example=7),
                        "Grace after a missed payment, from the oldest open invoice's due date, else from its first "
                        "failed payment.",
                        "past_due_grace",
                    ),
                )
            ),
            "A subscription whose latest payment was missed.",
        ),
        Key("unpaid", _STATE, "A subscription whose payments Stripe no longer retries.", "states.unpaid"),
        Key("paused", _STATE, "A subscription whose trial ended without a payment method.", "states.paused"),
        Key(
            "incomplete",
            _STATE,
            "A subscription whose first payment is still missing.",
            "states.incomplete",
            default='"blocked"',
        ),
        Key(
            "incomplete_expired",
            _STATE,
            "A subscription whose first payment was never made.",
            "states.incomplete_expired",
            default='"blocked"',
        ),
        Key("canceled", _STATE, "A subscription that has ended.", "states.canceled", default='"blocked"'),
        Key(
            "trial_overdue_after",
            duration("365d", example="24h"),
            "How long a trial that is over keeps its access while Stripe has not said what follows.",
        ),
    ),
)
