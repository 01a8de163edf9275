"""Pauses: of a subscription, and of collecting its payments."""

from collections.abc import Callable
from typing import Any, Final

import attrs

from billing_core.operations.commands import PauseCollection, PauseSubscription, ResumeCollection, ResumeSubscription
from billing_core.operations.results import Performed
from billing_stripe.client import CLEAR, Json
from billing_stripe.operations.answers import CONFIRMATION, about_subscription
from billing_stripe.operations.steps import Handler, Steps, timestamp


async def pause(steps: Steps, command: PauseSubscription) -> Performed:
    """Pause the subscription. Stripe refuses it for the classic billing mode, and beside a schedule."""
    params = {
        "type": "subscription",
        "bill_for": {
            "outstanding_usage_through": {"type": "now" if command.invoice_usage else "none"},
            "unused_time_from": {"type": "now" if command.credit_unused_time else "none"},
        },
        "invoicing_behavior": "invoice" if command.invoice_usage else "pending_invoice_item",
    }
    return about_subscription(await steps.write("pause_subscription", command.subscription_id, params=params))


async def resume(steps: Steps, command: ResumeSubscription) -> Performed:
    """Resume the subscription; one that waits for its payment stays paused, with the client secret to confirm it."""
    params = {
        "billing_cycle_anchor": {"type": "now" if command.period == "new" else "unchanged"},
        "payment_behavior": "resume_on_payment_success" if command.only_if_paid else "resume_on_payment_attempt",
        "expand": CONFIRMATION,
    }
    outcome = about_subscription(await steps.write("resume_subscription", command.subscription_id, params=params))
    if outcome.result.object_status != "paused":
        return outcome
    return attrs.evolve(outcome, result=attrs.evolve(outcome.result, status="pending"))


async def pause_collection(steps: Steps, command: PauseCollection) -> Performed:
    """Pause the collection of payments; the status stays."""
    paused: dict[str, Any] = {"behavior": command.behavior}
    if command.resumes_at is not None:
        paused["resumes_at"] = timestamp(command.resumes_at)
    params = {"pause_collection": paused}
    return about_subscription(await steps.write("update_subscription", command.subscription_id, params=params))


async def resume_collection(steps: Steps, command: ResumeCollection) -> Performed:
    """Collect payments again."""
    params = {"pause_collection": CLEAR}
    return about_subscription(await steps.write("update_subscription", command.subscription_id, params=params))


Pause = PauseSubscription | ResumeSubscription | PauseCollection | ResumeCollection


def _found_if(holds: Callable[[Json, Any], bool]) -> Callable[[Steps, Any], Any]:
    """Return a way to find out that compares the subscription with what was wanted."""

    async def find_out(steps: Steps, command: Pause) -> Performed | None:
        answer = await steps.read("fetch_subscription", command.subscription_id, params={"expand": CONFIRMATION})
        return about_subscription(answer) if holds(answer.data, command) else None

    return find_out


def _is_paused(shown: Json, _command: PauseSubscription) -> bool:
    return shown.get("status") == "paused"


def _is_resumed(shown: Json, _command: ResumeSubscription) -> bool:
    return shown.get("status") in ("active", "past_due", "trialing")


def _collection_is_paused(shown: Json, command: PauseCollection) -> bool:
    paused = shown.get("pause_collection") or {}
    resumes_at = None if command.resumes_at is None else timestamp(command.resumes_at)
    return paused.get("behavior") == command.behavior and paused.get("resumes_at") == resumes_at


def _collection_is_resumed(shown: Json, _command: ResumeCollection) -> bool:
    return shown.get("pause_collection") is None


HANDLERS: Final[dict[type, Handler[Any]]] = {
    PauseSubscription: Handler(pause, _found_if(_is_paused)),
    ResumeSubscription: Handler(resume, _found_if(_is_resumed)),
    PauseCollection: Handler(pause_collection, _found_if(_collection_is_paused)),
    ResumeCollection: Handler(resume_collection, _found_if(_collection_is_resumed)),
}
