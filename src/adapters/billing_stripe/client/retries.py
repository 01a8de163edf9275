"""The retry loop of a call: a bounded number of attempts within a bounded time, all with the same idempotency key."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import attrs
import stamina

from billing_core.errors import GatewayError, GatewayRateLimitedError, GatewayUnavailableError
from billing_core.operations.call_limits import CallRefusal
from billing_stripe.client.outcomes import AttemptFailedError, Executed, Pace
from billing_stripe.client.policy import CallPolicy
from billing_stripe.client.requests import StripeAnswer, StripeRequest


@attrs.define
class Progress:
    """The attempts of a call so far, for its report and for the truth about a write that failed."""

    attempts: int = 0
    """Requests that were sent."""
    request_id: str | None = None
    retries: list[str] = attrs.field(factory=list)
    limited: list[str] = attrs.field(factory=list)
    sending: bool = False
    """Whether a request is on its way: what ends the call now leaves its outcome unknown."""
    may_have_run: bool = False

    def waited(self, refusal: CallRefusal) -> None:
        """Note a limit of ours that makes the call wait; polls for the same one count once."""
        reason = f"own_{refusal.limit}"
        if self.limited[-1:] != [reason]:
            self.limited.append(reason)

    def failed(self, failure: AttemptFailedError, *, has_key: bool) -> None:
        """Note the end of an attempt. With a key that Stripe heeds, its answer may settle the earlier ones as well."""
        if failure.executed is Executed.UNKNOWN:
            self.may_have_run = True
        elif failure.executed is Executed.SETTLED and has_key:
            self.may_have_run = False


async def with_retries(
    request: StripeRequest,
    policy: CallPolicy,
    progress: Progress,
    attempt: Callable[[StripeRequest, Progress], Awaitable[StripeAnswer]],
) -> StripeAnswer:
    """Make attempts until one succeeds, or no further one makes sense. Raises: GatewayError."""
    deadline = policy.deadline if request.priority == "interactive" else policy.background_deadline
    try:
        async with asyncio.timeout(deadline.total_seconds()):
            return await _repeated(request, policy, progress, attempt)
    except AttemptFailedError as failed:
        failed.error.outcome_unknown = request.writes and progress.may_have_run
        raise failed.error from failed.__cause__
    except TimeoutError:
        raise _out_of_time(request, progress) from None


async def _repeated(
    request: StripeRequest,
    policy: CallPolicy,
    progress: Progress,
    attempt: Callable[[StripeRequest, Progress], Awaitable[StripeAnswer]],
) -> StripeAnswer:
    failures = 0

    def wait(error: Exception) -> bool | timedelta:
        if not isinstance(error, AttemptFailedError):
            return False
        pause = _pause_after(error, failures, policy)
        if pause is not None and failures < policy.attempts:
            progress.retries.append(error.error.code)
        return False if pause is None else pause

    async for each in stamina.retry_context(on=wait, attempts=policy.attempts, timeout=None):
        with each:
            try:
                return await attempt(request, progress)
            except AttemptFailedError as failed:
                failures += 1
                progress.failed(failed, has_key=request.endpoint.method == "post")
                raise
    raise AssertionError("stamina either returns or raises")


def _pause_after(error: AttemptFailedError, failures: int, policy: CallPolicy) -> timedelta | None:
    """Return the wait before the next attempt, or None if there is none."""
    if not error.again:
        return None
    if error.retry_after is None:
        backoffs = {Pace.NORMAL: policy.backoff, Pace.LOCK: policy.lock_backoff, Pace.LOAD: policy.load_backoff}
        return backoffs[error.pace].after(failures)
    if error.retry_after > policy.longest_retry_after:
        return None
    return error.retry_after + policy.backoff.after(1)  # a little longer than asked for, to spread the load


def _out_of_time(request: StripeRequest, progress: Progress) -> GatewayError:
    unknown = request.writes and (progress.may_have_run or progress.sending)
    if progress.attempts == 0 and progress.limited:
        return GatewayRateLimitedError(f"{request.operation}: no room within our own limits")
    return GatewayUnavailableError(f"{request.operation}: out of time", outcome_unknown=unknown)
