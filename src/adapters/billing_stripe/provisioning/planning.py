"""Planning: compares what is desired with what was found, and says what to do. Pure; nothing is ever deleted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from billing_stripe.client import Json
from billing_stripe.provisioning import by_hand
from billing_stripe.provisioning.desired import (
    MANAGED,
    Desired,
    DesiredFeature,
    DesiredMeter,
    DesiredPrice,
    DesiredProduct,
    product_metadata,
)
from billing_stripe.provisioning.endpoints import endpoint_notes, endpoint_step, secret_step
from billing_stripe.provisioning.found import Found
from billing_stripe.provisioning.portal import portal_step
from billing_stripe.provisioning.pricing import price_step
from billing_stripe.provisioning.steps import Call, Ref, Step


@attrs.frozen(kw_only=True)
class ProvisioningPlan:
    """Everything that set-up does at Stripe, in order, and what it leaves to people."""

    steps: tuple[Step, ...]
    by_hand: tuple[str, ...] = ()
    """Steps for a person, where the key lacks a permission."""
    notes: tuple[str, ...] = ()
    """Objects that are left as they are and deserve a look."""
    problems: tuple[str, ...] = ()
    """Reasons why nothing should be done before a person has decided."""
    ids: Mapping[Ref, str] = attrs.field(factory=dict, repr=False)
    """The ids of the objects that exist and stay."""

    @property
    def pending(self) -> Sequence[Step]:
        """The steps that create or change something."""
        return [step for step in self.steps if step.action != "keep"]


def plan_provisioning(desired: Desired, found: Found) -> ProvisioningPlan:
    """Return what to do. Carried out and planned again, nothing is pending."""
    planner = _Planner(desired, found)
    planner.add_all()
    return planner.result()


class _Planner:
    """The steps so far, and the ids of the objects that stay."""

    def __init__(self, desired: Desired, found: Found) -> None:
        self._desired = desired
        self._found = found
        self._steps: list[Step] = []
        self._ids: dict[Ref, str] = {}
        self._problems = list(desired.problems)
        self._notes: list[str] = []
        self._by_hand: tuple[str, ...] = ()

    def result(self) -> ProvisioningPlan:
        """Return the plan."""
        return ProvisioningPlan(
            steps=tuple(self._steps),
            by_hand=self._by_hand,
            notes=tuple(self._notes),
            problems=tuple(self._problems),
            ids=self._ids,
        )

    def add_all(self) -> None:
        """Add every step, each after those that it refers to."""
        desired, found = self._desired, self._found
        for meter in desired.meters:
            self._add_meter(meter, found.meters.get(meter.event_name))
        for product in desired.products:
            self._add_product(product, found.products.get(product.product_id))
        for price in desired.prices:
            self._add_price(price, found.prices.get(price.name))
        for feature in desired.features:
            self._add(_feature_step(feature, found.features.get(feature.lookup_key)))
        for step in self._attachments():
            self._add(step)
        if desired.portal is not None:
            self._add(portal_step(desired.portal, desired, found, self._ids))
        self._add_endpoint()

    def _add(self, step: Step) -> None:
        self._steps.append(step)
        stays = step.call is None or not step.call.operation.startswith("create_")
        if stays and step.object_id is not None:
            self._ids[step.ref] = step.object_id

    def _add_meter(self, meter: DesiredMeter, found: Json | None) -> None:
        if found is not None and found["default_aggregation"]["formula"] != "sum":
            formula = found["default_aggregation"]["formula"]
            self._problems.append(
                f"Meter {found['id']} counts {meter.event_name} by `{formula}`, not by `sum`, and Stripe cannot "
                "change that. Give the feature another name in billing.toml."
            )
        self._add(_meter_step(meter, found))

    def _add_product(self, product: DesiredProduct, found: Json | None) -> None:
        """Add a product if it exists, or if a price has to be created on it."""
        waiting = any(
            price.shape is not None and price.name not in self._found.prices
            for price in self._desired.prices
            if price.product_id == product.product_id
        )
        if found is not None or waiting:
            self._add(_product_step(product, found))

    def _add_price(self, price: DesiredPrice, found: Json | None) -> None:
        step = price_step(price, found, self._ids)
        if step is None:
            self._problems.append(_missing(price))
            return
        if price.shape is None and found is not None and not found["active"]:
            self._notes.append(f"Price {price.name} of plan {price.plan_code} is archived and cannot be sold.")
        self._add(step)

    def _attachments(self) -> Iterator[Step]:
        wanted: dict[str, set[str]] = {}
        for each in self._desired.attachments:
            for product_id in self._selling(each.plan_code):
                if each.feature not in wanted.setdefault(product_id, set()):
                    wanted[product_id].add(each.feature)
                    yield self._attachment(product_id, each.feature)
        for product_id, features in self._found.attached.items():
            extra = sorted(features - wanted.get(product_id, set()))
            if extra:
                self._notes.append(
                    f"Product {product_id} also gives {', '.join(extra)}, which billing.toml does not list for its "
                    "plan. Remove in the Stripe dashboard what its customers should lose."
                )

    def _attachment(self, product_id: str, feature: str) -> Step:
        name = f"{product_id} {feature}"
        if feature in self._found.attached.get(product_id, ()):
            return Step(kind="product feature", name=name, action="keep", text=f"Product {product_id} gives {feature}.")
        return Step(
            kind="product feature",
            name=name,
            action="create",
            text=f"Give feature {feature} with product {product_id}.",
            call=Call(
                operation="attach_feature",
                ids=(product_id,),
                params={"entitlement_feature": Ref("feature", feature)},
            ),
        )

    def _selling(self, plan_code: str) -> Sequence[str]:
        """Return the products of the base prices of a plan."""
        products: dict[str, None] = {}
        for price in self._desired.base_prices(plan_code):
            found = self._found.prices.get(price.name)
            if found is not None:
                products[str(found["product"])] = None
            elif price.shape is not None:
                products[price.product_id] = None
        return list(products)

    def _add_endpoint(self) -> None:
        endpoint = self._desired.endpoint
        if endpoint is None:
            return
        step = endpoint_step(endpoint, self._found)
        if step is None:
            self._by_hand = tuple(by_hand.create_endpoint(endpoint))
            return
        secret = secret_step(self._found)
        if secret is not None:
            self._steps.append(secret)  # before a change of the endpoint, which the repeated request would contradict
        self._notes += endpoint_notes(endpoint, self._found)
        self._add(step)


def _meter_step(meter: DesiredMeter, found: Json | None) -> Step:
    name = meter.event_name
    if found is None:
        return Step(
            kind="meter",
            name=name,
            action="create",
            text=f"Create meter {name}, which adds up the usage of each customer.",
            call=Call(
                operation="create_meter",
                params={
                    "display_name": meter.display_name,
                    "event_name": name,
                    "default_aggregation": {"formula": "sum"},
                    "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
                    "value_settings": {"event_payload_key": "value"},
                },
            ),
        )
    kept = Step(kind="meter", name=name, action="keep", text=f"Meter {name} exists.", object_id=found["id"])
    if found["status"] == "active":
        return kept
    return attrs.evolve(
        kept,
        action="change",
        text=f"Activate meter {name} again.",
        call=Call(operation="reactivate_meter", ids=(found["id"],), basis=found),
    )


def _product_step(product: DesiredProduct, found: Json | None) -> Step:
    name = product.product_id
    if found is None:
        params = {"id": name, "name": product.name, "metadata": product_metadata(product)}
        return Step(
            kind="product",
            name=name,
            action="create",
            text=f"Create product {name} ({product.name}).",
            call=Call(operation="create_product", params=params),
        )
    kept = Step(kind="product", name=name, action="keep", text=f"Product {name} exists.", object_id=name)
    changes: dict[str, Any] = {}
    what = []
    if not found["active"]:
        changes["active"] = True
        what.append("activate it again")
    if MANAGED.items() <= found["metadata"].items() and found["name"] != product.name:
        changes["name"] = product.name
        what.append(f"rename it from {found['name']} to {product.name}")
    if not changes:
        return kept
    return attrs.evolve(
        kept,
        action="change",
        text=f"Change product {name}: {', '.join(what)}.",
        call=Call(operation="update_product", ids=(name,), params=changes, basis=found),
    )


def _feature_step(feature: DesiredFeature, found: Json | None) -> Step:
    key = feature.lookup_key
    if found is None:
        params = {"lookup_key": key, "name": feature.name, "metadata": MANAGED}
        return Step(
            kind="feature",
            name=key,
            action="create",
            text=f"Create feature {key}.",
            call=Call(operation="create_feature", params=params),
        )
    kept = Step(kind="feature", name=key, action="keep", text=f"Feature {key} exists.", object_id=found["id"])
    if found["active"]:
        return kept
    return attrs.evolve(
        kept,
        action="change",
        text=f"Activate feature {key} again, which is archived.",
        call=Call(operation="update_feature", ids=(found["id"],), params={"active": True}, basis=found),
    )


def _missing(price: DesiredPrice) -> str:
    if price.price_id is not None:
        remedy = "Correct the id in billing.toml, or write the price with a lookup_key, amount, currency and interval."
        return f"Price {price.price_id} of plan {price.plan_code} does not exist in this account. {remedy}"
    remedy = "Add amount, currency and interval to it in billing.toml, or create the price in the Stripe dashboard."
    return f"No price of this account has the lookup key {price.lookup_key} of plan {price.plan_code}. {remedy}"
