"""Idempotency keys: the answer to the first request with a key is the answer to all of them.

Source: https://docs.stripe.com/api/idempotent_requests and https://docs.stripe.com/error-low-level
"""

from datetime import datetime, timedelta
from typing import Final

import attrs

from billing_stripe.testing.fake_stripe.errors import StripeError

LIFE: Final = {1: timedelta(hours=24), 2: timedelta(days=30)}
"""Time for which a key is kept, by API generation."""


@attrs.frozen(kw_only=True)
class Stored:
    """An answer that is replayed."""

    status: int
    body: bytes
    request_id: str


@attrs.define
class _Use:
    """The use of one key."""

    request: str
    since: datetime
    answer: Stored | None = None


class IdempotencyKeys:
    """The keys of one account."""

    def __init__(self) -> None:
        self._uses: dict[tuple[int, str], _Use] = {}

    def claim(self, generation: int, key: str, request: str, now: datetime) -> Stored | None:
        """Take a key for a request, or return the stored answer to the same request.

        Args:
            generation: of the API; their keys are apart.
            key: the client's.
            request: method, path and parameters.
            now: the account's time.

        Raises: StripeError for a key that belongs to another request, or to one that is still being executed.
        """
        use = self._uses.get((generation, key))
        if use is None or now - use.since >= LIFE[generation]:
            self._uses[generation, key] = _Use(request, now)
            return None
        if use.request != request:
            raise StripeError(
                400,
                "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                f"Try using a key other than '{key}' if you meant to execute a different request.",
                type="idempotency_error",
                executed=False,
            )
        if use.answer is None:
            raise StripeError(
                409,
                "There is currently another in-progress request using this Idempotent Key (that probably means you "
                f"submitted twice, and the other request is still going through): {key}. Please try again later.",
                type="idempotency_error",
                code="idempotency_key_in_use",
                executed=False,
            )
        return use.answer

    def settle(self, generation: int, key: str, answer: Stored | None) -> None:
        """Store the answer of a claimed key, or free the key if nothing was executed.

        The second generation executes failed work again, so that its key keeps a success only.
        """
        if answer is None or (generation == 2 and answer.status >= 400):
            del self._uses[generation, key]
        else:
            self._uses[generation, key].answer = answer
