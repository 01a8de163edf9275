"""The events of many simulated customers as one chronological sequence."""

import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import attrs

from billing_demo.account import AccountEvent, CustomerAccount, Profile, Subject
from billing_demo.lifecycle import Lifecycle
from billing_stripe.testing import API_VERSIONS, BASIL, builders, encode, event, make_id, objects

OLD_VERSION: Final = "2024-06-20"
NEW_VERSION: Final = API_VERSIONS[-1]
GENERATION: Final = timedelta(days=365)
"""Simulated time of one generation of tenants. New tenants then replace them, so that no event lies in the future."""
_SIGN_UPS: Final = timedelta(days=20)
_FIRST_WORDS: Final = (
    *("amber", "blue", "coral", "dusty", "early", "fair", "grand", "humble"),
    *("iron", "jade", "keen", "lunar", "mellow", "north", "opal", "plain"),
)
_SECOND_WORDS: Final = (
    *("anvil", "beacon", "cedar", "delta", "ember", "falcon", "grove"),
    *("harbor", "island", "juniper", "kite", "ledger", "meadow", "nest"),
)


@attrs.frozen(kw_only=True)
class DemoEvent:
    """An event with its id and the API version of the webhook endpoint."""

    event_id: str
    generation: int
    account_event: AccountEvent
    api_version: str

    @property
    def other_version(self) -> str:
        """The API version of the second endpoint that receives the same event during an upgrade."""
        return NEW_VERSION if self.api_version < BASIL else OLD_VERSION

    def body(self, api_version: str) -> bytes:
        """Render the webhook's body in an API version."""
        account_event = self.account_event
        rendered = _render(account_event.subject, api_version)
        previous = None
        if account_event.before is not None:
            previous = builders.previous_attributes(_render(account_event.before, api_version), rendered)
        return encode(
            event(
                account_event.type,
                rendered,
                created=account_event.at,
                api_version=api_version,
                event_id=self.event_id,
                previous_attributes=previous,
            )
        )


class Scenario:
    """The events of successive generations of tenants; the same seed and day give the same events.

    Each generation covers the year that ends at the last midnight.
    """

    def __init__(self, *, seed: str, tenants: int, today: datetime | None = None) -> None:
        self._seed = seed
        self._tenants = tenants
        midnight = (today or datetime.now(UTC)).replace(hour=0, minute=0, second=0, microsecond=0)
        self._end = midnight
        self._start = midnight - GENERATION

    def profiles(self, generation: int) -> Sequence[Profile]:
        """Return the tenants of a generation."""
        rng = self._rng("profiles", generation)
        tag = make_id("", self._seed, generation)[1:5].lower()
        return [self._profile(rng, f"{_name(number)}-{tag}") for number in range(self._tenants)]

    def events(self) -> Iterator[DemoEvent]:
        """Yield all events in chronological order, without end."""
        number = 0
        generation = 0
        while True:
            for account_event in self._generation(generation):
                number += 1
                yield DemoEvent(
                    event_id=make_id("evt", self._seed, number),
                    generation=generation,
                    account_event=account_event,
                    api_version=self._version(account_event),
                )
            generation += 1

    def _generation(self, generation: int) -> Iterator[AccountEvent]:
        lifecycles = [self._lifecycle(profile) for profile in self.profiles(generation)]
        for account_event in heapq.merge(*lifecycles, key=lambda account_event: account_event.at):
            if account_event.at >= self._end:
                return
            yield account_event

    def _lifecycle(self, profile: Profile) -> Iterator[AccountEvent]:
        rng = self._rng("life", profile.tenant_id)
        opened_at = self._start + timedelta(seconds=rng.randrange(int(_SIGN_UPS.total_seconds())))
        return Lifecycle(CustomerAccount(profile, seed=self._seed, opened_at=opened_at), rng).events()

    def _profile(self, rng: Random, tenant_id: str) -> Profile:
        currency = rng.choices(("usd", "eur", "jpy"), weights=(80, 14, 6))[0]
        return Profile(
            tenant_id=tenant_id,
            currency=currency,
            tax_percent={"usd": 0, "eur": 20, "jpy": 10}[currency],
            via_checkout=rng.random() < 0.35,
        )

    def _version(self, account_event: AccountEvent) -> str:
        """Choose the old or the newest API version, the same one for all events of a tenant in one second."""
        return self._rng("version", account_event.tenant_id, account_event.at).choice((OLD_VERSION, NEW_VERSION))

    def _rng(self, *purpose: object) -> Random:
        return Random(repr((self._seed, *purpose)))  # noqa: S311 - a simulation that must be repeatable


def _name(number: int) -> str:
    """Return a name for the tenant of this number; names are numbered when they repeat."""
    first, second = _FIRST_WORDS[number % len(_FIRST_WORDS)], _SECOND_WORDS[number * 3 % len(_SECOND_WORDS)]
    again = number // len(_FIRST_WORDS)
    return f"{first}-{second}" if again == 0 else f"{first}-{second}-{again + 1}"


def _render(subject: Subject, api_version: str) -> dict[str, Any]:
    match subject:
        case objects.Customer():
            return builders.customer(subject, api_version)
        case objects.Subscription():
            return builders.subscription(subject, api_version)
        case objects.Invoice():
            return builders.invoice(subject, api_version)
        case objects.CheckoutSession():
            return builders.checkout_session(subject, api_version)
