"""The customer portal: configurations, sessions, and the page on which a customer manages a subscription."""

from html import escape
from typing import TYPE_CHECKING, Any, Final

import attrs
from aiohttp import web

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing import ending
from billing_stripe.testing.fake_stripe.billing.attachment import attach_to
from billing_stripe.testing.fake_stripe.billing.times import now_on
from billing_stripe.testing.fake_stripe.errors import StripeError, invalid, refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    METADATA,
    TEXT,
    Clearable,
    Form,
    Listed,
    Params,
    Required,
    choice,
    listing,
    merged_metadata,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, PageRoute, Resource, Route

if TYPE_CHECKING:
    from billing_stripe.testing.fake_stripe.server import FakeStripe

CONFIGURATION = Kind(
    source=objects.PortalConfiguration,
    noun="billing_portal.configuration",
    key=lambda source: source.configuration_id,
    render=builders.portal_configuration,
    included={
        "features.subscription_update.products": lambda account, source, version: builders.switchable_products(source)
    },
)
SESSION = Kind(
    source=objects.PortalSession,
    noun="billing_portal.session",
    key=lambda source: source.portal_session_id,
    render=builders.portal_session,
    expandable=frozenset({"configuration"}),
)
_PRORATION = choice("always_invoice", "create_prorations", "none")
_QUANTITIES = Form(enabled=Required(BOOLEAN), minimum=INTEGER, maximum=INTEGER)
_FEATURES = Form(
    customer_update=Form(enabled=BOOLEAN, allowed_updates=Clearable(Listed(TEXT))),
    invoice_history=Form(enabled=Required(BOOLEAN)),
    payment_method_update=Form(enabled=Required(BOOLEAN)),
    subscription_cancel=Form(
        enabled=BOOLEAN,
        cancellation_reason=Form(enabled=Required(BOOLEAN), options=Clearable(Listed(TEXT))),
        mode=choice("at_period_end", "immediately"),
        proration_behavior=_PRORATION,
    ),
    subscription_update=Form(
        enabled=BOOLEAN,
        billing_cycle_anchor=choice("now", "unchanged"),
        default_allowed_updates=Clearable(Listed(choice("price", "promotion_code", "quantity"))),
        products=Clearable(
            Listed(Form(product=Required(TEXT), prices=Required(Listed(TEXT)), adjustable_quantity=_QUANTITIES))
        ),
        proration_behavior=_PRORATION,
        schedule_at_period_end=Form(
            conditions=Clearable(Listed(Form(type=Required(choice("decreasing_item_amount", "shortening_interval")))))
        ),
        trial_update_behavior=choice("continue_trial", "end_trial"),
    ),
)
_PROFILE = Form(headline=Clearable(TEXT), privacy_policy_url=TEXT, terms_of_service_url=TEXT)
CREATE_CONFIGURATION = Form(
    features=Required(_FEATURES),
    business_profile=Clearable(_PROFILE),
    default_return_url=Clearable(TEXT),
    login_page=Form(enabled=Required(BOOLEAN)),
    metadata=METADATA,
    name=Clearable(TEXT),
)
UPDATE_CONFIGURATION = Form(
    active=BOOLEAN,
    features=_FEATURES,
    business_profile=Clearable(_PROFILE),
    default_return_url=Clearable(TEXT),
    login_page=Form(enabled=Required(BOOLEAN)),
    metadata=METADATA,
    name=Clearable(TEXT),
)
_OF_SUBSCRIPTION = Form(subscription=Required(TEXT), retention=ANYTHING)
CREATE_SESSION = Form(
    customer=Required(TEXT),
    configuration=TEXT,
    flow_data=Form(
        type=Required(
            choice("payment_method_update", "subscription_cancel", "subscription_update", "subscription_update_confirm")
        ),
        after_completion=ANYTHING,
        subscription_cancel=_OF_SUBSCRIPTION,
        subscription_update=_OF_SUBSCRIPTION,
        subscription_update_confirm=ANYTHING,
    ),
    locale=TEXT,
    return_url=TEXT,
)
_MOST_PRODUCTS: Final = 10
_FEATURE_OF: Final = {"subscription_update_confirm": "subscription_update"}
"""The feature that a flow needs, where its name is another."""


def create_configuration(call: Call) -> objects.PortalConfiguration:
    """POST /v1/billing_portal/configurations; the default one is made in the dashboard only."""
    params = call.params
    _check_switching(call.account, params["features"])
    return call.account.create(
        objects.PortalConfiguration(
            configuration_id=call.account.new_id("bpc"),
            created_at=call.now,
            default_return_url=params.get("default_return_url"),
            name=params.get("name"),
            headline=(params.get("business_profile") or {}).get("headline"),
            features=params["features"],
            metadata=merged_metadata({}, params),
        )
    )


def retrieve_configuration(call: Call) -> objects.PortalConfiguration:
    """GET /v1/billing_portal/configurations/:id"""
    return call.account.get(objects.PortalConfiguration, call.id)


def update_configuration(call: Call) -> objects.PortalConfiguration:
    """POST /v1/billing_portal/configurations/:id"""
    configuration, params = retrieve_configuration(call), call.params
    changes: dict[str, Any] = {
        name: params[name] for name in ("active", "default_return_url", "name") if name in params
    }
    _check_switching(call.account, params.get("features", {}))
    features = dict(configuration.features)
    for name, given in params.get("features", {}).items():
        features[name] = {**features.get(name, {}), **given}
    metadata = merged_metadata(configuration.metadata, params)
    return call.account.update(attrs.evolve(configuration, **changes, features=features, metadata=metadata))


def configurations(call: Call) -> Listing:
    """GET /v1/billing_portal/configurations"""
    asked = select(call, objects.PortalConfiguration, active="active", is_default="is_default")
    return Listing(asked, CONFIGURATION.noun)


def create_session(call: Call) -> objects.PortalSession:
    """POST /v1/billing_portal/sessions"""
    account, params = call.account, call.params
    customer = account.get(objects.Customer, params["customer"], "customer")
    configuration = _configuration(account, params)
    if "flow_data" in params:
        _check_flow(account, customer, configuration, params["flow_data"])
    session_id = account.new_id("bps")
    session = account.create(
        objects.PortalSession(
            portal_session_id=session_id,
            customer_id=customer.customer_id,
            configuration_id=configuration.configuration_id,
            created_at=call.now,
            url=f"{call.origin}/portal/{session_id}",
            return_url=params.get("return_url", configuration.default_return_url),
            flow=params.get("flow_data"),
        )
    )
    return session


def _configuration(account: Account, params: Params) -> objects.PortalConfiguration:
    if "configuration" in params:
        return account.get(objects.PortalConfiguration, params["configuration"], "configuration")
    for each in account.all(objects.PortalConfiguration):
        if each.is_default and each.active:
            return each
    raise refused(
        "No configuration provided and your test mode default configuration has not been created. Provide a "
        "configuration or create your default by saving your customer portal settings in test mode at "
        "https://dashboard.stripe.com/test/settings/billing/portal."
    )


def _check_switching(account: Account, features: Params) -> None:
    """Raise StripeError for products between which customers cannot switch.

    Each is listed once, with active prices of its own that differ in their intervals.
    """
    update = features.get("subscription_update", {})
    listed = update.get("products") or []
    param = "features[subscription_update][products]"
    if len(listed) > _MOST_PRODUCTS:
        raise invalid(f"You can have at most {_MOST_PRODUCTS} products.", param=param)
    if update.get("enabled") and not listed and "products" in update:
        raise invalid("At least one product is required when subscription updates are enabled.", param=param)
    if len({each["product"] for each in listed}) < len(listed):
        raise invalid("A product is listed twice.", param=param)
    for each in listed:
        product = account.get(objects.Product, each["product"], param)
        prices = [account.get(objects.Price, price_id, param) for price_id in each["prices"]]
        if any(price.product_id != product.product_id for price in prices):
            raise invalid(f"A price does not belong to the product {product.product_id}.", param=param)
        if not all(price.active and price.recurring for price in prices):
            raise invalid("All prices must be active and recurring.", param=param)
        if len({(price.interval, price.interval_count) for price in prices}) < len(prices):
            raise invalid("Prices of one product must have unique billing intervals.", param=param)


def _check_flow(
    account: Account, customer: objects.Customer, configuration: objects.PortalConfiguration, flow: Params
) -> None:
    kind: str = flow["type"]
    feature = _FEATURE_OF.get(kind, kind)
    if not configuration.features.get(feature, {}).get("enabled"):
        raise refused(f"The feature `{feature}` of the portal configuration is disabled.", param="flow_data[type]")
    if kind == "payment_method_update":
        return
    if kind not in flow:
        raise invalid(
            f"Missing required param: flow_data[{kind}].", param=f"flow_data[{kind}]", code="parameter_missing"
        )
    param = f"flow_data[{kind}][subscription]"
    subscription = account.get(objects.Subscription, flow[kind]["subscription"], param)
    if subscription.customer_id != customer.customer_id:
        raise refused("The subscription does not belong to the customer.", param=param)
    if kind == "subscription_cancel" and (subscription.cancel_at is not None or subscription.ended_at is not None):
        raise refused("This subscription is already set to be canceled.", param=param)


# --- the page ---------------------------------------------------------------------------------------------------

_PAGE: Final = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Customer portal</title>
<h1>Customer portal</h1><p id="error" role="alert">{error}</p>
{subscriptions}
<form method="post"><label>Card <select name="payment_method"><option>pm_card_visa</option>
<option>pm_card_chargeCustomerFail</option></select></label>
<button name="action" value="payment_method">Use this card</button></form>
<a id="back" href="{return_url}">Back</a></html>
"""
_SUBSCRIPTION: Final = """\
<form method="post"><input type="hidden" name="subscription" value="{subscription_id}">{subscription_id} ({status})
<button name="action" value="cancel">Cancel</button> <button name="action" value="continue">Do not cancel</button>
</form>
"""


async def show(fake: "FakeStripe", request: web.Request) -> web.StreamResponse:
    """GET /portal/:id: the customer's subscriptions."""
    return _page(*_find(fake, request))


async def submit(fake: "FakeStripe", request: web.Request) -> web.StreamResponse:
    """POST /portal/:id: do what the customer asks for, and show the page again."""
    account, session = _find(fake, request)
    form = await request.post()
    try:
        with account.transaction():
            _act(account, session, str(form.get("action")), {name: str(value) for name, value in form.items()})
    except StripeError as error:
        return _page(account, session, str(error))
    return _page(account, session)


def _act(account: Account, session: objects.PortalSession, action: str, form: dict[str, str]) -> None:
    features = account.get(objects.PortalConfiguration, session.configuration_id).features
    if action == "payment_method":
        method = attach_to(account, form["payment_method"], session.customer_id)
        customer = account.get(objects.Customer, session.customer_id)
        account.update(attrs.evolve(customer, default_payment_method_id=method.payment_method_id))
        return
    subscription = account.get(objects.Subscription, form["subscription"])
    if subscription.customer_id != session.customer_id:
        raise refused("The subscription does not belong to the customer.")
    if action == "continue":
        kept = attrs.evolve(subscription, cancel_at=None, cancel_at_period_end=False, canceled_at=None)
        account.update(kept)
        return
    cancel = features.get("subscription_cancel", {})
    if not cancel.get("enabled"):
        raise refused("Subscriptions cannot be canceled here.")
    if cancel.get("mode") == "immediately":
        ending.end(account, subscription, prorate=cancel.get("proration_behavior", "none") != "none")
        return
    canceled = attrs.evolve(
        subscription,
        cancel_at=subscription.span.end,
        cancel_at_period_end=True,
        canceled_at=now_on(account, subscription.test_clock),
    )
    account.update(canceled)


def _find(fake: "FakeStripe", request: web.Request) -> tuple[Account, objects.PortalSession]:
    for account in fake.accounts.values():
        session = account.find(objects.PortalSession, request.match_info["session"])
        if session is not None:
            return account, session
    raise web.HTTPNotFound(text="There is no such portal session.")


def _page(account: Account, session: objects.PortalSession, error: str = "") -> web.Response:
    shown = "".join(
        _SUBSCRIPTION.format(subscription_id=escape(each.subscription_id), status=escape(each.status))
        for each in account.all(objects.Subscription)
        if each.customer_id == session.customer_id and each.ended_at is None
    )
    text = _PAGE.format(error=escape(error), subscriptions=shown, return_url=escape(session.return_url or "#"))
    return web.Response(text=text, content_type="text/html", status=402 if error else 200)


RESOURCE = Resource(
    kinds=[CONFIGURATION, SESSION],
    routes=[
        Route("POST", "/v1/billing_portal/configurations", create_configuration, CREATE_CONFIGURATION),
        Route("GET", "/v1/billing_portal/configurations", configurations, listing(active=BOOLEAN, is_default=BOOLEAN)),
        Route("GET", "/v1/billing_portal/configurations/{id}", retrieve_configuration),
        Route("POST", "/v1/billing_portal/configurations/{id}", update_configuration, UPDATE_CONFIGURATION),
        Route("POST", "/v1/billing_portal/sessions", create_session, CREATE_SESSION),
    ],
    pages=[PageRoute("GET", "/portal/{session}", show), PageRoute("POST", "/portal/{session}", submit)],
)
