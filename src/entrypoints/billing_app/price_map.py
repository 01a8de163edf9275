"""STRIPE_PRODUCT_PRICE_MAP: which Stripe prices make up which of our plans."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from billing_app.setting_parsers import UnusableValueError

EXPECTS = "pairs like starter=price_1,pro=price_2, or a JSON object (see The price map)"
_ROLES = frozenset({"base", "seat", "metered"})
_NO_METERED: Mapping[str, str] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class PlanPrices:
    """The provider's price ids of one plan, by the role their subscription item plays.

    base: the price of the plan itself, one per currency or interval. seat: charged per seat; its quantity is the seat
    count. metered: charged by usage, keyed by our feature key.
    """

    base: tuple[str, ...] = ()
    seat: tuple[str, ...] = ()
    metered: Mapping[str, str] = _NO_METERED

    def price_ids(self) -> tuple[str, ...]:
        return (*self.base, *self.seat, *self.metered.values())


def parse_price_map(text: str) -> Mapping[str, PlanPrices]:
    """Read the map in either form. Raises UnusableValueError that lists every fault in it."""
    plans = _from_json(text) if text.startswith("{") else _from_pairs(text)
    faults = [fault for code, prices in plans.items() for fault in _plan_faults(code, prices)]
    faults += _shared_prices(plans)
    if faults:
        raise UnusableValueError("; ".join(faults))
    return MappingProxyType(plans)


def _from_pairs(text: str) -> dict[str, PlanPrices]:
    """A plan that is named twice has two base prices, for example a monthly and a yearly one."""
    base: dict[str, tuple[str, ...]] = {}
    for pair in text.split(","):
        code, equals, price_id = (part.strip() for part in pair.partition("="))
        if not (code and equals and price_id):
            raise UnusableValueError(f"{pair.strip()!r} is not of the form plan=price")
        base[code] = (*base.get(code, ()), price_id)
    return {code: PlanPrices(base=price_ids) for code, price_ids in base.items()}


def _from_json(text: str) -> dict[str, PlanPrices]:
    try:
        document = json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as exc:
        raise UnusableValueError(f"it is not valid JSON: {exc.msg} at character {exc.pos + 1}") from exc
    return {code: _plan_from_json(code, value) for code, value in document.items()}


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON readers keep the last of two equal keys without a word: a plan would vanish."""
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise UnusableValueError(f"{twice[0]!r} is named twice in one object")
    return dict(pairs)


def _plan_from_json(code: str, value: object) -> PlanPrices:
    if not isinstance(value, dict):
        return PlanPrices(base=_price_ids(f"plan {code!r}", value))
    unknown = sorted(value.keys() - _ROLES)
    if unknown:
        raise UnusableValueError(
            f"plan {code!r} has the unknown part {unknown[0]!r}; the parts are base, seat and metered"
        )
    metered = value.get("metered", {})
    if not isinstance(metered, dict) or not all(isinstance(price_id, str) for price_id in metered.values()):
        raise UnusableValueError(f"metered of plan {code!r} must map feature keys to price ids")
    return PlanPrices(
        base=_price_ids(f"base of plan {code!r}", value.get("base", [])),
        seat=_price_ids(f"seat of plan {code!r}", value.get("seat", [])),
        metered=MappingProxyType(metered),
    )


def _price_ids(where: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(price_id, str) for price_id in value):
        return tuple(value)
    raise UnusableValueError(f"{where} must be a price id or a list of price ids")


def _plan_faults(code: str, prices: PlanPrices) -> Iterable[str]:
    if not code or code != code.strip():
        yield f"the plan code {code!r} is blank or has spaces around it"
    if not prices.price_ids():
        yield f"plan {code!r} has no price"
    for price_id in prices.price_ids():
        if not price_id or any(character.isspace() for character in price_id):
            yield f"plan {code!r} has a blank price id, or one with spaces: {price_id!r}"
        elif price_id.startswith("prod_"):
            yield f"{price_id} is a product; plan {code!r} needs the id of one of its prices (price_…)"


def _shared_prices(plans: Mapping[str, PlanPrices]) -> Iterable[str]:
    """A price in two places would make the plan of a subscription a matter of luck."""
    count = Counter(price_id for prices in plans.values() for price_id in prices.price_ids())
    for price_id in (price_id for price_id, uses in count.items() if uses > 1):
        owners = [code for code, prices in plans.items() if price_id in prices.price_ids()]
        yield f"{price_id} is used more than once ({', '.join(owners)})"
