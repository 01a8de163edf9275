"""A run of set-up as text and as JSON: its plan, and what was done of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from billing_app.container.provisioning import ProvisioningPlan, Step, StripeAccount
from billing_app.setup.keys import FoundKey
from billing_app.setup.proof import Proof

_MARKS: Final = {"create": "+", "change": "~", "keep": "="}
_WORDS: Final = {"create": "created", "change": "changed", "keep": "left"}


@attrs.define(kw_only=True)
class Report:
    """One run, as far as it has come."""

    key: FoundKey
    account: StripeAccount | None
    plan: ProvisioningPlan
    file_changes: Sequence[str]
    """Lines of `.env.local` with secrets masked."""
    new_file: str | None
    """The billing.toml that is written."""
    notes: list[str] = attrs.field(factory=list)
    by_hand: Sequence[str] = ()
    done: bool = False
    complete: bool = True
    """False if a person has to fetch a signing secret before a server can start."""
    proof: Proof | None = None
    unproven: str | None = None
    """The reason why there is no proof."""
    next_steps: Sequence[str] = ()

    @property
    def drift(self) -> bool:
        """Whether the account differs from the catalog."""
        return bool(self.plan.pending or self.plan.problems)

    @property
    def changes_nothing(self) -> bool:
        """Whether a run has nothing to do."""
        return not (self.drift or self.file_changes or self.new_file)


def heading(report: Report) -> str:
    """Return the account, its mode, and where the key comes from."""
    account = report.account
    name = "an account that the key may not show" if account is None else f"{account.account_id}"
    shown = f"{name} ({account.name})" if account is not None and account.name else name
    mode = "LIVE MODE" if report.key.live else "test mode"
    return f"Stripe account {shown}, {mode}, with the key {report.key.secret} from {report.key.source}"


def plan_lines(report: Report) -> Iterator[str]:
    """Yield everything that will be created and changed, and what is left."""
    if report.new_file is not None:
        yield f"  + Write {report.new_file} with the plans Starter and Pro, to be changed."
    yield from (f"  {_MARKS[step.action]} {step.text}" for step in report.plan.pending)
    kept = [step for step in report.plan.steps if step.action == "keep"]
    if kept:
        yield f"  = Leave {len(kept)} objects as they are: {_kept(kept)}."
    if report.file_changes:
        yield "  ~ Change .env.local:"
        yield from (f"      {line}" for line in report.file_changes)
    yield from (f"  ! {note}" for note in report.notes)


def to_json(report: Report) -> Mapping[str, Any]:
    """Return the run as JSON values, without a secret."""
    account, proof = report.account, report.proof
    return {
        "account": None if account is None else {"id": account.account_id, "name": account.name},
        "livemode": report.key.live,
        "key": {"source": report.key.source, "masked": str(report.key.secret)},
        "steps": [
            {"action": step.action, "kind": step.kind, "name": step.name, "id": step.object_id, "text": step.text}
            for step in report.plan.steps
        ],
        "counts": {word: _count(report.plan.steps, action) for action, word in _WORDS.items()},
        "problems": list(report.plan.problems),
        "notes": report.notes,
        "by_hand": list(report.by_hand),
        "billing_toml": report.new_file,
        "env_local": list(report.file_changes),
        "drift": report.drift,
        "done": report.done,
        "complete": report.complete,
        "event": None if proof is None else attrs.asdict(proof),
        "unproven": report.unproven,
        "next_steps": list(report.next_steps),
    }


def _kept(kept: Sequence[Step]) -> str:
    counts: dict[str, int] = {}
    for step in kept:
        counts[step.kind] = counts.get(step.kind, 0) + 1
    return ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())


def _count(steps: Sequence[Step], action: str) -> int:
    return sum(step.action == action for step in steps)
