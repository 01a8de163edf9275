"""Many lives, told as one sequence of events in the order of their times."""

import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import attrs

from billing_demo.account import Account, Happening, Profile, Subject
from billing_demo.life import Life
from billing_stripe.testing import API_VERSIONS, BASIL, builders, encode, event, make_id, objects

OLD_VERSION: Final = "2024-06-20"
NEW_VERSION: Final = API_VERSIONS[-1]
GENERATION: Final = timedelta(days=365)
"""How much time a generation of tenants lives through. Then others take over, so that nothing happens in the future."""
_ARRIVALS: Final = timedelta(days=20)
_FIRST_WORDS: Final = (
    *("amber", "blue", "coral", "dusty", "early", "fair", "grand", "humble"),
    *("iron", "jade", "keen", "lunar", "mellow", "north", "opal", "plain"),
)
_SECOND_WORDS: Final = (
    *("anvil", "beacon", "cedar", "delta", "ember", "falcon", "grove"),
    *("harbor", "island", "juniper", "kite", "ledger", "meadow", "nest"),
)


@attrs.frozen(kw_only=True)
class PlayedEvent:
    """One event with its id and the API version of the endpoint that it goes to."""

    event_id: str
    generation: int
    happening: Happening
    api_version: str

    @property
    def other_version(self) -> str:
        """The version of the other endpoint that gets the same event while an upgrade goes on."""
        return NEW_VERSION if self.api_version < BASIL else OLD_VERSION

    def body(self, api_version: str) -> bytes:
        """The webhook's body, in the shape of an API version."""
        happening = self.happening
        rendered = _render(happening.subject, api_version)
        previous = None
        if happening.before is not None:
            previous = builders.previous_attributes(_render(happening.before, api_version), rendered)
        return encode(
            event(
                happening.type,
                rendered,
                created=happening.at,
                api_version=api_version,
                event_id=self.event_id,
                previous_attributes=previous,
            )
        )


class Scenario:
    """The events of generation after generation of tenants; the same seed tells the same story.

    Dates are counted back from midnight: each generation lives through the year that ends there.
    """

    def __init__(self, *, seed: str, tenants: int, today: datetime | None = None) -> None:
        self._seed = seed
        self._tenants = tenants
        midnight = (today or datetime.now(UTC)).replace(hour=0, minute=0, second=0, microsecond=0)
        self._end = midnight
        self._start = midnight - GENERATION

    def profiles(self, generation: int) -> Sequence[Profile]:
        """The tenants of a generation."""
        rng = self._rng("profiles", generation)
        tag = make_id("", self._seed, generation)[1:5].lower()
        return [self._profile(rng, f"{_name(number)}-{tag}") for number in range(self._tenants)]

    def events(self) -> Iterator[PlayedEvent]:
        """All events in the order in which they happen, without end."""
        number = 0
        generation = 0
        while True:
            for happening in self._generation(generation):
                number += 1
                yield PlayedEvent(
                    event_id=make_id("evt", self._seed, number),
                    generation=generation,
                    happening=happening,
                    api_version=self._version(happening),
                )
            generation += 1

    def _generation(self, generation: int) -> Iterator[Happening]:
        lives = [self._life(profile) for profile in self.profiles(generation)]
        for happening in heapq.merge(*lives, key=lambda happening: happening.at):
            if happening.at >= self._end:
                return
            yield happening

    def _life(self, profile: Profile) -> Iterator[Happening]:
        rng = self._rng("life", profile.tenant_id)
        opened_at = self._start + timedelta(seconds=rng.randrange(int(_ARRIVALS.total_seconds())))
        return Life(Account(profile, seed=self._seed, opened_at=opened_at), rng).happenings()

    def _profile(self, rng: Random, tenant_id: str) -> Profile:
        currency = rng.choices(("usd", "eur", "jpy"), weights=(80, 14, 6))[0]
        return Profile(
            tenant_id=tenant_id,
            currency=currency,
            tax_percent={"usd": 0, "eur": 20, "jpy": 10}[currency],
            via_checkout=rng.random() < 0.35,
        )

    def _version(self, happening: Happening) -> str:
        """Half of the moments of a tenant's life are told in an old shape, half in the newest."""
        return self._rng("version", happening.tenant_id, happening.at).choice((OLD_VERSION, NEW_VERSION))

    def _rng(self, *purpose: object) -> Random:
        return Random(repr((self._seed, *purpose)))  # noqa: S311 - a simulation that must be repeatable


def _name(number: int) -> str:
    """A name for the tenant of this number; distinct ones for the first few hundred, then numbered."""
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
