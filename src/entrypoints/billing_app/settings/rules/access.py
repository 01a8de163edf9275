"""`[access]`: the access that each status gives, and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import attrs

from billing_app.settings.rules.document import Node
from billing_app.settings.rules.kinds import Entries, Scalar, choice, days, duration, refuse
from billing_app.settings.rules.table import Given, Key, Table
from billing_core.model import AccessPolicy, AccessState, Grace

_BY_STATUS: Final = "by_status"
_STATE: Final = choice(AccessState)
_LASTING: Final = choice(AccessState, leave_out=AccessState.GRACE)
"""Grace needs a missed payment from which it counts."""


def _limit(text: str) -> AccessState | str:
    return text if text == _BY_STATUS else _LASTING.convert(text)


_LIMIT: Final = Scalar(str, f"{_LASTING.expects}, {_BY_STATUS}", '"read_only"', _limit)


@attrs.frozen(kw_only=True)
class _LongRule:
    """The long form of a rule."""

    state: AccessState = AccessState.GRACE
    lasts: timedelta | None = None
    then: AccessState | None = None


RULE: Final = Table(
    _LongRule,
    (
        Key("state", _STATE, "The access."),
        Key("days", days(365, example=7), "How long grace lasts.", "lasts", default="as `past_due`, there `7`"),
        Key("then", _LASTING, "The access after grace.", default=f"`{_LASTING.show(Grace().then)}`"),
    ),
)


class _Rule:
    """The access of a status: a state, or grace with its length and what follows it."""

    expects = f"{_STATE.expects}, or a table of {', '.join(key.name for key in RULE.keys)}"
    example = _STATE.example

    def read(self, node: Node) -> AccessState | Grace | None:
        """Return a state or grace."""
        if isinstance(node.value, str):
            return _STATE.read(node)
        rule = RULE.read(node) if isinstance(node.value, dict) else None
        if rule is None:
            refuse(node, self)
            return None
        if rule.state is not AccessState.GRACE:
            for name in ("days", "then"):
                if name in node.value:
                    problem = f"is set beside state = {_STATE.show(rule.state)}"
                    node.child(name).refuse(problem, "It is for grace; remove it.")
            return rule.state
        return Grace(lasts=rule.lasts) if rule.then is None else Grace(lasts=rule.lasts, then=rule.then)

    def show(self, value: AccessState | None) -> str:
        """Write a default as TOML."""
        return _STATE.show(value)


_RULE: Final = _Rule()

_STATUSES: Final = {
    "trialing": "A trial that runs.",
    "active": "A subscription that is paid for.",
    "past_due": "A subscription whose latest payment was missed. Grace counts from the oldest open invoice's due date, "
    "else from its first failed payment.",
    "unpaid": "A subscription whose payments Stripe no longer retries.",
    "paused": "A subscription whose trial ended without a payment method.",
    "incomplete": "A subscription whose first payment is not confirmed yet.",
    "incomplete_expired": "A subscription whose first payment was never made.",
    "canceled": "A subscription that has ended.",
}


def _adjust(node: Node, fields: dict[str, Given]) -> None:
    """Take the days of `past_due` for the policy's own grace, and `by_status` for no limit."""
    for limit in ("unmapped_price", "open_dispute"):
        if limit in fields and fields[limit].value == _BY_STATUS:
            del fields[limit]
    states = fields.get("states", Given({}, node))
    rule = states.value.get("past_due")
    if isinstance(rule, Grace) and rule.lasts is not None:
        fields["past_due_grace"] = Given(rule.lasts, node.child("past_due").child("days"))
        fields["states"] = Given({**states.value, "past_due": attrs.evolve(rule, lasts=None)}, states.node)


ACCESS: Final[Table[Any]] = Table(
    AccessPolicy,
    (
        *(
            Key(
                status,
                _RULE,
                help,
                f"states.{status}",
                default=None if status in AccessPolicy().states else '`"blocked"`',
            )
            for status, help in _STATUSES.items()
        ),
        Key(
            "by_mail",
            Entries(tuple(_STATUSES), _RULE),
            "Rules that differ for subscriptions whose invoices are sent, by status.",
        ),
        Key(
            "never_paid_trial",
            _RULE,
            "In place of grace, where a trial was never followed by a payment.",
            default="the same grace",
        ),
        Key(
            "paused_collection",
            Entries(("keep_as_draft", "mark_uncollectible", "void"), _LASTING),
            "The most access while collection is paused, by behavior; any other leaves the access of the status.",
        ),
        Key(
            "unmapped_price",
            _LIMIT,
            "The most access while the plan of a subscription is not known.",
            default=f'`"{_BY_STATUS}"`',
        ),
        Key(
            "open_dispute",
            _LIMIT,
            "The most access that is paid for while a dispute of a payment is open.",
            default=f'`"{_BY_STATUS}"`',
        ),
        Key(
            "trial_overdue_after",
            duration("365d", example="24h"),
            "How long a trial that is over keeps its access while Stripe has not said what follows.",
        ),
        Key(
            "confirmation_overdue_after",
            duration("365d", example="24h"),
            "How long `incomplete` keeps its access, if it gives any, from the start of its first period.",
        ),
    ),
    adjust=_adjust,
)
