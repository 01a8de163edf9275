"""The price book: Stripe's ids of the prices that commands name."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Final

import attrs

from billing_core.errors import GatewayInvalidRequestError
from billing_core.operations.commands import PriceChoice
from billing_stripe.client import Json, StripeClient, StripeRequest

KEYS_PER_LIST: Final = 10
"""Lookup keys in one request. Source: https://docs.stripe.com/api/prices/list#list_prices-lookup_keys"""


@attrs.frozen
class _Found:
    price_id: str
    at: float
    """On the monotonic clock."""


class PriceBook:
    """Finds prices by the id in the catalog, else by their lookup key at Stripe.

    A lookup key can be moved to another price, so what was found is asked for again after a while.
    """

    def __init__(
        self,
        client: StripeClient,
        *,
        lifetime: timedelta = timedelta(minutes=5),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._lifetime = lifetime.total_seconds()
        self._clock = clock
        self._found: dict[str, _Found] = {}

    async def ids(self, choices: Iterable[PriceChoice]) -> Mapping[PriceChoice, str]:
        """Return the price ids of these choices, with one request for all lookup keys that are not known.

        Raises: GatewayError; GatewayInvalidRequestError if no active price has a lookup key.
        """
        wanted = list(choices)
        unknown = {key for choice in wanted if (key := self._asked_for(choice)) is not None}
        keys = sorted(unknown)
        for first in range(0, len(keys), KEYS_PER_LIST):
            await self._look_up(keys[first : first + KEYS_PER_LIST])
        return {choice: self._known(choice) for choice in wanted}

    def _asked_for(self, choice: PriceChoice) -> str | None:
        """Return the lookup key to ask Stripe for; None if the price is known."""
        if choice.price_id is not None or choice.lookup_key is None:
            return None
        found = self._found.get(choice.lookup_key)
        return None if found is not None and self._clock() - found.at < self._lifetime else choice.lookup_key

    async def _look_up(self, keys: list[str]) -> None:
        params = {"lookup_keys": keys, "active": True, "limit": 100}
        answer = await self._client.call(StripeRequest(operation="list_prices", params=params))
        for key in keys:
            self._found.pop(key, None)
        for key, price_id in _rows(answer.data):
            self._found[key] = _Found(price_id, self._clock())

    def _known(self, choice: PriceChoice) -> str:
        if choice.price_id is not None:
            return choice.price_id
        found = self._found.get(choice.lookup_key or "")
        if found is None:
            text = f"list_prices: no active price has the lookup key {choice.lookup_key}"
            raise GatewayInvalidRequestError(text, parameter="lookup_keys")
        return found.price_id


def _rows(listed: Json) -> Iterator[tuple[str, str]]:
    for row in listed.get("data", ()):
        match row:
            case {"id": str(price_id), "lookup_key": str(key)}:
                yield key, price_id
