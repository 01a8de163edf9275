"""`[plans]`: what is sold, and how prices are told apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from billing_app.settings.object_ids import check_price_id, check_product_id
from billing_app.settings.rules.document import Node, value_text
from billing_app.settings.rules.kinds import (
    FLAG,
    TEXT,
    ListOf,
    NoDefault,
    Scalar,
    matching,
    read_name,
    refuse,
    whole,
    word,
)
from billing_app.settings.rules.table import Given, Key, Table, TablesOf
from billing_app.troubleshooting import CatalogTrouble
from billing_core.model import Plan, PlanFeature, PlanMatch, PlanPrice, SeatBounds
from billing_core.model.plan import PLAN_METADATA, ROLES

_LARGEST: Final = 2**63 - 1
_MOST_SEATS: Final = 1_000_000
_SPANS: Final = ("day", "week", "month", "year")

PRICE_ID: Final = Scalar(str, "the id of a price (price_…)", '"price_123"', check_price_id)
PRODUCT_ID: Final = Scalar(str, "the id of a product (prod_…)", '"prod_123"', check_product_id)
_LOOKUP_KEY: Final = matching(r"\S(.*\S)?", "a lookup key", "pro_monthly")
_KEY_PATTERN: Final = matching(r"\S(.*\S)?", "a lookup key, with * for any text", "pro_*")
_CURRENCY: Final = matching(r"[a-z]{3}", "three lower-case letters", "usd")
_DECIMAL: Final = matching(r"[0-9]{1,12}(\.[0-9]{1,12})?", "a number in text, of at most 12 decimal places", "0.1")
_FEATURE_KEY: Final = matching(r"[A-Za-z0-9_.-]+", "letters, digits, _, . and -", "api_calls")


class _Metadata(NoDefault):
    """Pairs of metadata: a table of texts, or of arrays of them."""

    expects = "a table of texts, or of arrays of texts"
    example = '{ plan = "pro" }'

    def read(self, node: Node) -> tuple[tuple[str, str], ...] | None:
        """Return the pairs, by key."""
        if not isinstance(node.value, dict):
            refuse(node, self)
            return None
        read = {key: ListOf(TEXT).read(node.child(key)) for key in node.value}
        return tuple(sorted((key, text) for key, texts in read.items() for text in texts or ()))


METADATA: Final = _Metadata()


def _check_price(node: Node, _fields: dict[str, Given]) -> None:
    given, role = node.value.keys(), node.value.get("role", "base")
    if not given & {"id", "lookup_key"}:
        example = 'Add one, for example lookup_key = "pro_monthly".'
        node.refuse("has neither an id nor a lookup key", example, CatalogTrouble.TOML_KEY_IS_MISSING)
    if role == "metered" and "feature" not in given:
        example = 'Add it, for example feature = "api_calls".'
        node.refuse("is metered and has no feature", example, CatalogTrouble.TOML_KEY_IS_MISSING)
    if role in ROLES and role != "metered" and "feature" in given:
        node.child("feature").refuse("is set, but the price is not metered", 'Remove it, or write role = "metered".')
    if {"amount", "unit_amount_decimal"} <= given:
        node.child("unit_amount_decimal").refuse("is set beside amount", "Keep one of them.")
    if given & {"amount", "unit_amount_decimal"} and "currency" not in given:
        example = 'Add it, for example currency = "usd".'
        node.refuse("has an amount and no currency", example, CatalogTrouble.TOML_KEY_IS_MISSING)
    if "interval_count" in given and "interval" not in given:
        example = 'Add it, for example interval = "month".'
        node.refuse("has an interval_count and no interval", example, CatalogTrouble.TOML_KEY_IS_MISSING)


PRICE: Final = Table(
    PlanPrice,
    (
        Key("role", word(*ROLES), "`base` names the plan, the quantity of `seat` is the seat count."),
        Key("id", PRICE_ID, "The price at Stripe. Either this or `lookup_key` is needed.", "price_id"),
        Key("lookup_key", _LOOKUP_KEY, "The price at Stripe, by its exact lookup key."),
        Key("feature", _FEATURE_KEY, "The feature that a metered price bills; several prices may bill one."),
        Key("interval", word(*_SPANS), "The billing interval."),
        Key("interval_count", whole(1, 1095, 3), "Intervals between bills."),
        Key("amount", whole(0, _LARGEST, 4900), "The price per unit and interval, in the currency's minor unit."),
        Key("unit_amount_decimal", _DECIMAL, "In place of `amount`, with digits below the minor unit."),
        Key("currency", _CURRENCY, "The ISO code."),
    ),
    adjust=_check_price,
)

MATCH: Final = Table(
    PlanMatch,
    (
        Key("prices", ListOf(PRICE_ID), "Prices, as base prices."),
        Key("products", ListOf(PRODUCT_ID), "Products: all of their prices, bespoke ones among them."),
        Key("lookup_keys", ListOf(_KEY_PATTERN), "Patterns of lookup keys; the longest that fits decides."),
        Key(
            "metadata",
            METADATA,
            f"Metadata of prices or their products. `{PLAN_METADATA}` with the code of the plan always counts.",
        ),
    ),
)


_KINDS: Final = ("metered", "max", "enabled")
"""The keys that say what a feature is; it has one of them."""


def _check_feature(node: Node, _fields: dict[str, Given]) -> None:
    given = node.value
    kinds = [name for name in _KINDS if name in given]
    if given.get("metered") is False:
        node.child("metered").refuse("is false", "Write the feature itself as true, false or a number.")
    if not kinds:
        example = "Add one: metered = true for usage, max = 50 for a number, or enabled = true for a switch."
        node.refuse("has none of metered, max and enabled", example, CatalogTrouble.TOML_KEY_IS_MISSING)
    for name in kinds[1:]:
        node.child(name).refuse(f"is set beside {kinds[0]}", "Keep one of them.")
    for name in ("included", "reset"):
        if name in given and kinds and "metered" not in given:
            node.child(name).refuse("is set, but the feature is not metered", "Remove it, or write metered = true.")
    for name in ("limit", "per_seat"):
        if name in given and kinds == ["enabled"]:
            node.child(name).refuse("is set, but the feature is a switch", "Remove it, or write max for a number.")
    if kinds == ["metered"] and "included" not in given and (given.get("limit") == "hard" or "per_seat" in given):
        example = "Add it, for example included = 10_000."
        node.child("included").refuse("is missing", example, CatalogTrouble.TOML_KEY_IS_MISSING)


FEATURE: Final = Table(
    PlanFeature,
    (
        Key("metered", FLAG, "True for usage; this, `max` or `enabled` says what the feature is.", default="–"),
        Key("included", whole(0, _LARGEST, 10_000), "Metered usage that the plan includes; without it, no limit."),
        Key("max", whole(0, _LARGEST, 50), "The most that the plan allows of a counted thing.", "limit"),
        Key("enabled", FLAG, "Whether the plan has a feature that is not counted.", default="–"),
        Key(
            "limit",
            word("soft", "hard"),
            "Whether more is allowed, and billed if it is metered, or refused.",
            "enforcement",
            default="soft if it is metered, else hard",
        ),
        Key(
            "reset",
            word("period", *_SPANS),
            "The span after which included usage starts over: the billing period, or one of the calendar in UTC.",
            default='`"period"`',
        ),
        Key("per_seat", FLAG, "Whether the number is for each seat of the subscription."),
        Key(
            "read_only",
            word("allow", "refuse"),
            "Its use while access is `read_only`.",
            default="allow for what is not counted, else refuse",
        ),
    ),
    adjust=_check_feature,
)


class _Features(NoDefault):
    """A table of features by their keys."""

    expects = "a table; each feature is true, false, a number (the most that is allowed) or a table"
    example = "{ exports = true, projects = 50 }"
    _limit = whole(0, _LARGEST, 50)

    def read(self, node: Node) -> tuple[PlanFeature, ...] | None:
        """Return the features."""
        if not isinstance(node.value, dict):
            refuse(node, self)
            return None
        read = (self._read_one(node, key) for key in node.value)
        return tuple(feature for feature in read if feature is not None)

    def _read_one(self, node: Node, key: str) -> PlanFeature | None:
        child = node.child(key)
        if read_name(child, _FEATURE_KEY) is None:
            return None
        if isinstance(child.value, dict):
            return FEATURE.read(child, key=key)
        if isinstance(child.value, bool):
            return PlanFeature(key=key, enabled=child.value)
        limit = self._limit.read(child)
        return None if limit is None else PlanFeature(key=key, limit=limit)


def _check_plan(node: Node, _fields: dict[str, Given]) -> None:
    """Refuse metered prices of a feature that is listed as a switch or a number."""
    features = node.value.get("features")
    for price in node.child("prices").elements:
        feature = price.child("feature")
        if isinstance(features, dict) and isinstance(feature.value, str):
            listed = features.get(feature.value, {})
            if not (isinstance(listed, dict) and listed.get("metered", not listed)):
                where = node.child("features").child(feature.value).place
                feature.refuse(
                    f"is {value_text(feature.value)}, which {where} lists as {value_text(listed)}",
                    "Write { metered = true } there, or bill another feature.",
                )


def _check_seats(node: Node, fields: dict[str, Given]) -> None:
    if {"minimum", "maximum"} <= fields.keys() and fields["minimum"].value > fields["maximum"].value:
        node.child("max").refuse(
            f"is {fields['maximum'].value}, less than min, which is {fields['minimum'].value}", "Exchange the two."
        )


SEATS: Final = Table(
    SeatBounds,
    (
        Key("min", whole(0, _MOST_SEATS, 1), "The fewest seats.", "minimum"),
        Key("max", whole(1, _MOST_SEATS, 50), "The most seats; without it, any number.", "maximum"),
    ),
    adjust=_check_seats,
)

PLAN: Final = Table(
    Plan,
    (
        Key("name", TEXT, "For display; without it the code is shown."),
        Key("group", TEXT, "A tenant should have one live subscription per group."),
        Key("prices", TablesOf(PRICE), "Its prices."),
        Key("match", MATCH, "Prices that belong to it beside those; any one of these conditions is enough."),
        Key("features", _Features(), "What it includes, by key."),
        Key("trial_days", whole(0, 730, 14), "The length of a trial."),
        Key(
            "seats",
            SEATS,
            "The numbers of seats it is sold with. Without it, a plan without a price of role `seat` has none.",
        ),
        Key("grants_access", FLAG, "False for an add-on, which gives no access by itself."),
    ),
    adjust=_check_plan,
)
_PLAN_CODE: Final = matching(r"\S(.*\S)?", "the code of a plan, without spaces around it", "pro")


class Plans:
    """The plans by their codes."""

    def read_fields(self, node: Node) -> Mapping[str, Given]:
        """Return the plans as a field of the catalog, but for those with faults."""
        if not isinstance(node.value, dict):
            node.refuse(f"is {value_text(node.value)}", "Write each plan as a table, for example [plans.pro].")
            return {}
        read = [PLAN.read(node.child(code), plan_code=code) for code in node.value if self._is_code(node.child(code))]
        _refuse_shared(node)
        return {"plans": Given(tuple(plan for plan in read if plan is not None), node)}

    def _is_code(self, node: Node) -> bool:
        return read_name(node, _PLAN_CODE) is not None


PLANS: Final = Plans()


def _refuse_shared(plans: Node) -> None:
    """Refuse what two places claim: the plan of a subscription would be arbitrary."""
    first: dict[tuple[str, ...], tuple[str, Node]] = {}
    for code in plans.value:
        for claim, node, exclusive in _claims(plans.child(code)):
            other, place = first.setdefault(claim, (code, node))
            if place is not node and (exclusive or other != code):
                problem = f"is {value_text(node.value)}, which is used by {place.place}"
                node.refuse(problem, "Keep one of them.", CatalogTrouble.PRICE_IS_LISTED_TWICE)


def _claims(plan: Node) -> Iterator[tuple[tuple[str, ...], Node, bool]]:
    """Yield what a plan claims, where, and whether it may claim it but once itself."""
    for price in plan.child("prices").elements:
        for name in ("id", "lookup_key"):
            for text in _texts(price.child(name)):
                yield (name, text.value), text, True
    match = plan.child("match")
    for name, kind in (("prices", "id"), ("lookup_keys", "lookup_key"), ("products", "product")):
        for text in _texts(match.child(name)):
            yield (kind, text.value), text, False
    yield ("metadata", PLAN_METADATA, str(plan.path[-1])), plan, False
    metadata = match.child("metadata")
    for key in metadata.value if isinstance(metadata.value, dict) else ():
        for text in _texts(metadata.child(key)):
            yield ("metadata", key, text.value), text, False


def _texts(node: Node) -> Iterator[Node]:
    """Yield a text, or each text of an array."""
    for each in (node, *node.elements):
        if isinstance(each.value, str):
            yield each
