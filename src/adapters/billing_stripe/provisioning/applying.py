"""Carrying out a plan: in its order, each write under a key of its content, and checked by planning again."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from billing_core.errors import (
    GatewayError,
    GatewayIdempotencyConflictError,
    GatewayPermissionError,
    GatewayUnavailableError,
)
from billing_stripe.client import Json, StripeClient
from billing_stripe.provisioning import by_hand
from billing_stripe.provisioning.desired import Desired
from billing_stripe.provisioning.endpoints import handed_over, repeated_creation
from billing_stripe.provisioning.found import find_objects
from billing_stripe.provisioning.planning import ProvisioningPlan, plan_provisioning
from billing_stripe.provisioning.steps import Call, Ref, Step, request_of

_TRIES: Final = 4
"""Of one step. A second one is for an object that was removed by hand since an earlier run: Stripe kept the answer."""

KeepSecret = Callable[[str], Awaitable[None]]
"""Stores the signing secret of a new endpoint durably. Until it returns, the next run can get the secret again."""


class ProvisioningError(Exception):
    """A step that failed, with the gateway's error. The steps before it are done, and a rerun continues here."""

    def __init__(self, step: Step, error: GatewayError) -> None:
        super().__init__(f"{step.text} {error}")
        self.step = step
        self.error = error


class UnsettledError(Exception):
    """Something else changes the same objects at the same time. The message names them."""


@attrs.frozen(kw_only=True)
class Provisioned:
    """The outcome of a plan that was carried out."""

    plan: ProvisioningPlan
    """The plan that is left, in which nothing is pending that the key permits."""
    by_hand: tuple[str, ...] = ()
    """Steps for a person."""


async def carry_out(
    client: StripeClient,
    desired: Desired,
    plan: ProvisioningPlan,
    *,
    keep_secret: KeepSecret,
    report: Callable[[Step], None] = lambda _step: None,
) -> Provisioned:
    """Carry out a plan, and return once nothing is pending. A rerun after an interruption completes it.

    Args:
        client: of the account.
        desired: the objects that the plan was made of.
        plan: as it was shown.
        keep_secret: stores the secret of a new endpoint.
        report: receives each step once it is done.

    Raises: ProvisioningError, UnsettledError; GatewayError if what exists cannot be read.
    """
    return await _Run(client, desired, keep_secret, report).carry_out(plan)


class _Run:
    """One run: how often each step was tried, and what is left to a person."""

    def __init__(
        self, client: StripeClient, desired: Desired, keep_secret: KeepSecret, report: Callable[[Step], None]
    ) -> None:
        self._client = client
        self._desired = desired
        self._keep_secret = keep_secret
        self._report = report
        self._tried: Counter[Ref] = Counter()
        self._denied = False
        self._by_hand: list[str] = []
        self._ids: dict[Ref, str] = {}

    async def carry_out(self, plan: ProvisioningPlan) -> Provisioned:
        shown = {step.ref for step in plan.pending}
        while pending := self._pending(plan):
            self._ids = dict(plan.ids)
            for step in pending:
                if not await self._settles(step):
                    break
            plan = plan_provisioning(self._desired, await find_objects(self._client, self._desired))
            surprising = [
                step.text for step in self._pending(plan) if step.ref not in shown and step.kind != "webhook secret"
            ]
            if surprising:
                raise UnsettledError(f"Something else changed the account meanwhile: {' '.join(surprising)}")
        return Provisioned(plan=plan, by_hand=(*plan.by_hand, *self._by_hand))

    def _pending(self, plan: ProvisioningPlan) -> list[Step]:
        return [step for step in plan.pending if not (self._denied and step.kind == "webhook endpoint")]

    async def _settles(self, step: Step) -> bool:
        """Carry out a step. False if Stripe only repeated an answer of an earlier run: what exists decides then."""
        tried = self._tried[step.ref]
        if tried == _TRIES:
            raise UnsettledError(f"Stripe accepted this {tried} times without effect: {step.text}")
        self._tried[step.ref] += 1
        try:
            settled = await self._done(step, tried)
        except GatewayPermissionError as error:
            if step.kind != "webhook endpoint" or self._desired.endpoint is None:
                raise ProvisioningError(step, error) from error
            self._denied = True
            self._by_hand += (
                by_hand.create_endpoint(self._desired.endpoint)
                if step.action == "create"
                else by_hand.change_endpoint(step)
            )
            return True
        except GatewayError as error:
            if isinstance(error, GatewayUnavailableError) and error.replayed:
                return False
            raise ProvisioningError(step, error) from error
        self._report(step)
        return settled

    async def _done(self, step: Step, tried: int) -> bool:
        assert step.call is not None
        if step.kind == "webhook secret":
            await self._recover_secret(step.call, tried)
            return True
        answer = await self._client.call(request_of(step.call, self._ids, tried=tried))
        self._ids[step.ref] = answer.data["id"]
        if step.call.operation == "create_webhook_endpoint":
            await self._hand_over(answer.data, tried)
        return not answer.replayed

    async def _recover_secret(self, call: Call, tried: int) -> None:
        """Repeat the creation of an endpoint for its secret, or leave that to a person."""
        assert call.basis is not None
        current = call.basis
        if call.operation == "create_webhook_endpoint":
            try:
                answer = await self._client.call(repeated_creation(current))
            except GatewayIdempotencyConflictError:
                pass  # the endpoint was changed since, so that the request is another one
            except GatewayUnavailableError as error:
                if not error.replayed:
                    raise
            else:
                await self._hand_over(answer.data, tried)
                return
        self._by_hand.append(by_hand.copy_secret(current["id"]))
        await self._client.call(handed_over(current, tried=tried))

    async def _hand_over(self, endpoint: Json, tried: int) -> None:
        """Store the secret of a new endpoint, then note at Stripe that it was stored."""
        await self._keep_secret(endpoint["secret"])
        await self._client.call(handed_over(endpoint, tried=tried))
