"""STRIPE_PRODUCT_PRICE_MAP: the Stripe prices of each plan."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from billing_app.secret import mask_inside
from billing_app.settings.object_ids import check_price_id
from billing_app.settings.parsers import UnusablePartsError, UnusableValueError
from billing_app.troubleshooting import CatalogTrouble
from billing_core.model import Plan

EXPECTS = "pairs like starter=price_1,pro=price_2, or a JSON object (see The price map)"
_ROLES = frozenset({"base", "seat", "metered"})


def parse_price_map(text: str) -> tuple[Plan, ...]:
    """Read the map in either form. Raises UnusableValueError or, with every fault in it, UnusablePartsError."""
    plans = _from_json(text) if text.startswith("{") else _from_pairs(text)
    faults = [fault for plan in plans for fault in _plan_faults(plan)]
    faults += _shared_prices(plans)
    if faults:
        raise UnusablePartsError(faults)
    return plans


def _from_pairs(text: str) -> tuple[Plan, ...]:
    """Read pairs. A plan that is named twice has two base prices, for example a monthly and a yearly one."""
    base: dict[str, tuple[str, ...]] = {}
    for pair in text.split(","):
        code, equals, price_id = (part.strip() for part in pair.partition("="))
        if not (code and equals and price_id):
            raise UnusableValueError(f"{pair.strip()!r} is not of the form plan=price")
        base[code] = (*base.get(code, ()), price_id)
    return tuple(Plan.of_prices(code, base=price_ids) for code, price_ids in base.items())


def _from_json(text: str) -> tuple[Plan, ...]:
    try:
        document = json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as exc:
        raise UnusableValueError(f"it is not valid JSON: {exc.msg} at character {exc.pos + 1}") from exc
    return tuple(_plan_from_json(code, value) for code, value in document.items())


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse equal keys: JSON readers silently keep the last one, and a plan would vanish."""
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise UnusableValueError(f"{twice[0]!r} is named twice in one object")
    return dict(pairs)


def _plan_from_json(code: str, value: object) -> Plan:
    if not isinstance(value, dict):
        return Plan.of_prices(code, base=_price_ids(f"plan {code!r}", value))
    unknown = sorted(value.keys() - _ROLES)
    if unknown:
        raise UnusableValueError(
            f"plan {code!r} has the unknown part {unknown[0]!r}; the parts are base, seat and metered"
        )
    metered = value.get("metered", {})
    if not isinstance(metered, dict):
        raise UnusableValueError(f"metered of plan {code!r} must map feature keys to price ids")
    return Plan.of_prices(
        code,
        base=_price_ids(f"base of plan {code!r}", value.get("base", [])),
        seat=_price_ids(f"seat of plan {code!r}", value.get("seat", [])),
        metered={
            feature: _price_ids(f"{feature} of plan {code!r}", price_ids) for feature, price_ids in metered.items()
        },
    )


def _price_ids(where: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(price_id, str) for price_id in value):
        return tuple(value)
    raise UnusableValueError(f"{where} must be a price id or a list of price ids")


def _plan_faults(plan: Plan) -> Iterable[UnusableValueError]:
    code = plan.plan_code
    if not code or code != code.strip():
        yield UnusableValueError(f"the plan code {code!r} is blank or has spaces around it")
    if not plan.price_ids:
        yield UnusableValueError(f"plan {code!r} has no price", CatalogTrouble.PLAN_CANNOT_BE_SOLD)
    for price_id in plan.price_ids:
        try:
            check_price_id(price_id)
        except UnusableValueError as exc:
            text = f"plan {code!r} names {mask_inside(price_id)!r} as a price, but {exc}"
            yield UnusableValueError(text, exc.trouble)


def _shared_prices(plans: Sequence[Plan]) -> Iterable[UnusableValueError]:
    """Refuse a price in two places: the plan of a subscription would be arbitrary."""
    count = Counter(price_id for plan in plans for price_id in plan.price_ids)
    for price_id in (price_id for price_id, uses in count.items() if uses > 1):
        owners = [plan.plan_code for plan in plans if price_id in plan.price_ids]
        text = f"{price_id} is used more than once ({', '.join(owners)})"
        yield UnusableValueError(text, CatalogTrouble.PRICE_IS_LISTED_TWICE)
