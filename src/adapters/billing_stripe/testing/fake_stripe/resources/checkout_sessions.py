"""Checkout sessions, and the page on which a customer completes one."""

from collections.abc import Mapping
from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from billing_stripe.testing import builders, objects
from billing_stripe.testing.fake_stripe.account import Account, Due
from billing_stripe.testing.fake_stripe.billing import checkouts
from billing_stripe.testing.fake_stripe.billing.redemption import resolve_discount
from billing_stripe.testing.fake_stripe.errors import Json, StripeError, invalid, missing, refused
from billing_stripe.testing.fake_stripe.filters import select
from billing_stripe.testing.fake_stripe.forms import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    METADATA,
    MOMENT,
    TEXT,
    Form,
    Integer,
    Listed,
    Params,
    Period,
    Required,
    Text,
    choice,
    listing,
    merged_metadata,
)
from billing_stripe.testing.fake_stripe.kinds import Kind
from billing_stripe.testing.fake_stripe.routing import Call, Listing, PageRoute, Resource, Route
from billing_stripe.testing.versions import Shape

if TYPE_CHECKING:
    from billing_stripe.testing.fake_stripe.server import FakeStripe

EARLIEST_TRIAL_END: Final = timedelta(hours=48)


def _line_items(account: Account, session: objects.CheckoutSession, api_version: str) -> Json:
    """Return `line_items`, which are shown only when they are expanded."""
    data = [builders.session_item(item, api_version) for item in session.items]
    url = f"/v1/checkout/sessions/{session.session_id}/line_items"
    return {"object": "list", "data": data, "has_more": False, "url": url}


KIND = Kind(
    source=objects.CheckoutSession,
    noun="checkout.session",
    key=lambda source: source.session_id,
    render=builders.checkout_session,
    expandable=frozenset({"customer", "invoice", "payment_intent", "setup_intent", "subscription"}),
    included={"line_items": _line_items},
)
_SUBSCRIPTION = Form(
    billing_mode=Form(type=Required(choice("classic", "flexible")), flexible=ANYTHING),
    description=TEXT,
    metadata=METADATA,
    trial_end=MOMENT,
    trial_period_days=Integer(least=1),
    trial_settings=Form(
        end_behavior=Required(Form(missing_payment_method=choice("cancel", "create_invoice", "pause")))
    ),
)
CREATE = Form(
    mode=Required(choice("payment", "setup", "subscription")),
    allow_promotion_codes=BOOLEAN,
    automatic_tax=Form(enabled=Required(BOOLEAN), liability=ANYTHING),
    billing_address_collection=choice("auto", "required"),
    cancel_url=TEXT,
    client_reference_id=Text(200),
    consent_collection=ANYTHING,
    currency=Text(3),
    customer=TEXT,
    customer_creation=choice("always", "if_required"),
    customer_email=TEXT,
    customer_update=ANYTHING,
    discounts=Listed(Form(coupon=TEXT, promotion_code=TEXT)),
    expires_at=MOMENT,
    line_items=Listed(Form(price=Required(TEXT), quantity=INTEGER, adjustable_quantity=ANYTHING)),
    locale=TEXT,
    metadata=METADATA,
    payment_intent_data=ANYTHING,
    payment_method_collection=choice("always", "if_required"),
    payment_method_types=Listed(TEXT),
    return_url=TEXT,
    setup_intent_data=ANYTHING,
    subscription_data=_SUBSCRIPTION,
    success_url=TEXT,
    tax_id_collection=ANYTHING,
    ui_mode=choice("elements", "embedded_page", "hosted_page"),
)
LIST = listing(
    created=Period(),
    customer=TEXT,
    payment_intent=TEXT,
    status=choice("complete", "expired", "open"),
    subscription=TEXT,
)


def create(call: Call) -> objects.CheckoutSession:
    """POST /v1/checkout/sessions"""
    account, params = call.account, call.params
    _check_customer(account, params)
    _check_page(params)
    items = _items(account, params)
    coupon, discount = _discount(account, params, sum(item.amount for item in items))
    subscription = _subscription(call, items) if params["mode"] == "subscription" else {}
    trial = bool({"trial_end", "trial_period_days"} & subscription.keys())
    session_id, ui_mode = account.new_id("cs_test"), params.get("ui_mode", "hosted_page")
    customer = account.find(objects.Customer, params.get("customer"))
    session = objects.CheckoutSession(
        session_id=session_id,
        created_at=call.now,
        customer_id=params.get("customer"),
        subscription_id=None,
        client_reference_id=params.get("client_reference_id"),
        mode=params["mode"],
        status="open",
        payment_status="unpaid" if params["mode"] != "setup" else "no_payment_required",
        amount_total=0 if trial else sum(item.amount for item in items) - discount,
        discount=0 if trial else discount,
        currency=items[0].price.currency if items else params.get("currency", "usd"),
        customer_email=params.get("customer_email") or (None if customer is None else customer.email),
        metadata=merged_metadata({}, params),
        expires_at=_expires_at(call),
        url=f"{call.origin}/pay/{session_id}" if ui_mode == "hosted_page" else None,
        success_url=params.get("success_url"),
        cancel_url=params.get("cancel_url"),
        return_url=params.get("return_url"),
        ui_mode=ui_mode,
        setup_intent_id=_new_setup_intent(call) if params["mode"] == "setup" else None,
        payment_method_collection=params.get("payment_method_collection", "always")
        if params["mode"] == "subscription"
        else params.get("payment_method_collection"),
        payment_method_types=tuple(params.get("payment_method_types", ("card",))),
        allow_promotion_codes=params.get("allow_promotion_codes"),
        coupon_id=coupon,
        items=items,
        subscription=subscription,
    )
    account.put(session)
    return session


def retrieve(call: Call) -> objects.CheckoutSession:
    """GET /v1/checkout/sessions/:id"""
    return call.account.get(objects.CheckoutSession, call.id)


def expire(call: Call) -> objects.CheckoutSession:
    """POST /v1/checkout/sessions/:id/expire"""
    session = retrieve(call)
    if not session.is_open:
        raise refused(
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
            f"{session.status}.",
            code="resource_missing",
        )
    return checkouts.expire(call.account, session)


def sessions(call: Call) -> Listing:
    """GET /v1/checkout/sessions"""
    asked = select(
        call,
        objects.CheckoutSession,
        customer="customer_id",
        payment_intent="payment_id",
        status="status",
        subscription="subscription_id",
    )
    return Listing(asked, KIND.noun)


def line_items(call: Call) -> Listing:
    """GET /v1/checkout/sessions/:id/line_items"""
    return Listing(_line_items(call.account, retrieve(call), call.api_version)["data"], "item")


# --- what a new session is about --------------------------------------------------------------------------------


def _check_customer(account: Account, params: Params) -> None:
    if "customer" in params and "customer_email" in params:
        raise invalid("You may only specify one of these parameters: customer, customer_email.", param="customer")
    if "customer_update" in params and "customer" not in params:
        raise invalid("`customer_update` can only be used with `customer`.", param="customer_update")
    if "customer" in params and account.get(objects.Customer, params["customer"], "customer").deleted:
        raise missing("customer", params["customer"], "customer")


def _check_page(params: Params) -> None:
    """Refuse addresses that do not belong to the kind of page."""
    hosted = params.get("ui_mode", "hosted_page") == "hosted_page"
    demanded, forbidden = ("success_url", ("return_url",)) if hosted else ("return_url", ("success_url", "cancel_url"))
    if demanded not in params:
        raise invalid(f"Missing required param: {demanded}.", param=demanded, code="parameter_missing")
    for name in forbidden:
        if name in params:
            raise invalid(f"`{name}` can not be set when `ui_mode` is `{params.get('ui_mode')}`.", param=name)


def _items(account: Account, params: Params) -> tuple[objects.SessionItem, ...]:
    mode, given = params["mode"], params.get("line_items", [])
    if mode == "setup":
        return ()
    if not given:
        raise invalid("The `line_items` parameter is required in payment and subscription mode.", param="line_items")
    items = tuple(_item(account, line, position) for position, line in enumerate(given))
    recurring = [item for item in items if item.price.recurring]
    if mode == "subscription" and not recurring:
        raise invalid(
            "You must provide at least one recurring price in `subscription` mode when using prices.",
            param="line_items",
        )
    if mode == "subscription" and len(recurring) < len(items):
        raise invalid("This fake takes no one-time prices in `subscription` mode.", param="line_items")
    if mode == "payment" and recurring:
        raise invalid(
            "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use "
            "only one-time prices.",
            param="line_items",
        )
    return items


def _item(account: Account, line: Params, position: int) -> objects.SessionItem:
    price = account.get(objects.Price, line["price"], f"line_items[{position}][price]")
    if price.metered and "quantity" in line:
        raise invalid(
            "Quantity should not be specified where usage_type is `metered`.", param=f"line_items[{position}][quantity]"
        )
    if not price.metered and "quantity" not in line:
        raise invalid("Quantity is required.", param=f"line_items[{position}][quantity]")
    product = account.find(objects.Product, price.product_id)
    return objects.SessionItem(
        item_id=account.new_id("li"),
        price=price,
        quantity=line.get("quantity"),
        description=price.nickname or (product.name if product is not None else "Example"),
    )


def _subscription(call: Call, items: tuple[objects.SessionItem, ...]) -> Mapping[str, Any]:
    """Return the parameters with which the subscription will be started."""
    given = dict(call.params.get("subscription_data", {}))
    trial_end = given.get("trial_end")
    if trial_end is not None and trial_end < call.now + EARLIEST_TRIAL_END:
        raise invalid(
            "The `trial_end` date has to be at least 2 days in the future.", param="subscription_data[trial_end]"
        )
    mode = given.pop("billing_mode", {}).get("type")
    flexible = Shape(call.api_version).flexible_by_default if mode is None else mode == "flexible"
    lines = [
        {"price": item.price.price_id} | ({} if item.quantity is None else {"quantity": item.quantity})
        for item in items
        if item.price.recurring
    ]
    return {**given, "items": lines, "flexible": flexible}


def _discount(account: Account, params: Params, subtotal: int) -> tuple[str | None, int]:
    if "discounts" not in params:
        return None, 0
    if params.get("allow_promotion_codes"):
        raise invalid(
            "You may only specify one of these parameters: allow_promotion_codes, discounts.", param="discounts"
        )
    customer_id = params.get("customer", "")
    coupon = resolve_discount(account, params["discounts"][0], customer_id, "discounts[0]", redeem=False)
    off = coupon.amount_off if coupon.percent_off is None else round(subtotal * coupon.percent_off / 100)
    return coupon.coupon_id, min(subtotal, off or 0)


def _expires_at(call: Call) -> Any:
    earliest, latest = checkouts.last_possible(call.now)
    given = call.params.get("expires_at", latest)
    if given < earliest:
        raise invalid(
            "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.", param="expires_at"
        )
    if given > latest:
        raise invalid(
            "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.", param="expires_at"
        )
    return given


def _new_setup_intent(call: Call) -> str:
    intent = objects.SetupIntent(
        setup_intent_id=call.account.new_id("seti"), customer_id=call.params.get("customer"), created_at=call.now
    )
    return call.account.create(intent).setup_intent_id


# --- the page ---------------------------------------------------------------------------------------------------

_PAGE: Final = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Checkout</title>
<h1>Checkout</h1><p id="summary">{summary}</p><p id="error" role="alert">{error}</p>
<form method="post">
<label>Email <input name="email" type="email" value="{email}"></label>
<label>Card <select name="payment_method">{cards}</select></label>
<button>{verb}</button> <a id="back" href="{cancel_url}">Back</a>
</form></html>
"""
_CARDS: Final = ("visa", "mastercard", "threeDSecure2Required", "chargeCustomerFail", "chargeDeclined")


async def show(fake: "FakeStripe", request: web.Request) -> web.StreamResponse:
    """GET /pay/:id: the page of a session, with cards for tests to choose from."""
    _, session = _find(fake, request)
    return _page(session)


async def submit(fake: "FakeStripe", request: web.Request) -> web.StreamResponse:
    """POST /pay/:id: complete the session and go to its `success_url`; a decline is shown on the page."""
    account, session = _find(fake, request)
    form = await request.post()
    method, email = str(form.get("payment_method") or ""), str(form.get("email") or "")
    try:
        with account.transaction():
            done = checkouts.complete(account, session, method or None, email=email or None)
    except StripeError as error:
        return _page(session, str(error))
    raise web.HTTPSeeOther((done.success_url or "/").replace("{CHECKOUT_SESSION_ID}", done.session_id))


def _find(fake: "FakeStripe", request: web.Request) -> tuple[Account, objects.CheckoutSession]:
    for account in fake.accounts.values():
        session = account.find(objects.CheckoutSession, request.match_info["session"])
        if session is not None:
            return account, session
    raise web.HTTPNotFound(text="There is no such checkout session.")


def _page(session: objects.CheckoutSession, error: str = "") -> web.Response:
    if not session.is_open:
        return web.Response(text=f"This checkout session is {session.status}.", status=410)
    methods = [f"pm_card_{name}" for name in _CARDS] + ([] if checkouts.needs_method(session) else [""])
    summary = f"{session.amount_total / 100:.2f} {session.currency.upper()}"
    text = _PAGE.format(
        summary=escape(summary),
        error=escape(error),
        email=escape(session.customer_email or ""),
        cards="".join(f'<option value="{name}">{name or "none"}</option>' for name in methods),
        verb={"subscription": "Subscribe", "setup": "Save card"}.get(session.mode, "Pay"),
        cancel_url=escape(session.cancel_url or "#"),
    )
    return web.Response(text=text, content_type="text/html", status=402 if error else 200)


RESOURCE = Resource(
    kinds=[KIND],
    routes=[
        Route("POST", "/v1/checkout/sessions", create, CREATE),
        Route("GET", "/v1/checkout/sessions", sessions, LIST),
        Route("GET", "/v1/checkout/sessions/{id}", retrieve),
        Route("POST", "/v1/checkout/sessions/{id}/expire", expire),
        Route("GET", "/v1/checkout/sessions/{id}/line_items", line_items, listing()),
    ],
    pages=[PageRoute("GET", "/pay/{session}", show), PageRoute("POST", "/pay/{session}", submit)],
    due=[Due(source=objects.CheckoutSession, tasks=checkouts.tasks, clock=checkouts.clock_of)],
)
